"""Files of images as npz or npy, and the files that are no images.

Images may be (n, p, p), (n, views, p, p) or (n, p, p, views). An npz has them as `images`, and perhaps
`momentum` [n 3] in MeV/c, `pdg` [n] (the code of the particle), `kinetic` [n] in MeV, `class` [n] (whole
numbers from 0) and `unit` (a text; without it floats are MeV). Beside FILE.npy these may lie as
FILE_momentum.npy and so on: what launch.convert writes.
"""
import os
from pathlib import Path

import numpy as np

from lartpc_jax.data.events import check_momentum_unit
from lartpc_jax.data.npz import DAMAGE, field_names, read_fields
from lartpc_jax.data.readers.api import MEV, views_first
from lartpc_jax.data.readers.identify import look_at
from lartpc_jax.files import atomic_write

SUFFIXES = (".npz", ".npy")
# Field -> label of data.labels, and the kinds of numbers that it takes.
LABEL_FIELDS = {"pdg": ("particle", "iu"), "kinetic": ("kinetic_mev", "fiu"), "class": ("class", "iu")}
CHECKED_IMAGES = 256  # of a file, whose charge is compared with their momenta


def save_images(path: str | os.PathLike, images: np.ndarray, momentum_mev: np.ndarray, *,
                pdg: np.ndarray | None = None) -> None:
  """Writes images [n v p p] in MeV, momenta [n 3] and PDG codes [n] as an npz for `read_images`, whole or
  not."""
  codes = {} if pdg is None else {"pdg": np.asarray(pdg, np.int64)}
  with atomic_write(path, "wb") as file:
    np.savez_compressed(file, images=np.asarray(images, np.float32),
                        momentum=np.asarray(momentum_mev, np.float32), **codes)


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
    raise ValueError(f"{path}: must be an npz or npy file, or 'sample' for the events of the package. It "
                     f"looks like {look.text}; {way}.")
  return Path(path).suffix == ".npz" and "voxel" in field_names(path)


def read_images(path: str | os.PathLike) -> tuple[np.ndarray, dict[str, np.ndarray]]:
  """Images [N v p p] of an npz or (mapped) npy; labels momentum_mev [N 3], particle [N] (PDG codes),
  kinetic_mev [N] and class [N].

  Labels that the file does not have are missing; (0, 0, 0) and a code of 0 mean unknown.

  Raises:
    ValueError: naming the file, if it is truncated, lacks `images`, those are no numbers or of no known
      layout, labels do not fit, or momenta are in GeV/c.
  """
  path = Path(path)
  if path.suffix == ".npy":
    images = _load_npy(path)
    beside = {field: _beside(path, field) for field in ("momentum", *LABEL_FIELDS)}
    fields = {field: np.asarray(_load_npy(file)) for field, file in beside.items() if file.is_file()}
  else:
    names = field_names(path)
    if "images" not in names:
      raise ValueError(f"{path}: not a readable file of images: needs `images` (or sparse events: `voxel` "
                       f"and so on); it holds {sorted(names)}.")
    fields = read_fields(path, ["images"], ["momentum", *LABEL_FIELDS])
    images = fields["images"]
  if images.dtype.kind not in "fiub":
    raise ValueError(f"{path}: images must be numbers; got {images.dtype}.")
  images = views_first(images, str(path))
  labels = {}
  if "momentum" in fields:
    labels["momentum_mev"] = _check_momenta(fields["momentum"], images, path)
  for field, (name, kinds) in LABEL_FIELDS.items():
    if field in fields:
      labels[name] = _check_labels(fields[field], field, kinds, len(images), path)
  return images, labels


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
    raise ValueError(f"{path}: momentum must have shape ({len(images)}, 3); got {momentum_mev.dtype} of "
                     f"shape {momentum_mev.shape}.")
  momentum_mev = momentum_mev.astype(np.float32)
  if not np.isfinite(momentum_mev).all():
    raise ValueError(f"{path}: momentum holds NaN or infinity.")
  if image_unit(path) in (None, MEV):
    check_image_momenta(images[:CHECKED_IMAGES, 0], momentum_mev[:CHECKED_IMAGES], str(path))
  return momentum_mev


def _check_labels(values: np.ndarray, field: str, kinds: str, num: int, path: Path) -> np.ndarray:
  """The labels, if there is a finite number for each of `num` images; ValueError otherwise."""
  if values.shape != (num,) or values.dtype.kind not in kinds:
    what = "whole numbers" if kinds == "iu" else "numbers"
    raise ValueError(f"{path}: {field} must hold {num} {what}, one for each image; got {values.dtype} of "
                     f"shape {values.shape}.")
  bad = np.flatnonzero(~np.isfinite(values))
  if len(bad):
    raise ValueError(f"{path}: {field} of event {bad[0]} is {values[bad[0]]}.")
  return values


def check_image_momenta(images: np.ndarray, momentum_mev: np.ndarray, source: str) -> None:
  """Raises ValueError if momenta [n 3] of images [n p p] in MeV seem to be GeV/c; see
  `events.check_momenta`."""
  size = np.linalg.norm(momentum_mev, axis=1)
  known = np.flatnonzero(size)
  if len(known):
    check_momentum_unit(np.nansum(images[known], axis=(1, 2), dtype=np.float64), size[known], source)

