"""Has the generator learned the training set by heart, does it repeat itself, does it leave parts out?

All of it from distances to nearest neighbours; the distance is the caller's (L2 of pixels or of features, or EMD).
"""
from typing import NamedTuple

import numpy as np
from scipy import stats

from lartpc_jax.metrics.estimate import Estimate, share_estimate
from lartpc_jax.metrics.neighbours import nearest_l2

COPY_RATIO = 1.0 / 3.0  # Yoon et al. 2023: a copy is three times closer to its nearest image than to the second


class Coverage(NamedTuple):
  """Precision, recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020); 1 is good."""
  precision: Estimate  # share of generated inside the real manifold: quality
  recall: Estimate     # share of real inside the generated manifold: diversity
  density: Estimate    # mean number of real balls around a generated one, over k; may exceed 1
  coverage: Estimate   # share of real whose ball holds a generated one


def closer_to_training(to_training: np.ndarray, to_holdout: np.ndarray) -> Estimate:
  """Share of generated images closer to the training set than to a held-out set of equal size; 0.5 without memorisation.

  Ties count half. p-value: binomial test, one-sided, without ties.

  Args:
    to_training: distance [n] of each generated image to its nearest training image.
    to_holdout: likewise, to as many images never trained on.
  """
  closer, tied = to_training < to_holdout, to_training == to_holdout
  value = float((closer.sum() + 0.5 * tied.sum()) / len(closer))
  decided = int((~tied).sum())
  p_value = float(stats.binomtest(int(closer.sum()), decided, alternative="greater").pvalue) if decided else float("nan")
  return Estimate(value, share_estimate(closer).error, p_value)


def copy_rate(two_nearest: np.ndarray) -> Estimate:
  """Share of images whose nearest neighbour is three times closer than the second, from distances [n 2]."""
  return share_estimate(two_nearest[:, 0] < COPY_RATIO * two_nearest[:, 1])


def duplicate_rate(flat: np.ndarray) -> Estimate:
  """`copy_rate` of images [n d] among themselves: a generator that repeats itself."""
  two_nearest, _ = nearest_l2(flat, flat, num_neighbours=2, leave_out_self=True)
  return copy_rate(two_nearest)


def coverage(real: np.ndarray, generated: np.ndarray, *, num_neighbours: int = 5, chunk: int = 1024) -> Coverage:
  """The four of `Coverage` from features [n d] and [m d], with balls that reach to the k-th neighbour."""
  radius = lambda x: nearest_l2(x, x, num_neighbours=num_neighbours, leave_out_self=True)[0][:, -1]
  real_radius, generated_radius = radius(real), radius(generated)
  in_real = np.zeros(len(generated))       # number of real balls around each generated one
  covered, recalled = np.zeros(len(real), bool), np.zeros(len(real), bool)
  for start in range(0, len(real), chunk):
    rows = slice(start, start + chunk)
    distance = np.sqrt(np.maximum(
        np.sum(real[rows]**2, 1)[:, None] + np.sum(generated**2, 1)[None] - 2.0 * real[rows] @ generated.T, 0.0))
    inside = distance <= real_radius[rows, None]
    in_real += inside.sum(0)
    covered[rows] = inside.any(1)
    recalled[rows] = (distance <= generated_radius[None]).any(1)
  density = in_real / num_neighbours
  return Coverage(share_estimate(in_real > 0), share_estimate(recalled),
                  Estimate(float(density.mean()), float(density.std() / np.sqrt(len(density)))), share_estimate(covered))
