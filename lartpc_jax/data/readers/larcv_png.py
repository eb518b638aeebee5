"""8-bit crops of PILArNet: `larcv_png_64_{train,test}_{tracks,showers}.npy` (Zenodo record 8300355) and
folders of PNGs.

Arrays are (n, 64, 64), (n, 64, 64, 1) or (n, 1, 64, 64) with grey levels 0 to 255; PNGs are called
`larcv_64_{i}.png`. The files give no calibration: `scale_mev` (MeV per grey level) makes MeV of them, without
it the unit is the grey level.
"""
import os
import re
from pathlib import Path

import numpy as np

from lartpc_jax.data.readers.api import (
  GREY,
  LABELS,
  MEV,
  ImageSource,
  check_values,
  existing,
  image_layout,
  load_extra,
  views_first,
)
from lartpc_jax.data.readers.npy import NpyFile, open_npy, read_across, read_rows

CLASSES = {"tracks": LABELS["track"], "showers": LABELS["shower"]}
SPLITS = ("train", "test")
NAME = re.compile(r"larcv_png_64_(train|test)_(tracks|showers)\.npy")
PNG = re.compile(r"larcv_64_(\d+)\.png")
NOTE = "values are grey levels 0 to 255, not MeV (--scale_mev gives MeV per level)"


def open_larcv_npy(path: str | os.PathLike, *, split: str = "train",
                   scale_mev: float | None = None) -> ImageSource:
  """Images of one file, or the tracks and then the showers of a split of a directory.

  The extra field `label` [n] says 1 for a track and 2 for a shower, where the names of the files tell.
  Raises FileNotFoundError or ValueError naming the file and field.
  """
  scale, unit = _check_options(split, scale_mev)
  path = existing(path)
  if path.is_dir():
    paths = [path / f"larcv_png_64_{split}_{kind}.npy" for kind in CLASSES]
    paths = [p for p in paths if p.exists()]
    if not paths:
      raise ValueError(
          f"{path}: holds no larcv_png_64_{split}_tracks.npy and no larcv_png_64_{split}_showers.npy.")
  else:
    paths = [path]
  files = [_open(p) for p in paths]
  counts = np.array([len(file) for file in files])
  kinds = [NAME.fullmatch(p.name) for p in paths]

  def read_one(i, start, stop):
    grey = check_values(read_rows(files[i], start, stop), files[i].path, "images", minimum=0.0, maximum=255.0)
    return views_first(grey, files[i].path) * scale

  extra = {}
  if all(kinds):
    labels = [CLASSES[kind[2]] for kind in kinds]
    read_label = lambda i, start, stop: np.full(stop - start, labels[i], np.uint8)
    extra["label"] = lambda start, stop: read_across(counts, read_label, start, stop)
  return ImageSource(int(counts.sum()), 1, lambda start, stop: read_across(counts, read_one, start, stop),
                     extra, NOTE if unit == GREY else "", unit)


def open_larcv_pngs(path: str | os.PathLike, *, scale_mev: float | None = None) -> ImageSource:
  """Images of a directory of 8-bit grey PNGs in the order of their numbers. Needs pillow."""
  scale, unit = _check_options("train", scale_mev)
  path = existing(path)
  if not path.is_dir():
    raise ValueError(f"{path}: must be a directory of larcv_64_NUMBER.png.")
  numbered = sorted(
      (int(match[1]), entry) for entry in path.iterdir() if (match := PNG.fullmatch(entry.name)))
  if not numbered:
    raise ValueError(f"{path}: holds no larcv_64_NUMBER.png.")
  image_module = load_extra("PIL.Image")

  def read(start, stop):
    images = [_read_png(image_module, file) for _, file in numbered[start:stop]]
    if len({image.shape for image in images}) > 1:
      raise ValueError(
          f"{path}: its images are of several sizes: {sorted({image.shape for image in images})}.")
    return np.stack(images)[:, None].astype(np.float32) * scale

  numbers = np.array([number for number, _ in numbered], np.int64)
  return ImageSource(len(numbered), 1, read, {"number": lambda start, stop: numbers[start:stop]},
                     NOTE if unit == GREY else "", unit)


def _check_options(split: str, scale_mev: float | None) -> tuple[np.float32, str]:
  """The factor, and the unit of what it gives."""
  if split not in SPLITS:
    raise ValueError(f"Unknown split {split!r}; choose from {list(SPLITS)}.")
  if scale_mev is None:
    return np.float32(1.0), GREY
  if not 0 < scale_mev < np.inf:
    raise ValueError(f"scale_mev must be positive; got {scale_mev}.")
  return np.float32(scale_mev), MEV


def _open(path: Path) -> NpyFile:
  file = open_npy(existing(path), "images")
  layout = image_layout(file.shape, str(path))
  if layout.num_views != 1:
    raise ValueError(
        f"{path}: field 'images' must have one view; got {layout.num_views} (shape {file.shape}).")
  return file


def _read_png(image_module, path: Path) -> np.ndarray:
  try:
    with image_module.open(path) as image:
      mode, size = image.mode, image.size
      array = np.asarray(image)
  except (OSError, SyntaxError) as error:  # pillow raises SyntaxError for broken chunks
    raise ValueError(f"{path}: is no readable PNG (truncated?): {error}.") from error
  if mode != "L" or size[0] != size[1]:
    raise ValueError(f"{path}: must be an 8-bit grey image as high as wide; got mode {mode!r}, size {size}.")
  return array
