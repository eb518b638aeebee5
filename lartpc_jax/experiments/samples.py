"""Samples that a report compares: images from a file, and what SSNet and the physics say of them."""
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.data import crops as crop_files
from lartpc_jax.data.crop_labels import CLASSES, open_labelled_crops, sample_crops_path
from lartpc_jax.data.images import open_images
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.metrics import particles, segmentation

SAMPLE_CROPS = "sample_crops"  # the path that names the crops shipped with the package


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
  """Images of a file: crops (npz with `image`), images in MeV or sparse events (see `data.images`), larcv_png_64 files.

  Args:
    path: the file, "sample" (protons) or "sample_crops"; `[first:last]` behind it chooses images.
    threshold_mev: pixels below are set to zero.
    level_mev: MeV of one grey level, for 8-bit files.
    truth: whether to look for labels of the pixels.
  Raises:
    FileNotFoundError, ValueError: naming the file, if it cannot be read, or holds no image with charge.
  """
  file, chosen = parse_slice(path)
  if file == SAMPLE_CROPS:
    file = str(sample_crops_path())
  momentum_mev = label = None
  if Path(file).is_dir() or Path(file).name.startswith("larcv_png_64") or _holds_crops(file):
    crops = crop_files.open_crops(file, scale_mev=level_mev)
    values = crop_files.images_mev(crops, chosen)
    label = _labels(file, chosen) if truth else None
  else:
    first = chosen.start or 0  # only those are drawn
    data = open_images(file, views=("xy",), spec=ImageSpec(), first=first,
                       num=None if chosen.stop is None else chosen.stop - first)
    values, momentum_mev = np.asarray(data.images[:, 0], np.float32), data.momentum_mev
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


def _labels(path: str, chosen: slice) -> np.ndarray | None:
  """Classes [n h w] of the pixels, if the file of crops has them."""
  if Path(path).suffix != ".npz":
    return None
  with np.load(path, allow_pickle=False) as npz:
    if "label" not in npz.files:
      return None
  return open_labelled_crops(path).label[chosen]


def _holds_crops(path: str) -> bool:
  if Path(path).suffix != ".npz" or not Path(path).is_file():
    return False
  with np.load(path, allow_pickle=False) as npz:
    return {"image", "unit_mev"} <= set(npz.files)


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
