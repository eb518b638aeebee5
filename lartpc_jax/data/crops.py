"""64x64 crops of interactions for unconditional diffusion: reading, splitting by event, augmentation, exact zeros."""
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.data import pipeline
from lartpc_jax.data.readers.api import ImageSource
from lartpc_jax.data.readers.larcv_png import open_larcv_npy, open_larcv_pngs
from lartpc_jax.geometry import rasterize as raster
from lartpc_jax.geometry.charge import ChargeTransform

FIELDS = ("image", "event", "unit_mev")
NUM_ORIENTATIONS = 8  # four rotations, each with and without a flip


class Crops(NamedTuple):
  """n crops on the host, in integer units."""
  values: np.ndarray  # [n h w] uint16
  event: np.ndarray   # [n] crops of one event overlap: they belong on one side of a split
  unit_mev: float     # MeV (for grey levels without calibration: levels) of value 1


class StateScale(NamedTuple):
  """Mean and standard deviation of transformed pixels: the diffused state is (y - shift) / scale."""
  shift: float
  scale: float


def open_crops(path: str | os.PathLike, *, split: str = "train", scale_mev: float = 1.0) -> Crops:
  """Crops of an npz (`image` [n h w] uint16, `event` [n], `unit_mev`), or of larcv_png_64 files.

  Args:
    path: an npz; a larcv_png_64 npy or a directory of them; a directory of larcv_64_{i}.png; or "sample" for images of the
      single protons of the package.
    split: of larcv_png_64, "train" or "test".
    scale_mev: of larcv_png_64, MeV of one grey level; 1 leaves grey levels. They do not tell events: each crop is its own.
  Raises:
    FileNotFoundError, ValueError: naming the file and the field that is missing or wrong.
  """
  if not path:
    raise ValueError("data.path is not set; give an npz of crops, larcv_png_64 files, or 'sample'.")
  if path == pipeline.SAMPLE:
    return _sample_crops()
  path = Path(path)
  if path.suffix != ".npz":
    pngs = path.is_dir() and any(path.glob("larcv_64_*.png"))
    source = open_larcv_pngs(path) if pngs else open_larcv_npy(path, split=split)
    return _from_source(source, scale_mev)
  if not path.is_file():
    raise FileNotFoundError(f"No input file at {str(path)!r}.")
  try:
    with np.load(path, allow_pickle=False) as npz:
      missing = [name for name in FIELDS if name not in npz.files]
      if missing:
        raise ValueError(f"needs fields {list(FIELDS)}; lacks {missing}")
      values, event, unit_mev = (npz[name] for name in FIELDS)
  except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
    raise ValueError(f"{path}: not a readable file of crops: {error}.") from error
  if values.ndim != 3 or values.shape[1] != values.shape[2] or values.dtype != np.uint16:
    raise ValueError(f"{path}: field 'image' must be uint16 [n h h]; got {values.dtype} {values.shape}.")
  if event.shape != (len(values),) or not np.isfinite(unit_mev) or unit_mev <= 0:
    raise ValueError(f"{path}: needs one 'event' a crop and a positive 'unit_mev'; got {event.shape} and {unit_mev}.")
  return Crops(values, event, float(unit_mev))


def _sample_crops(unit_mev: float = 0.004) -> Crops:
  events = pipeline.open_events(pipeline.SAMPLE)
  numbers = np.arange(len(events))
  images = pipeline.images_of(events, numbers, views=("xy",), spec=raster.ImageSpec())[:, 0]
  return Crops(np.round(images / unit_mev).astype(np.uint16), numbers, unit_mev)


def _from_source(source: ImageSource, scale_mev: float, chunk: int = 4096) -> Crops:
  starts = range(0, source.num, chunk)
  values = [source.read(start, min(start + chunk, source.num))[:, 0].astype(np.uint16) for start in starts]
  return Crops(np.concatenate(values), np.arange(source.num), float(scale_mev))


def images_mev(crops: Crops, indices: np.ndarray | slice = slice(None)) -> np.ndarray:
  """Images [b h w] float32 in MeV."""
  return crops.values[indices].astype(np.float32) * np.float32(crops.unit_mev)


def split_crops(crops: Crops, split: str, *, num_holdout_events: int) -> Crops:
  """The crops of the last num_holdout_events events ("holdout"), or of all others ("train"): never one event in both."""
  events = np.unique(crops.event)
  if not 0 < num_holdout_events < len(events):
    raise ValueError(f"data.num_holdout_events must lie between 1 and {len(events) - 1}, the number of events less one; "
                     f"got {num_holdout_events}.")
  if split not in ("train", "holdout"):
    raise ValueError(f"Unknown split {split!r}; choose from ['holdout', 'train'].")
  held = crops.event >= events[-num_holdout_events]
  chosen = np.flatnonzero(held if split == "holdout" else ~held)
  return crops._replace(values=crops.values[chosen], event=crops.event[chosen])


def orient(images: np.ndarray, orientation: np.ndarray) -> np.ndarray:
  """Images [b h h] each turned by (orientation % 4) quarters and, from 4 on, flipped: the eight symmetries of a square."""
  out = np.empty_like(images)
  for k in range(NUM_ORIENTATIONS):
    chosen = orientation == k
    turned = np.rot90(images[chosen], k % 4, axes=(1, 2))
    out[chosen] = turned[:, ::-1] if k >= 4 else turned
  return out


def make_crop_draws(num_crops: int, *, batch_size: int, seed: int) -> Callable:
  """Builds draw(step) -> (indices [b], orientation [b]): crops with replacement, each in a random orientation.

  Raises:
    ValueError: if batch_size is below 1.
  """
  if batch_size < 1:
    raise ValueError(f"data.batch_size must be at least 1; got {batch_size}.")

  def draw(step: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng((seed, step))
    return random.integers(0, num_crops, batch_size), random.integers(0, NUM_ORIENTATIONS, batch_size)
  return draw


def make_crop_batches(crops: Crops, *, batch_size: int, seed: int) -> Callable:
  """Builds batch_fn(step) -> dict(image [b h w] MeV); see `make_crop_draws`."""
  draw = make_crop_draws(len(crops.values), batch_size=batch_size, seed=seed)

  def batch_fn(step: int) -> dict:
    indices, orientation = draw(step)
    return {"image": orient(images_mev(crops, indices), orientation)}
  return batch_fn


def measure_state_scale(crops: Crops, transform: ChargeTransform, *, num: int = 4096, about_empty: bool = False
                        ) -> StateScale:
  """Mean and standard deviation over the pixels of the first `num` crops, transformed. Raises ValueError if constant.

  about_empty: the value of an empty pixel and the root mean square about it, so that empty pixels are 0 in the state, as a
  network with `gated_skip` wants them.
  """
  y = np.asarray(jax.jit(transform.forward)(images_mev(crops, slice(num))), np.float64)
  if not y.std() > 0:
    raise ValueError("The transformed pixels of the first crops are all equal; check data.path and charge.scale_mev.")
  shift = float(transform.forward(jnp.zeros((1, 1, 1)))[0, 0, 0]) if about_empty else float(y.mean())
  return StateScale(shift, float(np.sqrt(np.mean((y - shift)**2))))


def exact_zeros(images: jax.Array, threshold_mev: float) -> jax.Array:
  """Images with pixels below the threshold exactly zero, as in the data.

  The published cut on 8-bit images, pixels <= 4 of 255 to zero, is a threshold of 4.5 levels.
  """
  return jnp.where(images >= threshold_mev, images, 0.0)
