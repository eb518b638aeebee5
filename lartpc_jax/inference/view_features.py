"""What a momentum estimator sees of the views of an event: charge on a grid turned to the track, and a few
moments."""
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.geometry.rasterize import VIEWS, ImageSpec, view_axes

_NUM_BRIGHTEST = 160  # pixels that are turned; 50-100 MeV protons light at most 107 of 4096 (256 events)
# Knots in mm along and across the track: as fine as the pixels near the vertex, where the direction is
# written.
ALONG_MM = np.array(
    [-24, -15, -9, -6, -3, 0, 3, 6, 9, 12, 15, 18, 22, 26, 30, 35, 40, 45, 50, 56, 62, 68, 75, 85, 96.0])
ACROSS_MM = np.array([-36, -18, -12, -8, -5, -3, -1.5, 0, 1.5, 3, 5, 8, 12, 18, 36.0])


class ViewSummary(NamedTuple):
  """One view of b events, in its own track frame: turned about the vertex until the centroid of the charge is
  along +u."""
  charge_mev: Float[Array, " b"]
  cos: Float[Array, " b"]           # of the azimuth of the charge-weighted centroid
  sin: Float[Array, " b"]
  centroid_mm: Float[Array, " b"]   # its distance from the vertex
  grid_mev: Float[Array, "b u v"]   # charge at the knots


def _hats(coordinate: Float[Array, " m"], knots: np.ndarray) -> Float[Array, "m k"]:
  """Weights of linear interpolation between knots: they add up to 1 and keep the first moment, but for what
  lies outside."""
  knots = jnp.asarray(knots, coordinate.dtype)
  x = jnp.clip(coordinate, knots[0], knots[-1])[:, None]
  step = jnp.diff(knots)
  rising = jnp.concatenate([jnp.ones_like(x), (x - knots[None, :-1]) / step[None]], axis=1)
  falling = jnp.concatenate([(knots[None, 1:] - x) / step[None], jnp.ones_like(x)], axis=1)
  return jnp.clip(jnp.minimum(rising, falling), 0.0, 1.0)


def summarize_view(images: Float[Array, "b n n"], spec: ImageSpec = ImageSpec()) -> ViewSummary:
  """Turned grid, charge and centroid of one view. Charge outside the 160 brightest pixels is left out of the
  grid."""
  edges, _ = spec.edges_mm()
  centre = 0.5 * (edges[1:] + edges[:-1])
  x, y = (jnp.asarray(c.reshape(-1), images.dtype) for c in np.meshgrid(centre, centre, indexing="ij"))

  def one(image):
    charge, index = jax.lax.top_k(image.reshape(-1), min(_NUM_BRIGHTEST, image.size))
    px, py, total = x[index], y[index], image.sum()
    cx, cy = jnp.sum(charge * px), jnp.sum(charge * py)
    length = jnp.sqrt(cx**2 + cy**2 + 1e-12)
    cos, sin = cx / length, cy / length
    along, across = _hats(cos * px + sin * py, ALONG_MM), _hats(cos * py - sin * px, ACROSS_MM)
    return ViewSummary(total, cos, sin, length / jnp.maximum(charge.sum(), 1e-6),
                       jnp.einsum("mu,m,mv->uv", along, charge, across))
  return jax.vmap(one)(images)


def grid_features(view: ViewSummary) -> Float[Array, "b f"]:
  """Square root of the grid, charge of each slice along the track, and the mean of each slice across it."""
  grid = view.grid_mev
  slices = grid.sum(2)
  across = jnp.asarray(ACROSS_MM, grid.dtype)
  mean = jnp.einsum("buv,v->bu", grid, across) / (slices + 0.02)
  return jnp.concatenate([
      jnp.sqrt(grid).reshape(len(grid), -1),
      jnp.sqrt(slices), 0.2 * mean,
      jnp.stack([(view.charge_mev - 75.0) / 25.0, view.centroid_mm / 30.0], axis=-1)
  ], axis=-1)


def shared_axis(views: tuple[str, ...]) -> tuple[int, int, int]:
  """Axes of the detector (shared, first's other, second's other) of two views.

  Raises:
    ValueError: unless the views are two different ones of `rasterize.VIEWS`.
  """
  if len(views) != 2 or set(view_axes(views[0])[:2]) == set(view_axes(views[1])[:2]):
    raise ValueError(f"Need two different views of {sorted(VIEWS)}; got {views}.")
  first, second = (view_axes(view)[:2] for view in views)
  (shared,) = set(first) & set(second)
  other = lambda pair: pair[1] if pair[0] == shared else pair[0]
  return shared, other(first), other(second)
