"""Sparse images as sequences of their lit pixels, each a cell, a place in the cell and a bin of charge.

Empty pixels are never drawn, so zeros are exact, and the likelihood of a sequence is one of the image. The
pixels come in a fixed order of the plane: n cells of n pixels, for images of n x n.
"""
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lartpc_jax.generators.condition import Condition
from lartpc_jax.generators.keyed import KeyedModel, features_of
from lartpc_jax.generators.sparse_state import GapScale
from lartpc_jax.types import Params

FINE = 16  # quantiles of a bin, between which a drawn charge is interpolated


class Plane(NamedTuple):
  """An order of the pixels of side x side, and quantiles of their charge."""
  # [side^2] number of the pixel (row side + column) at each place of the order
  pixels: np.ndarray
  side: int
  gap: GapScale                      # which pixels are lit, and y of their charge
  quantiles: Float[Array, " q"]      # of y of lit training pixels, FINE a bin, and the last


def raster_order(side: int) -> np.ndarray:
  """Row after row: a cell is a row, a place a column."""
  return np.arange(side**2)


def hilbert_order(side: int) -> np.ndarray:
  """Along Hilbert's curve, which leaves no square before it is done: cells are squares, for a side of 4^k.

  Raises ValueError for a side that is no power of two.
  """
  if side < 1 or side & (side - 1):
    raise ValueError(f"order = 'hilbert' needs a side that is a power of two; got {side}.")
  t, x, y = np.arange(side**2), np.zeros(side**2, int), np.zeros(side**2, int)
  size = 1
  while size < side:  # the usual iteration over quadrants, from the smallest up
    right, up = 1 & (t // 2), 1 & (t ^ (t // 2))
    flipped = (up == 0) & (right == 1)
    x, y = np.where(flipped, size - 1 - x, x), np.where(flipped, size - 1 - y, y)
    x, y = np.where(up == 0, y, x), np.where(up == 0, x, y)
    x, y, t, size = x + size * right, y + size * up, t // 4, 2 * size
  return y * side + x


ORDERS = {"hilbert": hilbert_order, "raster": raster_order}


def charge_quantiles(images_mev: np.ndarray, gap: GapScale, num_bins: int) -> np.ndarray:
  """Quantiles [num_bins FINE + 1] of y of the lit pixels."""
  charge = images_mev[images_mev >= gap.threshold_mev].astype(float)
  return np.quantile(gap.gap + np.arcsinh(charge / gap.charge_scale_mev),
                     np.linspace(0.0, 1.0, num_bins * FINE + 1))


def sequences_of(images_mev: Float[Array, "b n m"], plane: Plane, length: int) -> tuple[Int[Array, "b t 3"],
                                                                                       Int[Array, " b"]]:
  """The first `length` lit pixels of images, and how many there are in all; what is behind them is 0."""
  b, side = len(images_mev), plane.side
  charge = images_mev.reshape(b, -1)[:, plane.pixels]
  lit = charge >= plane.gap.threshold_mev
  at = jnp.where(lit, jnp.cumsum(lit, axis=1) - 1, length)  # beyond the end: dropped
  put = lambda values, at: jnp.zeros((length,), values.dtype).at[at].set(values, mode="drop")
  order = jax.vmap(lambda at: put(jnp.arange(side**2, dtype=jnp.int32), at))(at)
  y = plane.gap.gap + jnp.arcsinh(jax.vmap(put)(charge, at) / plane.gap.charge_scale_mev)
  edges = plane.quantiles[FINE:-1:FINE]
  bins = jnp.searchsorted(edges, y, side="right").astype(jnp.int32)
  num = lit.sum(1, dtype=jnp.int32)
  present = jnp.arange(length)[None] < num[:, None]
  found = jnp.stack([order // side, order % side, bins], axis=-1)
  return jnp.where(present[..., None], found, 0), num


def _along(numbers: np.ndarray, axes: int) -> Array:
  """int32 numbers along a last axis behind so many others."""
  return jnp.asarray(numbers, jnp.int32).reshape((1,) * axes + (-1,))


def allowed_cells(before: Int[Array, "..."], side: int) -> Array:
  """[... side + 1] which cells have a pixel behind `before` (place in the order, -1: none), and the end."""
  last = _along((np.arange(side) + 1) * side - 1, before.ndim)
  cells = last > before[..., None]
  return jnp.concatenate([cells, jnp.ones((*before.shape, 1), bool)], axis=-1)


def allowed_places(before: Int[Array, "..."], cell: Int[Array, "..."], side: int) -> Array:
  """[... side] which places of a cell are behind `before`."""
  return cell[..., None] * side + _along(np.arange(side), cell.ndim) > before[..., None]


def masked(logits: Array, allowed: Array) -> Array:
  """Logits with what is not allowed at a probability of 0 (-1e9: finite, for gradients)."""
  return jnp.where(allowed, logits, -1e9)


class SequenceNats(NamedTuple):
  """Log probabilities [b] of the parts of sequences, in nats."""
  cell: Float[Array, " b"]
  place: Float[Array, " b"]
  charge: Float[Array, " b"]


def sequence_nats(logits: tuple[Array, Array, Array], sequences: Int[Array, "b t 3"], num: Int[Array, " b"],
                  side: int) -> SequenceNats:
  """Exact log probability of sequences, and of their end where they end within t (else of the beginning
  alone).

  Args:
    logits: of cells [b t+1 side+1], places [b t side] and bins [b t q]; see `networks.discrete`.
    sequences: from `sequences_of`.
    num: likewise.
    side: pixels a side.
  """
  b, t, _ = sequences.shape
  cell, place, charge = (sequences[..., i] for i in range(3))
  before = jnp.concatenate([jnp.full((b, 1), -1, jnp.int32), cell * side + place], axis=1)
  present = jnp.arange(t)[None] < num[:, None]
  ended = jnp.arange(t + 1)[None] == num[:, None]
  of_cell = jax.nn.log_softmax(masked(logits[0], allowed_cells(before, side)))
  of_place = jax.nn.log_softmax(masked(logits[1], allowed_places(before[:, :-1], cell, side)))
  of_charge = jax.nn.log_softmax(logits[2])
  taken = lambda values, index: jnp.take_along_axis(values, index[..., None], axis=-1)[..., 0]
  total = lambda values, index: jnp.where(present, taken(values, index), 0.0).sum(1)
  end = jnp.where(ended, of_cell[..., -1], 0.0).sum(1)
  return SequenceNats(total(of_cell[:, :-1], cell) + end, total(of_place, place), total(of_charge, charge))


def draw_sequences(network: tuple, params: Params, keys: Array, cond: dict, plane: Plane, max_pixels: int
                   ) -> Float[Array, "b n m"]:
  """Images in MeV, pixel after pixel until all have ended, or have max_pixels."""
  b, side = len(keys), plane.side
  pixels = jnp.asarray(plane.pixels)

  def go_on(carry):
    index, _, done, _, _ = carry
    return (index < max_pixels) & ~done.all()

  def pixel(carry):
    index, previous, done, image, cache = carry
    hidden, cache = network.step(params, cache, previous, index, cond)
    split = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, index), 4))(keys)
    draw = lambda column, logits: jax.vmap(jax.random.categorical)(split[:, column], logits).astype(jnp.int32)
    before = jnp.where(index == 0, -1, previous[:, 0] * side + previous[:, 1])
    cell = draw(0, masked(network.cell_logits(params, hidden), allowed_cells(before, side)))
    done = done | (cell == side)
    cell = jnp.minimum(cell, side - 1)
    place = draw(1, masked(network.place_logits(params, hidden, cell), allowed_places(before, cell, side)))
    charge = draw(2, network.bin_logits(params, hidden, cell, place))
    within = jax.vmap(jax.random.uniform)(split[:, 3])
    at = FINE * (charge.astype(jnp.float32) + within)
    y = jnp.interp(at, jnp.arange(len(plane.quantiles), dtype=jnp.float32), plane.quantiles)
    value = plane.gap.charge_scale_mev * jnp.sinh(y - plane.gap.gap)
    where = jnp.where(done, side**2, pixels[cell * side + place])
    image = jax.vmap(lambda image, at, value: image.at[at].set(value, mode="drop"))(image, where, value)
    return index + 1, jnp.stack([cell, place, charge], axis=-1), done, image, cache

  start = (jnp.int32(0), jnp.zeros((b, 3), jnp.int32), jnp.zeros(b, bool), jnp.zeros((b, side**2)),
           network.start(b, max_pixels))
  return jax.lax.while_loop(go_on, pixel, start)[3].reshape(b, side, side)


def make_sequence_model(network: tuple, params: Params, *, plane: Plane, condition: Condition,
                        table: dict[str, Array], max_pixels: int) -> KeyedModel:
  """The trained network as what draws by keys; its nats are those of pixels and bins, without a condition
  (NaN for images of more pixels than it draws).

  Args:
    network: `networks.discrete.PixelSequenceNetwork`.
    params: of it.
    plane: order and charges.
    condition: what it is told.
    table: conditions of training images.
    max_pixels: at most, of an image.
  """
  told = lambda cond, num: {"features": features_of(condition, cond, num), "keep": jnp.ones(num)}

  def draw(keys: Array, cond: dict[str, Array]) -> Float[Array, "b n m"]:
    return draw_sequences(network, params, keys, told(cond, len(keys)), plane, max_pixels)

  def nats(images: Float[Array, "b n m"]) -> Float[Array, " b"]:
    sequences, num = sequences_of(images, plane, max_pixels)
    row = {name: values[:1].repeat(len(images)) for name, values in table.items()}
    cond = {**told(row, len(images)), "keep": jnp.zeros(len(images))}  # the features are not looked at
    found = sequence_nats(network.logits(params, sequences, cond), sequences, num, plane.side)
    return jnp.where(num <= max_pixels, found.cell + found.place + found.charge, jnp.nan)
  return KeyedModel(draw, condition, table, nats)
