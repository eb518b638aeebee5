"""Reads labels off noisy states: the network of guidance by Bayes' rule."""
import flax.linen as nn
import jax
import jax.numpy as jnp

from lartpc_jax.networks.blocks import Conv, ResidualBlock, space_to_depth
from lartpc_jax.networks.unet import fourier


class Recogniser(nn.Module):
  """(x [b h w c], c_noise [b]) -> [b num_outputs]: the encoder half of a U-Net, told the noise level by FiLM.

  x is c_in times the noisy state, c_noise as in `diffusion.prediction.edm_coefficients`. Smooth in x, as its
  gradient is what it is for; mean and a soft maximum over pixels at the end.
  """
  num_outputs: int
  features: int = 48
  multipliers: tuple[int, ...] = (1, 2)
  num_blocks: int = 1
  num_groups: int = 8
  stem: int = 1

  @nn.compact
  def __call__(self, x: jax.Array, c_noise: jax.Array) -> jax.Array:
    size = 4 * self.features
    embedding = nn.Dense(size)(nn.silu(nn.Dense(size)(fourier(c_noise[:, None], 6))))
    h = Conv(self.features)(space_to_depth(x, self.stem))
    for level, multiplier in enumerate(self.multipliers):
      width = multiplier * self.features
      if level:
        h = nn.Dense(width)(space_to_depth(h, 2))
      for _ in range(self.num_blocks):
        h = ResidualBlock(width, self.num_groups)(h, embedding)
    h = nn.silu(nn.GroupNorm(self.num_groups)(h))
    pooled = jnp.concatenate([h.mean((1, 2)), jax.nn.logsumexp(h, axis=(1, 2)) - jnp.log(
        jnp.asarray(h.shape[1] * h.shape[2], h.dtype))], axis=-1)
    pooled = nn.silu(nn.Dense(2 * self.features)(pooled))
    return nn.Dense(self.num_outputs, kernel_init=nn.initializers.zeros)(pooled)
