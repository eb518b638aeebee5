"""Encoder and decoder of a VQ-VAE of sparse images: a map of vectors, one for each block of 4x4 pixels.

The decoder gives every pixel the logit of being lit and a normal density of its charge, not a colour, so that
exact zeros come out and the charge need not be a mean.
"""
import flax.linen as nn
import jax.numpy as jnp

from lartpc_jax.networks.blocks import depth_to_space, space_to_depth
from lartpc_jax.networks.gan import PlainBlock
from lartpc_jax.networks.sparse_transformer import Linear, neighbours

BLOCK = 4                   # pixels a side of what a code stands for
DARK = -3.0                 # logit of a lit pixel at the start
LOG_STD = (-3.0, 0.0)       # limits of the logarithm of the width of a charge, in units of y


class CodeEncoder(nn.Module):
  """State [b h w 1] -> latents [b h/4 w/4 features].

  Args:
    features: length of a latent vector.
    width: channels between.
    depth: residual blocks.
  """
  features: int
  width: int = 64
  depth: int = 2

  @nn.compact
  def __call__(self, x):
    h = Linear(self.width)(neighbours(space_to_depth(x, BLOCK)))
    for _ in range(self.depth):
      h = PlainBlock()(h)
    return Linear(self.features)(nn.leaky_relu(h, 0.2))


class CodeDecoder(nn.Module):
  """Vectors of codes [b h/4 w/4 d] -> [b h w 3]: logit of lit, mean of y if lit, logarithm of its width.

  Args:
    width: channels between.
    depth: residual blocks.
    head_features: channels of a pixel.
    start: mean of y at the start.
  """
  width: int = 64
  depth: int = 3
  head_features: int = 8
  start: float = 3.3

  @nn.compact
  def __call__(self, z):
    h = Linear(self.width)(neighbours(z))
    for _ in range(self.depth):
      h = PlainBlock()(h)
    x = depth_to_space(Linear(BLOCK**2 * self.head_features)(nn.leaky_relu(h, 0.2)), BLOCK)
    x = nn.leaky_relu(x + Linear(self.head_features)(nn.leaky_relu(neighbours(x), 0.2)), 0.2)
    out = Linear(3)(x) + jnp.array([DARK, self.start, -0.5])[None, None, None]
    return jnp.concatenate([out[..., :2], jnp.clip(out[..., 2:], *LOG_STD)], axis=-1)
