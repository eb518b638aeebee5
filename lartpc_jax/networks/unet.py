"""Latent U-Net conditioned on a momentum and on the noise level."""
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.networks.blocks import (
  Conv,
  ResidualBlock,
  SelfAttention,
  depth_to_space,
  space_to_depth,
  zero_conv,
)


def fourier(x: jax.Array, num_octaves: int) -> jax.Array:
  """sin and cos of 2^k pi x, k < num_octaves, on a new trailing axis folded into the last (Tancik et al.
  2020, eq. 4)."""
  octaves = (np.pi * 2.0 ** np.arange(num_octaves)).astype(np.float32)
  angles = x[..., None] * octaves.reshape(*(1,) * x.ndim, -1)
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(*x.shape[:-1], -1)


def momentum_features(momentum: jax.Array) -> jax.Array:
  """Features [b f] of a momentum [b 3] in the track frame: first component along the track, second 0, third
  unseen.

  Even in the third component: a projection cannot tell p_z from -p_z, so neither can the generator.
  """
  magnitude = jnp.linalg.norm(momentum, axis=-1, keepdims=True)
  along = momentum[:, :1] / magnitude   # sine of the angle to the line of sight
  return jnp.concatenate(
      [momentum[:, :1], magnitude, along, along**2,
       fourier(along, 3),
       fourier(magnitude, 4)], axis=-1)


def pixel_coordinates(height: int, width: int, end: jax.Array | None = None) -> jax.Array:
  """Channels [b h w f] (b = 1 without `end`): where each pixel lies in the window, and from the expected end
  of a track.

  CoordConv (Liu et al. 2018). All in units of the half window, axis 0 along the track; end [b] is on that
  axis.
  """
  centres = lambda n: ((np.arange(n) + 0.5) / (0.5 * n) - 1.0).astype(np.float32)
  x, y = (jnp.asarray(c)[None] for c in np.meshgrid(centres(height), centres(width), indexing="ij"))
  fixed = jnp.stack([x, y], axis=-1)
  fixed = jnp.concatenate([fixed, fourier(fixed, 3)], axis=-1)
  if end is None:
    return fixed
  to_end = x - end[:, None, None]
  moving = jnp.concatenate([to_end[..., None], fourier(to_end[..., None], 5)], axis=-1)
  return jnp.concatenate([jnp.broadcast_to(fixed, (len(end), *fixed.shape[1:])), moving], axis=-1)


class PixelCondition(nn.Module):
  """Code [b size size features] of what the condition means at each pixel: an MLP of its coordinates and the
  condition.

  It modulates every block pixel by pixel (SPADE, Park et al. 2019): an implicit function of (position,
  momentum) that a global FiLM vector cannot express.
  """
  features: int

  @nn.compact
  def __call__(self, coordinates, condition):
    h = nn.Dense(self.features)(coordinates)
    h = nn.silu(h + nn.Dense(self.features)(condition)[:, None, None, :])
    h = nn.silu(nn.Dense(self.features)(h) * (1.0 + nn.Dense(self.features)(condition)[:, None, None, :]))
    return nn.silu(nn.Dense(self.features)(h))


CONDITIONINGS = ("track", "features")


class LatentUNet(nn.Module):
  """(z [b h w c], c_noise [b], cond) -> [b h w c].

  cond: None, or a dict with keep [b] (optional): keep = 0 drops the condition of that example, which is what
  classifier-free guidance trains with (Ho & Salimans 2022, alg. 1). It enters by FiLM and by
  `PixelCondition`. With conditioning = "track" the dict has momentum [b 3] in the track frame and end [b],
  where the track is expected to stop on axis 0, as a share of the half window; with "features" it has
  features [b f], see `generators.condition.embed`.
  """
  features: int = 64
  multipliers: tuple[int, ...] = (1, 2)
  num_blocks: int = 2
  attention_levels: tuple[int, ...] = (0, 1)
  num_heads: int = 4
  num_groups: int = 8
  conditioning: str = "track"

  @nn.compact
  def __call__(self, z, c_noise, cond=None):
    out_channels = z.shape[-1]
    emb_size = 4 * self.features
    embedding = nn.Dense(emb_size)(fourier(c_noise[:, None], 6))
    null = self.param("null_condition", nn.initializers.normal(1.0), (emb_size,))
    one = jnp.ones(z.shape[0], z.dtype)
    if cond is None:
      cond = {"momentum": jnp.ones((z.shape[0], 3), z.dtype), "end": one, "keep": 0.0 * one}
    track, keep = self.conditioning == "track", cond.get("keep", one)
    features, end = (momentum_features(cond["momentum"]), cond["end"]) if track else (cond["features"], None)
    known = nn.Dense(emb_size)(nn.silu(nn.Dense(emb_size)(features)))
    embedding += keep[:, None] * known + (1.0 - keep[:, None]) * null[None]
    embedding = nn.Dense(emb_size)(nn.silu(nn.Dense(emb_size)(nn.silu(embedding))))
    mask = keep[:, None, None, None]
    codes = [mask * PixelCondition(2 * self.features)(
                 pixel_coordinates(z.shape[1] // 2**level, z.shape[2] // 2**level, end), known)
             for level in range(len(self.multipliers))]

    block = lambda width: ResidualBlock(width, self.num_groups)
    h = Conv(self.features)(jnp.concatenate([z, codes[0]], axis=-1))
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
    return zero_conv(out_channels)(h)
