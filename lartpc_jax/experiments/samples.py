"""Samples that a report compares: images from a file, and what SSNet and the physics say of them."""
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.events import Events
from lartpc_jax.data.image_source import with_classes
from lartpc_jax.data.images import choose_rows, open_images
from lartpc_jax.data.labels import CLASSES, pixel_table
from lartpc_jax.data.open import UnitError, open_data
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.metrics import particles, segmentation


class SampleImages(NamedTuple):
  """n images on the host."""
  values: np.ndarray                # [n h w] float32 MeV, zero below the threshold
  momentum_mev: np.ndarray | None   # [n 3], if the file tells
  # [n] bool: more track than shower pixels in truth, if the file tells and was asked
  is_track: np.ndarray | None = None


class Sample(NamedTuple):
  """Images and all that the metrics take from them."""
  name: str
  images: np.ndarray                           # [n h w] MeV
  momentum_mev: np.ndarray | None              # [n 3]
  stage: np.ndarray                            # [n 8 8 c] features of SSNet
  particles: dict[str, particles.Particles]    # by definition
  features: np.ndarray                         # [n f] high-level
  feature_names: list[str]


LEVELS = "levels"  # the unit of 8-bit images


def parse_path(path: str) -> tuple[str, slice, str | None]:
  """"file.npy[100:200]@levels" -> ("file.npy", slice(100, 200), "levels"); without brackets everything,
  without @ None.
  """
  file, chosen, unit = re.fullmatch(r"(.*?)(\[\d*:\d*\])?(?:@([\w.+-]+))?", path).groups()
  low, high = (int(x) if x else None for x in (chosen or "[:]")[1:-1].split(":"))
  return file, slice(low, high), unit


def _mev(unit: str, level_mev: float, path: str) -> float:
  """MeV of one unit of the values."""
  named = {LEVELS: level_mev, "mev": 1.0}
  try:
    scale = named[unit.lower()] if unit.lower() in named else float(unit)
  except ValueError:
    scale = float("nan")
  if not 0.0 < scale < float("inf"):
    raise ValueError(f"{path}: the unit behind @ must be {LEVELS} (images.level_mev = {level_mev:g} MeV), "
                     f"mev, or the MeV of value 1, such as @0.05; got {unit!r}.")
  return scale


def _check_finite(images: np.ndarray, path: str) -> None:
  if not np.isfinite(images).all():
    raise ValueError(f"{path}: images hold NaN or infinity.")


def _open(path: str, level_mev: float):
  """What a path names, and which of it; the unit of its values is told, by the file or behind @, or
  refused.
  """
  file, chosen, unit = parse_path(path)
  say = (f"Say their unit behind the name: {path}@{LEVELS} (images.level_mev = {level_mev:g} MeV), "
         f"{path}@mev, or {path}@0.05 for the MeV of value 1.")
  try:
    opened = open_data(file, scale_mev=0.0 if unit is None else _mev(unit, level_mev, path))
  except UnitError as error:
    raise ValueError(f"{path}: holds images in no known unit. {say}") from error
  if isinstance(opened, Events):
    if unit is not None:
      raise ValueError(f"{path}: events are in MeV; leave @{unit} away.")
    return opened, file, chosen
  some = opened.read(slice(0, min(opened.num, 64)), ())["image"]
  _check_finite(some, path)
  whole = some.max(initial=0.0) > 1.0 and np.array_equal(some, np.round(some))
  if unit is None and Path(file).suffix == ".npy" and whole:
    raise ValueError(f"{path}: holds whole numbers, which look like grey levels and not like MeV. {say}")
  if unit is not None and _says_itself(file, some):
    raise ValueError(f"{path}: the file says its unit itself; leave @{unit} away.")
  return opened, file, chosen


def _says_itself(file: str, some: np.ndarray) -> bool:
  """Whether the values do not follow what they are said to be: 0.5 or 1 MeV of value 1 give the same
  images.
  """
  other = open_data(file, scale_mev=0.5).read(slice(0, len(some)), ())["image"]
  return some.any() and np.array_equal(other,
                                       open_data(file, scale_mev=1.0).read(slice(0, len(some)), ())["image"])


def name_columns(paths: Sequence[str]) -> dict[str, str]:
  """"name=path" or "path" -> {name: path}; a path is named by its stem."""
  columns = {}
  for text in paths:
    name, found, path = text.partition("=")
    name, path = (name, path) if found else (Path(text).stem, text)
    if name in columns:
      raise ValueError(f"Two files are called {name!r}; give them names: a=FILE,b=FILE.")
    columns[name] = path
  return columns


def load_images(path: str, *, threshold_mev: float, level_mev: float, truth: bool = False) -> SampleImages:
  """Images of a file or directory; see `data.open`.

  Args:
    path: see `data.open`; `[first:last]` behind it chooses images, and `@levels`, `@mev` or `@0.05` (MeV)
      behind that says what value 1 is, of files that do not say so themselves. The name of a file says
      nothing.
    threshold_mev: pixels below are set to zero.
    level_mev: MeV of one grey level, for `@levels`.
    truth: whether to look for labels of the pixels.
  Raises:
    FileNotFoundError, ValueError: naming the file, if it cannot be read, its unit is not told, or it holds no
    image with
      charge.
  """
  opened, file, chosen = _open(path, level_mev)
  first = chosen.start or 0
  num, label = None if chosen.stop is None else chosen.stop - first, None
  if isinstance(opened, Events):
    data = open_images(file, views=("xy",), spec=ImageSpec(), first=first, num=num)  # only those are drawn
    values, momentum_mev = np.asarray(data.images[:, 0], np.float32), data.momentum_mev
  else:
    if len(opened.views) > 1:
      raise ValueError(f"{path}: holds {len(opened.views)} views of each event; a report compares one.")
    if truth and "label" in opened.labels:
      opened = with_classes(opened, *pixel_table(five_classes=False))
    names = {"momentum_mev"} | ({"label"} if truth else set())
    found = opened.read(choose_rows(opened.num, first, num, path), tuple(names & set(opened.labels)))
    values, momentum_mev = found["image"][:, 0], found.get("momentum_mev")
    label = found["label"][:, 0] if "label" in found else None
  values = np.where(values >= threshold_mev, values, 0).astype(np.float32)
  _check_finite(values, path)
  charged = values.sum((1, 2)) > 0
  if not charged.any():
    raise ValueError(f"{path}: no image with charge above {threshold_mev} MeV.")
  is_track = None
  if label is not None:
    counts = [((label == i) & (values > 0)).sum((1, 2)) for i in range(len(CLASSES))]
    is_track = segmentation.is_track(np.stack(counts, axis=1))[charged]
  return SampleImages(values[charged], None if momentum_mev is None else momentum_mev[charged], is_track)


def examine(name: str, images: np.ndarray, momentum_mev: np.ndarray | None, segmenter, *,
            progress: Callable | None = None) -> Sample:
  """Runs SSNet and the physics over images [n h w]; `progress` hears the share done in [0, 1]."""
  say = progress or (lambda share: None)
  probability, stage = segmenter.run(images, lambda share: say(0.7 * share))
  found = {}
  for definition in segmentation.DEFINITIONS:
    classes = segmentation.pixel_classes(probability, images, definition=definition)
    if not found:
      found[definition] = particles.find_particles(images, classes,
                                                   progress=lambda i: say(0.7 + 0.3 * i / len(images)))
    else:  # length and width do not depend on the classes
      found[definition] = particles.reclassified(next(iter(found.values())), classes)
  features, names = particles.high_level_features(images, found["corrected"])
  return Sample(name, images, momentum_mev, stage, found, features, names)
