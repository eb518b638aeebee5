"""A transformer for sparse images: 8x8 tokens decide what is where, a small head at every pixel decides what
is lit.

A token of 8x8 pixels cannot set 64 thresholds by itself, so the head sees each pixel with its neighbours once
more. Blocks: adaLN (Peebles & Xie 2023), normalised queries and keys (Dehghani et al. 2023), a bias for every
relative position that starts at the neighbours, squared ReLU (So et al. 2021).
"""
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.networks.blocks import depth_to_space, space_to_depth, with_gate

SPACES = ("pixels", "map")
PATCH = 8             # pixels of a token on each axis; the patch it sees is twice as large
NOISE_FREQUENCIES = 2.0 ** np.linspace(-2.0, 3.0, 16)  # of log sigma
# Where each head looks at first (rows, columns): the four neighbours, the corners, then two tokens away.
OFFSETS = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1), (0, 2), (2, 0), (0, -2),
           (-2, 0))
BIAS_SLOPE, BIAS_FLOOR = 0.35, -6.0  # of the squared distance from that offset
SQRT_HALF = float(np.sqrt(0.5))


def tokens_of(space: str, side: int, map_patch: int = 2) -> int:
  """Tokens on each axis of a state of side x side numbers in `space`."""
  return side // (PATCH if space == "pixels" else map_patch)


class Linear(nn.Module):
  """x @ kernel + bias over the last axis, as one matrix product; `num` > 1 makes that many side by side.

  The kernel is [i o], or [i num o] with num matrices that an optimiser sees one by one.
  """
  features: int
  gain: float = 1.0  # 0: starts at zero
  num: int = 1

  @nn.compact
  def __call__(self, x):
    inputs, shape = x.shape[-1], (self.num, self.features) if self.num > 1 else (self.features,)
    draw = lambda key, shape: self.gain * inputs**-0.5 * jax.random.normal(key, shape)
    kernel = self.param("kernel", draw, (inputs, *shape)).reshape(inputs, -1)
    bias = self.param("bias", nn.initializers.zeros, shape).reshape(1, -1)
    y = x.reshape(-1, inputs) @ kernel.astype(x.dtype) + bias.astype(x.dtype)
    return y.reshape(*x.shape[:-1], *shape)


def rms_norm(x: jax.Array) -> jax.Array:
  """x over the root of its mean square on the last axis, in float32 inside."""
  y = x.astype(jnp.float32)
  return (y * jax.lax.rsqrt(jnp.mean(y**2, axis=-1, keepdims=True) + 1e-6)).astype(x.dtype)


def modulate(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
  """x [b ... c] times 1 + scale [b c] plus shift [b c]."""
  broad = lambda m: m.reshape(m.shape[0], *(1,) * (x.ndim - 2), m.shape[-1])
  return x * (1.0 + broad(scale)) + broad(shift)


def neighbours(x: jax.Array) -> jax.Array:
  """[b h w c] -> [b h w 9 c]: every pixel with those around it, zero padded, row by row."""
  _, h, w, _ = x.shape
  padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  return jnp.concatenate([padded[:, i:i + h, j:j + w] for i in range(3) for j in range(3)], axis=-1)


def patches(x: jax.Array) -> jax.Array:
  """[b h w c] -> [b h/8 w/8 256 c]: patches of 16 x 16 pixels with stride 8, zero padded."""
  _, h, w, _ = x.shape
  half = PATCH // 2
  cells = space_to_depth(jnp.pad(x, ((0, 0), (half, half), (half, half), (0, 0))), PATCH)
  return jnp.concatenate([cells[:, i:i + h // PATCH, j:j + w // PATCH] for i in (0, 1) for j in (0, 1)],
                         axis=-1)


def from_patches(tokens: jax.Array) -> jax.Array:
  """Transpose of `patches`: overlapping patches [b h w 256 c] are added up to [b 8h 8w c]."""
  half, parts = PATCH // 2, jnp.split(tokens, 4, axis=-1)
  cells = sum(jnp.pad(part, ((0, 0), (i, 1 - i), (j, 1 - j), (0, 0)))
              for part, (i, j) in zip(parts, ((0, 0), (0, 1), (1, 0), (1, 1))))
  return depth_to_space(cells, PATCH)[:, half:-half, half:-half]


def relative_index(side: int) -> np.ndarray:
  """[t t] index of the offset between any two of side x side tokens, into (2 side - 1)^2 offsets."""
  rows = np.arange(side)
  offset = rows[:, None] - rows[None, :] + side - 1
  return (offset[:, None, :, None] * (2 * side - 1) + offset[None, :, None, :]).reshape(side**2, side**2)


def neighbour_bias(side: int, num_heads: int) -> jax.Array:
  """[heads, (2 side - 1)^2] attention logits that start each head at one offset of OFFSETS."""
  grid = np.arange(-(side - 1), side)
  offsets = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
  squared = [((offsets - np.array(OFFSETS[head % len(OFFSETS)])) ** 2).sum(-1) for head in range(num_heads)]
  return jnp.maximum(-BIAS_SLOPE * jnp.asarray(np.stack(squared), jnp.float32), BIAS_FLOOR)


class Block(nn.Module):
  """Attention and a layer of squared ReLU on tokens [b t d], each modulated by an embedding [b e]."""
  num_heads: int
  expansion: int

  @nn.compact
  def __call__(self, x, embedding):
    b, t, d = x.shape
    size, side = d // self.num_heads, round(t**0.5)
    modulation = Linear(6 * d, gain=0.0, name="modulation")(embedding)
    scale1, shift1, gate1, scale2, shift2, gate2 = jnp.split(modulation, 6, axis=-1)
    y = Linear(d, num=3, name="qkv")(modulate(rms_norm(x), scale1, shift1))
    q, k, v = (y[:, :, i].reshape(b, t, self.num_heads, size).transpose(0, 2, 1, 3) for i in range(3))
    gain = lambda name: self.param(name, nn.initializers.ones, (size,)).astype(x.dtype)[None, None, None]
    q, k = rms_norm(q) * gain("q_gain"), rms_norm(k) * gain("k_gain")
    bias = self.param("position", lambda key, shape: neighbour_bias(side, self.num_heads), None)
    logits = jnp.einsum("bhqc,bhkc->bhqk", q, k).astype(
        jnp.float32) * size**-0.5 + bias[:, relative_index(side)][None]
    weights = nn.softmax(logits).astype(x.dtype)
    y = jnp.einsum("bhqk,bhkc->bhqc", weights, v).transpose(0, 2, 1, 3).reshape(b, t, d)
    x = x + (1.0 + gate1)[:, None] * Linear(d, gain=0.5, name="out")(y)
    y = jnp.square(nn.relu(Linear(self.expansion * d, name="expand")(modulate(rms_norm(x), scale2, shift2))))
    return x + (1.0 + gate2)[:, None] * Linear(d, gain=0.5, name="contract")(y)


class PixelHead(nn.Module):
  """Correction of (F, gate) of every pixel [b h w 2] from its neighbours, itself and its token; starts at
  zero."""
  features: int
  token_features: int

  @nn.compact
  def __call__(self, both, x, tokens, embedding):
    local = depth_to_space(Linear(PATCH**2 * self.token_features, name="tokens")(tokens), PATCH)
    h = Linear(self.features, name="first")(jnp.concatenate([neighbours(x), both, local], axis=-1))
    h = nn.silu(
        modulate(h, *jnp.split(Linear(2 * self.features, gain=0.0, name="modulation")(embedding), 2,
                               axis=-1)))
    h = nn.silu(Linear(self.features, name="second")(h))
    return both + Linear(both.shape[-1], gain=0.0, name="last")(h)


class SparseTransformer(nn.Module):
  """(x [b h w c], c_noise [b], cond) -> [b h w c], with the gated skip of sparse data (see
  `blocks.with_gate`).

  cond holds "features" [b f] and "keep" [b] (0: the network is not told), and "map" [b m m k], two numbers a
  token on each axis, if the network was built with one. c_noise is log(sigma) / 8, and the preconditioning
  "edm" with sigma_data 1.

  Args:
    space: "pixels" (tokens are overlapping patches) or "map" (tokens are squares of the map).
    map_patch: cells of the map that a token has on each axis; "map" only.
    width: channels of a token.
    depth: number of blocks.
    num_heads: of attention.
    expansion: hidden channels of a block's second layer, in units of width.
    head_features: hidden channels of the head at every pixel; 0 for none. "pixels" only.
    head_token_features: channels that a token gives to each of its pixels.
    embedding_features: channels of the embedding of noise level and condition that modulates every block; 0:
      as `width`.
    dtype: of activations, "float32" or "bfloat16"; parameters, sums and softmax stay float32.
  """
  space: str = "pixels"
  map_patch: int = 2
  width: int = 192
  depth: int = 8
  num_heads: int = 4
  expansion: int = 4
  head_features: int = 32
  head_token_features: int = 8
  embedding_features: int = 0
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x, c_noise, cond):
    b, channels, dtype = x.shape[0], x.shape[-1], jnp.dtype(self.dtype)
    embedding = self._embedding(c_noise, cond).astype(dtype)
    x = x.astype(dtype)
    cells = patches(x) if self.space == "pixels" else neighbours(space_to_depth(x, self.map_patch))
    h, side = Linear(self.width, name="tokens")(cells), cells.shape[1]
    if "map" in cond:
      told = neighbours(space_to_depth(cond["map"].astype(dtype), cond["map"].shape[1] // side))
      h = (h + Linear(self.width, name="map")(told)) * SQRT_HALF
    h = h.reshape(b, side**2, self.width)
    h = h + self.param("place", nn.initializers.normal(0.02), (side**2, self.width)).astype(dtype)[None]
    for i in range(self.depth):
      h = Block(self.num_heads, self.expansion, name=f"block_{i}")(h, embedding)
    final = Linear(2 * self.width, gain=0.0, name="final_modulation")(embedding)
    h = modulate(rms_norm(h), *jnp.split(final, 2, axis=-1)).reshape(b, side, side, self.width)
    if self.space == "map":
      patch = self.map_patch
      both = Linear(2 * patch**2 * channels, gain=0.0, name="answer")(neighbours(h)).astype(jnp.float32)
      return depth_to_space(with_gate(both, space_to_depth(x, patch).astype(jnp.float32), c_noise), patch)
    answer = Linear(2 * (2 * PATCH)**2 * channels, gain=0.0, name="answer")(h)
    both = jnp.concatenate([from_patches(half) for half in jnp.split(answer, 2, axis=-1)], axis=-1)
    if self.head_features:
      both = PixelHead(self.head_features, self.head_token_features, name="head")(both, x, h, embedding)
    return with_gate(both.astype(jnp.float32), x.astype(jnp.float32), c_noise)

  def _embedding(self, c_noise, cond):
    """[b embedding_features] of noise level and condition."""
    angles = 8.0 * c_noise[:, None] * jnp.asarray(NOISE_FREQUENCIES, jnp.float32)[None]
    noise = Linear(self.width, name="noise")(jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1))
    keep = cond["keep"][:, None]
    told = Linear(self.width, name="condition")(jnp.concatenate([cond["features"] * keep, keep], axis=-1))
    return nn.silu(Linear(self.embedding_features or self.width, name="embedding")(nn.silu(noise + told)))
