"""Physics of one image: pixel counts, label certainty, track length and width, shower charge. numpy,
scikit-learn.

Tracks and showers are what SSNet says (`metrics.segmentation`). Definitions of length and width: Imani et al.
2023, Phys. Rev. D 109, 072011; lengths in pixels.
"""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lartpc_jax.metrics import segmentation
from lartpc_jax.metrics.proton import diameter

DBSCAN_EPS_PX, DBSCAN_MIN_SAMPLES = 3.0, 5


class Particles(NamedTuple):
  """Quantities of n images."""
  is_track: np.ndarray       # [n] bool: more track than shower pixels
  track_pixels: np.ndarray   # [n]
  shower_pixels: np.ndarray  # [n]
  # [n] mean probability of the predicted class over the pixels that count; 0 if there are none
  certainty: np.ndarray
  charge: np.ndarray         # [n] sum of pixel values, in the unit of the images
  length: np.ndarray         # [n] of the largest cluster, pixels; 0 if there is no cluster
  width: np.ndarray          # [n] likewise
  clusters: np.ndarray       # [n]
  cluster_share: np.ndarray  # [n] charge in the largest cluster over all charge


def cluster_labels(points: np.ndarray) -> np.ndarray:
  """Cluster number [m] of points [m 2], -1 for none: DBSCAN (Ester et al. 1996), scikit-learn."""
  from sklearn.cluster import DBSCAN
  if not len(points):
    return np.zeros(0, int)
  return DBSCAN(eps=DBSCAN_EPS_PX, min_samples=DBSCAN_MIN_SAMPLES).fit_predict(points)


def extent_on_second_axis(points: np.ndarray) -> float:
  """Width of points [m 2] in pixels: extent on the second principal axis, rounded, plus 1."""
  centred = points - points.mean(0)
  _, axes = np.linalg.eigh(centred.T @ centred)  # ascending: the first column is the minor axis
  across = centred @ axes[:, 0]
  return float(np.round(np.ptp(across)) + 1.0)


def measure(image: np.ndarray) -> tuple[float, float, int, float]:
  """Of an image [h w]: length and width (px) of the largest cluster of non-zero pixels, number of clusters,
  the cluster's share of the charge."""
  points = np.argwhere(image > 0).astype(float)
  labels = cluster_labels(points)
  if not np.any(labels >= 0):
    return 0.0, 0.0, 0, 0.0
  sizes = np.bincount(labels[labels >= 0])
  inside = labels == np.argmax(sizes)
  charge = image[image > 0]
  largest = points[inside]
  share = float(charge[inside].sum() / charge.sum())
  return diameter(largest), extent_on_second_axis(largest), len(sizes), share


def find_particles(images: np.ndarray, classes: segmentation.PixelClasses, *,
                   progress: Callable | None = None) -> Particles:
  """Quantities of images [n h w], zero below threshold, whose pixels were classified."""
  rows = []
  for i, image in enumerate(images):
    rows.append(measure(image))
    if progress is not None:
      progress(i + 1)
  length, width, clusters, share = (np.array(column) for column in zip(*rows, strict=True))
  unknown = np.zeros(len(images))
  shapes = Particles(unknown > 0, unknown, unknown, unknown, images.sum((1, 2)), length, width, clusters,
                     share)
  return reclassified(shapes, classes)


def reclassified(found: Particles, classes: segmentation.PixelClasses) -> Particles:
  """The same images under another classification of their pixels."""
  counts = segmentation.class_counts(classes, 3)
  kept = classes.kept.reshape(len(counts), -1)
  certainty = (kept * classes.certainty.reshape(kept.shape)).sum(1) / np.maximum(kept.sum(1), 1)
  return found._replace(is_track=segmentation.is_track(counts), track_pixels=counts[:, 1],
                        shower_pixels=counts[:, 2], certainty=certainty)


def quantities(found: Particles, *, definition: str = "corrected") -> dict[str, np.ndarray]:
  """The histogrammed quantities: name -> values.

  "published" keeps entries of length zero; "corrected" leaves them out of length and width (and
  `empty_tracks` counts them).
  """
  segmentation.check_definition(definition)
  tracks = found.is_track & ((found.length > 0) | (definition == "published"))
  return {"track length [px]": found.length[tracks], "track width [px]": found.width[tracks],
          "shower charge": found.charge[~found.is_track], "label certainty": found.certainty,
          "track pixels": found.track_pixels, "shower pixels": found.shower_pixels}


def empty_tracks(found: Particles) -> np.ndarray:
  """Of the track images [t]: True where there is no cluster to measure."""
  return found.length[found.is_track] == 0


def high_level_features(images: np.ndarray, found: Particles) -> tuple[np.ndarray, list[str]]:
  """Features [n f] of images for a classifier, and their names: the quantities above, moments and pixel
  spectra."""
  n, h, w = images.shape
  charge = np.maximum(found.charge, 1e-9)
  x, y = (c.ravel().astype(float) for c in np.meshgrid(np.arange(h), np.arange(w), indexing="ij"))
  flat = images.reshape(n, -1).astype(float)
  mean_x, mean_y = flat @ x / charge, flat @ y / charge
  xx, yy = flat @ x**2 / charge - mean_x**2, flat @ y**2 / charge - mean_y**2
  xy = flat @ (x * y) / charge - mean_x * mean_y
  root = np.sqrt((xx - yy)**2 + 4.0 * xy**2)
  active = flat > 0
  count = np.maximum(active.sum(1), 1)
  mean = flat.sum(1) / count
  levels = (0.1, 0.25, 0.5, 0.75, 0.9)
  quantiles = np.array(
      [np.quantile(row[row > 0], levels) if (row > 0).any() else np.zeros(len(levels)) for row in flat])
  spectrum = {f"charge quantile {q:g}": column for q, column in zip(levels, quantiles.T, strict=True)}
  pairs = [("right", images[:, 1:], images[:, :-1]), ("up", images[:, :, 1:], images[:, :, :-1])]
  roughness = {f"roughness {name}": np.abs(a - b).sum((1, 2)) / charge for name, a, b in pairs}
  table = {
      "active pixels": active.sum(1), "charge": found.charge, "largest pixel": flat.max(1),
      "mean pixel": mean, "rms pixel": np.sqrt((flat**2).sum(1) / count), **spectrum, **roughness,
      "centroid x": mean_x, "centroid y": mean_y,
      "major axis": np.sqrt(np.maximum(0.5 * (xx + yy + root), 0.0)),
      "minor axis": np.sqrt(np.maximum(0.5 * (xx + yy - root), 0.0)),
      "length": found.length, "width": found.width, "clusters": found.clusters,
      "cluster share": found.cluster_share, "track pixels": found.track_pixels,
      "shower pixels": found.shower_pixels, "certainty": found.certainty
  }
  return np.stack([np.asarray(values, float) for values in table.values()], axis=1), list(table)
