"""The original noise-conditional score network, for annealed Langevin dynamics (Song & Ermon 2019, App. A).

A 4-cascaded RefineNet (Lin et al. 2017) of dilated residual blocks with conditional instance normalisation++:
the noise level is a class.
"""
import flax.linen as nn
import jax
import jax.numpy as jnp


def _dilated(features: int, dilation: int = 1) -> nn.Conv:
  return nn.Conv(features, (3, 3), kernel_dilation=(dilation, dilation))


def _mean_pool(x, size: int, stride: int, padding: str):
  """Means over size x size pixels; beyond the edge are zeros."""
  window, strides = (1, size, size, 1), (1, stride, stride, 1)
  return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, strides, padding) * (1.0 / size**2)


class ConditionalInstanceNorm(nn.Module):
  """Instance normalisation with scale, shift and a multiple of the normalised means for each noise level (eq.
  8)."""
  num_levels: int

  @nn.compact
  def __call__(self, x, level):
    c = x.shape[-1]
    mean = x.mean((1, 2))
    centred = x - mean[:, None, None, :]
    normalised = centred / jnp.sqrt(jnp.mean(centred**2, (1, 2), keepdims=True) + 1e-5)
    spread = jnp.sqrt(jnp.var(mean, axis=-1, keepdims=True) + 1e-5)
    means = (mean - mean.mean(-1, keepdims=True)) / spread
    near_one = lambda key, shape: 1.0 + 0.02 * jax.random.normal(key, shape)
    scale = self.param("scale", near_one, (self.num_levels, c))[level]
    weight = self.param("mean_scale", near_one, (self.num_levels, c))[level]
    shift = self.param("shift", nn.initializers.zeros, (self.num_levels, c))[level]
    return scale[:, None, None, :] * normalised + (shift + weight * means)[:, None, None, :]


class DilatedBlock(nn.Module):
  """Pre-activation residual block; `halve` pools 2 x 2 means at the end."""
  features: int
  num_levels: int
  dilation: int = 1
  halve: bool = False

  @nn.compact
  def __call__(self, x, level):
    h = _dilated(x.shape[-1], self.dilation)(nn.elu(ConditionalInstanceNorm(self.num_levels)(x, level)))
    h = _dilated(self.features, self.dilation)(nn.elu(ConditionalInstanceNorm(self.num_levels)(h, level)))
    if x.shape[-1] != self.features:
      x = nn.Dense(self.features)(x)
    pool = (lambda y: _mean_pool(y, 2, 2, "VALID")) if self.halve else (lambda y: y)
    return pool(x) + pool(h)


class ResidualUnits(nn.Module):
  """Residual convolution units of a RefineNet block: `num_blocks` of two normalised convolutions."""
  num_blocks: int
  num_levels: int

  @nn.compact
  def __call__(self, x, level):
    for _ in range(self.num_blocks):
      h = x
      for _ in range(2):
        h = _dilated(x.shape[-1])(nn.elu(ConditionalInstanceNorm(self.num_levels)(h, level)))
      x = x + h
    return x


class RefineBlock(nn.Module):
  """Fuses inputs at the size of the first, then chained pooling and a residual unit."""
  features: int
  num_levels: int
  last: bool = False

  @nn.compact
  def __call__(self, inputs, level):
    size = inputs[0].shape[1:3]
    fused = 0.0
    for x in inputs:
      h = ResidualUnits(2, self.num_levels)(x, level)
      h = _dilated(self.features)(ConditionalInstanceNorm(self.num_levels)(h, level))
      fused += h if h.shape[1:3] == size else jax.image.resize(
          h, (h.shape[0], *size, self.features), "bilinear")
    h = pooled = nn.elu(fused)
    for _ in range(2):
      pooled = _mean_pool(ConditionalInstanceNorm(self.num_levels)(pooled, level), 5, 1, "SAME")
      pooled = _dilated(self.features)(pooled)
      h = h + pooled
    return ResidualUnits(3 if self.last else 1, self.num_levels)(h, level)


class NCSN(nn.Module):
  """(x [b h w c], level [b] int) -> [b h w c], to be divided by sigma of the level: the score.

  Args:
    features: channels of the first stage, doubled after it (128 in the paper).
    num_levels: number of noise levels (10 in the paper).
  """
  features: int = 128
  num_levels: int = 10

  @nn.compact
  def __call__(self, x, level):
    wide, n = 2 * self.features, self.num_levels
    h = _dilated(self.features)(x)
    stages = []
    for features, halve, dilation in ((self.features, False, 1), (wide, True, 1), (wide, False, 2),
                                      (wide, False, 4)):
      h = DilatedBlock(features, n, dilation, halve)(h, level)
      h = DilatedBlock(features, n, dilation)(h, level)
      stages.append(h)
    h = RefineBlock(wide, n)([stages[3]], level)
    h = RefineBlock(wide, n)([stages[2], h], level)
    h = RefineBlock(self.features, n)([stages[1], h], level)
    h = RefineBlock(self.features, n, last=True)([stages[0], h], level)
    return _dilated(x.shape[-1])(nn.elu(ConditionalInstanceNorm(n)(h, level)))
