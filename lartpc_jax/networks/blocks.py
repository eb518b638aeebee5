"""Building blocks shared by the networks (flax.linen; seen from outside only through init and apply)."""
import flax.linen as nn
import jax
import jax.numpy as jnp

GATE_LIMIT = 4.0


def space_to_depth(x: jax.Array, block: int) -> jax.Array:
  """[b h w c] -> [b h/block w/block block^2 c]; invertible, no arithmetic (Shi et al. 2016, inverse pixel
  shuffle)."""
  b, h, w, c = x.shape
  x = x.reshape(b, h // block, block, w // block, block, c)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // block, w // block, block * block * c)


def depth_to_space(x: jax.Array, block: int) -> jax.Array:
  """Inverse of `space_to_depth`: [b h w block^2 c] -> [b h*block w*block c]."""
  b, h, w, c = x.shape
  x = x.reshape(b, h, w, block, block, c // block**2)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * block, w * block, c // block**2)


def with_gate(both: jax.Array, x: jax.Array, c_noise: jax.Array) -> jax.Array:
  """F + (gate - 1) x / sigma: with x = c_in x_t, D = c_skip x_t + c_out F becomes gate c_skip x_t + c_out F
  (sigma_data 1).

  `both` [b h w 2c] holds F and the logits of the gate, c_noise [b] is log(sigma) / 8. 1 / sigma is cut at
  GATE_LIMIT: below that noise an open gate would have to be 1 to a precision that training cannot give.
  """
  h, gate = jnp.split(both, 2, axis=-1)
  # The sigmoid starts nearly open (0.88), as without a gate; the factor lets small weights close it.
  inverse_sigma = jnp.minimum(jnp.exp(-8.0 * c_noise), GATE_LIMIT)[:, None, None, None]
  return h + (nn.sigmoid(4.0 * gate + 2.0) - 1.0) * x * inverse_sigma


class Conv(nn.Module):
  """3x3 convolution, zero padded; parameters as in `flax.linen.Conv`.

  On images narrower than 4 pixels as one matrix product over the 9 shifted copies: XLA's CPU convolution
  takes 20 times longer there (4x2 pixels of 128 channels: 20 ms against 0.9 ms, with gradient 42 against
  2.5).
  """
  features: int
  kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, x):
    _, h, w, c = x.shape
    kernel = self.param("kernel", self.kernel_init, (3, 3, c, self.features))
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    if w >= 4:
      y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    else:
      padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
      shifted = jnp.concatenate([padded[:, i:i + h, j:j + w] for i in range(3) for j in range(3)], axis=-1)
      y = shifted @ kernel.reshape(9 * c, self.features)
    return y + bias[None, None, None]


def zero_conv(features: int) -> Conv:
  """Convolution that starts at zero, so that a residual branch starts as the identity."""
  return Conv(features, kernel_init=nn.initializers.zeros)


class ResidualBlock(nn.Module):
  """Pre-activation residual block.

  With GroupNorm, FiLM from `embedding` [b e] (Perez et al. 2018) and modulation pixel by pixel from `code` [b
  h w e] (SPADE, Park et al. 2019) when they are given.
  """
  features: int
  num_groups: int = 0  # 0: no normalisation (the autoencoder: an almost empty image has no useful statistics)

  @nn.compact
  def __call__(self, x, embedding=None, code=None):
    norm = (lambda y: nn.GroupNorm(self.num_groups)(y)) if self.num_groups else (lambda y: y)
    h = Conv(self.features)(nn.silu(norm(x)))
    h = norm(h)
    if embedding is not None:
      modulation = nn.Dense(2 * self.features)(nn.silu(embedding))[:, None, None, :]
      if code is not None:
        modulation += nn.Dense(2 * self.features, kernel_init=nn.initializers.zeros)(code)
      scale, shift = jnp.split(modulation, 2, axis=-1)
      h = h * (1.0 + scale) + shift
    h = zero_conv(self.features)(nn.silu(h))
    if x.shape[-1] != self.features:
      x = nn.Dense(self.features)(x)
    return x + h


class SelfAttention(nn.Module):
  """Residual multi-head self-attention over all pixels of [b h w c] (Vaswani et al. 2017)."""
  num_heads: int
  num_groups: int

  @nn.compact
  def __call__(self, x):
    b, h, w, c = x.shape
    y = nn.GroupNorm(self.num_groups)(x).reshape(b, h * w, c)
    q, k, v = jnp.split(
        nn.Dense(3 * c)(y).reshape(b, h * w, self.num_heads, 3 * c // self.num_heads), 3, axis=-1)
    weights = nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) * (c // self.num_heads) ** -0.5)
    y = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(b, h, w, c)
    return x + nn.Dense(c, kernel_init=nn.initializers.zeros)(y)
