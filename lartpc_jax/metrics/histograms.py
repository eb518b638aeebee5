"""Do two samples of one quantity agree? Values real [n] and generated [m], edges
[bins + 1]. Published and two-sample chi-squared, Kolmogorov-Smirnov."""
from typing import NamedTuple

import numpy as np
from scipy import stats

from lartpc_jax.metrics.estimate import Estimate

# Bins of Imani et al. 2023 (Phys. Rev. D 109, 072011): track length in pixels, track width in pixels, shower
# charge on the 8-bit scale.
LENGTH_BIN_PX, WIDTH_BIN_PX, CHARGE_BIN_LEVELS = 2.0, 1.0, 800.0


MIN_ENTRIES = 10  # a bin has, of either sample


class Chi2(NamedTuple):
  """Two-sample chi-squared. NaN, with 0 degrees of freedom, if fewer than two bins are left."""
  chi2: float
  ndf: int
  p_value: float

  @property
  def reduced(self) -> float:
    """chi2 / ndf, about 1 for samples of one population."""
    return self.chi2 / self.ndf if self.ndf else float("nan")


def bin_edges(*samples: np.ndarray, width: float) -> np.ndarray:
  """Edges from 0 in steps of `width` that hold the largest value of all samples."""
  largest = max([float(np.max(x)) for x in samples if len(x)], default=0.0)
  return width * np.arange(int(np.floor(largest / width)) + 2, dtype=float)


def published_chi2(real: np.ndarray, generated: np.ndarray, edges: np.ndarray) -> float:
  """sum (C nB/nC - B)^2 / B over bins with B > 0; B real, C generated counts, nB and nC their sums. Not
  reduced.

  It ignores the statistical error of the generated sample and grows with the number of images.
  """
  b, c = (np.histogram(x, edges)[0].astype(float) for x in (real, generated))
  if not c.sum() > 0:
    return float("nan")
  scaled = c * b.sum() / c.sum()
  return float(np.sum((scaled - b)[b > 0]**2 / b[b > 0]))


def two_sample_chi2(a: np.ndarray, b: np.ndarray, edges: np.ndarray) -> Chi2:
  """Chi-squared of the hypothesis that two samples [n], [m] come from one population, with the errors of
  both.

  sum (sqrt(B/A) a_i - sqrt(A/B) b_i)^2 / (a_i + b_i), A and B the totals (Gagunashvili 2010, Nucl. Instrum.
  Meth. A 614, 287, eq. 3; Num. Recipes, 14.3). Bins with fewer than ten entries of either sample are joined
  with their right neighbours; values outside the edges count in the outer bins. Entries must be independent.

  Fewer than three edges are fewer than two bins, as `quantile_bins` gives of values that are all alike.

  Raises:
    ValueError: for edges that do not rise.
  """
  edges = np.asarray(edges, float)
  if edges.ndim != 1 or not np.all(np.diff(edges) > 0):
    raise ValueError(f"two_sample_chi2 needs rising bin edges; got {edges}.")
  if len(edges) < 3:
    return Chi2(float("nan"), 0, float("nan"))
  counts = [np.histogram(np.clip(x, edges[0], np.nextafter(edges[-1], -np.inf)), edges)[0] for x in (a, b)]
  joined, held = [], np.zeros(2)
  for pair in zip(*counts, strict=True):
    held = held + pair
    if held.min() >= MIN_ENTRIES:
      joined.append(held)
      held = np.zeros(2)
  if len(joined) < 2:
    return Chi2(float("nan"), 0, float("nan"))
  joined[-1] = joined[-1] + held
  first, second = np.array(joined).T
  scale = np.sqrt(len(b) / len(a))
  chi2, ndf = float(np.sum((scale * first - second / scale)**2 / (first + second))), len(joined) - 1
  return Chi2(chi2, ndf, float(stats.chi2.sf(chi2, ndf)))


def reduced_chi2(real: np.ndarray, generated: np.ndarray, edges: np.ndarray) -> Estimate:
  """chi2 / ndf; its error under agreement is sqrt(2 / ndf); NaN where no two bins hold enough of both."""
  chi2 = two_sample_chi2(real, generated, edges)
  if not chi2.ndf:
    return Estimate(float("nan"))
  return Estimate(chi2.reduced, float(np.sqrt(2.0 / chi2.ndf)), chi2.p_value)


def kolmogorov_smirnov(real: np.ndarray, generated: np.ndarray) -> Estimate:
  """Largest distance of the two distribution functions; its error is the spread sqrt((1/n + 1/m) / 12) x 0.9
  of a null.

  The Kolmogorov distribution has a standard deviation of 0.2603 = 0.9 / sqrt(12).
  """
  if not (len(real) and len(generated)):
    return Estimate(float("nan"))
  result = stats.ks_2samp(real, generated, method="auto")
  spread = 0.2603 * np.sqrt(1.0 / len(real) + 1.0 / len(generated))
  return Estimate(float(result.statistic), float(spread), float(result.pvalue))


def quantile_bins(sample: np.ndarray, num_bins: int) -> np.ndarray:
  """Edges [num_bins + 1 at most] with about equal counts of `sample`, fewer where values repeat, none without
  values."""
  if not len(sample):
    return np.zeros(0)
  return np.unique(np.quantile(np.asarray(sample, float), np.linspace(0.0, 1.0, num_bins + 1)))
