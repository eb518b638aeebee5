"""KL autoencoder for sparse charge images (Rombach et al. 2022, sec. 3.1), behind a space-to-depth stem.

Convolutions at full resolution are what makes training slow, and a track touches few pixels: the stem folds
stem x stem pixels into channels without arithmetic, and every convolution runs at the latent resolution.
"""
import flax.linen as nn
import jax.numpy as jnp

from lartpc_jax.networks.blocks import Conv, ResidualBlock, depth_to_space, space_to_depth


class Encoder(nn.Module):
  """[b h w 1] -> mean and log-variance, each [b h/stem w/stem latent_channels]."""
  latent_channels: int
  stem: int
  features: int
  num_blocks: int

  @nn.compact
  def __call__(self, x):
    h = Conv(self.features)(space_to_depth(x, self.stem))
    for _ in range(self.num_blocks):
      h = ResidualBlock(self.features)(h)
    mean, logvar = jnp.split(nn.Dense(2 * self.latent_channels)(nn.silu(h)), 2, axis=-1)
    # starts with little noise, so that detail is learned first
    return mean, jnp.clip(logvar - 4.0, -20.0, 4.0)


class Decoder(nn.Module):
  """[b h w latent_channels] -> [b stem h, stem w, 1]."""
  stem: int
  features: int
  num_blocks: int

  @nn.compact
  def __call__(self, z):
    h = Conv(self.features)(z)
    for _ in range(self.num_blocks):
      h = ResidualBlock(self.features)(h)
    return depth_to_space(Conv(self.stem**2)(nn.silu(h)), self.stem)


class Autoencoder(nn.Module):
  """Encoder and decoder with one set of parameters. encoder_features 0: as many as `features`."""
  latent_channels: int = 8
  stem: int = 8
  features: int = 128
  num_encoder_blocks: int = 2
  num_decoder_blocks: int = 3
  encoder_features: int = 0

  def setup(self):
    self.encoder = Encoder(self.latent_channels, self.stem, self.encoder_features or self.features,
                           self.num_encoder_blocks)
    self.decoder = Decoder(self.stem, self.features, self.num_decoder_blocks)

  def encode(self, x):
    return self.encoder(x)

  def decode(self, z):
    return self.decoder(z)

  def __call__(self, x):
    mean, _ = self.encoder(x)
    return self.decoder(mean)
