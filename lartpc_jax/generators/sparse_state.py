"""States of sparse images: a gap between empty and lit pixels, and block maps, which say where charge is.

Both are exact functions of the image and commute with rotations and reflections of it.
"""
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


class GapScale(NamedTuple):
  """y = 0 if empty, else gap + asinh(charge / charge_scale_mev); the state is y / scale.

  The gap separates the faintest lit pixel from an empty one by more than the noise that sampling leaves, so
  that a threshold decodes exact zeros.
  """
  threshold_mev: float      # pixels below are empty
  charge_scale_mev: float
  gap: float
  scale: float              # root mean square of y over the pixels of the data

  @property
  def faintest(self) -> float:
    """y of a pixel at the threshold."""
    return self.gap + math.asinh(self.threshold_mev / self.charge_scale_mev)


class BlockScale(NamedTuple):
  """A map [b n/size n/size 2] of blocks of pixels: (sqrt(lit) / lit_scale, (mean y of the lit - mean) /
  mean_scale).

  The scales are the root mean square of the channel over the data; an empty block is (0, 0).
  """
  size: int
  lit_scale: float
  mean: float
  mean_scale: float


def gap_state(image_mev: Float[Array, "b n m"], gap: GapScale) -> Float[Array, "b n m 1"]:
  """State of an image in MeV; see `GapScale`."""
  lit = image_mev >= gap.threshold_mev
  y = jnp.where(lit, gap.gap + jnp.arcsinh(image_mev / gap.charge_scale_mev), 0.0)
  return (y / gap.scale)[..., None]


def image_from_gap_state(state: Float[Array, "b n m 1"], gap: GapScale) -> Float[Array, "b n m"]:
  """Image in MeV; the inverse of `gap_state` for images without pixels in (0, threshold_mev).

  Half way into the gap decides between empty and lit. What lies above that and below the threshold is
  reflected at it: a spectrum with a sharp edge that was smeared keeps its density there, while clipping would
  heap pixels up at the edge.
  """
  y = state[..., 0] * gap.scale
  charge = gap.charge_scale_mev * jnp.sinh(gap.faintest + jnp.abs(y - gap.faintest) - gap.gap)
  return jnp.where(y > 0.5 * gap.faintest, charge, 0.0)


def _blocks(x: Float[Array, "b n m"], size: int) -> Float[Array, "b h w p"]:
  b, n, m = x.shape
  blocks = x.reshape(b, n // size, size, m // size, size).transpose(0, 1, 3, 2, 4)
  return blocks.reshape(b, n // size, m // size, -1)


def block_map(state: Float[Array, "b n m 1"], gap: GapScale, block: BlockScale) -> Float[Array, "b h w 2"]:
  """Map of a clean state; see `BlockScale`."""
  y = _blocks(state[..., 0] * gap.scale, block.size)
  num = jnp.sum(y > 0.5 * gap.faintest, axis=-1).astype(y.dtype)
  mean = y.sum(-1) / jnp.maximum(num, 1.0)
  return _scaled(num, mean, block)


def map_of_pixels(pixels: Int[np.ndarray, "k 2"], charge_mev: Float[np.ndarray, " k"], num_pixels: int,
                  gap: GapScale, block: BlockScale) -> Float[np.ndarray, "h w 2"]:
  """`block_map` [h w 2] of a picture given by its pixels with charge [k 2] and that charge [k]. numpy,
  float32."""
  lit = charge_mev >= gap.threshold_mev
  side = num_pixels // block.size
  cell = np.ravel_multi_index(tuple((pixels[lit] // block.size).T), (side, side))
  y = gap.gap + np.arcsinh(charge_mev[lit].astype(np.float64) / gap.charge_scale_mev)
  num, total = (np.bincount(cell, weights, minlength=side**2) for weights in (None, y))
  charge = np.where(num > 0, (total / np.maximum(num, 1) - block.mean) / block.mean_scale, 0.0)
  return np.stack([np.sqrt(num) / block.lit_scale, charge], axis=-1).reshape(side, side, 2).astype(np.float32)


def _scaled(num, mean, block: BlockScale):
  charge = jnp.where(num > 0.0, (mean - block.mean) / block.mean_scale, 0.0)
  return jnp.stack([jnp.sqrt(num) / block.lit_scale, charge], axis=-1)


def lit_pixels(block_values: Float[Array, "b h w 2"], block: BlockScale) -> Float[Array, "b h w"]:
  """Whole numbers of lit pixels, 0 to size^2, of a map that was drawn."""
  root = jnp.maximum(block_values[..., 0] * block.lit_scale, 0.0)
  num = jnp.clip(jnp.round(root**2), 0.0, float(block.size**2))
  return jnp.where(root < 0.5, 0.0, num)  # a root below 0.5 is nearer to none than to one


def whole_map(block_values: Float[Array, "b h w 2"], block: BlockScale) -> Float[Array, "b h w 2"]:
  """A drawn map made one of an image: whole numbers of lit pixels, and no charge where there are none."""
  num = lit_pixels(block_values, block)
  return _scaled(num, block_values[..., 1] * block.mean_scale + block.mean, block)


def surroundings(maps: Float[Array, "b m m k"], margin: int, side: int) -> Float[Array, "b t t j"]:
  """What a network is told of the map of a window: of every cell but the margin those up to `margin` away.

  Args:
    maps: of the window, with `margin` cells on every side.
    margin: see above; 0 leaves the map as it is.
    side: of what comes out, at least; a cell of a coarser map is repeated. 0: as many as there are cells.
  """
  inner = maps.shape[1] - 2 * margin
  if margin:
    reach = range(2 * margin + 1)
    maps = jnp.concatenate([maps[:, i:i + inner, j:j + inner] for i in reach for j in reach], axis=-1)
  ratio = max(side // inner, 1)
  return maps if ratio == 1 else jnp.repeat(jnp.repeat(maps, ratio, 1), ratio, 2)
