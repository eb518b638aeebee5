"""Files of target images: sparse events (drawn on the way in), or images as npz or npy.

Images may be (n, p, p), (n, views, p, p) or (n, p, p, views). An npz has them as `images`, and perhaps `momentum` [n 3] in
MeV/c and `unit` (a text; without it the values are MeV). Beside FILE.npy these may lie as FILE_momentum.npy and
FILE_unit.npy: what launch.convert writes.
"""
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from lartpc_jax.data import pipeline
from lartpc_jax.data.events import Events, check_momentum_unit, deposited_energy, describe_codes, describe_others, pad_events
from lartpc_jax.data.npz import DAMAGE, field_names, read_fields
from lartpc_jax.data.readers.api import MEV, views_first
from lartpc_jax.data.readers.identify import look_at
from lartpc_jax.files import atomic_write
from lartpc_jax.geometry import rasterize as raster
from lartpc_jax.units import PROTON_MASS_MEV, kinetic_energy, masses_mev

logger = logging.getLogger(__name__)

SUFFIXES = (".npz", ".npy")
OTHERS = "%s: of %d events the momenta are those %s; the models of the package are of single protons."
CHECKED_IMAGES = 256  # of a file, whose charge is compared with their momenta
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
    path: npz of sparse events (see `data.events`), npz or npy of images in MeV (see above), or "sample" for the events of
      the package.
    views: names of the views, in the order of the images.
    spec: geometry of the images that the generator knows.
    first: number of the first event.
    num: number of events.
  Returns:
    Images and the truth, if every one of the events has a momentum other than zero.
  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: naming the file, if it is of another kind, truncated, has other fields or shapes, fewer events, another unit
      than MeV, or momenta in GeV/c. Pixel values are not looked at; see `inference.infer.check_target_images`.
  """
  if path != pipeline.SAMPLE and not holds_events(path):
    images, momentum_mev = _read_views(path, views, spec)
    chosen = _select(len(images), first, num, path)
    if momentum_mev is not None:
      _remark_others(path, chosen)
    return ImageSet(images[chosen], None if momentum_mev is None else known_momenta(momentum_mev[chosen]), None,
                    len(images))
  events = pipeline.open_events(path)
  chosen = np.arange(len(events))[_select(len(events), first, num, path)]
  images = pipeline.images_of(events, chosen, views=views, spec=spec)
  momentum_mev = events.momentum_mev[chosen]
  if others := describe_others(events, chosen):
    logger.warning(OTHERS, path, len(chosen), others)
  if known_momenta(momentum_mev) is None:
    return ImageSet(images, None, None, len(events))
  return ImageSet(images, momentum_mev, clean_events(events, chosen, views=views, spec=spec), len(events))


def known_momenta(momentum_mev: np.ndarray) -> np.ndarray | None:
  """The momenta [n 3], or None if one of them is (0, 0, 0), which means unknown (see data.convert)."""
  return momentum_mev if np.all(np.any(np.asarray(momentum_mev) != 0, axis=1)) else None


def clean_events(events: Events, chosen: np.ndarray, *, views: tuple[str, ...], spec: raster.ImageSpec) -> np.ndarray:
  """True [n] for those of the `chosen` events that deposit their kinetic energy (to 2 %), all of it inside the views.

  Particles of which the file does not say what they are count as protons.
  """
  mass_mev = PROTON_MASS_MEV if events.pdg is None else masses_mev(events.pdg[chosen], PROTON_MASS_MEV)
  kinetic = kinetic_energy(events.momentum_mev[chosen], mass_mev)
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
  """Whether a file is an npz of sparse events rather than of images.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: naming one that is neither, with what it looks like and the command that converts it.
  """
  if not os.path.isfile(path):
    raise FileNotFoundError(f"No input file at {os.fspath(path)!r}.")
  if Path(path).suffix not in SUFFIXES:
    look = look_at(path)
    command = f"python -m launch.convert --input={path} --out={Path(path).with_suffix('.npz').name}"
    way = (f"convert it first: {command} --format={look.format}" if look.format else
           "python -m launch.convert --list says what can be converted")
    raise ValueError(f"{path}: must be an npz or npy file, or {pipeline.SAMPLE!r} for the events of the package. It looks "
                     f"like {look.text}; {way}.")
  return Path(path).suffix == ".npz" and "voxel" in field_names(path)


def read_images(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray | None]:
  """Images [N v p p] of an npz or npy, the latter mapped, and momenta [N 3] if the file has them.

  Raises:
    ValueError: naming the file, if it is truncated, lacks `images`, those are no numbers or of no known layout, or the
      momenta do not fit or are in GeV/c.
  """
  path = Path(path)
  if path.suffix == ".npy":
    images, momentum_mev = _load_npy(path), None
    if (beside := _beside(path, "momentum")).is_file():
      momentum_mev = np.asarray(_load_npy(beside))
  else:
    fields = field_names(path)
    if "images" not in fields:
      raise ValueError(f"{path}: not a readable file of images: needs `images` (or sparse events: `voxel` and so on); it "
                       f"holds {sorted(fields)}.")
    arrays = read_fields(path, ["images"], ["momentum"])
    images, momentum_mev = arrays["images"], arrays.get("momentum")
  if images.dtype.kind not in "fiub":
    raise ValueError(f"{path}: images must be numbers; got {images.dtype}.")
  images = views_first(images, str(path))
  if momentum_mev is not None:
    momentum_mev = _check_momenta(momentum_mev, images, path)
  return images, momentum_mev


def _remark_others(path, chosen: slice) -> None:
  """Warns if the file says that the chosen events are not of protons."""
  pdg = read_fields(path, [], ["pdg"]).get("pdg") if Path(path).suffix == ".npz" else None
  if pdg is None or pdg.ndim != 1 or pdg.dtype.kind not in "iu":
    return
  if others := describe_codes(pdg[chosen]):
    logger.warning(OTHERS, path, len(pdg[chosen]), others)


def holds_images(path: str | os.PathLike) -> bool:
  """Whether a file is an npz with `images`, or an npy. Raises FileNotFoundError or ValueError as `holds_events`."""
  return not holds_events(path) and (Path(path).suffix == ".npy" or "images" in field_names(path))


def image_unit(path: str | os.PathLike) -> str | None:
  """The unit of the values of an npz or npy of images, None if the file does not say."""
  path = Path(path)
  if path.suffix == ".npz":
    unit = read_fields(path, [], ["unit"]).get("unit")
  else:
    beside = _beside(path, "unit")
    unit = _load_npy(beside) if beside.is_file() else None
  return None if unit is None else str(unit)


def _beside(path: Path, field: str) -> Path:
  """Where launch.convert puts a further field of an npy of images."""
  return path.with_name(f"{path.stem}_{field}.npy")


def _load_npy(path: Path) -> np.ndarray:
  try:
    return np.load(path, mmap_mode="r", allow_pickle=False)
  except DAMAGE as error:
    raise ValueError(f"{path}: not a readable file of images: {error}.") from error


def _check_momenta(momentum_mev: np.ndarray, images: np.ndarray, path: Path) -> np.ndarray:
  """The momenta as float32, if they fit the images; ValueError otherwise."""
  if momentum_mev.shape != (len(images), 3) or momentum_mev.dtype.kind not in "fiu":
    raise ValueError(f"{path}: momentum must have shape ({len(images)}, 3); got {momentum_mev.dtype} of shape "
                     f"{momentum_mev.shape}.")
  momentum_mev = momentum_mev.astype(np.float32)
  if not np.isfinite(momentum_mev).all():
    raise ValueError(f"{path}: momentum holds NaN or infinity.")
  if image_unit(path) in (None, MEV):
    check_image_momenta(images[:CHECKED_IMAGES, 0], momentum_mev[:CHECKED_IMAGES], str(path))
  return momentum_mev


def check_image_momenta(images: np.ndarray, momentum_mev: np.ndarray, source: str) -> None:
  """Raises ValueError if the momenta [n 3] of images [n p p] in MeV seem to be in GeV/c; see `events.check_momenta`."""
  size = np.linalg.norm(momentum_mev, axis=1)
  known = np.flatnonzero(size)
  if len(known):
    check_momentum_unit(np.nansum(images[known], axis=(1, 2), dtype=np.float64), size[known], source)


def _read_views(path, views, spec) -> tuple[np.ndarray, np.ndarray | None]:
  images, momentum_mev = read_images(path)
  if (unit := image_unit(path) or MEV) != MEV:
    raise ValueError(f"{path}: holds images in {unit}s, not in MeV; convert them with --scale_mev (MeV per {unit}).")
  want = (len(views), spec.num_pixels, spec.num_pixels)
  if images.shape[2:] == want[1:] and images.shape[1] != want[0]:
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
