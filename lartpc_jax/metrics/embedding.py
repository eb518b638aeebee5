"""Two-dimensional maps of images by t-SNE, and how well a distance separates two classes. scikit-learn."""
from typing import NamedTuple

import numpy as np

from lartpc_jax.metrics.estimate import Estimate, mean_estimate


class Separation(NamedTuple):
  """How well a distance separates classes."""
  knn_accuracy: Estimate  # mean over classes of the share whose k nearest others vote right; 0.5 is chance
  silhouette: Estimate    # Rousseeuw 1987; -1 to 1


def tsne(distance: np.ndarray, *, perplexity: float = 30.0, seed: int = 0) -> np.ndarray:
  """Map [n 2] from a matrix of distances [n n] (van der Maaten & Hinton 2008)."""
  from sklearn.manifold import TSNE
  model = TSNE(metric="precomputed", init="random", perplexity=min(perplexity, (len(distance) - 1) / 3),
               random_state=seed)
  return model.fit_transform(distance)


def knn_vote(distance: np.ndarray, labels: np.ndarray, *, num_neighbours: int = 10) -> np.ndarray:
  """True [n] where the majority of the k nearest others has the image's own label (bool [n]); ties count as
  wrong."""
  other = distance + np.diag(np.full(len(distance), np.inf))
  nearest = np.argpartition(other, num_neighbours - 1, axis=1)[:, :num_neighbours]
  return (labels[nearest] == labels[:, None]).sum(1) > num_neighbours / 2


def separation(distance: np.ndarray, labels: np.ndarray, *, num_neighbours: int = 10) -> Separation:
  """How well distances [n n] separate images with `labels` [n] from those without.

  Raises:
    ValueError: if a class has no more than num_neighbours members.
  """
  from sklearn.metrics import silhouette_samples
  labels = np.asarray(labels, bool)
  sizes = labels.sum(), (~labels).sum()
  if min(sizes) <= num_neighbours:
    raise ValueError(
        f"separation needs more than {num_neighbours} images of either class; got {sizes[0]} and {sizes[1]}.")
  right = knn_vote(distance, labels, num_neighbours=num_neighbours)
  shares = [right[labels == value].mean() for value in (True, False)]
  error = 0.5 * np.sqrt(sum(max(s * (1 - s), 1.0 / n) / n for s, n in zip(shares, sizes, strict=True)))
  return Separation(Estimate(float(np.mean(shares)), float(error)),
                    mean_estimate(silhouette_samples(distance, labels, metric="precomputed")))
