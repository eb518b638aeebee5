"""A number with its uncertainty: what every metric returns."""
from typing import NamedTuple

import numpy as np

NAN = float("nan")


class Estimate(NamedTuple):
  """A value, its standard error, and the p-value of "both samples come from one distribution"; NaN: not
  known."""
  value: float
  error: float = NAN
  p_value: float = NAN


def mean_estimate(values: np.ndarray) -> Estimate:
  """Mean of independent values [n] and its standard error; NaN of none."""
  values = np.asarray(values, float)
  if not len(values):
    return Estimate(NAN)
  error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else NAN
  return Estimate(float(values.mean()), float(error))


def share_estimate(hits: np.ndarray) -> Estimate:
  """Share of True in `hits` [n]; the error is binomial for (hits + 1/2) of (n + 1), so not 0 at a share of 0.

  NaN of none.
  """
  n, count = len(hits), float(np.sum(hits))
  if not n:
    return Estimate(NAN)
  smoothed = (count + 0.5) / (n + 1.0)
  return Estimate(count / n, float(np.sqrt(smoothed * (1.0 - smoothed) / n)))


def jackknife_error(left_out: np.ndarray) -> float:
  """Standard error from estimates [k] with one of k blocks left out each (Efron & Tibshirani 1993, eq.
  11.5)."""
  left_out = np.asarray(left_out, float)
  k = len(left_out)
  return float(np.sqrt((k - 1) / k * np.sum((left_out - left_out.mean())**2)))


def permutation_p_value(observed: float, permuted: np.ndarray) -> float:
  """Share of permutations [B] at least as large, the observed one counted: (1 + #) / (1 + B) (Phipson & Smyth
  2010, eq. 3).

  NaN for an observed NaN; a permutation that gives NaN counts as large.
  """
  permuted = np.asarray(permuted)
  return float((1 + np.sum(~(permuted < observed))) / (1 + len(permuted))) if np.isfinite(observed) else NAN


def significance(estimate: Estimate, floor: Estimate) -> float:
  """How far above the floor, in standard errors of both; NaN where neither error is known."""
  errors = [e for e in (estimate.error, floor.error) if np.isfinite(e)]
  total = float(np.hypot.reduce(errors)) if errors else 0.0
  return (estimate.value - floor.value) / total if total > 0 else NAN
