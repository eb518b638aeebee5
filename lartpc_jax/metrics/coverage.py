"""Are posteriors calibrated? Coverage of credible regions and simulation-based ranks, from samples; on the
host."""
from typing import NamedTuple

import numpy as np
from scipy import stats

from lartpc_jax.metrics.estimate import Estimate, share_estimate


class Uniformity(NamedTuple):
  """Ranks that should be uniform."""
  edges: np.ndarray  # [bins + 1] of rank / (number of samples + 1)
  count: np.ndarray  # [bins]
  chi2: Estimate     # chi-squared per degree of freedom, with its p-value


def credible_level(true_log_density: np.ndarray, sample_log_density: np.ndarray) -> np.ndarray:
  """Smallest highest-density region [n] that holds the truth, as the share of samples with a higher density.

  Uniform in [0, 1] over events whose truths are draws of their posteriors (Hyndman 1996; Zhao et al. 2021).
  Samples as dense as the truth count half.

  Args:
    true_log_density: [n] of the true values.
    sample_log_density: [s n] of samples.
  """
  samples, truth = np.asarray(sample_log_density), np.asarray(true_log_density)[None]
  return np.mean(samples > truth, axis=0) + 0.5 * np.mean(samples == truth, axis=0)


def coverage(level: np.ndarray, credibility: float) -> Estimate:
  """Share of events, by the level [n] of each, whose truth lies in the region of that credibility."""
  if not 0.0 < credibility < 1.0:
    raise ValueError(f"credibility must lie between 0 and 1; got {credibility}.")
  return share_estimate(np.asarray(level) <= credibility)


def rank_uniformity(samples: np.ndarray, truth: np.ndarray, *, num_bins: int = 20) -> Uniformity:
  """Histogram of the ranks of true values [n] among samples [s n], and how far from flat it is (Talts et al.
  2018, SBC).

  A truth that equals samples has any of their ranks with equal probability.

  Raises:
    ValueError: for fewer than 5 entries expected in a bin, where chi-squared is not.
  """
  num, n = samples.shape
  if n < 5 * num_bins:
    raise ValueError(f"{n} events are too few for {num_bins} bins; need {5 * num_bins}.")
  rank = np.sum(samples < truth[None], axis=0)
  edges = np.linspace(0.0, 1.0, num_bins + 1)
  places = 1 + np.sum(samples == truth[None], axis=0)
  # a rank takes one of num + 1 values; spread it evenly within its places, so that bins need not divide their
  # number
  spread = (rank + places * np.random.default_rng(0).uniform(size=n)) / (num + 1)
  count = np.histogram(spread, edges)[0]
  chi2, p_value = stats.chisquare(count)
  degrees = num_bins - 1
  return Uniformity(edges, count,
                    Estimate(float(chi2 / degrees), float(np.sqrt(2.0 / degrees)), float(p_value)))


def pulls(samples: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """(mean of the samples - truth) / their standard deviation [n], from samples [s n]."""
  return (samples.mean(0) - truth) / np.maximum(samples.std(0, ddof=1), 1e-12)
