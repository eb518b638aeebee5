"""Pixel labels of 64x64 crops, mapped to the classes of a segmentation network."""
import os
import zipfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.crops import Crops, images_mev, make_crop_draws, open_crops, orient, split_crops

SAMPLE = "sample"  # the path that names the crops shipped with the package
RAW_LABELS = ("background", "track", "shower", "delta", "michel")  # label 0 ... 4 of the npz
CLASSES = ("background", "track", "shower")                        # order of the logits


class LabelledCrops(NamedTuple):
  """n crops with the class of each pixel; `classes` names the numbers."""
  crops: Crops
  label: np.ndarray          # [n h w] uint8, index into classes
  classes: tuple[str, ...]


def label_table(*, five_classes: bool, delta: str = "shower", michel: str = "shower") -> tuple[np.ndarray, tuple[str, ...]]:
  """Class number of each of RAW_LABELS [5], and the names of the classes.

  Args:
    five_classes: keep all; `delta` and `michel` then say nothing.
    delta: class of knock-on electrons, "track" or "shower" (they are electrons: the default).
    michel: class of electrons from muon decay, likewise.
  Raises:
    ValueError: for another class.
  """
  if five_classes:
    return np.arange(len(RAW_LABELS), dtype=np.uint8), RAW_LABELS
  for name, value in (("delta", delta), ("michel", michel)):
    if value not in CLASSES[1:]:
      raise ValueError(f"data.{name} must be one of {list(CLASSES[1:])}; got {value!r}.")
  return np.array([0, 1, 2, CLASSES.index(delta), CLASSES.index(michel)], np.uint8), CLASSES


def sample_crops_path() -> Path:
  """The labelled crops that ship with the package."""
  return Path(str(resources.files("lartpc_jax"))) / "assets" / "sample_crops.npz"


def open_labelled_crops(path: str | os.PathLike, *, five_classes: bool = False, delta: str = "shower",
                        michel: str = "shower") -> LabelledCrops:
  """Crops of an npz that has `label` [n h w] besides what `open_crops` reads; "sample" for those of the package.

  Raises:
    FileNotFoundError, ValueError: as `open_crops`; naming the file if there are no labels, or labels above 4.
  """
  table, classes = label_table(five_classes=five_classes, delta=delta, michel=michel)
  path = sample_crops_path() if path == SAMPLE else path
  crops = open_crops(path)
  try:
    with np.load(path, allow_pickle=False) as npz:
      if "label" not in npz.files:
        raise ValueError(f"has no field 'label'; it holds {sorted(npz.files)}")
      label = npz["label"]
  except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
    raise ValueError(f"{path}: not a file of labelled crops: {error}.") from error
  if label.shape != crops.values.shape or label.dtype != np.uint8 or label.max() >= len(RAW_LABELS):
    raise ValueError(f"{path}: field 'label' must be uint8 {crops.values.shape}, each below {len(RAW_LABELS)}; got "
                     f"{label.dtype} {label.shape}, largest {label.max()}.")
  return LabelledCrops(crops, table[label], classes)


def split_labelled(labelled: LabelledCrops, split: str, *, num_holdout_events: int) -> LabelledCrops:
  """As `crops.split_crops`, labels included."""
  part = split_crops(labelled.crops, split, num_holdout_events=num_holdout_events)
  chosen = np.isin(labelled.crops.event, np.unique(part.event))  # splits never divide an event
  return labelled._replace(crops=part, label=labelled.label[chosen])


def track_share(labelled: LabelledCrops, *, threshold_mev: float, chunk: int = 4096) -> np.ndarray:
  """Share [n] float32 of each crop's pixels of at least threshold_mev that are track; 0 where there is no such pixel."""
  track = labelled.classes.index("track")
  parts = []
  for start in range(0, len(labelled.label), chunk):
    lit = images_mev(labelled.crops, slice(start, start + chunk)) >= threshold_mev
    parts.append((lit & (labelled.label[start:start + chunk] == track)).sum((1, 2)) / np.maximum(lit.sum((1, 2)), 1))
  return np.concatenate(parts).astype(np.float32)


def make_labelled_batches(labelled: LabelledCrops, *, batch_size: int, seed: int) -> Callable:
  """Builds batch_fn(step) -> dict(image [b h w] MeV, label [b h w] int32); see `crops.make_crop_draws`."""
  draw = make_crop_draws(len(labelled.label), batch_size=batch_size, seed=seed)

  def batch_fn(step: int) -> dict:
    indices, orientation = draw(step)
    return {"image": orient(images_mev(labelled.crops, indices), orientation),
            "label": orient(labelled.label[indices], orientation).astype(np.int32)}
  return batch_fn
