"""How many tracks? Nested hypotheses compared by their objective, against what the generator itself would
give. Host-side.

One track more always fits better. The gain that counts as a track is read off events that the generator draws
with one track less: the p-value is the share of those that gain as much (Davison & Hinkley 1997, eq. 4.11).
Cutting at a level is a penalty a track on the objective, whose size the null distribution sets.
"""
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment


class Counted(NamedTuple):
  """What n events are counted as."""
  number: np.ndarray   # [n] tracks
  p_value: np.ndarray  # [n m] of the gain from N to N + 1 tracks, N = 1 ... m, if there are N


def gains(objective: np.ndarray) -> np.ndarray:
  """Px that each further track takes off the objective: [n m - 1] of objectives [n m] of 1 ... m tracks."""
  return -np.diff(objective, axis=1)


def p_values(gain: np.ndarray, null: np.ndarray) -> np.ndarray:
  """(1 + number of null gains at least as large) / (1 + number of null gains), [n]; a gain of NaN is never
  significant.

  Raises:
    ValueError: if the null distribution is empty or holds NaN.
  """
  null = np.sort(np.asarray(null, float))
  if not len(null) or np.isnan(null).any():
    raise ValueError(
        f"The null distribution must hold numbers; got {len(null)} of which {np.isnan(null).sum()} are NaN.")
  above = len(null) - np.searchsorted(null, gain, side="left")
  return np.where(np.isnan(gain), 1.0, (1.0 + above) / (1.0 + len(null)))


def count_tracks(objective: np.ndarray, nulls: list[np.ndarray], *, level: float = 0.05) -> Counted:
  """The smallest N whose next track is not significant.

  Args:
    objective: [n m] of hypotheses of 1 ... m tracks, px.
    nulls: nulls[N - 1] holds gains from N to N + 1 of events with N tracks; with fewer than m - 1 of them the
      count ends at len(nulls) + 1.
    level: false splits allowed at each step.
  Raises:
    ValueError: for a level outside (0, 1), or more null distributions than steps, or none.
  """
  if not 0.0 < level < 1.0:
    raise ValueError(f"level must lie between 0 and 1; got {level}.")
  gain = gains(objective)
  if not 1 <= len(nulls) <= gain.shape[1]:
    raise ValueError(
        f"{objective.shape[1]} hypotheses need 1 to {gain.shape[1]} null distributions; got {len(nulls)}.")
  p = np.stack([p_values(gain[:, i], null) for i, null in enumerate(nulls)], axis=1)
  number = 1 + np.cumprod(p <= level, axis=1).sum(axis=1)
  return Counted(number, p)


def match_tracks(found_mev: np.ndarray, true_mev: np.ndarray) -> np.ndarray:
  """Errors |dp| [t] in MeV/c of true momenta [t 3] matched to found ones [s 3], s >= t, at the smallest
  sum."""
  distance = np.linalg.norm(np.asarray(true_mev)[:, None] - np.asarray(found_mev)[None], axis=-1)
  rows, columns = linear_sum_assignment(distance)
  return distance[rows, columns]
