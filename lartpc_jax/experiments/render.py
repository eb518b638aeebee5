"""Draws sparse events as images, in the group's files: `batch_{i}.npy`, `batch_xz_{i}.npy`,
`batch_mom_{i}.npy`.
"""
import dataclasses
from pathlib import Path

import numpy as np

from lartpc_jax.data.events import Events
from lartpc_jax.data.open import open_events
from lartpc_jax.data.pictures import images_of
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.files import atomic_write
from lartpc_jax.geometry.rasterize import ImageSpec

NAMES = {"xy": "batch", "xz": "batch_xz"}  # view -> beginning of the file name
CHUNK = 256                                # events drawn at once


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to draw."""
  input: str | None = setting(None, 'Sparse-event npz, or "sample".', required=True)
  out: str | None = setting(None, "Directory of the batches.", required=True)
  first_event: int = setting(0, "Number of the first event.", lower=0)
  num_events: int | None = setting(None, "Number of events; default: to the end of the file.", lower=1)
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
  events = open_events(settings.input)
  last = len(events) if settings.num_events is None else settings.first_event + settings.num_events
  if not settings.first_event < last <= len(events):
    raise ValueError(f"{settings.input} holds {len(events)} events: there are no numbers "
                     f"{settings.first_event} to {last - 1} (--first_event, --num_events).")
  spec = ImageSpec(settings.num_pixels, settings.pitch_mm, settings.sigma_mm, settings.threshold_mev)
  starts = range(settings.first_event, last, settings.batch_size)
  with (console.workdir(settings.out, {**dataclasses.asdict(settings), "out": None}) as out,
        console.progress(last - settings.first_event, description="render", unit="event") as bar):
    for number, start in enumerate(starts):
      _write(events, np.arange(start, min(start + settings.batch_size, last)), out, number, spec,
             settings.dtype)
      bar.update(min(start + settings.batch_size, last) - settings.first_event)
  console.say(f"Wrote {len(starts)} batches of {settings.batch_size} events to {out}.")


def _write(events: Events, chosen: np.ndarray, out: Path, number: int, spec: ImageSpec, dtype: str) -> None:
  """The three files of one batch; the momenta last, so that a batch with them is whole."""
  if (out / f"batch_mom_{number}.npy").exists():
    return
  parts = [images_of(events, chosen[i:i + CHUNK], views=tuple(NAMES), spec=spec)
           for i in range(0, len(chosen), CHUNK)]
  images = np.concatenate(parts).astype(dtype)
  arrays = {name: images[:, view] for view, name in enumerate(NAMES.values())}
  for name, array in {**arrays, "batch_mom": events.momentum_mev[chosen]}.items():
    with atomic_write(out / f"{name}_{number}.npy", "wb") as file:
      np.save(file, array)
