"""Windows of pictures against loops in numpy: cut, join, margins, counts."""
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.geometry import windows as lib

WINDOWS = lib.make_windows(8, 4, 4)
PLACES = [(0, 0), (1, 0), (0, 1), (1, 1)]


def window_by_loops(x, row, column, size):
  """The square at (row, column) of [h w c], empty outside."""
  out = np.zeros((size, size, x.shape[-1]), x.dtype)
  for i, j in np.ndindex(size, size):
    if 0 <= row + i < x.shape[0] and 0 <= column + j < x.shape[1]:
      out[i, j] = x[row + i, column + j]
  return out


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("cell_px", [1, 2])
def test_windows_are_those_of_loops_and_join_to_the_picture(place, cell_px):
  x = np.random.default_rng(0).normal(size=(2, 16 // cell_px, 24 // cell_px, 3)).astype(np.float32)
  size, step = 8 // cell_px, 4 // cell_px
  for margin in (0, step):
    tiles = np.asarray(lib.cut(jnp.asarray(x), WINDOWS, jnp.array(place), cell_px=cell_px,
                               margin=bool(margin)))
    assert tiles.shape == (2, 3, 4, size + 2 * margin, size + 2 * margin, 3)
    for b, n, k in np.ndindex(2, 3, 4):
      corner = np.array(place) * step - size + np.array([n, k]) * size - margin
      np.testing.assert_array_equal(tiles[b, n, k], window_by_loops(x[b], *corner, size + 2 * margin))
  tiles = lib.cut(jnp.asarray(x), WINDOWS, jnp.array(place), cell_px=cell_px)
  np.testing.assert_array_equal(lib.join(tiles, WINDOWS, jnp.array(place), cell_px=cell_px), x)


def test_counts_are_those_of_the_windows_that_are_cut():
  lit = np.random.default_rng(1).random((5, 6, 6)) < 0.1
  counts = lib.count_lit(lit, WINDOWS)
  assert counts.shape == (5, 2, 2)
  for place in PLACES:
    tiles = lib.cut(jnp.asarray(lit)[..., None], WINDOWS, jnp.array(place), cell_px=4)
    np.testing.assert_array_equal(counts[:, place[0], place[1]], np.asarray(tiles).any((3, 4, 5)).sum((1, 2)))


@pytest.mark.parametrize("values,message", [
    ((60, 16, 0), "windows.size_px must be a multiple of windows.step_px = 16 and at least 1; got 60"),
    ((64, 16, 8), "windows.margin_px must be a multiple"), ((64, 0, 0), "windows.step_px must be")])
def test_bad_lengths_are_named(values, message):
  with pytest.raises(ValueError, match=message):
    lib.make_windows(*values)
