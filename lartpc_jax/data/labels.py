"""What images can be labelled with, by name: where it comes from, which classes it has, how it is measured.

| name | values |
| --- | --- |
| momentum_mev | [b 3] MeV/c along image axis 0, image axis 1 and the line of sight |
| particle | [b] int32, index into the particles asked for |
| class | [b] int32, index into the classes asked for, of a source that has classes of whole images |
| kinetic_mev | [b] kinetic energy of the particle, of an interaction that of all its primaries together |
| count_proton, count_mu-, ... | [b] how many primaries are of that particle, of files that name them |
| label | [b n n] int32, class of each pixel, see PIXEL_CLASSES |
| charge_mev | [b] charge of the picture in pixels of at least a threshold |
| lit_pixels | [b] number of these pixels |
| track_share | [b] share of these pixels that are track; 0 where there is none |
"""
from collections.abc import Collection, Mapping

import numpy as np

from lartpc_jax.data.events import Events
from lartpc_jax.units import PDG_CODES, PROTON_MASS_MEV, kinetic_energy, masses_mev

VECTORS = ("momentum_mev",)
COUNT = "count_"  # beginning of the labels that count primaries
PIXELS = ("image", "label", "map")
MEASURED = ("charge_mev", "lit_pixels", "track_share")                     # of the picture itself
PIXEL_CLASSES = ("background", "track", "shower", "delta", "michel")  # of labelled crops and interactions
CLASSES = ("background", "track", "shower")                                # order of the logits of SSNet


def pixel_table(*, five_classes: bool, delta: str = "shower", michel: str = "shower"
                ) -> tuple[np.ndarray, tuple[str, ...]]:
  """Class number of each of PIXEL_CLASSES [5], and the names of the classes.

  Args:
    five_classes: keep all; `delta` and `michel` then say nothing.
    delta: class of knock-on electrons, "track" or "shower" (they are electrons: the default).
    michel: class of electrons from muon decay, likewise.
  Raises:
    ValueError: for another class.
  """
  if five_classes:
    return np.arange(len(PIXEL_CLASSES), dtype=np.uint8), PIXEL_CLASSES
  for name, value in (("delta", delta), ("michel", michel)):
    if value not in CLASSES[1:]:
      raise ValueError(f"data.{name} must be one of {list(CLASSES[1:])}; got {value!r}.")
  return np.array([0, 1, 2, CLASSES.index(delta), CLASSES.index(michel)], np.uint8), CLASSES


def check_wanted(wanted: Collection[str], known: Collection[str], kind: str) -> None:
  """Raises ValueError naming a label that is wanted but cannot be had of `kind`, whose files hold `known`."""
  had = set(known) | (set(MEASURED) - ({"track_share"} if "label" not in known else set()))
  for name in wanted:
    if name not in had:
      raise ValueError(f"The label {name!r} is not known of {kind}; known are {sorted(had)}.")


def event_labels(events: Events) -> tuple[str, ...]:
  """Names of the labels that are known of all events."""
  names = []
  if np.any(events.momentum_mev != 0, axis=1).all():
    names.append("momentum_mev")
  if events.pdg is not None and np.all(events.pdg != 0):
    names.append("particle")
  if np.isfinite(kinetic_mev(events)).all():
    names.append("kinetic_mev")
  if events.label is not None:
    names.append("label")
  if events.primaries is not None:
    names += primary_counts(events.primaries, np.arange(len(events)))
  return tuple(names)


def primary_counts(primaries: np.ndarray, event: np.ndarray) -> dict[str, np.ndarray]:
  """The labels COUNT + name [n] float32 of events by their numbers, for the particles among the primaries.

  Args:
    primaries: [k 6], see `events.Events`.
    event: [n].
  Returns:
    Nothing, if an event has no primary, or the code of one is unknown or has no name in units.PDG_CODES: how
    many of which there are is then not known.
  """
  number, codes = primaries[:, 0].astype(np.int64), primaries[:, 1].astype(np.int64)
  # of two names of a code the short one: mu-, not muon
  names = {PDG_CODES[name]: name for name in sorted(PDG_CODES, key=len, reverse=True)}
  if not np.isin(codes, list(names)).all() or not np.isin(event, number).all():
    return {}
  num = int(max(number.max(initial=0), event.max(initial=0))) + 1
  count = lambda code: np.bincount(number[codes == code], minlength=num)[event].astype(np.float32)
  return {COUNT + names[code]: count(code) for code in np.unique(codes).tolist()}


def particle_index(pdg: np.ndarray, particles: Collection[str],
                   event: np.ndarray | None = None) -> np.ndarray:
  """Index [n] int32 into `particles` (names of units.PDG_CODES) of particles by their PDG codes [n].

  Args:
    pdg: the codes.
    particles: the names.
    event: [n] numbers of the events, for messages; None: they are all from the first on.

  Raises:
    ValueError: naming an unknown name, or a code that is none of theirs.
  """
  for name in particles:
    if name not in PDG_CODES:
      raise ValueError(f"Unknown particle {name!r}; choose from {sorted(PDG_CODES)}.")
  codes = np.array([PDG_CODES[name] for name in particles], np.int64)
  same = np.asarray(pdg)[:, None] == codes[None]
  other = np.flatnonzero(~same.any(axis=1))
  if len(other):
    number = other[0] if event is None else event[other[0]]
    raise ValueError(f"Event {number} is of a particle with PDG code {pdg[other[0]]}; asked for are "
                     f"{list(particles)}, codes {codes.tolist()}.")
  return same.argmax(axis=1).astype(np.int32)


def class_index(numbers: np.ndarray, names: Collection[str], asked: Collection[str],
                event: np.ndarray) -> np.ndarray:
  """Index [n] int32 into the `asked` classes of numbers [n] into `names`, those of the source.

  Args:
    numbers: classes of images.
    names: of the classes.
    asked: those of a condition.
    event: [n] numbers of the images, for messages.

  Raises:
    ValueError: naming an unknown class, or one that the images have and that is not asked for.
  """
  names = list(names)
  for name in asked:
    if name not in names:
      raise ValueError(f"Unknown class {name!r}; the images have {names}.")
  table = np.array([list(asked).index(name) if name in asked else -1 for name in names], np.int32)
  numbers = np.asarray(numbers)
  bad = np.flatnonzero(~((numbers >= 0) & (numbers < len(names))))
  if len(bad):
    raise ValueError(f"Event {event[bad[0]]} is of class {numbers[bad[0]]}; there are 0 to "
                     f"{len(names) - 1}, {names}.")
  other = np.flatnonzero(table[numbers] < 0)
  if len(other):
    raise ValueError(f"Event {event[other[0]]} is of class {names[numbers[other[0]]]!r}; asked for are "
                     f"{list(asked)}.")
  return table[numbers]


def kinetic_mev(events: Events) -> np.ndarray:
  """Kinetic energy [n] float32, NaN if unknown: of the primaries together if the file names them, or the
  particle.

  Particles of which the file does not say what they are count as protons.
  """
  if events.primaries is not None:
    number, energy = events.primaries[:, 0].astype(np.int64), events.primaries[:, 2]
    known = np.bincount(number, minlength=len(events)) > 0
    return np.where(known, np.bincount(number, energy, minlength=len(events)), np.nan).astype(np.float32)
  mass_mev = PROTON_MASS_MEV if events.pdg is None else masses_mev(events.pdg, PROTON_MASS_MEV)
  known = np.any(events.momentum_mev != 0, axis=1)
  return np.where(known, kinetic_energy(events.momentum_mev, mass_mev), np.nan).astype(np.float32)


def scalars_of(events: Events, wanted: Mapping[str, Collection[str]]) -> dict[str, np.ndarray]:
  """The labels `particle`, `kinetic_mev` and counts [n] of all events, if they are wanted; they do not turn
  with an event.

  Args:
    events: the events.
    wanted: label -> names of its classes (of a particle), empty for numbers.
  """
  values = {}
  if "particle" in wanted:
    values["particle"] = particle_index(events.pdg, wanted["particle"])
  if "kinetic_mev" in wanted:
    values["kinetic_mev"] = kinetic_mev(events)
  if any(name.startswith(COUNT) for name in wanted):
    counts = primary_counts(events.primaries, np.arange(len(events)))
    values |= {name: counts[name] for name in wanted if name in counts}
  return values


def measure(batch: dict, wanted: Collection[str], *, threshold_mev: float,
            track: int = PIXEL_CLASSES.index("track")) -> dict:
  """The labels of MEASURED that are wanted, of pictures `image` [b n n] in MeV and, for the share,
  `label`."""
  lit = np.asarray(batch["image"]) >= threshold_mev if set(wanted) & set(MEASURED) else None
  values = {}
  if "charge_mev" in wanted:
    values["charge_mev"] = np.where(lit, batch["image"], 0.0).sum((1, 2), dtype=np.float32)
  if "lit_pixels" in wanted:
    values["lit_pixels"] = lit.sum((1, 2)).astype(np.float32)
  if "track_share" in wanted:
    found = (lit & (np.asarray(batch["label"]) == track)).sum((1, 2))
    values["track_share"] = (found / np.maximum(lit.sum((1, 2)), 1)).astype(np.float32)
  return values
