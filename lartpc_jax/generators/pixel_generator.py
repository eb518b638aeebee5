"""Unconditional diffusion of images, on pixels or on latents: images in MeV to normalised states and back, scores, draws."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.data.crops import StateScale, exact_zeros
from lartpc_jax.diffusion.prediction import make_denoiser, score_from_denoiser
from lartpc_jax.diffusion.sde import SDE
from lartpc_jax.generators.latent import LatentSpace
from lartpc_jax.geometry.charge import ChargeTransform
from lartpc_jax.types import Params, ScoreFn


class ImageDiffusion(NamedTuple):
  """A trained unconditional model as functions and numbers."""
  apply: Callable                     # (params, x [b h w c], c_noise [b], cond) -> like x
  params: Params
  sde: SDE
  state_shape: tuple[int, int, int]   # (h, w, c) of what is diffused
  space: LatentSpace                  # images [b n m] in MeV to states and back: `pixel_space`, or an autoencoder's
  prediction: str                     # what the network predicts, see `score.PREDICTIONS`
  sigma_data: float


def pixel_space(transform: ChargeTransform, scale: StateScale, threshold_mev: float) -> LatentSpace:
  """Diffusion on pixels: the state [b h w 1] is transformed charge, normalised over the training data.

  Images that come out are exactly zero below the threshold.
  """
  encode = lambda images_mev: ((transform.forward(images_mev) - scale.shift) / scale.scale)[..., None]
  decode = lambda state: exact_zeros(transform.inverse(state[..., 0] * scale.scale + scale.shift), threshold_mev)
  return LatentSpace(encode, decode)


def image_denoiser(diffusion: ImageDiffusion) -> Callable:
  """denoise_fn(x [b h w c], sigma [b]) -> posterior mean of the clean state."""
  return make_denoiser(diffusion.apply, diffusion.params, None, prediction=diffusion.prediction,
                       sigma_data=diffusion.sigma_data)


def image_score(diffusion: ImageDiffusion) -> ScoreFn:
  """score_fn(x [b h w c], t [b])."""
  return score_from_denoiser(diffusion.sde, image_denoiser(diffusion))


def make_draw(diffusion: ImageDiffusion, sampler: Callable, num: int) -> Callable:
  """Builds draw(key) -> images [num n m] in MeV. `sampler`: sample(score_fn, x, key) -> x0, see `diffusion.samplers`."""
  def draw(key: Array) -> Float[Array, "b n m"]:
    key_prior, key_steps = jax.random.split(key)
    noise = diffusion.sde.prior_sampling(key_prior, (num, *diffusion.state_shape)).astype(jnp.float32)
    return diffusion.space.decode(sampler(image_score(diffusion), noise, key_steps))
  return draw
