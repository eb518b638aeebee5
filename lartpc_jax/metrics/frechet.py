"""Frechet and kernel distances between features of two sets of images.

Features come from SSNet's third encoder stage (8x8 pixels). Published: all of them as one vector, so that the
number of dimensions nears that of images and the distance of two real samples is far from 0. Corrected:
averaged over pixels and extrapolated to infinitely many images.
"""
import numpy as np
from scipy import linalg

from lartpc_jax.metrics.estimate import Estimate, jackknife_error


def _root(covariance: np.ndarray) -> np.ndarray:
  """Symmetric square root [d d]."""
  values, vectors = np.linalg.eigh(covariance)
  return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def gaussian_frechet(mean_x: np.ndarray, cov_x: np.ndarray, mean_y: np.ndarray, cov_y: np.ndarray) -> float:
  """|m_x - m_y|^2 + Tr(C_x + C_y - 2 (C_x C_y)^(1/2)), squared W2 of two Gaussians (Dowson & Landau 1982),
  from means [d] and covariances [d d]."""
  root = _root(cov_x)
  cross = np.linalg.eigvalsh(root @ cov_y @ root)
  trace = np.trace(cov_x) + np.trace(cov_y) - 2.0 * np.sqrt(np.maximum(cross, 0.0)).sum()
  return float(np.sum((mean_x - mean_y)**2) + trace)


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
  """Frechet distance of samples [n d] and [m d] (Heusel et al. 2017, eq. 6), no correction for their size.

  For fewer images than dimensions without any d x d matrix: Tr (C_x C_y)^(1/2) is the nuclear norm of the
  centred A B^T / sqrt((n - 1)(m - 1)).
  """
  x, y = np.asarray(x, float), np.asarray(y, float)
  mean_x, mean_y = x.mean(0), y.mean(0)
  a, b = (x - mean_x) / np.sqrt(len(x) - 1), (y - mean_y) / np.sqrt(len(y) - 1)
  if x.shape[1] <= min(len(x), len(y)):
    return gaussian_frechet(mean_x, a.T @ a, mean_y, b.T @ b)
  cross = a @ b.T
  gram = cross @ cross.T if len(a) <= len(b) else cross.T @ cross
  values = linalg.eigvalsh(gram, overwrite_a=True, check_finite=False)
  nuclear = np.sqrt(np.maximum(values, 0.0)).sum()
  return float(np.sum((mean_x - mean_y)**2) + np.sum(a**2) + np.sum(b**2) - 2.0 * nuclear)


class _Moments:
  """Sums over blocks of rows, so that the moments of any union of blocks are sums of few matrices."""

  def __init__(self, x: np.ndarray, num_blocks: int):
    parts = np.array_split(np.asarray(x, float), num_blocks)
    self.count = np.array([len(part) for part in parts])
    self.first = np.stack([part.sum(0) for part in parts])
    self.second = np.stack([part.T @ part for part in parts])

  def gaussian(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] and unbiased covariance [d d] of the union of blocks."""
    n = self.count[blocks].sum()
    mean = self.first[blocks].sum(0) / n
    return mean, (self.second[blocks].sum(0) - n * np.outer(mean, mean)) / (n - 1)


def extrapolated_frechet(x: np.ndarray, y: np.ndarray, *, num_blocks: int = 20, num_points: int = 6,
                         num_draws: int = 8, seed: int = 0) -> Estimate:
  """Frechet distance at infinitely many images: the intercept of a straight line in 1 / N (Chong & Forsyth
  2020).

  Args:
    x, y: features [n d] and [m d].
    num_blocks: equal blocks, of which subsets are made; also those of the jackknife that gives the error.
    num_points: sizes N, from a third of the sample to all of it.
    num_draws: random unions of blocks at each size, without replacement (with it, the bias of the whole
      sample would stay).
  Raises:
    ValueError: if there are fewer images than 3 d: the smallest subsets would have singular covariances.
  """
  dimension = x.shape[1]
  if min(len(x), len(y)) < 3 * dimension:
    raise ValueError(f"extrapolated_frechet needs at least three images a dimension ({3 * dimension}); "
                     f"got {len(x)} and {len(y)}.")
  # rows in random order: files are often sorted
  draw = np.random.default_rng(seed)
  moments = [_Moments((s - x.mean(0))[draw.permutation(len(s))], num_blocks) for s in (x, y)]
  smallest = -(-num_blocks // 3)
  sizes = np.unique(np.linspace(smallest, num_blocks, num_points).round().astype(int))

  def intercept(available: np.ndarray) -> float:
    draw = np.random.default_rng(seed)  # the same unions for every block left out, as far as possible
    rows = []
    for size in sizes:
      size = min(int(size), len(available))
      for _ in range(1 if size == len(available) else num_draws):
        chosen = [available[np.sort(draw.permutation(len(available))[:size])] for _ in moments]
        (mx, cx), (my, cy) = (m.gaussian(c) for m, c in zip(moments, chosen, strict=True))
        count = 2.0 / sum(1.0 / m.count[c].sum() for m, c in zip(moments, chosen, strict=True))
        rows.append((1.0 / count, gaussian_frechet(mx, cx, my, cy), size))
    inverse, values, size = np.array(rows).T
    # each size once, larger ones vary less
    weight = np.sqrt(size) / np.sqrt([np.sum(size == s) for s in size])
    return float(np.polyfit(inverse, values, 1, w=weight)[1])

  everything = np.arange(num_blocks)
  groups = np.array_split(everything, min(10, num_blocks))
  left_out = [intercept(np.setdiff1d(everything, group)) for group in groups]
  return Estimate(intercept(everything), jackknife_error(np.array(left_out)))


def kernel_distance(x: np.ndarray, y: np.ndarray, *, degree: int = 4, num_blocks: int = 10) -> Estimate:
  """KPD of features [n d] and [m d]: unbiased MMD^2 with the polynomial kernel (x.y / d + 1)^degree (Kansal
  et al. 2023, sec. III), unbiased at any N.

  Features are standardised by the first sample; the error is a jackknife over blocks of both.
  """
  x, y = np.asarray(x, float), np.asarray(y, float)
  scale = x.std(0)
  x, y = ((s - x.mean(0)) / np.where(scale > 0, scale, 1.0) for s in (x, y))
  kernel = lambda a, b: (a @ b.T / a.shape[1] + 1.0)**degree
  xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
  np.fill_diagonal(xx, 0.0)
  np.fill_diagonal(yy, 0.0)
  blocks_x, blocks_y = (np.arange(len(s)) * num_blocks // len(s) for s in (x, y))

  def sums(k, rows, columns):
    return np.array(
        [[k[np.ix_(rows == i, columns == j)].sum() for j in range(num_blocks)] for i in range(num_blocks)])

  pairs = sums(xx, blocks_x, blocks_x), sums(yy, blocks_y, blocks_y), sums(xy, blocks_x, blocks_y)
  size_x, size_y = (np.bincount(b, minlength=num_blocks) for b in (blocks_x, blocks_y))

  def value(kept: np.ndarray) -> float:
    n, m = size_x[kept].sum(), size_y[kept].sum()
    a, b, c = (p[np.ix_(kept, kept)].sum() for p in pairs)
    return float(a / (n * (n - 1)) + b / (m * (m - 1)) - 2.0 * c / (n * m))

  every = np.arange(num_blocks)
  return Estimate(value(every), jackknife_error(np.array([value(np.delete(every, i)) for i in every])))
