"""Is what a generator puts in place of missing pixels right, and does it know how well? On the host."""
from typing import NamedTuple

import numpy as np

from lartpc_jax.metrics.estimate import Estimate, mean_estimate, share_estimate

CENTRAL = 0.68  # of the intervals whose coverage is measured


class Recovered(NamedTuple):
  """Draws of missing charge against the true one, over n events."""
  num_events: int
  charge_ratio: Estimate    # mean over events of (mean of the draws - truth), over the mean truth, plus 1
  relative_error: Estimate  # mean over events of |mean of the draws / truth - 1|
  coverage: Estimate        # share of events whose truth lies in the central 68 % of their draws
  width_mev: float          # mean standard deviation of the draws
  error_mev: float          # root mean square of mean of the draws - truth


def interval(draws: np.ndarray, central: float = CENTRAL) -> tuple[np.ndarray, np.ndarray]:
  """Ends [n] of the central interval of draws [n k], which holds a further draw with that probability.

  The i-th of k ordered draws is at the quantile i / (k + 1) (Weibull 1939; Hyndman & Fan 1996, definition 6),
  so that few draws are not too narrow. Ends beyond the outermost draws are these.
  """
  tail = 0.5 * (1.0 - central)
  return tuple(np.quantile(draws, [tail, 1.0 - tail], axis=1, method="weibull"))


def recovered(draws_mev: np.ndarray, truth_mev: np.ndarray) -> Recovered:
  """Compares draws [n k] of the missing charge with the true one [n], which must be positive.

  Raises:
    ValueError: for fewer than six draws, of which no interval of 68 % is known, or a truth of none.
  """
  if draws_mev.ndim != 2 or draws_mev.shape[1] < 6:
    raise ValueError(f"An interval of {CENTRAL:.0%} needs six draws an event; got shape {draws_mev.shape}.")
  if not np.all(truth_mev > 0.0):
    raise ValueError(f"The missing charge must be positive; got {truth_mev.min()} MeV.")
  mean, (low, high) = draws_mev.mean(1), interval(draws_mev)
  offset = mean_estimate(mean - truth_mev)
  return Recovered(
      len(truth_mev), Estimate(1.0 + offset.value / truth_mev.mean(), offset.error / truth_mev.mean()),
      mean_estimate(np.abs(mean / truth_mev - 1.0)),
      share_estimate((low <= truth_mev) & (truth_mev <= high)), float(draws_mev.std(1, ddof=1).mean()),
      float(np.sqrt(np.mean((mean - truth_mev)**2))))
