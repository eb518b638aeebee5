"""Has the generator learned the training set by heart, does it repeat itself, does it leave parts out?

All of it from distances to nearest neighbours; the distance is the caller's (L2 of pixels or of features, or
EMD).
"""
from typing import NamedTuple

import numpy as np

from lartpc_jax.metrics.estimate import Estimate, permutation_p_value, share_estimate
from lartpc_jax.metrics.neighbours import nearest_l2, radii_and_distances

# Yoon et al. 2023: a copy is three times closer to its nearest image than to the second
COPY_RATIO = 1.0 / 3.0
SAME = 1e-3  # of an image's norm: what is nearer is the same image, whatever the second is


class Coverage(NamedTuple):
  """Precision, recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020); 1 is good."""
  precision: Estimate  # share of generated inside the real manifold: quality
  recall: Estimate     # share of real inside the generated manifold: diversity
  density: Estimate    # mean number of real balls around a generated one, over k; may exceed 1
  coverage: Estimate   # share of real whose ball holds a generated one


class Closeness(NamedTuple):
  """How near generated images are to the training set, against a held-out set of equal size."""
  # of images whose nearest training image is nearer than the nearest held-out one: 0.5 without copies
  share: Estimate
  ratio: Estimate  # mean of d_training / (d_training + d_held_out): 0.5 without copies, 0 for copies alone


def closer_to_training(distance: np.ndarray, index: np.ndarray, num_training: int, num_holdout: int, *,
                       num_permutations: int = 1000, seed: int = 0) -> Closeness:
  """Compares distances to the training and to the held-out set, with errors and p-values from exchanging
  their images.

  Images are no independent witnesses: the emptiest image of both sets may be the nearest one of most of them
  (a hub, as is usual in many dimensions), and which set holds it is chance. So a binomial test of the share
  is wrong. Without memorisation any division of training and held-out images is as good as the true one;
  those are drawn at random. The share is at the mercy of hubs, the ratio is not: two sets without copies are
  about equally far.

  Args:
    distance: [n k] of each generated image to its k nearest among the training and the held-out images taken
      together, ascending. k of 20 is enough: one in 2^20 divisions leaves one side without any (which then
      gets the k-th).
    index: [n k] of those, the training images counted first.
    num_training: number of training images, drawn at random if there are more.
    num_holdout: number of images never trained on.
    num_permutations: divisions to draw.
    seed: of these.
  Returns:
    Both with the spread over divisions as error and a one-sided p-value.
  """
  draw = np.random.default_rng(seed)

  def numbers(trained: np.ndarray) -> tuple[float, float]:
    among = trained[index]
    near, far = (np.take_along_axis(distance, np.where(side.any(1), side.argmax(1), -1)[:, None], 1)[:, 0]
                 for side in (among, ~among))
    both = near + far
    ratio = np.divide(near, both, out=np.full(len(both), 0.5), where=both > 0)
    return float(np.mean(np.where(near == far, 0.5, near < far))), float(ratio.mean())

  trained = np.arange(num_training + num_holdout) < num_training
  found = numbers(trained)
  shares, ratios = np.array([numbers(draw.permutation(trained)) for _ in range(num_permutations)]).T
  return Closeness(Estimate(found[0], float(shares.std()), permutation_p_value(found[0], shares)),
                   Estimate(found[1], float(ratios.std()), permutation_p_value(-found[1], -ratios)))


def copy_rate(two_nearest: np.ndarray, norm: np.ndarray | None = None) -> Estimate:
  """Share of images whose nearest neighbour is three times closer than the second, from distances [n 2], or
  the same image.

  Where the images to copy from stand there more than once, the second is as near as the first: equal ones
  count (with `norm`, also those nearer than SAME of it), and for the others give the distances to distinct
  images.

  Args:
    two_nearest: to the nearest and, if there is one, the second.
    norm: Euclidean norms [n] of the images; None counts exact copies alone.
  """
  same = two_nearest[:, 0] <= (0.0 if norm is None else SAME * norm)
  second = two_nearest[:, 1:].min(axis=1, initial=np.inf)
  return share_estimate(same | (two_nearest[:, 0] < COPY_RATIO * second))


def duplicate_rate(flat: np.ndarray) -> Estimate:
  """`copy_rate` of images [n d] among themselves: a generator that repeats itself."""
  two_nearest, _ = nearest_l2(flat, flat, num_neighbours=2, leave_out_self=True)
  return copy_rate(two_nearest, np.linalg.norm(flat, axis=1))


def coverage(real: np.ndarray, generated: np.ndarray, *, num_neighbours: int = 5,
             chunk: int = 1024) -> Coverage:
  """The four of `Coverage` from features [n d] and [m d], with balls that reach to the k-th neighbour."""
  # radii and distances by one rule: where images repeat, a radius is 0 and so must be the distances that it
  # meets
  real_radius, distances = radii_and_distances(real, generated, num_neighbours=num_neighbours, chunk=chunk)
  generated_radius, _ = radii_and_distances(generated, real, num_neighbours=num_neighbours, chunk=chunk)
  in_real = np.zeros(len(generated))       # number of real balls around each generated one
  covered, recalled = np.zeros(len(real), bool), np.zeros(len(real), bool)
  for rows, distance in distances:
    inside = distance <= real_radius[rows, None]
    in_real += inside.sum(0)
    covered[rows] = inside.any(1)
    recalled[rows] = (distance <= generated_radius[None]).any(1)
  density = in_real / num_neighbours
  return Coverage(share_estimate(in_real > 0), share_estimate(recalled),
                  Estimate(float(density.mean()), float(density.std() / np.sqrt(len(density)))),
                  share_estimate(covered))
