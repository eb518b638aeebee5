"""Does a generator draw what it is asked for? Energy, direction and type of images against the request."""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lartpc_jax.metrics.estimate import Estimate, mean_estimate, share_estimate
from lartpc_jax.metrics.proton import track_length_mm

RADII_PX = (4.0, 8.0, 16.0)   # of charge about the middle of the image
BRIGHTEST = (1, 3, 10)        # numbers of pixels whose mean charge is a feature
FEATURES = ("charge", "lit", "length", "long", "wide", "offset",
            *(f"brightest_{k}" for k in BRIGHTEST), *(f"within_{r:g}" for r in RADII_PX))


class EnergyClosure(NamedTuple):
  """Charge over the kinetic energy asked for, in units of the median of real images."""
  median: Estimate
  half_width: float    # half the central 68 %


def summary_features(images: np.ndarray, *, threshold_mev: float = 0.1) -> np.ndarray:
  """Features [n f] of images [n h w] in MeV, by FEATURES: charge in MeV, the rest in pixels, shares or roots
  of MeV. They do not know the direction of a track."""
  n, h, w = images.shape
  cut = np.where(images >= threshold_mev, images, 0.0)
  charge = cut.sum((1, 2))
  safe = np.maximum(charge, 1e-9)
  x, y = np.meshgrid(np.arange(h) + 0.5 - h / 2, np.arange(w) + 0.5 - w / 2, indexing="ij")
  mean = [(cut * axis[None]).sum((1, 2)) / safe for axis in (x, y)]
  second = [[(cut * (a * b)[None]).sum((1, 2)) / safe - mean[i] * mean[j] for j, b in enumerate((x, y))]
            for i, a in enumerate((x, y))]
  spreads = np.sqrt(np.maximum(np.linalg.eigvalsh(np.moveaxis(np.array(second), 2, 0)), 0.0))
  ordered = -np.sort(-cut.reshape(n, -1), axis=1)[:, :max(BRIGHTEST)]
  radius = np.hypot(x, y)
  columns = [charge, (cut > 0).sum((1, 2)),
             [track_length_mm(image, pitch_mm=1.0, threshold_mev=threshold_mev) for image in images],
             spreads[:, 1], spreads[:, 0], np.hypot(*mean),
             *(np.sqrt(ordered[:, :k].mean(1)) for k in BRIGHTEST),
             *((cut * (radius < r)[None]).sum((1, 2)) / safe for r in RADII_PX)]
  return np.stack([np.asarray(column, float) for column in columns], axis=1)


def energy_closure(images: np.ndarray, kinetic_mev: np.ndarray, real_ratio: float) -> EnergyClosure:
  """Measured over requested energy: the charge of images [n h w] over `real_ratio` times the kinetic energies
  [n]; the error of the median is that of a normal sample, sqrt(pi / 2) standard errors."""
  ratio = images.sum((1, 2)) / kinetic_mev / real_ratio
  low, high = np.quantile(ratio, [0.16, 0.84])
  half_width = 0.5 * float(high - low)
  error = float(np.sqrt(0.5 * np.pi / len(ratio))) * half_width
  return EnergyClosure(Estimate(float(np.median(ratio)), error), half_width)


def direction_errors_degrees(images: np.ndarray, momentum_mev: np.ndarray) -> np.ndarray:
  """Angles [n] between the momentum asked for [n 3] in the image plane and the direction from the middle of
  the image to the centroid of its charge; for particles that start there. NaN for images without charge."""
  h, w = images.shape[1:]
  x, y = np.meshgrid(np.arange(h) + 0.5 - h / 2, np.arange(w) + 0.5 - w / 2, indexing="ij")
  seen = np.stack([(images * axis[None]).sum((1, 2)) for axis in (x, y)], axis=1)
  norm = np.linalg.norm(seen, axis=1) * np.linalg.norm(momentum_mev[:, :2], axis=1)
  with np.errstate(invalid="ignore", divide="ignore"):
    return np.degrees(np.arccos(np.clip((seen * momentum_mev[:, :2]).sum(1) / norm, -1.0, 1.0)))


def pair_distance(first: np.ndarray, second: np.ndarray) -> Estimate:
  """Diversity: mean Euclidean distance of the roots of charge of two draws [n h w] of each condition."""
  return mean_estimate(np.sqrt(((np.sqrt(first) - np.sqrt(second))**2).sum((1, 2))))


def type_classifier(features: np.ndarray, types: np.ndarray, *, seed: int = 0) -> Callable:
  """(features [m f]) -> types [m], of gradient boosting (scikit-learn) on features [n f] of real images of
  these types [n]."""
  from sklearn.ensemble import HistGradientBoostingClassifier
  model = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.1, max_leaf_nodes=15,
                                         early_stopping=False, random_state=seed)
  return model.fit(features, types).predict


def confusion(asked: np.ndarray, found: np.ndarray, num: int) -> np.ndarray:
  """Shares [num num] of what was found (columns) for each type asked for (rows); NaN rows of types not asked
  for."""
  counts = np.zeros((num, num))
  np.add.at(counts, (asked, found), 1.0)
  with np.errstate(invalid="ignore"):
    return counts / counts.sum(1, keepdims=True)


def type_purity(asked: np.ndarray, found: np.ndarray) -> Estimate:
  """Share of images that are found [n] to be of the type that was asked for, asked [n]."""
  return share_estimate(asked == found)
