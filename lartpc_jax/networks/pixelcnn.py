"""Gated PixelCNN (van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders") on maps of
codes.

A vertical stack sees the rows above, a horizontal one what is left in the row and the vertical stack; neither
has a blind spot. Every layer is a matrix product over shifted copies, so that one place can be computed
alone: `step` keeps what later places need, and a map costs as much as one pass over it.
"""
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.networks.sparse_transformer import Linear

FIRST = 3  # reach of the first layer, up, left and right; 1 of the others


class PixelCnnCache(NamedTuple):
  """What `step` remembers: of the vertical stack the row above and the present one, of the horizontal the
  place before."""
  above: Float[Array, "l b w c"]     # outputs of the vertical layers on the last row
  row: Float[Array, "l b w d"]       # their sums before the gate on the present row
  before: Float[Array, "l b c"]      # inputs of the horizontal layers at the last place


def gate(x: jax.Array) -> jax.Array:
  """tanh of one half of the channels times the sigmoid of the other (eq. 2 of the paper)."""
  a, b = jnp.split(x, 2, axis=-1)
  return jnp.tanh(a) * nn.sigmoid(b)


class GatedPixelCnn(nn.Module):
  """(codes [b h w], cond) -> logits [b h w k] of every code given those before it in raster order.

  Args:
    num_codes: k.
    width: channels of a layer.
    depth: layers.
    embedding: length of the vector of a code.
    hidden: channels before the logits.
  """
  num_codes: int
  width: int = 64
  depth: int = 8
  embedding: int = 32
  hidden: int = 128

  def setup(self):
    pairs = range(self.depth)
    self.code = self.param("code", nn.initializers.normal(1.0), (self.num_codes, self.embedding))
    self.told = Linear(self.width)
    self.vertical = [Linear(2 * self.width) for _ in pairs]
    self.vertical_told = [Linear(2 * self.width) for _ in pairs]
    self.across = [Linear(2 * self.width) for _ in pairs]
    self.horizontal = [Linear(2 * self.width) for _ in pairs]
    self.horizontal_told = [Linear(2 * self.width) for _ in pairs]
    self.residual = [Linear(self.width) for _ in pairs]
    self.expand = Linear(self.hidden)
    self.answer = Linear(self.num_codes)

  def _embed(self, codes):
    """Vectors [... e+1] of codes; the last entry tells them from what lies outside."""
    return jnp.concatenate([self.code[codes], jnp.ones((*codes.shape, 1))], axis=-1)

  def _condition(self, cond):
    keep = cond["keep"][:, None]
    return nn.silu(self.told(jnp.concatenate([cond["features"] * keep, keep], axis=-1)))

  def _vertical_sum(self, layer, taps, told):
    """Sums [b ... w 2c] before the gate of a vertical layer, from its shifted inputs."""
    bias = self.vertical_told[layer](told)
    return self.vertical[layer](taps) + bias.reshape(len(bias), *(1,) * (taps.ndim - 2), -1)

  def _horizontal(self, layer, taps, vertical, inputs, told):
    """Output [b ... c] of a horizontal layer."""
    bias = self.horizontal_told[layer](told)
    total = self.horizontal[layer](taps) + self.across[layer](vertical) + bias.reshape(
        len(bias), *(1,) * (taps.ndim - 2), -1)
    out = self.residual[layer](gate(total))
    return inputs + out if layer else out

  def _answer(self, x):
    return self.answer(nn.relu(self.expand(nn.relu(x))))

  def __call__(self, codes, cond):
    _, h, w = codes.shape
    told, x = self._condition(cond), self._embed(codes)
    vertical, horizontal = x, x
    for layer in range(self.depth):
      up, side = (FIRST, FIRST) if layer == 0 else (1, 1)
      # the first layer sees rows above, the others the own one too
      rows = range(up) if layer == 0 else range(up + 1)
      padded = jnp.pad(vertical, ((0, 0), (up, 0), (side, side), (0, 0)))
      taps = jnp.concatenate([padded[:, i:i + h, j:j + w] for i in rows for j in range(2 * side + 1)],
                             axis=-1)
      total = self._vertical_sum(layer, taps, told)
      padded = jnp.pad(horizontal, ((0, 0), (0, 0), (side, 0), (0, 0)))
      columns = range(side) if layer == 0 else range(side + 1)
      taps = jnp.concatenate([padded[:, :, j:j + w] for j in columns], axis=-1)
      vertical, horizontal = gate(total), self._horizontal(layer, taps, total, horizontal, told)
    return self._answer(horizontal)

  def empty_cache(self, num: int, shape: tuple[int, int]) -> PixelCnnCache:
    """Before the first place of maps of `shape`."""
    zeros = lambda *sizes: jnp.zeros((self.depth, num, *sizes))
    return PixelCnnCache(zeros(shape[1], self.width), zeros(shape[1], 2 * self.width), zeros(self.width))

  def _next_row(self, cache, codes, row, told):
    """The cache at the start of a row: the vertical stack, which needs rows above alone."""
    w = codes.shape[2]
    padded = jnp.pad(self._embed(codes), ((0, 0), (FIRST, 0), (FIRST, FIRST), (0, 0)))
    seen = jax.lax.dynamic_slice_in_dim(padded, row, FIRST, axis=1)  # rows row - FIRST to row - 1
    taps = jnp.concatenate([seen[:, i, j:j + w] for i in range(FIRST) for j in range(2 * FIRST + 1)], axis=-1)
    sums, outputs = [self._vertical_sum(0, taps, told)], []
    outputs.append(gate(sums[0]))
    for layer in range(1, self.depth):
      pair = [jnp.pad(x, ((0, 0), (1, 1), (0, 0))) for x in (cache.above[layer - 1], outputs[-1])]
      taps = jnp.concatenate([x[:, j:j + w] for x in pair for j in range(3)], axis=-1)
      sums.append(self._vertical_sum(layer, taps, told))
      outputs.append(gate(sums[-1]))
    return PixelCnnCache(jnp.stack(outputs), jnp.stack(sums), jnp.zeros_like(cache.before))

  def step(self, cache, codes, place, cond):
    """Logits [b k] of one place, and the cache for the next; codes from there on are not looked at."""
    w = codes.shape[2]
    row, column = place // w, place % w
    told = self._condition(cond)
    # the row above the first has no outputs, and those of the last row must not be seen before
    cache = jax.lax.cond(column == 0, lambda: self._next_row(cache, codes, row, told), lambda: cache)
    padded = jnp.pad(self._embed(jax.lax.dynamic_index_in_dim(codes, row, axis=1, keepdims=False)),
                     ((0, 0), (FIRST, 0), (0, 0)))
    x = jax.lax.dynamic_slice_in_dim(padded, column, FIRST, axis=1)
    taps = x.reshape(len(codes), -1)
    here, inputs = None, []
    for layer in range(self.depth):
      total = jax.lax.dynamic_index_in_dim(cache.row[layer], column, axis=1, keepdims=False)
      if layer:
        taps = jnp.concatenate([cache.before[layer], here], axis=-1)
      inputs.append(jnp.zeros((len(codes), self.width)) if here is None else here)
      here = self._horizontal(layer, taps, total, here, told)
    return self._answer(here), cache._replace(before=jnp.stack(inputs))
