"""Samples that a report compares: images from a file, and what SSNet and the physics say of them."""
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.events import Events
from lartpc_jax.data.image_source import with_classes
from lartpc_jax.data.images import choose_rows, open_images
from lartpc_jax.data.labels import CLASSES, pixel_table
from lartpc_jax.data.open import open_data
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.metrics import particles, segmentation


class Images(NamedTuple):
  """n images on the host."""
  values: np.ndarray                # [n h w] float32 MeV, zero below the threshold
  momentum_mev: np.ndarray | None   # [n 3], if the file tells
  is_track: np.ndarray | None = None  # [n] bool: more track than shower pixels in truth, if the file tells and was asked


class Sample(NamedTuple):
  """Images and all that the metrics take from them."""
  name: str
  images: np.ndarray                           # [n h w] MeV
  momentum_mev: np.ndarray | None              # [n 3]
  stage: np.ndarray                            # [n 8 8 c] features of SSNet
  particles: dict[str, particles.Particles]    # by definition
  features: np.ndarray                         # [n f] high-level
  feature_names: list[str]


def parse_slice(path: str) -> tuple[str, slice]:
  """"file.npz[100:200]" -> ("file.npz", slice(100, 200)); without brackets everything."""
  match = re.fullmatch(r"(.*)\[(\d*):(\d*)\]", path)
  if not match:
    return path, slice(None)
  low, high = (int(x) if x else None for x in match.group(2, 3))
  return match.group(1), slice(low, high)


def load_images(path: str, *, threshold_mev: float, level_mev: float, truth: bool = False) -> Images:
  """Images of a file or directory; see `data.open`.

  Args:
    path: see `data.open`; `[first:last]` behind it chooses images.
    threshold_mev: pixels below are set to zero.
    level_mev: MeV of one grey level, for 8-bit files.
    truth: whether to look for labels of the pixels.
  Raises:
    FileNotFoundError, ValueError: naming the file, if it cannot be read, or holds no image with charge.
  """
  file, chosen = parse_slice(path)
  grey = Path(file).is_dir() or Path(file).name.startswith("larcv_png_64")
  opened, first = open_data(file, scale_mev=level_mev if grey else 0.0), chosen.start or 0
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
  if not np.isfinite(values).all():
    raise ValueError(f"{path}: images hold NaN or infinity.")
  charged = values.sum((1, 2)) > 0
  if not charged.any():
    raise ValueError(f"{path}: no image with charge above {threshold_mev} MeV.")
  is_track = None
  if label is not None:
    counts = [((label == i) & (values > 0)).sum((1, 2)) for i in range(len(CLASSES))]
    is_track = segmentation.is_track(np.stack(counts, axis=1))[charged]
  return Images(values[charged], None if momentum_mev is None else momentum_mev[charged], is_track)


def examine(name: str, images: np.ndarray, momentum_mev: np.ndarray | None, segmenter, *,
            progress: Callable | None = None) -> Sample:
  """Runs SSNet and the physics over images [n h w]; `progress` hears the share done in [0, 1]."""
  say = progress or (lambda share: None)
  probability, stage = segmenter.run(images, lambda share: say(0.7 * share))
  found = {}
  for definition in segmentation.DEFINITIONS:
    classes = segmentation.pixel_classes(probability, images, definition=definition)
    if not found:
      found[definition] = particles.find_particles(images, classes, progress=lambda i: say(0.7 + 0.3 * i / len(images)))
    else:  # length and width do not depend on the classes
      found[definition] = particles.reclassified(next(iter(found.values())), classes)
  features, names = particles.high_level_features(images, found["corrected"])
  return Sample(name, images, momentum_mev, stage, found, features, names)
