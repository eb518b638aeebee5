"""One denoiser of a large, mostly empty picture, made of one that knows windows of it.

Windows tile the picture, and the tiling is another one at every noise level, so that what crosses a border at
one level lies inside a window at the next. Only windows with lit cells are computed; all else is empty.
"""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lartpc_jax.geometry.windows import Windows, count_lit, cut, join, num_places

AT_ONCE = 32     # windows that the network sees together: memory does not grow with the picture


def place_of(sigma: Float[Array, ""], windows: Windows) -> Int[Array, " 2"]:
  """Where the tiling starts at a noise level: a fixed hash of it, so that the denoiser is a function of x and
  sigma."""
  bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(sigma).astype(jnp.float32), jnp.uint32)
  return jax.random.randint(jax.random.fold_in(jax.random.key(0), bits), (2,), 0, num_places(windows))


def windowed_denoiser(local: Callable, told: dict[str, Array], maps: Float[Array, "b g g k"],
                      lit: Bool[Array, "b h w"], windows: Windows, *, cell_px: int, map_cell_px: int,
                      num_windows: int) -> Callable:
  """denoise_fn(x [b h w c], sigma [b]) of whole pictures; all sigma are equal.

  Args:
    local: (x [p s s c], sigma [p], {name: [p ...], "map": [p m m k]}) -> like x, for windows.
    told: name -> [b ...], what all windows of a picture are told.
    maps: what the pictures are given, of which a window is told its part with the margin.
    lit: cells of windows.step_px that may hold charge.
    windows: geometry.
    cell_px: pixels of a cell of x.
    map_cell_px: of a cell of the maps.
    num_windows: windows of all pictures that are computed, a multiple of AT_ONCE; see `windows_needed`. If
      there are more, all that comes out is NaN.
  Differentiable in x, told and maps.
  """
  alive = jnp.repeat(jnp.repeat(lit, windows.step_px // cell_px, 1), windows.step_px // cell_px, 2)[..., None]

  def denoise_fn(x, sigma):
    place = place_of(sigma[0], windows)
    tiles = cut(x, windows, place, cell_px=cell_px)
    b, n, k = tiles.shape[:3]
    occupied = cut(lit[..., None], windows, place, cell_px=windows.step_px)
    needed = jnp.any(occupied, axis=(3, 4, 5)).reshape(-1)
    chosen = jnp.nonzero(needed, size=num_windows, fill_value=b * n * k)[0]
    take = lambda a: a.reshape(b * n * k, *a.shape[3:]).at[chosen].get(mode="clip")
    picture = jnp.minimum(chosen // (n * k), b - 1)
    parts = {"map": take(cut(maps, windows, place, cell_px=map_cell_px, margin=True)),
             **{name: values[picture] for name, values in told.items()}}
    groups = jax.tree.map(lambda a: a.reshape(num_windows // AT_ONCE, AT_ONCE, *a.shape[1:]),
                          (take(tiles), sigma[picture], parts))
    found = jax.lax.map(lambda group: local(*group), groups).reshape(num_windows, *tiles.shape[3:])
    empty = jnp.zeros((b * n * k, *tiles.shape[3:]), x.dtype)
    joined = join(empty.at[chosen].set(found, mode="drop").reshape(tiles.shape), windows, place,
                  cell_px=cell_px)
    enough = jnp.sum(needed) <= num_windows
    return jnp.where(enough, jnp.where(alive, joined, 0.0), jnp.nan)
  return denoise_fn


def windows_needed(lit: Bool[np.ndarray, "b h w"], windows: Windows, chunk_size: int
                   ) -> tuple[np.ndarray, int]:
  """An order of the pictures [b] in which chunks need about equally many windows, and how many the largest
  needs.

  Pictures are dealt out to the chunks by their number of windows, the most first, forth and back. The last
  chunk is filled up with its last picture, as `parallel.make_device_map` does.
  """
  counts = count_lit(lit, windows)
  num, chunks = len(lit), -(-len(lit) // chunk_size)
  ranked = np.argsort(-counts.max((1, 2)), kind="stable")
  rank = np.arange(num)
  column = np.where(rank // chunks % 2, chunks - 1 - rank % chunks, rank % chunks)
  order = ranked[np.argsort(column, kind="stable")]
  filled = counts[order][np.minimum(np.arange(chunks * chunk_size), num - 1)]
  most = int(filled.reshape(chunks, chunk_size, *counts.shape[1:]).sum(1).max())
  return order, max(-(-most // AT_ONCE), 1) * AT_ONCE


def lit_cells(lit: Bool[Array, "b h w"], cell_px: int, windows: Windows) -> Bool[Array, "b g g"]:
  """Cells of windows.step_px that hold a lit one of cell_px."""
  b, h, w = lit.shape
  ratio = windows.step_px // cell_px
  return jnp.any(lit.reshape(b, h // ratio, ratio, w // ratio, ratio), axis=(2, 4))
