"""Do two samples of one quantity agree? Published and two-sample chi-squared, Kolmogorov-Smirnov."""
from typing import NamedTuple

import numpy as np
from scipy import stats

from lartpc_jax.metrics.estimate import Estimate
from lartpc_jax.metrics.tracks import histogram_chi2

# Bins of Imani et al. 2023 (Phys. Rev. D 109, 072011): track length in pixels, track width in pixels, shower charge on the
# 8-bit scale.
LENGTH_BIN_PX, WIDTH_BIN_PX, CHARGE_BIN_LEVELS = 2.0, 1.0, 800.0


class Chi2(NamedTuple):
  """Two-sample chi-squared."""
  value: float
  ndf: int
  p_value: float


def bin_edges(*samples: np.ndarray, width: float) -> np.ndarray:
  """Edges from 0 in steps of `width` that hold the largest value of all samples."""
  largest = max([float(np.max(x)) for x in samples if len(x)], default=0.0)
  return width * np.arange(int(np.floor(largest / width)) + 2, dtype=float)


def published_chi2(real: np.ndarray, generated: np.ndarray, edges: np.ndarray) -> float:
  """sum (C nB/nC - B)^2 / B over bins with B > 0; B real, C generated counts, nB and nC their sums. Not reduced.

  It ignores the statistical error of the generated sample and grows with the number of images.
  """
  b, c = (np.histogram(x, edges)[0].astype(float) for x in (real, generated))
  if not c.sum() > 0:
    return float("nan")
  scaled = c * b.sum() / c.sum()
  return float(np.sum((scaled - b)[b > 0]**2 / b[b > 0]))


def two_sample_chi2(real: np.ndarray, generated: np.ndarray, edges: np.ndarray) -> Chi2:
  """Chi-squared with the errors of both samples, its degrees of freedom and p-value; sparse bins are joined.

  NaN and 0 degrees of freedom if fewer than two bins have ten entries of both.
  """
  if min(len(real), len(generated)) < 20:
    return Chi2(float("nan"), 0, float("nan"))
  value, ndf = histogram_chi2(real, generated, edges)
  return Chi2(value, ndf, float(stats.chi2.sf(value, ndf))) if ndf > 0 else Chi2(float("nan"), 0, float("nan"))


def reduced_chi2(real: np.ndarray, generated: np.ndarray, edges: np.ndarray) -> Estimate:
  """chi2 / ndf; its error under agreement is sqrt(2 / ndf)."""
  chi2 = two_sample_chi2(real, generated, edges)
  if not chi2.ndf:
    return Estimate(float("nan"))
  return Estimate(chi2.value / chi2.ndf, float(np.sqrt(2.0 / chi2.ndf)), chi2.p_value)


def kolmogorov_smirnov(real: np.ndarray, generated: np.ndarray) -> Estimate:
  """Largest distance of the two distribution functions; its error is the spread sqrt((1/n + 1/m) / 12) x 0.9 of a null.

  The Kolmogorov distribution has a standard deviation of 0.2603 = 0.9 / sqrt(12).
  """
  if not (len(real) and len(generated)):
    return Estimate(float("nan"))
  result = stats.ks_2samp(real, generated, method="auto")
  spread = 0.2603 * np.sqrt(1.0 / len(real) + 1.0 / len(generated))
  return Estimate(float(result.statistic), float(spread), float(result.pvalue))


def shared_quantiles(sample: np.ndarray, num_bins: int) -> np.ndarray:
  """Edges [num_bins + 1 at most] with about equal counts of `sample`; for quantities without published bins."""
  return np.unique(np.quantile(sample, np.linspace(0.0, 1.0, num_bins + 1)))
