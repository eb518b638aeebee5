"""Latent U-Net conditioned on a momentum and on the noise level."""
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.networks.blocks import ResidualBlock, SelfAttention, depth_to_space, space_to_depth


def fourier(x: jax.Array, num_octaves: int) -> jax.Array:
  """sin and cos of 2^k pi x, k < num_octaves, on a new trailing axis folded into the last (Tancik et al. 2020, eq. 4)."""
  angles = x[..., None] * (np.pi * 2.0 ** np.arange(num_octaves)).astype(np.float32)
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
  centres = ((np.arange(size) + 0.5) / (0.5 * size) - 1.0).astype(np.float32)
  x, y = (jnp.asarray(c)[None] for c in np.meshgrid(centres, centres, indexing="ij"))
  ux, uy = direction[:, 0, None, None], direction[:, 1, None, None]
  frame = jnp.stack([x * ux + y * uy, x * uy - y * ux], axis=-1)
  fixed = jnp.broadcast_to(jnp.stack([x, y], axis=-1), frame.shape)
  return jnp.concatenate([frame, fixed, fourier(frame, 4)], axis=-1)


class LatentUNet(nn.Module):
  """(z [b h w c], c_noise [b], cond) -> [b h w c].

  cond: None, or dict(momentum [b 3], keep [b] (optional)): keep = 0 drops the condition of that example, which is what
  classifier-free guidance trains with (Ho & Salimans 2022, alg. 1). Momentum enters by FiLM and as aligned coordinates.
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
    embedding += keep[:, None] * known + (1.0 - keep[:, None]) * null
    embedding = nn.Dense(emb_size)(nn.silu(nn.Dense(emb_size)(nn.silu(embedding))))
    frame = keep[:, None, None, None] * aligned_coordinates(momentum, z.shape[1])

    block = lambda width: ResidualBlock(width, self.num_groups)
    h = nn.Conv(self.features, (3, 3))(jnp.concatenate([z, frame], axis=-1))
    skips = []
    for level, multiplier in enumerate(self.multipliers):
      width = multiplier * self.features
      if level:
        h = nn.Dense(width)(space_to_depth(h, 2))
      for _ in range(self.num_blocks):
        h = block(width)(h, embedding)
        if level in self.attention_levels:
          h = SelfAttention(self.num_heads, self.num_groups)(h)
        skips.append(h)
    h = block(width)(h, embedding)
    for level, multiplier in reversed(list(enumerate(self.multipliers))):
      width = multiplier * self.features
      for _ in range(self.num_blocks):
        h = block(width)(jnp.concatenate([h, skips.pop()], axis=-1), embedding)
        if level in self.attention_levels:
          h = SelfAttention(self.num_heads, self.num_groups)(h)
      if level:
        h = depth_to_space(nn.Dense(4 * self.multipliers[level - 1] * self.features)(h), 2)
    h = nn.silu(nn.GroupNorm(self.num_groups)(h))
    return nn.Conv(out_channels, (3, 3), kernel_init=nn.initializers.zeros)(h)
