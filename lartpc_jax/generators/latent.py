"""The latent space of an autoencoder: images in MeV to normalised latents and back."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.geometry.charge import ChargeTransform
from lartpc_jax.types import Params


class LatentScale(NamedTuple):
  """Per-channel statistics of latents over a fixed subset of events: normalised z = (mean - shift) / scale."""
  shift: Float[Array, " c"]
  scale: Float[Array, " c"]


class LatentSpace(NamedTuple):
  """Pure functions; the autoencoder's parameters are inside."""
  encode: Callable  # images [b n m] in MeV -> z [b h w c], normalised posterior means
  decode: Callable  # z -> images [b n m] in MeV, exactly zero below the threshold


def measure_latent_scale(means: Float[Array, "b h w c"], *, about_empty: bool = False) -> LatentScale:
  """Mean and standard deviation of each channel over examples and pixels.

  Args:
    means: posterior means.
    about_empty: the median, which is the latent of an empty pixel where most are empty, and the root mean square about it:
      empty pixels are then 0, as a network with `gated_skip` wants them.
  Raises:
    ValueError: naming the channels that are constant: the autoencoder does not use them, and nothing can normalise them.
  """
  shift = jnp.median(means.reshape(-1, means.shape[-1]), axis=0) if about_empty else means.mean((0, 1, 2))
  scale = jnp.sqrt(jnp.mean((means - shift[None, None, None])**2, axis=(0, 1, 2)))
  if not bool(jnp.all(scale > 0.0)):
    raise ValueError(f"Latent channels {jnp.flatnonzero(~(scale > 0.0)).tolist()} of {len(scale)} are constant; use fewer "
                     "network.latent_channels or a smaller loss.kl_weight.")
  return LatentScale(shift, scale)


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


def decode_in_tiles(decode: Callable, *, tile: int, reach: int) -> Callable:
  """The same decoder, working on one square of latents after another: memory follows the tile, not the image.

  Each tile is decoded with `reach` latents around it that are cut off afterwards, so that the result is that of the whole
  where the decoder is convolutional and sees no further; windows at the edge of the image end there, as the whole does.

  Args:
    decode: z [b h w c] -> images [b s h, s w].
    tile: latents a side of a tile; it must divide h and w.
    reach: latents that a decoded pixel depends on beyond its own, on each side; `decoder_reach` of the network.
  Raises:
    ValueError: if tile or reach is out of range, or (when called) tile does not divide h and w.
  Differentiable as `decode` is.
  """
  if tile < 1 or reach < 0:
    raise ValueError(f"Tiles need tile >= 1 and reach >= 0; got {tile=}, {reach=}.")

  def tiled(z: Float[Array, "b h w c"]) -> Float[Array, "b n m"]:
    b, h, w, c = z.shape
    if h % tile or w % tile:
      raise ValueError(f"tile = {tile} must divide the latents {h} x {w}.")
    window = tuple(min(tile + 2 * reach, size) for size in (h, w))
    places = jnp.stack(jnp.meshgrid(jnp.arange(h // tile), jnp.arange(w // tile), indexing="ij"), -1).reshape(-1, 2) * tile
    limits = jnp.array([h - window[0], w - window[1]])
    stem = jax.eval_shape(decode, z).shape[1] // h

    def one(place):
      start = jnp.clip(place - reach, 0, limits)
      images = decode(jax.lax.dynamic_slice(z, (0, start[0], start[1], 0), (b, *window, c)))
      inner = (place - start) * stem
      return jax.lax.dynamic_slice(images, (0, inner[0], inner[1]), (b, tile * stem, tile * stem))

    tiles = jax.lax.map(one, places).reshape(h // tile, w // tile, b, tile * stem, tile * stem)
    return tiles.transpose(2, 0, 3, 1, 4).reshape(b, h * stem, w * stem)
  return tiled
