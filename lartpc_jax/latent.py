"""The latent space of an autoencoder: images in MeV to normalised latents and back."""
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.data.charge import ChargeTransform
from lartpc_jax.types import Params


class LatentScale(NamedTuple):
  """Per-channel statistics of latents over a fixed subset of events: normalised z = (mean - shift) / scale."""
  shift: Float[Array, " c"]
  scale: Float[Array, " c"]


class LatentSpace(NamedTuple):
  """Pure functions; the autoencoder's parameters are inside."""
  encode: Callable  # images [b n m] in MeV -> z [b h w c], normalised posterior means
  decode: Callable  # z -> images [b n m] in MeV, exactly zero below the threshold


def measure_latent_scale(means: Float[Array, "b h w c"]) -> LatentScale:
  """Mean and standard deviation of each channel over examples and pixels.

  Raises:
    ValueError: naming the channels that are constant: the autoencoder does not use them, and nothing can normalise them.
  """
  scale = means.std((0, 1, 2))
  if not bool(jnp.all(scale > 0.0)):
    raise ValueError(f"Latent channels {jnp.flatnonzero(~(scale > 0.0)).tolist()} of {len(scale)} are constant; use fewer "
                     "network.latent_channels or a smaller loss.kl_weight.")
  return LatentScale(means.mean((0, 1, 2)), scale)


def make_latent_space(encode: Callable, decode: Callable, params: Params, scale: LatentScale, *,
                      transform: ChargeTransform, threshold_mev: float) -> LatentSpace:
  """Latent space of the autoencoder (encode, decode) with its `params`.

  Args:
    encode: (params, y [b n n 1]) -> mean, logvar.
    decode: (params, latent) -> y.
    params: of the autoencoder.
    scale: latent statistics.
    transform: charge transform used in training.
    threshold_mev: decoded pixels below are set to 0, as in the data.
  Both fields are differentiable in their argument, forward and reverse, except that pixels below threshold have none.
  """
  def encode_images(images_mev: Float[Array, "b n m"]) -> Float[Array, "b h w c"]:
    mean, _ = encode(params, transform.forward(images_mev)[..., None])
    return (mean - scale.shift[None, None, None]) / scale.scale[None, None, None]

  def decode_images(z: Float[Array, "b h w c"]) -> Float[Array, "b n m"]:
    latent = z * scale.scale[None, None, None] + scale.shift[None, None, None]
    images = transform.inverse(decode(params, latent)[..., 0])
    return jnp.where(images >= threshold_mev, images, 0.0)

  return LatentSpace(encode_images, decode_images)
