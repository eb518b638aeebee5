"""Codecs: images in MeV to the normalised states that a diffusion works on, and back. Pure functions."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.geometry.charge import ChargeTransform
from lartpc_jax.types import Cond, Params


class StateScale(NamedTuple):
  """Mean and standard deviation of transformed pixels: the diffused state is (y - shift) / scale."""
  shift: float
  scale: float


class LatentScale(NamedTuple):
  """Per-channel statistics of latents over a fixed subset of events: normalised z = (mean - shift) /
  scale."""
  shift: Float[Array, " c"]
  scale: Float[Array, " c"]


class ChargePlane(NamedTuple):
  """Total charge over a reference, normalised to (ratio - mean) / std where the diffusion works."""
  mean: float
  std: float


class Codec(NamedTuple):
  """Both ways between images and states. `cond` are physical values by name (see `generators.condition`), or
  None."""
  encode: Callable                   # (images [b n m] in MeV, cond) -> state [b h w c]
  # (state, cond) -> images [b n m] in MeV, exactly zero below the threshold
  decode: Callable
  state_shape: tuple[int, int, int]  # (h, w, c)


def exact_zeros(images: Float[Array, "b n m"], threshold_mev: float) -> Float[Array, "b n m"]:
  """Images with pixels below the threshold exactly zero, as in the data.

  The published cut on 8-bit images, pixels <= 4 of 255 to zero, is a threshold of 4.5 levels.
  """
  return jnp.where(images >= threshold_mev, images, 0.0)


def measure_state_scale(images_mev: np.ndarray, transform: ChargeTransform, *,
                        about_empty: bool = False) -> StateScale:
  """Mean and standard deviation over the pixels of images [n h w], transformed.

  Args:
    images_mev: training images.
    transform: of charge.
    about_empty: the value of an empty pixel and the root mean square about it, so that empty pixels are 0 in
      the state, as a network with `gated_skip` wants them.
  Raises:
    ValueError: if all pixels are equal.
  """
  y = np.asarray(jax.jit(transform.forward)(images_mev), np.float64)
  if not y.std() > 0:
    raise ValueError(
        "The transformed pixels of the first images are all equal; check data.path and charge.scale_mev.")
  shift = float(transform.forward(jnp.zeros((1, 1, 1)))[0, 0, 0]) if about_empty else float(y.mean())
  return StateScale(shift, float(np.sqrt(np.mean((y - shift)**2))))


def pixel_codec(transform: ChargeTransform, scale: StateScale, *, threshold_mev: float,
                shape: tuple[int, int]) -> Codec:
  """Diffusion on pixels: the state [b n m 1] is transformed charge, normalised over the training data.

  Args:
    transform: of charge.
    scale: normalisation.
    threshold_mev: decoded pixels below are set to 0, as in the data.
    shape: of the images.
  """
  encode = lambda images, cond=None: ((transform.forward(images) - scale.shift) / scale.scale)[..., None]
  decode = lambda state, cond=None: exact_zeros(transform.inverse(state[..., 0] * scale.scale + scale.shift),
                                                threshold_mev)
  return Codec(encode, decode, (*shape, 1))


def measure_latent_scale(means: Float[Array, "b h w c"], *, about_empty: bool = False) -> LatentScale:
  """Mean and standard deviation of each channel over examples and pixels.

  Args:
    means: posterior means.
    about_empty: the median, which is the latent of an empty pixel where most are empty, and the root mean
      square about it: empty pixels are then 0, as a network with `gated_skip` wants them.
  Raises:
    ValueError: naming the channels that are constant: the autoencoder does not use them, and nothing can
      normalise them.
  """
  shift = jnp.median(means.reshape(-1, means.shape[-1]), axis=0) if about_empty else means.mean((0, 1, 2))
  scale = jnp.sqrt(jnp.mean((means - shift[None, None, None])**2, axis=(0, 1, 2)))
  if not bool(jnp.all(scale > 0.0)):
    raise ValueError(
        f"Latent channels {jnp.flatnonzero(~(scale > 0.0)).tolist()} of {len(scale)} are constant; use "
        "fewer network.latent_channels or a smaller loss.kl_weight.")
  return LatentScale(shift, scale)


def autoencoder_codec(encode: Callable, decode: Callable, params: Params, scale: LatentScale, *,
                      transform: ChargeTransform, threshold_mev: float, shape: tuple[int, int]) -> Codec:
  """Codec of the autoencoder (encode, decode) with its `params`; the state is its normalised posterior mean.

  Args:
    encode: (params, y [b n m 1]) -> mean, logvar.
    decode: (params, latent) -> y.
    params: of the autoencoder.
    scale: latent statistics.
    transform: charge transform used in training.
    threshold_mev: decoded pixels below are set to 0, as in the data.
    shape: (n, m) of the images.
  Both ways are differentiable, forward and reverse, except that pixels below threshold have no derivative.
  """
  def encode_images(images_mev: Float[Array, "b n m"], cond: Cond = None) -> Float[Array, "b h w c"]:
    mean, _ = encode(params, transform.forward(images_mev)[..., None])
    return (mean - scale.shift[None, None, None]) / scale.scale[None, None, None]

  def decode_images(z: Float[Array, "b h w c"], cond: Cond = None) -> Float[Array, "b n m"]:
    latent = z * scale.scale[None, None, None] + scale.shift[None, None, None]
    return exact_zeros(transform.inverse(decode(params, latent)[..., 0]), threshold_mev)

  latent_shape = jax.eval_shape(encode_images, jax.ShapeDtypeStruct((1, *shape), scale.shift.dtype)).shape[1:]
  return Codec(encode_images, decode_images, tuple(latent_shape))


def with_charge_plane(codec: Codec, plane: ChargePlane, reference: Callable) -> Codec:
  """The same codec with one plane more, which repeats the total charge over `reference(cond)` [b] in MeV.

  The total charge is a number of its own, as calorimeter generators learn energies beside normalised showers
  (Mikuni & Nachman 2022, Phys. Rev. D 106, 092009, sec. III): spread over all latents it would scatter by 10
  %. What is decoded is scaled to the charge that the plane names, at least 0.
  """
  def encode(images: Float[Array, "b n m"], cond: Cond = None) -> Float[Array, "b h w c"]:
    z = codec.encode(images, cond)
    value = (images.sum((1, 2)) / reference(cond) - plane.mean) / plane.std
    return jnp.concatenate([z, jnp.broadcast_to(value[:, None, None, None], (*z.shape[:3], 1))], axis=-1)

  def decode(state: Float[Array, "b h w c"], cond: Cond = None) -> Float[Array, "b n m"]:
    images = codec.decode(state[..., :-1], cond)
    ratio = plane.mean + plane.std * state[..., -1].mean((1, 2))
    total = images.sum((1, 2))
    scale = jnp.maximum(ratio, 0.0) * reference(cond) / jnp.where(total > 0.0, total, 1.0)
    return images * scale[:, None, None]

  h, w, c = codec.state_shape
  return Codec(encode, decode, (h, w, c + 1))


def decode_in_tiles(decode: Callable, *, tile: int, reach: int) -> Callable:
  """The same decoder, working on one square of latents after another: memory follows the tile, not the image.

  Each tile is decoded with `reach` latents around it that are cut off afterwards, so that the result is that
  of the whole where the decoder is convolutional and sees no further; windows at the edge of the image end
  there, as the whole does.

  Args:
    decode: (z [b h w c], cond) -> images [b s h, s w].
    tile: latents a side of a tile; it must divide h and w.
    reach: latents that a decoded pixel depends on beyond its own, on each side; `decoder_reach` of the
      network.
  Raises:
    ValueError: if tile or reach is out of range, or (when called) tile does not divide h and w.
  Differentiable as `decode` is.
  """
  if tile < 1 or reach < 0:
    raise ValueError(f"Tiles need tile >= 1 and reach >= 0; got {tile=}, {reach=}.")

  def tiled(z: Float[Array, "b h w c"], cond: Cond = None) -> Float[Array, "b n m"]:
    b, h, w, c = z.shape
    if h % tile or w % tile:
      raise ValueError(f"tile = {tile} must divide the latents {h} x {w}.")
    window = tuple(min(tile + 2 * reach, size) for size in (h, w))
    corners = jnp.meshgrid(jnp.arange(h // tile), jnp.arange(w // tile), indexing="ij")
    places = jnp.stack(corners, -1).reshape(-1, 2) * tile
    limits = jnp.array([h - window[0], w - window[1]])
    stem = jax.eval_shape(decode, z, cond).shape[1] // h

    def one(place):
      start = jnp.clip(place - reach, 0, limits)
      images = decode(jax.lax.dynamic_slice(z, (0, start[0], start[1], 0), (b, *window, c)), cond)
      inner = (place - start) * stem
      return jax.lax.dynamic_slice(images, (0, inner[0], inner[1]), (b, tile * stem, tile * stem))

    tiles = jax.lax.map(one, places).reshape(h // tile, w // tile, b, tile * stem, tile * stem)
    return tiles.transpose(2, 0, 3, 1, 4).reshape(b, h * stem, w * stem)
  return tiled
