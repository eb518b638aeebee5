"""Latent U-Net conditioned on a momentum and on the noise level."""
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.networks.blocks import ResidualBlock, SelfAttention, depth_to_space, space_to_depth


def fourier(x: jax.Array, num_octaves: int) -> jax.Array:
  """sin and cos of 2^k pi x, k < num_octaves, on a new trailing axis folded into the last (Tancik et al. 2020, eq. 4)."""
  octaves = (np.pi * 2.0 ** np.arange(num_octaves)).astype(np.float32)
  angles = x[..., None] * octaves.reshape(*(1,) * x.ndim, -1)
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(*x.shape[:-1], -1)


def momentum_features(momentum: jax.Array) -> jax.Array:
  """Features [b f] of a momentum [b 3] seen along its third axis.

  Even in the third component: a projection cannot tell p_z from -p_z, so neither can the generator. Smooth everywhere
  but at momentum zero.
  """
  magnitude = jnp.linalg.norm(momentum, axis=-1, keepdims=True)
  direction = momentum / magnitude
  in_plane = direction[:, :2]
  along = direction[:, 2:] ** 2
  return jnp.concatenate([momentum[:, :2], magnitude, in_plane, along, fourier(in_plane, 3), fourier(along, 2),
                          fourier(magnitude, 4)], axis=-1)


def aligned_coordinates(momentum: jax.Array, size: int) -> jax.Array:
  """Channels [b size size f]: coordinates of each pixel along and across the projected direction.

  CoordConv (Liu et al. 2018) in the frame of the particle: without them the network must learn to turn an image.
  """
  direction = momentum[:, :2] / jnp.linalg.norm(momentum, axis=-1, keepdims=True)
  # unit vector in the plane, fading out smoothly where the projection has no direction
  unit = direction / jnp.sqrt(jnp.sum(direction**2, axis=-1, keepdims=True) + 0.1**2)
  centres = ((np.arange(size) + 0.5) / (0.5 * size) - 1.0).astype(np.float32)
  x, y = (jnp.asarray(c)[None] for c in np.meshgrid(centres, centres, indexing="ij"))

  def frame(vector):
    ux, uy = vector[:, 0, None, None], vector[:, 1, None, None]
    return jnp.stack([x * ux + y * uy, x * uy - y * ux], axis=-1)

  turned = frame(unit)
  fixed = jnp.broadcast_to(jnp.stack([x, y], axis=-1), turned.shape)
  return jnp.concatenate([frame(direction), turned, fixed, fourier(turned, 4)], axis=-1)


class PixelCondition(nn.Module):
  """Code [b size size features] of what the condition means at each pixel: an MLP of aligned coordinates and condition.

  It modulates every block pixel by pixel (SPADE, Park et al. 2019): an implicit function of (position, momentum) that a
  global FiLM vector cannot express.
  """
  features: int

  @nn.compact
  def __call__(self, momentum, condition, size):
    h = nn.Dense(self.features)(aligned_coordinates(momentum, size))
    h = nn.silu(h + nn.Dense(self.features)(condition)[:, None, None, :])
    h = nn.silu(nn.Dense(self.features)(h) * (1.0 + nn.Dense(self.features)(condition)[:, None, None, :]))
    return nn.silu(nn.Dense(self.features)(h))


class LatentUNet(nn.Module):
  """(z [b h w c], c_noise [b], cond) -> [b h w c].

  cond: None, or dict(momentum [b 3], keep [b] (optional)): keep = 0 drops the condition of that example, which is what
  classifier-free guidance trains with (Ho & Salimans 2022, alg. 1). Momentum enters by FiLM and by `PixelCondition`.
  """
  features: int = 64
  multipliers: tuple[int, ...] = (1, 2)
  num_blocks: int = 2
  attention_levels: tuple[int, ...] = (0, 1)
  num_heads: int = 4
  num_groups: int = 8

  @nn.compact
  def __call__(self, z, c_noise, cond=None):
    out_channels = z.shape[-1]
    emb_size = 4 * self.features
    embedding = nn.Dense(emb_size)(fourier(c_noise[:, None], 6))
    null = self.param("null_condition", nn.initializers.normal(1.0), (emb_size,))
    momentum = jnp.ones((z.shape[0], 3), z.dtype) if cond is None else cond["momentum"]
    keep = jnp.zeros(z.shape[0], z.dtype) if cond is None else cond.get("keep", jnp.ones(z.shape[0], z.dtype))
    known = nn.Dense(emb_size)(nn.silu(nn.Dense(emb_size)(momentum_features(momentum))))
    embedding += keep[:, None] * known + (1.0 - keep[:, None]) * null[None]
    embedding = nn.Dense(emb_size)(nn.silu(nn.Dense(emb_size)(nn.silu(embedding))))
    mask = keep[:, None, None, None]
    codes = [mask * PixelCondition(2 * self.features)(momentum, known, z.shape[1] // 2**level)
             for level in range(len(self.multipliers))]

    block = lambda width: ResidualBlock(width, self.num_groups)
    h = nn.Conv(self.features, (3, 3))(jnp.concatenate([z, codes[0]], axis=-1))
    skips = []
    for level, multiplier in enumerate(self.multipliers):
      width = multiplier * self.features
      if level:
        h = nn.Dense(width)(space_to_depth(h, 2))
      for _ in range(self.num_blocks):
        h = block(width)(h, embedding, codes[level])
        if level in self.attention_levels:
          h = SelfAttention(self.num_heads, self.num_groups)(h)
        skips.append(h)
    h = block(width)(h, embedding, codes[level])
    for level, multiplier in reversed(list(enumerate(self.multipliers))):
      width = multiplier * self.features
      for _ in range(self.num_blocks):
        h = block(width)(jnp.concatenate([h, skips.pop()], axis=-1), embedding, codes[level])
        if level in self.attention_levels:
          h = SelfAttention(self.num_heads, self.num_groups)(h)
      if level:
        h = depth_to_space(nn.Dense(4 * self.multipliers[level - 1] * self.features)(h), 2)
    h = nn.silu(nn.GroupNorm(self.num_groups)(h))
    return nn.Conv(out_channels, (3, 3), kernel_init=nn.initializers.zeros)(h)
