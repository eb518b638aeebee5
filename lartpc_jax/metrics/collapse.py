"""Has a generator collapsed on part of the data? Small, quick tests to be followed along a training run; on
the host."""
import numpy as np

from lartpc_jax.metrics.gof import squared_distances
from lartpc_jax.metrics.memorisation import coverage, duplicate_rate
from lartpc_jax.metrics.neighbours import pairwise_emd


def neighbour_shares(distance: np.ndarray, num_real: int) -> tuple[float, float]:
  """Shares of real and of generated images whose nearest other image is generated (Lopez-Paz & Oquab 2017).

  Half for both if the samples are of one distribution and of equal size. A generator that draws a part of the
  data alone has a high share among its own images; one that misses the data a low one among the real.

  Args:
    distance: [n n], the real images first.
    num_real: of them.
  """
  distance = np.array(distance, float)
  np.fill_diagonal(distance, np.inf)
  of_generated = distance.argmin(1) >= num_real
  return float(of_generated[:num_real].mean()), float(of_generated[num_real:].mean())


def collapse_metrics(real: np.ndarray, generated: np.ndarray, features: tuple[np.ndarray, np.ndarray], *,
                     num_emd: int = 48, pool: int = 4) -> dict[str, float]:
  """Numbers by name, of images [n h w] in MeV without empty ones and their features [n d].

  Precision, recall and coverage in the features; the share of duplicates; nearest neighbours in L2 of all,
  and in EMD (pixels summed pool x pool) of the first num_emd of each.
  """
  found = coverage(*features)
  num = min(len(real), len(generated))
  flat = np.concatenate([x[:num].reshape(num, -1) for x in (real, generated)]).astype(float)
  metrics = {"precision": found.precision.value, "recall": found.recall.value,
             "coverage": found.coverage.value,
             "duplicates": duplicate_rate(flat[num:]).value}
  few = min(num, num_emd)
  distances = {"l2": (squared_distances(flat, flat), num),
               "emd": (pairwise_emd(np.concatenate([real[:few], generated[:few]]), pool=pool), few)}
  for name, (distance, count) in distances.items():
    shares = neighbour_shares(distance, count)
    metrics |= {f"{name}_generated_near_{what}": share for what, share in zip(("real", "generated"), shares)}
  return metrics
