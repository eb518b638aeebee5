"""Draws sparse events as images, in the group's files, with what is known of the particles beside them.

| file | holds |
| --- | --- |
| `batch_{i}.npy`, `batch_xz_{i}.npy` | images (n, p, p) in MeV, xy and xz views |
| `batch_mom_{i}.npy` | momenta (n, 3) float32 in MeV/c; zero: unknown |
| `batch_pdg_{i}.npy` | PDG codes (n,) int64, if all events have one |
| `batch_kin_{i}.npy` | kinetic energies (n,) float32 in MeV, if those of all events are known |

The first three are the group's; the others follow their way of naming.
"""
import dataclasses
from pathlib import Path

import numpy as np

from lartpc_jax.data.events import Events, join_events, select_events
from lartpc_jax.data.labels import event_labels, kinetic_mev
from lartpc_jax.data.open import open_events
from lartpc_jax.data.pictures import charge_inside, images_of
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.files import atomic_write
from lartpc_jax.geometry.rasterize import ImageSpec

NAMES = {"xy": "batch", "xz": "batch_xz"}  # view -> beginning of the file name
CHUNK = 256                                # events drawn at once


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to draw."""
  input: tuple[str, ...] = setting((), 'Sparse-event npz, several with commas between them, or "sample".',
                                   required=True)
  out: str | None = setting(None, "Directory of the batches.", required=True)
  first_event: int = setting(0, "Number of the first event.", lower=0)
  num_events: int | None = setting(None, "Number of events; default: to the end of the last file.", lower=1)
  shuffle: int | None = setting(None, "Seed of a random order; default: as they are. Files of several "
                                "particles need one, so that every batch, and what is held out, has all.",
                                lower=0)
  min_charge_mev: float = setting(0.0, "Leave events out of which a view holds less: photons that convert "
                                  "outside the picture.")
  batch_size: int = setting(128, "Events a file, as in the group's.", lower=1)
  num_pixels: int = setting(64, "Pixels a side.", lower=1)
  pitch_mm: float = setting(3.0, "Edge of a pixel.")
  sigma_mm: float = setting(1.35, "Smearing.")
  threshold_mev: float = setting(0.005, "Pixels below are zero.")
  dtype: str = setting("float32", "Type of the images.", choices=("float16", "float32", "float64"))


def run(settings: Settings, console: Console) -> None:
  """Writes each batch whole or not at all; batches that are there already are kept, so a stopped run goes
  on.
  """
  events = join_events([open_events(path) for path in settings.input])
  last = len(events) if settings.num_events is None else settings.first_event + settings.num_events
  if not settings.first_event < last <= len(events):
    raise ValueError(f"{','.join(settings.input)}: holds {len(events)} events, there are no numbers "
                     f"{settings.first_event} to {last - 1} (--first_event, --num_events).")
  spec = ImageSpec(settings.num_pixels, settings.pitch_mm, settings.sigma_mm, settings.threshold_mev)
  chosen = choose_events(events, np.arange(settings.first_event, last), settings, spec, console)
  starts = range(0, len(chosen), settings.batch_size)
  with (console.workdir(settings.out, {**dataclasses.asdict(settings), "out": None}) as out,
        console.progress(len(chosen), description="render", unit="event") as bar):
    for number, start in enumerate(starts):
      _write(events, chosen[start:start + settings.batch_size], out, number, spec, settings.dtype)
      bar.update(min(start + settings.batch_size, len(chosen)))
  console.say(f"Wrote {len(starts)} batches, of {len(chosen)} events, to {out}.")


def choose_events(events: Events, numbers: np.ndarray, settings: Settings, spec: ImageSpec,
                  console: Console) -> np.ndarray:
  """Those of the numbers with enough charge in each view, in their order or a random one; says how many are
  left out.

  Raises:
    ValueError: if none is left.
  """
  if settings.min_charge_mev > 0:
    charge = charge_inside(select_events(events, numbers), tuple(NAMES), spec)
    kept = (charge >= settings.min_charge_mev).all(axis=1)
    if not kept.any():
      raise ValueError(f"--min_charge_mev={settings.min_charge_mev:g} leaves none of {len(numbers)} events: "
                       f"the largest has {charge.min(axis=1).max():.3g} MeV in each view.")
    console.say(f"Left out {np.sum(~kept)} of {len(numbers)} events with less than "
                f"{settings.min_charge_mev:g} MeV in a view.")
    numbers = numbers[kept]
  return numbers if settings.shuffle is None else np.random.default_rng(settings.shuffle).permutation(numbers)


def _write(events: Events, chosen: np.ndarray, out: Path, number: int, spec: ImageSpec, dtype: str) -> None:
  """The files of one batch; the momenta last, so that a batch with them is whole."""
  if (out / f"batch_mom_{number}.npy").exists():
    return
  some = select_events(events, chosen)
  images = images_of(some, np.arange(len(some)), views=tuple(NAMES), spec=spec, chunk=CHUNK).astype(dtype)
  arrays = {name: images[:, view] for view, name in enumerate(NAMES.values())}
  known = event_labels(some)
  arrays |= {"batch_pdg": some.pdg} if "particle" in known else {}
  arrays |= {"batch_kin": kinetic_mev(some)} if "kinetic_mev" in known else {}
  for name, array in {**arrays, "batch_mom": some.momentum_mev}.items():
    with atomic_write(out / f"{name}_{number}.npy", "wb") as file:
      np.save(file, array)
