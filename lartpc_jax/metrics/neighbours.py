"""Nearest neighbours of images: in L2, and exactly in Earth Mover's Distance among tens of thousands.

EMD between normalised images is bounded from below by the EMD of their projections on a line (projecting
shortens no distance). Projected distribution functions, averaged over steps of a grid, are linear in the
image: one matrix product for all images, and the bound is an L1 distance. Exact distances (POT) are solved in
the order of the bounds until the bound of the next exceeds the k-th best: the k nearest are exact, not
approximate.
"""
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from lartpc_jax.metrics.gof import squared_distances

SPARE = 8  # candidates beyond the k nearest, whose order the rounding of squares may have changed


class EmdIndex(NamedTuple):
  """Images to search among; from `build_index`."""
  images: np.ndarray     # [n h w], pixels above threshold, unnormalised
  # [n f] float32: the L1 distance of two codes, largest over groups, bounds the EMD from below
  codes: np.ndarray
  num_directions: int    # groups of f


class EmdNeighbours(NamedTuple):
  """The k nearest of q queries."""
  distance: np.ndarray   # [q k] px, ascending
  index: np.ndarray      # [q k]
  num_exact: np.ndarray  # [q] transport problems solved


def projection_matrix(shape: tuple[int, int], *, num_directions: int = 8, step_px: float = 2.0) -> np.ndarray:
  """Matrix [h*w, num_directions * steps]: integrals over steps of the distribution function of a projected
  unit mass."""
  h, w = shape
  x, y = (c.ravel().astype(float) for c in np.meshgrid(np.arange(h), np.arange(w), indexing="ij"))
  columns = []
  for angle in np.pi * np.arange(num_directions) / num_directions:
    s = x * np.cos(angle) + y * np.sin(angle)
    steps = int(np.ceil(np.hypot(h, w) / step_px)) + 1
    low = s.min() + step_px * np.arange(steps)
    columns.append(np.clip(low[None, :] + step_px - np.maximum(s[:, None], low[None, :]), 0.0, step_px))
  return np.concatenate(columns, axis=1).astype(np.float32)


def build_index(images: np.ndarray, *, threshold: float = 0.0, num_directions: int = 8, step_px: float = 2.0,
                chunk: int = 4096) -> EmdIndex:
  """Index of images [n h w] (any unit; each is normalised in comparisons).

  Raises:
    ValueError: if an image has no charge above the threshold.
  """
  matrix = projection_matrix(images.shape[1:], num_directions=num_directions, step_px=step_px)
  kept = np.where(images > threshold, images, 0).astype(np.float32)
  totals = kept.sum((1, 2))
  if len(totals) and not totals.min() > 0:
    raise ValueError(
        f"build_index needs charge in every image; image {int(np.argmin(totals))} has none above {threshold}."
    )
  flat = kept.reshape(len(kept), -1)
  codes = [(flat[i:i + chunk] / totals[i:i + chunk, None]) @ matrix for i in range(0, len(flat), chunk)]
  return EmdIndex(kept,
                  np.concatenate(codes) if codes else np.zeros((0, matrix.shape[1]), np.float32),
                  num_directions)


def lower_bounds(code: np.ndarray, codes: np.ndarray, num_directions: int) -> np.ndarray:
  """Bounds [n] from below, in px, of the EMD between one image and n: the best direction counts."""
  gap = np.abs(codes - code[None]).reshape(len(codes), num_directions, -1)
  return gap.sum(-1).max(-1)


class _Points(NamedTuple):
  points: np.ndarray
  weights: np.ndarray


def _points(image: np.ndarray) -> _Points:
  active = image > 0
  weights = image[active].astype(float)
  return _Points(np.argwhere(active).astype(float), weights / weights.sum())


def _exact(a: _Points, b: _Points) -> float:
  import ot
  cost = np.sqrt(squared_distances(a.points, b.points))
  return float(ot.emd2(a.weights, b.weights, cost, numItermax=1_000_000))


def nearest_emd(index: EmdIndex, queries: EmdIndex, *, num_neighbours: int = 5,
                progress: Callable | None = None) -> EmdNeighbours:
  """The nearest images of each query, exactly.

  Args:
    index: to search among.
    queries: from `build_index` with the same settings.
    num_neighbours: k.
    progress: called with the number of queries done.
  """
  distances, indices, solved = [], [], []
  for done, (image, code) in enumerate(zip(queries.images, queries.codes, strict=True)):
    bounds = lower_bounds(code, index.codes, index.num_directions) - 1e-4  # float32 sums
    order = np.argsort(bounds)
    query, best, count = _points(image), [], 0
    for candidate in order:
      if len(best) == num_neighbours and bounds[candidate] > best[-1][0]:
        break
      best.append((_exact(query, _points(index.images[candidate])), int(candidate)))
      best = sorted(best)[:num_neighbours]
      count += 1
    distances.append([d for d, _ in best])
    indices.append([i for _, i in best])
    solved.append(count)
    if progress is not None:
      progress(done + 1)
  return EmdNeighbours(np.array(distances), np.array(indices), np.array(solved))


def nearest_l2(queries: np.ndarray, images: np.ndarray, *, num_neighbours: int = 2,
               leave_out_self: bool = False, chunk: int = 1024) -> tuple[np.ndarray, np.ndarray]:
  """Euclidean distances [q k] to the nearest rows of images [n d], ascending, and their indices [q k].

  Args:
    leave_out_self: the queries are the images, and a row is no neighbour of itself.
  """
  found, where = [], []
  images = np.asarray(images)
  middle = np.mean(images, axis=0, dtype=np.float64)  # far from the origin squares would lose the differences
  middle = middle.astype(images.dtype if images.dtype.kind == "f" else np.float64)
  images = (images - middle).astype(np.float32, copy=False)
  for start in range(0, len(queries), chunk):
    part = np.asarray(queries[start:start + chunk] - middle, np.float32)
    squared = squared_distances(part, images)
    if leave_out_self:
      squared[np.arange(len(part)), start + np.arange(len(part))] = np.inf
    k, candidates = (min(count, squared.shape[1]) for count in (num_neighbours, num_neighbours + SPARE))
    index = np.argpartition(squared, candidates - 1, axis=1)[:, :candidates]
    # again from differences: a copy must come out at 0, not at the rounding of large squares
    exact = np.sqrt(np.sum((part[:, None].astype(float) - images[index])**2, axis=-1))
    if leave_out_self:
      exact[index == start + np.arange(len(part))[:, None]] = np.inf
    order = np.argsort(exact, axis=1, kind="stable")[:, :k]
    found.append(np.take_along_axis(exact, order, 1))
    where.append(np.take_along_axis(index, order, 1))
  return np.concatenate(found), np.concatenate(where)


def radii_and_distances(x: np.ndarray, y: np.ndarray, *, num_neighbours: int, chunk: int = 1024
                        ) -> tuple[np.ndarray, Iterator[tuple[slice, np.ndarray]]]:
  """Distances [n] of rows of x [n d] to the k-th nearest other row, and (rows, distances [r m] to y [m d])
  chunk by chunk.

  All from differences in float64, so that equal rows are at 0 and equal distances compare equal.
  """
  x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
  rows = [slice(start, start + chunk) for start in range(0, len(x), chunk)]
  k = min(num_neighbours, len(x) - 1)  # the row itself is among its own, at 0
  radius = np.concatenate([np.partition(cdist(x[part], x), k, axis=1)[:, k] for part in rows])
  return radius, ((part, cdist(x[part], y)) for part in rows)


def distinct(flat: np.ndarray) -> np.ndarray:
  """The rows of images [n d] without repetitions, in their order."""
  return flat[sorted({row.tobytes(): i for i, row in reversed([*enumerate(flat)])}.values())]


def pairwise_emd(images: np.ndarray, *, pool: int = 1, centred: bool = False, progress: Callable | None = None
                 ) -> np.ndarray:
  """Exact EMD in px [n n] between all pairs of normalised images [n h w].

  Args:
    pool: sums pool x pool pixels first, a fraction of the time; distances change by less than a pixel of the
      pooled image.
    centred: moves each image's centroid to one place first, so that shapes are compared, not where they lie.
    progress: called with the number of rows done.
  Raises:
    ValueError: naming an image without charge, or if pool does not divide its sides.
  """
  n, h, w = images.shape
  if h % pool or w % pool:
    raise ValueError(
        f"pairwise_emd needs a pool that divides the sides of the images, {h} and {w}; got {pool}.")
  empty = np.flatnonzero(~(images > 0).any((1, 2)))
  if len(empty):
    raise ValueError(
        f"pairwise_emd needs charge in every image; image {empty[0]} has none ({len(empty)} such images).")
  small = images.reshape(n, h // pool, pool, w // pool, pool).sum((2, 4))
  points = [_points(image) for image in small]
  if centred:
    points = [_Points(p.points - p.weights @ p.points, p.weights) for p in points]
  out = np.zeros((n, n))
  for i in range(n):
    for j in range(i):
      out[i, j] = out[j, i] = pool * _exact(points[i], points[j])
    if progress is not None:
      progress(i + 1)
  return out
