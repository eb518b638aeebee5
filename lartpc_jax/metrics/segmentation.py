"""How good a segmentation is, and what the package takes from one: pixel classes, counts, certainty, image
class.

Class 0 is background throughout. `definition="published"` (Imani et al. 2023, Phys. Rev. D 109, 072011): a
pixel counts if P(track or shower) > P(background). `"corrected"`: it counts if it holds charge, whatever the
network says.
"""
from typing import NamedTuple

import numpy as np

DEFINITIONS = ("published", "corrected")


class PixelClasses(NamedTuple):
  """What a segmentation says of n images."""
  kept: np.ndarray       # [n h w] bool, pixels that count
  predicted: np.ndarray  # [n h w] class of each pixel among those that are no background
  certainty: np.ndarray  # [n h w] probability of that class, given that the pixel is no background


def check_definition(definition: str) -> None:
  """Raises ValueError naming an unknown definition."""
  if definition not in DEFINITIONS:
    raise ValueError(f"Unknown definition {definition!r}; choose from {list(DEFINITIONS)}.")


def pixel_classes(probability: np.ndarray, images: np.ndarray, *, definition: str = "corrected",
                  threshold: float = 0.0) -> PixelClasses:
  """Classes of the pixels from probabilities [n h w c].

  Args:
    probability: sums to 1 over c.
    images: charge [n h w], any unit.
    definition: which pixels count; see the module.
    threshold: "corrected" only: pixels above it hold charge, in the unit of the images.
  """
  check_definition(definition)
  signal = probability[..., 1:]
  total = signal.sum(-1)
  kept = total > probability[..., 0] if definition == "published" else images > threshold
  best = signal.argmax(-1)
  certainty = np.take_along_axis(signal, best[..., None], -1)[..., 0] / np.maximum(total, 1e-12)
  return PixelClasses(kept, best + 1, certainty)


def class_counts(classes: PixelClasses, num_classes: int) -> np.ndarray:
  """Pixels of each class in each image [n num_classes]; those that do not count are class 0."""
  labels = np.where(classes.kept, classes.predicted, 0).reshape(len(classes.kept), -1)
  return np.stack([(labels == c).sum(1) for c in range(num_classes)], axis=1)


def is_track(counts: np.ndarray, track: int = 1, shower: int = 2) -> np.ndarray:
  """Images [n] with more track than shower pixels, from `class_counts`: the published rule."""
  return counts[:, track] > counts[:, shower]


def confusion_matrix(label: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
  """Counts [num_classes num_classes] of (true, predicted) over arrays of one shape."""
  index = label.astype(np.int64).ravel() * num_classes + predicted.astype(np.int64).ravel()
  return np.bincount(index, minlength=num_classes**2).reshape(num_classes, num_classes)


def intersection_over_union(confusion: np.ndarray) -> np.ndarray:
  """Jaccard index [classes]; NaN for a class that neither truth nor prediction has."""
  both = np.diag(confusion).astype(float)
  union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
  return np.divide(both, union, out=np.full(len(both), np.nan), where=union > 0)

