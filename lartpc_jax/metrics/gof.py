"""High-dimensional goodness of fit between two sets of images: MMD, energy distance, sliced and exact
Wasserstein, Sinkhorn.

Images are flattened to vectors x [n d] and y [m d]; pooled [N d] holds both, matrix [N N] a kernel or
distance between them, and columns of members [N b] say which are of the first sample. Statistics that are
quadratic in the sample labels (MMD, energy distance) share one matrix of pooled distances, and 200
permutations of the labels cost one matrix product. numpy; POT for exact transport.
"""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import sparse, stats

from lartpc_jax.metrics.estimate import NAN, Estimate, mean_estimate, permutation_p_value

PUBLISHED_SIGMAS = tuple(2.0**k for k in range(10, 16))  # on the 8-bit scale (Imani et al. 2023)
MEDIAN_MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Squared Euclidean distances [n m] between rows of x [n d] and y [m d]; at least 0."""
  squares = lambda a: np.einsum("nd,nd->n", a, a)
  out = x @ y.T
  out *= -2.0
  out += squares(x)[:, None]
  out += squares(y)[None, :]
  return np.maximum(out, 0.0, out=out)


def distances_within(x: np.ndarray) -> np.ndarray:
  """Euclidean distances [n n] within one sample, float32, exactly 0 on the diagonal."""
  x = np.asarray(x, np.float32)
  out = np.sqrt(squared_distances(x, x))
  np.fill_diagonal(out, 0.0)
  return out


def pooled_distances(x: np.ndarray, y: np.ndarray, *, within_x: np.ndarray | None = None) -> np.ndarray:
  """Euclidean distances [n + m, n + m] of both samples together, float32, exactly 0 on the diagonal.

  Args:
    x, y: rows [n d] and [m d].
    within_x: `distances_within(x)`, where several samples are compared with one.
  """
  x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
  n, size = len(x), len(x) + len(y)
  out = np.empty((size, size), np.float32)
  out[:n, :n] = distances_within(x) if within_x is None else within_x
  out[:n, n:] = np.sqrt(squared_distances(x, y))
  out[n:, :n] = out[:n, n:].T
  out[n:, n:] = distances_within(y)
  return out


def median_distance(pooled: np.ndarray) -> float:
  """Median distance between different images, from at most 10^6 of the pairs: the scale of kernels."""
  n = len(pooled)
  step = max(n * n // 10**6, 1)
  flat = pooled.reshape(-1)[::step]
  return float(np.median(flat[flat > 0]))


def gaussian_kernel(pooled: np.ndarray, sigmas: tuple[float, ...]) -> np.ndarray:
  """Mean over sigma of exp(-d^2 / (2 sigma^2)), float32."""
  squared = pooled**2
  total = np.zeros_like(squared)
  for sigma in sigmas:
    total += np.exp(squared * np.float32(-0.5 / sigma**2))
  return total / np.float32(len(sigmas))


def laplace_kernel(pooled: np.ndarray, scale: float) -> np.ndarray:
  """exp(-d / scale): characteristic, and less smooth, so it sees fine detail."""
  return np.exp(pooled * np.float32(-1.0 / scale))


class LabelSums(NamedTuple):
  """All that the statistics below need of a symmetric matrix [N N] and labels [N b] (True: sample x, False:
  sample y)."""
  to_x: np.ndarray      # [N b] sum over x of each row
  rows: np.ndarray      # [N] sum of each row
  diagonal: np.ndarray  # [N]


def label_sums(matrix: np.ndarray, members: np.ndarray) -> LabelSums:
  """`LabelSums` of a matrix that is there as a whole; products in its own precision."""
  return LabelSums(matrix @ members.astype(matrix.dtype), matrix.sum(1, dtype=float),
                   np.diag(matrix).astype(float))


def two_sample_statistic(sums: LabelSums, members: np.ndarray, *, biased: bool = False) -> np.ndarray:
  """mean k(x, x') + mean k(y, y') - 2 mean k(x, y) for each column of `members` [N b].

  Unbiased (Gretton et al. 2012, eq. 3) leaves out pairs of an image with itself; biased (eq. 5) keeps them.
  With k a kernel it is MMD^2, with k = -distance the energy distance (Szekely & Rizzo 2013, eq. 6.1).
  """
  in_x = members.astype(float)
  xx = np.sum(in_x * sums.to_x, axis=0, dtype=float)
  total, x_rows = sums.rows.sum(), sums.rows @ in_x
  xy = x_rows - xx
  yy = total - 2.0 * x_rows + xx
  n = in_x.sum(0)
  m = len(members) - n
  if biased:
    return xx / n**2 + yy / m**2 - 2.0 * xy / (n * m)
  diagonal_x = sums.diagonal @ in_x
  diagonal_y = sums.diagonal.sum() - diagonal_x
  return (xx - diagonal_x) / (n * (n - 1)) + (yy - diagonal_y) / (m * (m - 1)) - 2.0 * xy / (n * m)


def _labels(size: int, num_first: int, num_permutations: int, seed: int) -> np.ndarray:
  """The true labels [N 1 + permutations] in the first column, permutations of them in the others."""
  draw = np.random.default_rng(seed)
  observed = np.arange(size) < num_first
  return np.stack([observed, *(draw.permutation(observed) for _ in range(num_permutations))], axis=1)


def two_sample_test(matrix: np.ndarray, num_first: int, *, num_permutations: int = 200, seed: int = 0,
                    biased: bool = False) -> Estimate:
  """`two_sample_statistic` of the first num_first rows against the rest, its error, and a permutation
  p-value."""
  members = _labels(len(matrix), num_first, num_permutations, seed)
  to_first = matrix[:, :num_first].sum(1, dtype=float)
  return _tested(label_sums(matrix, members), to_first, members, biased=biased)


def _tested(sums: LabelSums, to_first: np.ndarray, members: np.ndarray, *, biased: bool) -> Estimate:
  """The value of the first column of `members`, its error, and the p-value among all columns.

  The error joins the first-order term of the variance of a U-statistic (4 / n times the variance of its
  projection; it vanishes if the samples agree) and the spread of the permutations (which is all there is
  then).
  """
  values = two_sample_statistic(sums, members, biased=biased)
  if len(values) == 1:
    return Estimate(float(values[0]))
  num_first, size = int(members[:, 0].sum()), len(members)
  projection = to_first / num_first - (sums.rows - to_first) / (size - num_first)
  first_order = 4.0 * (projection[:num_first].var() / num_first + projection[num_first:].var() /
                       (size - num_first))
  error = np.sqrt(first_order * _above_null(values) + values[1:].var())
  return Estimate(float(values[0]), float(error), permutation_p_value(values[0], values[1:]))


def _above_null(values: np.ndarray) -> float:
  """1 where the observed value stands out of its permutations; within them the projection is noise itself."""
  return float(values[0] > values[1:].mean() + 3.0 * values[1:].std())


def mmd(pooled: np.ndarray, num_first: int, *, kernel: str = "gauss", **kwargs) -> Estimate:
  """Unbiased MMD^2 with kernels scaled to the data: "gauss" (five widths around the median distance) or
  "laplace"."""
  kernels = {
      "gauss": lambda: gaussian_kernel(pooled, tuple(m * median_distance(pooled) for m in MEDIAN_MULTIPLES)),
      "laplace": lambda: laplace_kernel(pooled, median_distance(pooled))
  }
  if kernel not in kernels:
    raise ValueError(f"Unknown kernel {kernel!r}; choose from {sorted(kernels)}.")
  return two_sample_test(kernels[kernel](), num_first, **kwargs)


def published_mmd(x: np.ndarray, y: np.ndarray, *, level: float, num_permutations: int = 200, seed: int = 0,
                  chunk: int = 1000) -> Estimate:
  """Biased MMD^2 with the SUM of six Gaussians of width 2^10 ... 2^15 on the 8-bit scale (Imani et al. 2023).

  Float64, and of each kernel what it differs from 1 (which changes nothing): the widest are 1 - 10^-3 for all
  pairs, and in float32 their differences are lost. As each width is half the next, each kernel is the fourth
  power of the next.

  Args:
    x, y: rows [n d] and [m d], mostly zeros.
    level: value of one 8-bit grey level in the unit of the images; 1 for 8-bit images.
    num_permutations, seed: as `two_sample_test`.
    chunk: rows of the matrix of kernels in memory at once.
  """
  both = np.concatenate([x, y]).astype(np.float64) / level
  squares = np.einsum("nd,nd->n", both, both)
  if np.count_nonzero(both) < 0.1 * both.size:
    both = sparse.csr_matrix(both)
  members = _labels(len(squares), len(x), num_permutations, seed)
  parts = []
  for start in range(0, len(squares), chunk):
    inner = both[start:start + chunk] @ both.T
    inner = inner.toarray() if sparse.issparse(inner) else inner
    squared = squares[start:start + chunk, None] + squares - 2.0 * inner
    at = np.arange(len(squared))
    squared[at, start + at] = 0.0
    power = np.expm1(np.maximum(squared, 0.0) * (-0.5 / PUBLISHED_SIGMAS[-1]**2))
    kernel = power.copy()
    for _ in PUBLISHED_SIGMAS[1:]:
      power *= 4.0 + power * (6.0 + power * (4.0 + power))  # (1 + power)^4 - 1
      kernel += power
    parts.append((kernel @ members.astype(float), kernel.sum(1), kernel[at, start + at]))
  sums = LabelSums(*(np.concatenate(part) for part in zip(*parts, strict=True)))
  return _tested(sums, sums.to_x[:, 0], members, biased=True)


def energy_distance(pooled: np.ndarray, num_first: int, **kwargs) -> Estimate:
  """2 E|x - y| - E|x - x'| - E|y - y'|, unbiased, in the unit of the images (Szekely & Rizzo 2013)."""
  return two_sample_test(-pooled, num_first, **kwargs)


def sliced_wasserstein(x: np.ndarray, y: np.ndarray, *, num_projections: int = 128,
                       num_permutations: int = 50, seed: int = 0) -> Estimate:
  """Mean over random directions of the one-dimensional W1 of the projections (Bonneel et al. 2015), times
  sqrt(d).

  Args:
    x, y: rows [n d] and [m d].
    num_projections: directions, uniform on the sphere; the same for any two samples of one seed.
    num_permutations: of the labels, for the p-value; the error is the spread over them and over directions.
  """
  draw = np.random.default_rng(seed)
  directions = draw.normal(size=(x.shape[1], num_projections)).astype(np.float32)
  directions /= np.linalg.norm(directions, axis=0)
  projected = np.concatenate([x, y]).astype(np.float32) @ directions
  order = np.argsort(projected, axis=0)
  steps = np.diff(np.take_along_axis(projected, order, 0), axis=0)
  n, m = len(x), len(y)
  scale = np.sqrt(x.shape[1])

  def distances(members: np.ndarray) -> np.ndarray:
    weight = np.where(members, 1.0 / n, -1.0 / m).astype(np.float32)
    gap = np.cumsum(weight[order], axis=0)[:-1]
    return scale * np.sum(np.abs(gap) * steps, axis=0)

  observed = np.arange(n + m) < n
  values = distances(observed)
  value = float(values.mean())
  spread = values.std() / np.sqrt(num_projections)
  if not num_permutations:
    return Estimate(value, float(spread))
  permuted = np.array([distances(draw.permutation(observed)).mean() for _ in range(num_permutations)])
  return Estimate(value, float(np.hypot(spread, permuted.std())), permutation_p_value(value, permuted))


def occupancy_test(x: np.ndarray, y: np.ndarray, *, num_permutations: int = 200, seed: int = 0) -> Estimate:
  """Two-sample chi2 per pixel of how often each pixel holds charge, with its permutation p-value.

  sum over pixels of (sqrt(m/n) a - sqrt(n/m) b)^2 / (a + b), a and b the images with charge there, over the
  number of pixels that have any. The pixels of an image are not independent, so the error is the spread of
  permutations of the images, not that of a chi-squared. Sees dead pixels, and edges where images were moved.

  Args:
    x, y: images as rows [n d] and [m d]; pixels above 0 hold charge.
  Raises:
    ValueError: if no image has charge.
  """
  active = (np.concatenate([x, y]) > 0).astype(np.float32)
  n, m = len(x), len(y)
  draw = np.random.default_rng(seed)
  observed = np.arange(n + m) < n
  members = np.stack([observed, *(draw.permutation(observed) for _ in range(num_permutations))], axis=1)
  total = active.sum(0, dtype=float)
  seen = total > 0
  if not seen.any():
    raise ValueError("occupancy_test needs images with charge; there is none in either sample.")
  a = (active.T @ members.astype(np.float32)).astype(float)[seen]  # counts below 2^24: exact
  b = total[seen, None] - a
  values = np.mean((np.sqrt(m / n) * a - np.sqrt(n / m) * b)**2 / (a + b), axis=0)
  if not num_permutations:
    return Estimate(float(values[0]))
  return Estimate(float(values[0]), float(values[1:].std()), permutation_p_value(values[0], values[1:]))


def _batches(x: np.ndarray, y: np.ndarray, batch_size: int,
             max_batches: int) -> list[tuple[np.ndarray, np.ndarray]]:
  size = min(batch_size, len(x), len(y))
  count = min(len(x) // size, len(y) // size, max_batches)
  return [(x[i * size:(i + 1) * size], y[i * size:(i + 1) * size]) for i in range(count)]


def wasserstein(x: np.ndarray, y: np.ndarray, *, batch_size: int = 1000, max_batches: int = 5) -> Estimate:
  """Exact W1 between sets of flattened images with Euclidean cost (POT), mean over disjoint batches.

  It depends on the batch size: the distance between two finite samples of one distribution is far from 0.
  """
  import ot
  values = []
  for a, b in _batches(x, y, batch_size, max_batches):
    cost = np.sqrt(squared_distances(a.astype(np.float64), b.astype(np.float64)))
    values.append(
        ot.emd2(np.full(len(a), 1.0 / len(a)), np.full(len(b), 1.0 / len(b)), cost, numItermax=5_000_000))
  return mean_estimate(np.array(values))


def sinkhorn(x: np.ndarray, y: np.ndarray, divergence: Callable, *, p: int = 2, batch_size: int = 500,
             max_batches: int = 4) -> tuple[Estimate, float]:
  """Debiased Sinkhorn divergence with cost |x - y|^p / p, mean over disjoint batches, and the worst marginal
  error.

  Args:
    divergence: (cost_xy, cost_xx, cost_yy) -> (value, L1 marginal error):
      `transport.divergence.sinkhorn_divergence` with its epsilon.
    p: 1 or 2.
  Raises:
    ValueError: for another p.
  """
  if p not in (1, 2):
    raise ValueError(f"sinkhorn needs p = 1 or 2; got {p}.")
  cost = lambda a, b: np.sqrt(squared_distances(a, b)) if p == 1 else 0.5 * squared_distances(a, b)
  values, worst = [], 0.0
  for a, b in _batches(np.asarray(x, np.float64), np.asarray(y, np.float64), batch_size, max_batches):
    xx, yy = cost(a, a), cost(b, b)
    np.fill_diagonal(xx, 0.0)
    np.fill_diagonal(yy, 0.0)
    value, error = divergence(cost(a, b), xx, yy)
    values.append(float(value))
    worst = max(worst, float(error))
  return mean_estimate(np.array(values)), worst


def excess(value: Estimate, floor: Estimate) -> Estimate:
  """value - floor, with a normal p-value: for distances whose floor between finite samples is not 0."""
  error = float(np.hypot(value.error, floor.error))
  difference = value.value - floor.value
  return Estimate(difference, error, float(stats.norm.sf(difference / error)) if error > 0 else NAN)
