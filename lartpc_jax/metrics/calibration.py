"""Do probabilities mean what they say? Reliability diagrams."""
from typing import NamedTuple

import numpy as np


class Calibration(NamedTuple):
  """Reliability in bins of the stated probability."""
  edges: np.ndarray       # [bins + 1]
  count: np.ndarray       # [bins]
  confidence: np.ndarray  # [bins] mean stated probability; NaN where empty
  accuracy: np.ndarray    # [bins] share that was right; NaN where empty
  expected_error: float   # expected calibration error (Guo et al. 2017, eq. 3)


def calibration(confidence: np.ndarray, right: np.ndarray, *, num_bins: int = 10) -> Calibration:
  """Reliability of probabilities [m] in [0, 1] for statements that were `right` [m] or not; NaN is in no bin.

  The expected error is NaN if a probability is.
  """
  known = ~np.isnan(np.asarray(confidence, float))
  if not known.all():
    found = calibration(np.asarray(confidence)[known], np.asarray(right)[known], num_bins=num_bins)
    return found._replace(expected_error=float("nan"))
  edges = np.linspace(0.0, 1.0, num_bins + 1)
  bins = np.clip(np.digitize(confidence, edges) - 1, 0, num_bins - 1)
  count = np.bincount(bins, minlength=num_bins)
  mean = lambda x: np.divide(np.bincount(bins, x, minlength=num_bins), count, out=np.full(num_bins, np.nan),
                             where=count > 0)
  stated, found = mean(np.asarray(confidence, float)), mean(np.asarray(right, float))
  gaps = np.where(count > 0, np.abs(np.nan_to_num(stated) - np.nan_to_num(found)), 0.0)
  return Calibration(edges, count, stated, found, float(np.sum(count * gaps) / max(count.sum(), 1)))
