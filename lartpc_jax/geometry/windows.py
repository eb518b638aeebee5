"""Square windows of a picture that a network sees one by one: tilings that can be shifted, cut and joined.

Windows tile a picture that is padded with emptiness, so every pixel lies in exactly one of them, wherever the
tiling starts. All lengths are multiples of the cells (pixels or blocks of pixels) of what is cut.
"""
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped


class Windows(NamedTuple):
  """Geometry of the windows, in pixels; from `make_windows`."""
  size_px: int    # side of a window
  step_px: int    # corners lie at multiples of it: a tiling has (size_px / step_px)^2 places
  margin_px: int  # of its surroundings, on each side, that a window is told


def make_windows(size_px: int, step_px: int, margin_px: int = 0) -> Windows:
  """The geometry. Raises ValueError naming a length that is no multiple of `step_px`, or not positive."""
  for name, value, low in (("step_px", step_px, 1), ("size_px", size_px, 1), ("margin_px", margin_px, 0)):
    if value < low or value % max(step_px, 1):
      raise ValueError(f"windows.{name} must be a multiple of windows.step_px = {step_px} and at least "
                       f"{low}; got {value}.")
  return Windows(size_px, step_px, margin_px)


def num_places(windows: Windows) -> int:
  """Places of the corner of a tiling on each axis."""
  return windows.size_px // windows.step_px


def cut(x: Shaped[Array, "b h w c"], windows: Windows, place: Int[Array, " 2"], *, cell_px: int,
        margin: bool = False) -> Shaped[Array, "b n k s t c"]:
  """[b h w c] -> [b n n s s c]: the windows of a tiling, n = h / s + 1 an axis, empty outside.

  Args:
    x: pictures; a cell of theirs is cell_px pixels wide.
    windows: geometry.
    place: where the tiling starts, two numbers below `num_places`.
    cell_px: see x.
    margin: with windows.margin_px on every side.
  """
  size, step = windows.size_px // cell_px, windows.step_px // cell_px
  extra = windows.margin_px // cell_px if margin else 0
  border = size + extra
  padded = jnp.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
  rows, columns = (place[axis] * step + size * jnp.arange(x.shape[1 + axis] // size + 1)[:, None]
                   + jnp.arange(size + 2 * extra)[None] for axis in (0, 1))
  return padded[:, rows][:, :, :, columns].transpose(0, 1, 3, 2, 4, 5)


def join(tiles: Float[Array, "b n k s t c"], windows: Windows, place: Int[Array, " 2"], *,
         cell_px: int) -> Float[Array, "b h w c"]:
  """The inverse of `cut` without margin."""
  size, step = windows.size_px // cell_px, windows.step_px // cell_px
  b, n, k, _, _, c = tiles.shape
  whole = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(b, n * size, k * size, c)
  start = (0, size - place[0] * step, size - place[1] * step, 0)
  return jax.lax.dynamic_slice(whole, start, (b, (n - 1) * size, (k - 1) * size, c))


def count_lit(lit: Bool[np.ndarray, "b h w"], windows: Windows) -> Int[np.ndarray, "b p p"]:
  """Number of windows with a lit cell of `lit` [b h w], for every place [p p] of the tiling; cells are
  step_px wide. numpy."""
  side = num_places(windows)
  b, h, w = lit.shape
  padded = np.pad(lit, ((0, 0), (side, side), (side, side)))
  counts = np.zeros((b, side, side), np.int64)
  for i, j in np.ndindex(side, side):
    tiles = padded[:, i:i + h + side, j:j + w + side].reshape(b, h // side + 1, side, w // side + 1, side)
    counts[:, i, j] = tiles.any((2, 4)).sum((1, 2))
  return counts
