"""Generators and discriminators of adversarial training on the states of sparse images.

Two pairs: DCGAN (Radford et al. 2016), and residual networks without normalisation (Huang et al. 2024, R3GAN:
leaky ReLU, no normalisation, last convolutions of blocks started at zero). Convolutions of stride 2 are exact
rewritings as convolutions of stride 1 on cells of 2 x 2 pixels, with masked taps.
"""
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.networks.blocks import Conv, depth_to_space, space_to_depth, zero_conv
from lartpc_jax.networks.sparse_transformer import Linear, neighbours

SLOPE = 0.2            # of leaky ReLU, as in both papers
FIRST = 4              # pixels a side where generators start
DARK, SPREAD = -2.0, 1.5  # logit of a lit pixel at the start, and its spread: a few per cent are lit
# The 4x4 taps of a convolution of stride 2 (padding 1) among the 3 x 3 cells of 2 x 2 pixels around an output
# cell: pixel (i, j) of cell (m, n) is a tap unless it lies outside the 4 x 4 window.
STRIDE_TAPS = np.array([[0, 1], [1, 1], [1, 0]], np.float32)


def leaky(x: jax.Array) -> jax.Array:
  """Leaky ReLU."""
  return nn.leaky_relu(x, SLOPE)


def he(key, shape, dtype=jnp.float32):
  """Normal weights that keep the mean square of leaky ReLUs (He et al. 2015)."""
  return jax.random.normal(key, shape, dtype) * (2.0 / ((1.0 + SLOPE**2) * np.prod(shape[:-1])))**0.5


class UpConv(nn.Module):
  """Transposed 4x4 convolution of stride 2, [b h w c] -> [b 2h 2w features].

  Each of the four pixels of a cell sees 2 x 2 of the 3 x 3 inputs around, so it is a 3x3 convolution with
  masked taps to 4 channels a pixel (Shi et al. 2016, "Is the deconvolution layer the same ...").
  """
  features: int

  @nn.compact
  def __call__(self, x):
    c = x.shape[-1]
    kernel = self.param("kernel", nn.initializers.normal(0.02), (3, 3, c, 2, 2, self.features))
    # output 0 of a cell sees inputs -1 and 0, output 1 sees 0 and 1
    rows = jnp.asarray(STRIDE_TAPS[::-1], x.dtype)
    mask = rows[:, None, None, :, None, None] * rows[None, :, None, None, :, None]
    kernel = (kernel * mask).reshape(3, 3, c, 4 * self.features)
    y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return depth_to_space(y, 2)


class DownConv(nn.Module):
  """4x4 convolution of stride 2 with padding 1, [b 2h 2w c] -> [b h w features], on cells of 2 x 2 pixels."""
  features: int

  @nn.compact
  def __call__(self, x):
    c = x.shape[-1]
    kernel = self.param("kernel", nn.initializers.normal(0.02), (3, 3, 2, 2, c, self.features))
    taps = jnp.asarray(STRIDE_TAPS, x.dtype)
    mask = taps[:, None, :, None, None, None] * taps[None, :, None, :, None, None]
    kernel = (kernel * mask).reshape(3, 3, 4 * c, self.features)
    return jax.lax.conv_general_dilated(space_to_depth(x, 2), kernel, (1, 1), "SAME",
                                        dimension_numbers=("NHWC", "HWIO", "NHWC"))


class BatchNorm(nn.Module):
  """Batch normalisation; in training by the batch, whose moments are averaged into "batch_stats"."""

  @nn.compact
  def __call__(self, x, train):
    shape = (x.shape[-1],)
    mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
    variance = self.variable("batch_stats", "variance", jnp.ones, shape)
    scale = self.param("scale", lambda key, shape: 1.0 + 0.02 * jax.random.normal(key, shape), shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    m, v = mean.value, variance.value
    if train:
      axes = tuple(range(x.ndim - 1))
      m, v = jnp.mean(x, axes), jnp.var(x, axes)
      if not self.is_initializing():
        mean.value, variance.value = (0.9 * old.value + 0.1 * new for old, new in ((mean, m), (variance, v)))
    wide = lambda a: a.reshape((1,) * (x.ndim - 1) + shape)
    return (x - wide(m)) * wide(scale * jax.lax.rsqrt(v + 1e-5)) + wide(bias)


class DcganGenerator(nn.Module):
  """(latent [b n], pixel_noise, features, train) -> [b 64 64 1]: transposed convolutions and batch norm."""
  width: int = 32

  @nn.compact
  def __call__(self, latent, pixel_noise, features, train):
    del pixel_noise, features
    x = nn.Dense(FIRST**2 * 8 * self.width, kernel_init=nn.initializers.normal(0.02), use_bias=False)(latent)
    x = nn.relu(BatchNorm()(x.reshape(-1, FIRST, FIRST, 8 * self.width), train))
    for multiple in (4, 2, 1):
      x = nn.relu(BatchNorm()(UpConv(multiple * self.width)(x), train))
    return UpConv(1)(x) + self.param("bias", nn.initializers.zeros, (1,))[None, None, None]


class DcganDiscriminator(nn.Module):
  """(state [b 64 64 1], features) -> logit [b]: strided convolutions and batch norm, which takes the batch
  it sees."""
  width: int = 32

  @nn.compact
  def __call__(self, x, features):
    del features
    x = leaky(DownConv(self.width)(x))
    for multiple in (2, 4, 8):
      x = leaky(BatchNorm()(DownConv(multiple * self.width)(x), True))
    return nn.Dense(1, kernel_init=nn.initializers.normal(0.02))(x.reshape(len(x), -1))[:, 0]


class PlainBlock(nn.Module):
  """x + convolutions of leaky ReLUs, without normalisation; starts as the identity."""

  @nn.compact
  def __call__(self, x):
    c = x.shape[-1]
    return x + zero_conv(c)(leaky(Conv(c, kernel_init=he)(leaky(x))))


class ResidualGenerator(nn.Module):
  """(latent [b n], pixel_noise [b 64 64 1], features [b f], train) -> [b 64 64 2]: logit of lit, and charge.

  Args:
    widths: channels at 4, 8, 16 and 32 pixels a side.
    depth: blocks at each of them.
    head_features: channels at 64 pixels a side.
  """
  widths: tuple[int, ...] = (96, 96, 48, 24)
  depth: int = 1
  head_features: int = 12

  @nn.compact
  def __call__(self, latent, pixel_noise, features, train):
    del train
    x = leaky(Linear(256, gain=2.0**0.5)(jnp.concatenate([latent, features], axis=-1)))
    x = Linear(FIRST**2 * self.widths[0], gain=2.0**0.5)(x).reshape(-1, FIRST, FIRST, self.widths[0])
    for i, width in enumerate(self.widths):
      if i:
        x = jnp.repeat(jnp.repeat(Linear(width)(x), 2, axis=1), 2, axis=2)
      side = x.shape[1]
      cells = pixel_noise[:, ::pixel_noise.shape[1] // side, ::pixel_noise.shape[2] // side]
      x = x + cells * self.param(f"noise_{i}", nn.initializers.normal(0.1), (width,))[None, None, None]
      for _ in range(self.depth):
        x = PlainBlock()(x)
    x = depth_to_space(Linear(4 * self.head_features)(leaky(x)), 2)
    x = x + pixel_noise * self.param("noise", nn.initializers.normal(0.1), (self.head_features,))[None, None,
                                                                                                  None]
    both = Linear(2)(neighbours(leaky(x)))
    return both * jnp.array([SPREAD, 0.5])[None, None, None] + jnp.array([DARK, 0.0])[None, None, None]


class ResidualDiscriminator(nn.Module):
  """(state [b 64 64 1], features [b f]) -> logit [b], with the features by projection (Miyato & Koyama 2018).

  Args:
    widths: channels at 32, 16, 8 and 4 pixels a side.
    depth: blocks at each of them.
  """
  widths: tuple[int, ...] = (24, 48, 96, 96)
  depth: int = 1

  @nn.compact
  def __call__(self, x, features):
    x = Conv(self.widths[0], kernel_init=he)(space_to_depth(x, 2))
    for i, width in enumerate(self.widths):
      if i:
        x = Linear(width)(space_to_depth(x, 2))
      for _ in range(self.depth):
        x = PlainBlock()(x)
    h = leaky(Linear(128, gain=2.0**0.5)(leaky(x).reshape(len(x), -1)))
    logit = Linear(1)(h)[:, 0]
    if features.shape[-1]:
      logit += jnp.sum(h * Linear(128)(features), axis=-1) * 128**-0.5
    return logit


# name in a config block `network` -> (generator, discriminator)
PAIRS = {"dcgan": (DcganGenerator, DcganDiscriminator), "residual": (ResidualGenerator,
                                                                     ResidualDiscriminator)}
