"""The U-Net of score-based diffusion on pixels: NCSN++ and DDPM++ (Song et al. 2021, App. H), as one
configurable network.

NCSN++: Fourier time embedding, FIR resampling, residual input pyramid. DDPM++: positional embedding, no FIR,
no pyramid. Both: BigGAN residual blocks without dropout, skips rescaled by 1/sqrt(2), attention at chosen
sizes. `stem` folds stem x stem pixels into channels without arithmetic, so that every convolution runs at the
reduced size: that is what a CPU can train.
"""
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.networks.blocks import Conv, depth_to_space, space_to_depth, with_gate, zero_conv

EMBEDDINGS = ("fourier", "positional")
RESCALE = float(np.sqrt(0.5))


def fir_down(x: jax.Array) -> jax.Array:
  """Halves [b h w c] smoothed with [1, 3, 3, 1] / 8 on each axis (Zhang 2019; Karras et al. 2020), edges
  zero-padded."""
  for axis in (1, 2):
    n = x.shape[axis]
    padded = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)])
    tap = lambda k, padded=padded, axis=axis, n=n: jax.lax.slice_in_dim(padded, k, k + n - 1, 2, axis)
    x = (tap(0) + 3.0 * tap(1) + 3.0 * tap(2) + tap(3)) * 0.125
  return x


def fir_up(x: jax.Array) -> jax.Array:
  """Doubles [b h w c] with zeros between, smoothed by [1, 3, 3, 1] / 4 on each axis: the transpose of
  `fir_down` times 4."""
  for axis in (1, 2):
    n = x.shape[axis]
    padded = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)])
    tap = lambda k, padded=padded, axis=axis, n=n: jax.lax.slice_in_dim(padded, k, k + n, 1, axis)
    even, odd = 0.25 * tap(0) + 0.75 * tap(1), 0.75 * tap(1) + 0.25 * tap(2)
    shape = (*x.shape[:axis], 2 * n, *x.shape[axis + 1:])
    x = jnp.stack([even, odd], axis=axis + 1).reshape(shape)
  return x


def pool_down(x: jax.Array) -> jax.Array:
  """Halves [b h w c] by 2 x 2 means."""
  b, h, w, c = x.shape
  return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def nearest_up(x: jax.Array) -> jax.Array:
  """Doubles [b h w c] by repeating pixels."""
  return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


class TimeEmbedding(nn.Module):
  """c_noise [b] -> [b features or 2 features].

  fourier: random fixed frequencies (Tancik et al. 2020), of log sigma. positional: those of a transformer (Ho
  et al. 2020). c_noise is log(sigma) / 8, see `score.edm_coefficients`.
  """
  features: int
  kind: str
  scale: float  # of the random frequencies

  @nn.compact
  def __call__(self, c_noise):
    if self.kind == "fourier":
      draw = lambda key, shape: self.scale * jax.random.normal(key, shape)
      frequency = jax.lax.stop_gradient(self.param("frequency", draw, (self.features,)))
      angles = 8.0 * c_noise[:, None] * frequency[None] * (2.0 * np.pi)
    else:
      half = self.features // 2
      frequency = np.exp(-np.log(1e4) * np.arange(half) / max(half - 1, 1)).astype(np.float32)
      angles = 1000.0 * c_noise[:, None] * frequency[None]  # as integer steps 0..999 in Ho et al.
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def _norm(x):
  channels = x.shape[-1]
  return nn.GroupNorm(math.gcd(channels, min(max(channels // 4, 1), 32)))(x)


class BigGANBlock(nn.Module):
  """Residual block of Song et al. 2021, App. H (Brock et al. 2019), with an optional change of size by
  `resample`."""
  features: int
  resample: object = None  # function [b h w c] -> [b h' w' c]

  @nn.compact
  def __call__(self, x, embedding):
    h = nn.silu(_norm(x))
    if self.resample is not None:
      h, x = self.resample(h), self.resample(x)
    h = Conv(self.features)(h) + nn.Dense(self.features)(nn.silu(embedding))[:, None, None, :]
    h = nn.silu(_norm(h))
    h = zero_conv(self.features)(h)
    if x.shape[-1] != self.features or self.resample is not None:
      x = nn.Dense(self.features)(x)
    return (x + h) * RESCALE


class AttentionBlock(nn.Module):
  """Residual single-head self-attention over all pixels (Song et al. 2021, App. H; Vaswani et al. 2017)."""

  @nn.compact
  def __call__(self, x):
    b, h, w, c = x.shape
    y = _norm(x).reshape(b, h * w, c)
    q, k, v = (nn.Dense(c)(y) for _ in range(3))
    weights = nn.softmax(jnp.einsum("bqc,bkc->bqk", q, k) * c**-0.5)
    y = nn.Dense(c, kernel_init=nn.initializers.zeros)(jnp.einsum("bqk,bkc->bqc", weights, v))
    return (x + y.reshape(b, h, w, c)) * RESCALE


class NCSNpp(nn.Module):
  """(x [b h w c], c_noise [b]) -> [b h w c].

  Args:
    features: channels at the largest size (nf).
    multipliers: of `features`, one a level; each level halves the size.
    num_blocks: residual blocks a level on the way down; one more on the way up.
    attention_sizes: heights (after the stem) at which attention follows.
    stem: pixels folded into channels on each axis; 1 for none.
    fir: smooth resampling with [1, 3, 3, 1]; else means and repetition.
    input_pyramid: the downsampled input is added at every level ("residual" of Song et al. 2021).
    embedding: "fourier" or "positional".
    fourier_scale: of the random frequencies (Song et al. 2021: 16).
    gated_skip: for sparse data that are preconditioned as "edm" (Karras et al. 2022): the skip c_skip x of
      the denoiser is multiplied by a gate in [0, 1] of each pixel and channel, so that the empty background
      comes from one number that closes. Without it the network has to answer -x / sigma there, the noise
      itself, pixel by pixel.
  """
  features: int = 128
  multipliers: tuple[int, ...] = (1, 2, 2, 2)
  num_blocks: int = 4
  attention_sizes: tuple[int, ...] = (16,)
  stem: int = 1
  fir: bool = True
  input_pyramid: bool = True
  embedding: str = "fourier"
  fourier_scale: float = 16.0
  gated_skip: bool = False

  @nn.compact
  def __call__(self, x, c_noise):
    x = space_to_depth(x, self.stem) if self.stem > 1 else x
    down, up = (fir_down, fir_up) if self.fir else (pool_down, nearest_up)
    embedding = TimeEmbedding(self.features, self.embedding, self.fourier_scale)(c_noise)
    embedding = nn.Dense(4 * self.features)(nn.silu(nn.Dense(4 * self.features)(embedding)))
    block = lambda width, resample=None: BigGANBlock(width, resample)
    last = len(self.multipliers) - 1

    pyramid = x
    h = Conv(self.features)(x)
    skips = [h]
    for level, multiplier in enumerate(self.multipliers):
      width = multiplier * self.features
      for _ in range(self.num_blocks):
        h = block(width)(h, embedding)
        if h.shape[1] in self.attention_sizes:
          h = AttentionBlock()(h)
        skips.append(h)
      if level < last:
        h = block(width, down)(h, embedding)
        if self.input_pyramid:
          pyramid = (Conv(width)(down(pyramid)) + h) * RESCALE
          h = pyramid
        skips.append(h)
    h = block(width)(h, embedding)
    h = AttentionBlock()(h)
    h = block(width)(h, embedding)
    for level in range(last, -1, -1):
      width = self.multipliers[level] * self.features
      for _ in range(self.num_blocks + 1):
        h = block(width)(jnp.concatenate([h, skips.pop()], axis=-1), embedding)
      if h.shape[1] in self.attention_sizes:
        h = AttentionBlock()(h)
      if level:
        h = block(width, up)(h, embedding)
    h = zero_conv((2 if self.gated_skip else 1) * x.shape[-1])(nn.silu(_norm(h)))
    if self.gated_skip:
      h = with_gate(h, x, c_noise)
    return depth_to_space(h, self.stem) if self.stem > 1 else h
