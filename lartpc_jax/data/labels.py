"""What images can be labelled with, by name: where it comes from, which classes it has, how it is measured.

| name | values |
| --- | --- |
| momentum_mev | [b 3] MeV/c along image axis 0, image axis 1 and the line of sight |
| particle | [b] int32, index into the particles asked for |
| kinetic_mev | [b] kinetic energy of the particle, of an interaction that of all its primaries together |
| num_electrons ... | [b] number of primaries of a kind or its antiparticle, see PRIMARY_CODES |
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
PRIMARY_CODES = {"num_electrons": 11, "num_photons": 22, "num_muons": 13, "num_protons": 2212,
                 "num_pions": 211}  # absolute PDG codes (Particle Data Group 2024, sec. 45)
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
  if (events.primaries is not None and np.all(_num_primaries(events) > 0)
      and np.all(events.primaries[:, 1] != 0)):
    names += PRIMARY_CODES
  if events.label is not None:
    names.append("label")
  return tuple(names)


def particle_index(pdg: np.ndarray, particles: Collection[str]) -> np.ndarray:
  """Index [n] int32 into `particles` (names of units.PDG_CODES) of particles by their PDG codes [n].

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
    raise ValueError(f"Event {other[0]} is of a particle with PDG code {pdg[other[0]]}; asked for are "
                     f"{list(particles)}, codes {codes.tolist()}.")
  return same.argmax(axis=1).astype(np.int32)


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


def num_primaries(events: Events, name: str) -> np.ndarray:
  """How many primaries [n] float32 of each interaction are of the kind of a label of PRIMARY_CODES."""
  return _num_primaries(events, np.abs(events.primaries[:, 1]) == PRIMARY_CODES[name]).astype(np.float32)


def _num_primaries(events: Events, chosen=slice(None)) -> np.ndarray:
  return np.bincount(events.primaries[chosen, 0].astype(np.int64), minlength=len(events))


def scalars_of(events: Events, wanted: Mapping[str, Collection[str]]) -> dict[str, np.ndarray]:
  """The labels `particle`, `kinetic_mev` and numbers of primaries [n] of all events, if they are wanted.

  They do not turn with an event.

  Args:
    events: the events.
    wanted: label -> names of its classes (of a particle), empty for numbers.
  """
  values = {}
  if "particle" in wanted:
    values["particle"] = particle_index(events.pdg, wanted["particle"])
  if "kinetic_mev" in wanted:
    values["kinetic_mev"] = kinetic_mev(events)
  values |= {name: num_primaries(events, name) for name in PRIMARY_CODES if name in wanted}
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
