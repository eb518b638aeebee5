"""64x64 crops of interactions for unconditional diffusion: reading, splitting by event, augmentation, exact zeros."""
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.data import images as images_lib, pipeline
from lartpc_jax.data.npz import read_fields
from lartpc_jax.data.readers.api import MEV
from lartpc_jax.data.readers.larcv_png import NAME, open_larcv_npy, open_larcv_pngs
from lartpc_jax.geometry import rasterize as raster
from lartpc_jax.geometry.charge import ChargeTransform

FIELDS = ("image", "event", "unit_mev")
CHUNK = 4096  # images read at once
NUM_ORIENTATIONS = 8  # four rotations, each with and without a flip


class Crops(NamedTuple):
  """n crops on the host."""
  values: np.ndarray  # [n h w] uint16 where that loses nothing, else float32
  event: np.ndarray   # [n] crops of one event overlap: they belong on one side of a split
  unit_mev: float     # MeV of value 1


class StateScale(NamedTuple):
  """Mean and standard deviation of transformed pixels: the diffused state is (y - shift) / scale."""
  shift: float
  scale: float


def open_crops(path: str | os.PathLike, *, split: str = "train", scale_mev: float | None = None) -> Crops:
  """Crops of an npz (`image` [n h w] uint16, `event` [n], `unit_mev`), of images, or of larcv_png_64 files.

  Args:
    path: an npz of crops; an npz or npy of images of any layout (see `data.images`), each event's views being crops of one
      event; a larcv_png_64 npy or a directory of them; a directory of larcv_64_{i}.png; or "sample" for images of the single
      protons of the package.
    split: of larcv_png_64, "train" or "test".
    scale_mev: MeV of value 1, for files that do not say they hold MeV: larcv_png_64 and PNGs (grey levels), integers, and
      what was converted without a scale. Such files are refused without it. Files that say so themselves are left alone.
  Raises:
    FileNotFoundError, ValueError: naming the file and the field that is missing or wrong.
  """
  if not path:
    raise ValueError("data.path is not set; give an npz of crops, larcv_png_64 files, or 'sample'.")
  if path == pipeline.SAMPLE:
    return _sample_crops()
  if scale_mev is not None and not 0 < scale_mev < np.inf:
    raise ValueError(f"data.scale_mev must be positive and finite; got {scale_mev}.")
  path = Path(path)
  pngs = path.is_dir() and any(path.glob("larcv_64_*.png"))
  if pngs or path.is_dir() or NAME.fullmatch(path.name):
    source = open_larcv_pngs(path) if pngs else open_larcv_npy(path, split=split)
    starts = range(0, source.num, CHUNK)
    images = [_compact(source.read(start, min(start + CHUNK, source.num)), path) for start in starts]
    return _of_images(np.concatenate(images), _scale(path, source.unit, scale_mev))
  if not images_lib.holds_images(path):
    return _of_crops(path)
  images, _ = images_lib.read_images(path)
  unit = images_lib.image_unit(path)
  if unit is None:
    unit = MEV if images.dtype.kind == "f" and scale_mev is None else "unknown unit"
  return _of_images(_compact(images, path), 1.0 if unit == MEV else _scale(path, unit, scale_mev))


def _scale(path: Path, unit: str, scale_mev: float | None) -> float:
  """MeV of value 1 of a file in `unit`, which is not MeV. Raises ValueError if it is not given."""
  if scale_mev is None:
    raise ValueError(f"{path}: holds images in an uncalibrated unit ({unit}), not in MeV; set data.scale_mev, the MeV of "
                     "value 1. Thresholds and charge.scale_mev are MeV then.")
  return float(scale_mev)


def _compact(images: np.ndarray, path: Path) -> np.ndarray:
  """Images as uint16 if they are whole numbers that fit, else as float32: nothing is lost beyond the digits of float32."""
  if images.dtype.kind in "ub" and images.dtype.itemsize <= 2:
    return np.asarray(images, np.uint16)
  whole = np.asarray(images, np.float32)
  if not np.isfinite(whole).all() or whole.size and whole.min() < 0:
    raise ValueError(f"{path}: field 'image' must be finite and not negative.")
  if whole.size and whole.max() <= np.iinfo(np.uint16).max and np.array_equal(whole, np.floor(whole)):
    return whole.astype(np.uint16)
  return whole


def _of_images(images: np.ndarray, unit_mev: float) -> Crops:
  """Each view of an event is a crop."""
  return Crops(images.reshape(-1, *images.shape[2:]), np.repeat(np.arange(len(images)), images.shape[1]), unit_mev)


def _of_crops(path: Path) -> Crops:
  fields = read_fields(path, FIELDS, kind="file of crops")
  values, event, unit_mev = (fields[name] for name in FIELDS)
  if values.ndim != 3 or values.shape[1] != values.shape[2] or values.dtype.kind not in "uf":
    raise ValueError(f"{path}: field 'image' must be uint16 or float32 [n h h]; got {values.dtype} {values.shape}.")
  if event.shape != (len(values),) or not np.isfinite(unit_mev) or unit_mev <= 0:
    raise ValueError(f"{path}: needs one 'event' a crop and a positive 'unit_mev'; got {event.shape} and {unit_mev}.")
  return Crops(_compact(values, path) if values.dtype != np.uint16 else values, event, float(unit_mev))


def _sample_crops(unit_mev: float = 0.004) -> Crops:
  events = pipeline.open_events(pipeline.SAMPLE)
  numbers = np.arange(len(events))
  images = pipeline.images_of(events, numbers, views=("xy",), spec=raster.ImageSpec())[:, 0]
  return Crops(np.round(images / unit_mev).astype(np.uint16), numbers, unit_mev)


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
