"""Files of target images: sparse events (drawn on the way in), or images as npz or npy."""
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from lartpc_jax.data import pipeline
from lartpc_jax.data.events import Events, deposited_energy, pad_events
from lartpc_jax.files import atomic_write
from lartpc_jax.geometry import rasterize as raster
from lartpc_jax.units import kinetic_energy

SUFFIXES = (".npz", ".npy")
INTERACTION_TOLERANCE = 0.02  # a proton that stops without a nuclear interaction deposits its energy to this


class ImageSet(NamedTuple):
  """n events of v views, on the host; what a file does not tell is None."""
  images: np.ndarray                # [n v p p] MeV; of an npy file, mapped and not yet read
  momentum_mev: np.ndarray | None   # [n 3] true momentum
  clean: np.ndarray | None          # [n] bool, contained in the window of every view and without nuclear interaction
  num_in_file: int


def check_views(views: Sequence[str]) -> tuple[str, ...]:
  """The views as a tuple. Raises ValueError naming an unknown or repeated one, or if there is none."""
  views = tuple(views)
  for view in views:
    raster.wire_angle_degrees(view)
  if not views or len(set(views)) < len(views):
    raise ValueError(f"Give at least one view, each once; got {','.join(views) or 'none'}.")
  return views


def open_images(path: str | os.PathLike, *, views: tuple[str, ...], spec: raster.ImageSpec, first: int = 0,
                num: int | None = None) -> ImageSet:
  """Events first ... first + num - 1 of a file (None: to its end).

  Args:
    path: npz of sparse events (see `data.events`), npz with `images` [N v p p] or [N p p] in MeV and perhaps `momentum`
      [N 3], npy of images, or "sample" for the events of the package.
    views: names of the views, in the order of the images.
    spec: geometry of the images that the generator knows.
    first: number of the first event.
    num: number of events.
  Returns:
    Images and the truth, if every one of the events has a momentum other than zero.
  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: naming the file, if it is of another kind, truncated, has other fields or shapes, or fewer events. Pixel
      values are not looked at; see `inference.checks.check_target_images`.
  """
  if path != pipeline.SAMPLE:
    if not os.path.isfile(path):
      raise FileNotFoundError(f"No input file at {os.fspath(path)!r}.")
    if not holds_events(path):
      images, momentum_mev = _read_views(path, views, spec)
      chosen = _select(len(images), first, num, path)
      return ImageSet(images[chosen], None if momentum_mev is None else momentum_mev[chosen], None, len(images))
  events = pipeline.open_events(path)
  chosen = np.arange(len(events))[_select(len(events), first, num, path)]
  images = pipeline.images_of(events, chosen, views=views, spec=spec)
  momentum_mev = events.momentum_mev[chosen]
  if not np.all(np.any(momentum_mev != 0, axis=1)):  # zero means unknown (see data.convert)
    return ImageSet(images, None, None, len(events))
  return ImageSet(images, momentum_mev, clean_events(events, chosen, views=views, spec=spec), len(events))


def clean_events(events: Events, chosen: np.ndarray, *, views: tuple[str, ...], spec: raster.ImageSpec) -> np.ndarray:
  """True [n] for those of the `chosen` events that deposit their kinetic energy (to 2 %), all of it inside the views."""
  kinetic = kinetic_energy(events.momentum_mev[chosen])
  deposited = deposited_energy(events)[chosen]
  contained = np.concatenate([
      np.asarray(raster.is_contained(jnp.asarray(batch.position_mm), jnp.asarray(batch.edep_mev), views, spec))
      for batch in (pad_events(events, chosen[i:i + 256]) for i in range(0, len(chosen), 256))])
  return contained & (np.abs(deposited - kinetic) <= INTERACTION_TOLERANCE * kinetic)


def save_images(path: str | os.PathLike, images: np.ndarray, momentum_mev: np.ndarray) -> None:
  """Writes images [n v p p] in MeV and momenta [n 3] as an npz that `open_images` reads, whole or not at all."""
  with atomic_write(path, "wb") as file:
    np.savez_compressed(file, images=np.asarray(images, np.float32), momentum=np.asarray(momentum_mev, np.float32))


def holds_events(path: str | os.PathLike) -> bool:
  """Whether a file is an npz of sparse events rather than of images. Raises ValueError naming a file that is neither."""
  if Path(path).suffix not in SUFFIXES:
    raise ValueError(f"{path}: must be an npz or npy file, or {pipeline.SAMPLE!r} for the events of the package.")
  return Path(path).suffix == ".npz" and "voxel" in _fields(path)


def _fields(path) -> list[str]:
  try:
    with zipfile.ZipFile(path) as archive:
      return [name.removesuffix(".npy") for name in archive.namelist()]
  except (zipfile.BadZipFile, OSError) as error:
    raise ValueError(f"{path}: not a readable npz file (truncated?): {error}") from error


def read_images(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray | None]:
  """Images [N v p p] or [N p p] of an npz or npy, the latter mapped, and momenta [N 3] if the file has them.

  Raises:
    ValueError: naming the file, if it is truncated, lacks `images`, those are no numbers, or the momenta do not fit. Which
      shape the images must have, the caller knows.
  """
  momentum_mev = None
  try:
    if Path(path).suffix == ".npy":
      images = np.load(path, mmap_mode="r", allow_pickle=False)
    else:
      fields = _fields(path)
      if "images" not in fields:
        raise ValueError(f"needs `images` (or sparse events: `voxel` and so on); it holds {sorted(fields)}")
      with np.load(path, allow_pickle=False) as npz:
        images = npz["images"]
        momentum_mev = np.asarray(npz["momentum"], np.float32) if "momentum" in fields else None
  except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
    raise ValueError(f"{path}: not a readable file of images: {error}.") from error
  if images.dtype.kind not in "fiub":
    raise ValueError(f"{path}: images must be numbers; got {images.dtype}.")
  if momentum_mev is not None and momentum_mev.shape != (len(images), 3):
    raise ValueError(f"{path}: momentum must have shape ({len(images)}, 3); got {momentum_mev.shape}.")
  if momentum_mev is not None and not np.isfinite(momentum_mev).all():
    raise ValueError(f"{path}: momentum holds NaN or infinity.")
  return images, momentum_mev


def _read_views(path, views, spec) -> tuple[np.ndarray, np.ndarray | None]:
  images, momentum_mev = read_images(path)
  if images.ndim == 3 and len(views) == 1:
    images = images[:, None]
  want = (len(views), spec.num_pixels, spec.num_pixels)
  if images.ndim == 4 and images.shape[2:] == want[1:] and images.shape[1] != want[0]:
    raise ValueError(f"{path}: holds {images.shape[1]} views of each event, but {want[0]} are named: {','.join(views)}.")
  if images.shape[1:] != want or not len(images):
    raise ValueError(f"{path}: images must have shape (N, {want[0]}, {want[1]}, {want[2]}), N >= 1; got {images.shape}.")
  return images, momentum_mev


def _select(available: int, first: int, num: int | None, path) -> slice:
  num = available - first if num is None else num
  if first < 0 or num < 1 or first + num > available:
    raise ValueError(f"{path}: holds {available} events, numbers 0 to {available - 1}; asked for {num} from number {first} "
                     "(--num_events, --first_event).")
  return slice(first, first + num)
