"""A causal transformer on tokens that lie in a plane, with a cache of keys and values; and two models made of
it: maps of codes in raster order, and lit pixels in any fixed order.

RMSNorm, normalised queries and keys, rotary positions on two axes (Su et al. 2021; row and column turn half
of a head each), squared ReLU (So et al. 2021).
"""
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.networks.sparse_transformer import Linear, rms_norm

ROTARY_BASE = 100.0  # wavelengths of 2 pi to 2 pi 100 tokens: planes have up to 64 on a side


class Cache(NamedTuple):
  """Keys and values [b t h c] of each block at all places so far; those behind are zero and masked.

  An array for each block: in a loop they are written in place, while one of all blocks would be copied.
  """
  keys: tuple[Array, ...]
  values: tuple[Array, ...]


def rotated(x: Float[Array, "b t h c"], positions: Float[Array, "b t 2"]) -> Float[Array, "b t h c"]:
  """Pairs of channels turned by angles proportional to row (first half) and column (second half)."""
  quarter = x.shape[-1] // 4
  frequencies = jnp.asarray(ROTARY_BASE ** (-np.arange(quarter) / quarter), jnp.float32)
  angles = (positions[..., None] * frequencies[None, None, None]).reshape(*positions.shape[:2], 1, -1)
  a, b = jnp.split(x, 2, axis=-1)
  cos, sin = jnp.cos(angles), jnp.sin(angles)
  return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


class CausalBlock(nn.Module):
  """Attention to what came before and a layer of squared ReLU, on tokens [b t d]."""
  width: int
  num_heads: int
  expansion: int

  def setup(self):
    self.qkv = Linear(self.width, num=3)
    self.out = Linear(self.width, gain=0.5)
    self.expand = Linear(self.expansion * self.width)
    self.contract = Linear(self.width, gain=0.5)
    size = self.width // self.num_heads
    self.q_gain = self.param("q_gain", nn.initializers.ones, (size,))
    self.k_gain = self.param("k_gain", nn.initializers.ones, (size,))

  def __call__(self, x, positions, past=None, index=0):
    """Outputs, and keys and values of all places; `past` are those up to `index`, where x begins."""
    b, t, d = x.shape
    y = self.qkv(rms_norm(x)).reshape(b, t, 3, self.num_heads, d // self.num_heads)
    q, k = (rotated(rms_norm(y[:, :, i]) * gain[None, None, None], positions)
            for i, gain in enumerate((self.q_gain, self.k_gain)))
    keys, values = k, y[:, :, 2]
    if past is not None:
      keys, values = (jax.lax.dynamic_update_slice_in_dim(old, new, index, axis=1)
                      for old, new in zip(past, (keys, values)))
    logits = jnp.einsum("bqhc,bkhc->bhqk", q, keys) * q.shape[-1]**-0.5
    allowed = jnp.arange(keys.shape[1])[None] <= index + jnp.arange(t)[:, None]
    weights = nn.softmax(jnp.where(allowed[None, None], logits, -1e9))
    x = x + self.out(jnp.einsum("bhqk,bkhc->bqhc", weights, values).reshape(b, t, d))
    y = jnp.square(nn.relu(self.expand(rms_norm(x))))
    return x + self.contract(y), (keys, values)


class CausalTransformer(nn.Module):
  """Tokens [b t d] at positions [b t 2] -> hidden states [b t d], each of what came up to it.

  Args:
    width: d.
    depth: number of blocks.
    num_heads: of attention; 4 of them must divide d.
    expansion: hidden channels of a block's second layer, in units of width.
  """
  width: int
  depth: int
  num_heads: int
  expansion: int = 4

  def setup(self):
    self.block = [CausalBlock(self.width, self.num_heads, self.expansion) for _ in range(self.depth)]

  def __call__(self, x, positions):
    for block in self.block:
      x, _ = block(x, positions)
    return rms_norm(x)

  def step(self, x, position, cache, index):
    """Hidden state [b d] of one token [b d] at position [b 2], the index-th, and the cache with it."""
    x, found = x[:, None], []
    for block, *past in zip(self.block, cache.keys, cache.values):
      x, new = block(x, position[:, None], past, index)
      found.append(new)
    return rms_norm(x)[:, 0], Cache(*(tuple(each) for each in zip(*found)))


def empty_cache(num: int, length: int, width: int, depth: int, num_heads: int) -> Cache:
  """Before the first of so many tokens."""
  zeros = lambda: tuple(jnp.zeros((num, length, num_heads, width // num_heads)) for _ in range(depth))
  return Cache(zeros(), zeros())


class Told(nn.Module):
  """What the condition adds to every token: [b d]; an image that is not told adds what no condition gives."""
  width: int

  @nn.compact
  def __call__(self, cond):
    keep = cond["keep"][:, None]
    h = nn.silu(Linear(self.width, name="first")(jnp.concatenate([cond["features"] * keep, keep], axis=-1)))
    return Linear(self.width, name="second")(h)


class CodeTransformer(nn.Module):
  """(codes [b h w], cond) -> logits [b h w k] of every code given those before it in raster order.

  Token i is the code before place i, and place i itself; fields as of `CausalTransformer`.
  """
  num_codes: int
  width: int = 128
  depth: int = 6
  num_heads: int = 4
  expansion: int = 4

  def setup(self):
    vectors = lambda name, *shape: self.param(name, nn.initializers.normal(0.5), (*shape, self.width))
    self.code = vectors("code", self.num_codes)
    self.first = vectors("first")
    self.row, self.column = vectors("row", 64), vectors("column", 64)
    self.told = Told(self.width)
    self.trunk = CausalTransformer(self.width, self.depth, self.num_heads, self.expansion)
    self.answer = Linear(self.num_codes)

  def _tokens(self, before, row, column, cond):
    """Tokens [b t d] of the vectors before [b t d] and places [t]."""
    return before + (self.row[row] + self.column[column])[None] + self.told(cond)[:, None]

  def __call__(self, codes, cond):
    b, h, w = codes.shape
    row, column = jnp.arange(h * w) // w, jnp.arange(h * w) % w
    before = jnp.concatenate([jnp.broadcast_to(self.first[None, None], (b, 1, self.width)),
                              self.code[codes.reshape(b, -1)[:, :-1]]], axis=1)
    positions = jnp.broadcast_to(jnp.stack([row, column], axis=-1).astype(jnp.float32)[None], (b, h * w, 2))
    hidden = self.trunk(self._tokens(before, row, column, cond), positions)
    return self.answer(hidden).reshape(b, h, w, self.num_codes)

  def empty_cache(self, num: int, shape: tuple[int, int]) -> Cache:
    """Before the first place of maps of `shape`."""
    return empty_cache(num, shape[0] * shape[1], self.width, self.depth, self.num_heads)

  def step(self, cache, codes, place, cond):
    """Logits [b k] of one place, and the cache for the next; codes from there on are not looked at."""
    b, _, w = codes.shape
    row, column = place // w, place % w
    last = jax.lax.dynamic_index_in_dim(codes.reshape(b, -1), jnp.maximum(place - 1, 0), axis=1,
                                        keepdims=False)
    before = jnp.where(place == 0, self.first[None], self.code[last])
    token = self._tokens(before[:, None], row[None], column[None], cond)[:, 0]
    position = jnp.broadcast_to(jnp.stack([row, column]).astype(jnp.float32)[None], (b, 2))
    hidden, cache = self.trunk.step(token, position, cache, place)
    return self.answer(hidden), cache


class PixelSequence(nn.Module):
  """Lit pixels one after the other, each a cell, a place in the cell and a bin of charge; see `discrete`.

  The plane is `side` x `side` pixels, of which `rows` and `columns` (as tuples) say where place p of cell c
  lies: entry c num_places + p. Other fields as of `CausalTransformer`.
  """
  rows: tuple[int, ...]
  columns: tuple[int, ...]
  num_cells: int = 64
  num_places: int = 64
  num_bins: int = 64
  width: int = 192
  depth: int = 6
  num_heads: int = 6
  expansion: int = 4

  def setup(self):
    vectors = lambda name, *shape: self.param(name, nn.initializers.normal(0.5), (*shape, self.width))
    self.cell, self.place = vectors("cell", self.num_cells), vectors("place", self.num_places)
    self.bin, self.first = vectors("bin", self.num_bins), vectors("first")
    self.cell_given, self.place_given = vectors("cell_given", self.num_cells), vectors("place_given",
                                                                                       self.num_places)
    self.told = Told(self.width)
    self.trunk = CausalTransformer(self.width, self.depth, self.num_heads, self.expansion)
    self.cell_answer = Linear(self.num_cells + 1)
    self.place_hidden, self.place_answer = Linear(self.width), Linear(self.num_places)
    self.bin_hidden, self.bin_answer = Linear(self.width), Linear(self.num_bins)

  def _token(self, pixel):
    """Vectors [... d] and positions [... 2] of pixels [... 3]."""
    cell, place, charge = pixel[..., 0], pixel[..., 1], pixel[..., 2]
    at = cell * self.num_places + place
    position = jnp.stack([jnp.asarray(self.rows)[at], jnp.asarray(self.columns)[at]],
                         axis=-1).astype(jnp.float32)
    return self.cell[cell] + self.place[place] + self.bin[charge], position

  def cell_logits(self, hidden):
    """[... cells + 1]; the last is the end."""
    return self.cell_answer(hidden)

  def place_logits(self, hidden, cell):
    """[... places], given the cell."""
    return self.place_answer(jnp.square(nn.relu(self.place_hidden(hidden + self.cell_given[cell]))))

  def bin_logits(self, hidden, cell, place):
    """[... bins], given the pixel."""
    given = hidden + self.cell_given[cell] + self.place_given[place]
    return self.bin_answer(jnp.square(nn.relu(self.bin_hidden(given))))

  def __call__(self, sequences, cond):
    b = len(sequences)
    tokens, positions = self._token(sequences)
    first = jnp.broadcast_to(self.first[None, None], (b, 1, self.width))
    tokens = jnp.concatenate([first, tokens], axis=1) + self.told(cond)[:, None]
    hidden = self.trunk(tokens, jnp.concatenate([jnp.zeros((b, 1, 2)), positions], axis=1))
    cell, place = sequences[..., 0], sequences[..., 1]
    return (self.cell_logits(hidden), self.place_logits(hidden[:, :-1], cell),
            self.bin_logits(hidden[:, :-1], cell, place))

  def empty_cache(self, num: int, length: int) -> Cache:
    """Before the first of so many pixels, and the end."""
    return empty_cache(num, length + 1, self.width, self.depth, self.num_heads)

  def step(self, cache, previous, index, cond):
    """Hidden state [b d] from which pixel `index` is drawn, given the one before it [b 3], and the cache."""
    token, position = self._token(previous)
    token = jnp.where(index == 0, self.first[None], token) + self.told(cond)
    return self.trunk.step(token, jnp.where(index == 0, 0.0, position), cache, index)
