"""Unconditional diffusion on pixels: images in MeV to normalised states and back, scores, draws. Pure functions."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.data.charge import ChargeTransform
from lartpc_jax.data.crops import StateScale, exact_zeros
from lartpc_jax.score import make_denoiser, score_from_denoiser
from lartpc_jax.sde import SDE
from lartpc_jax.types import Params, ScoreFn


class PixelDiffusion(NamedTuple):
  """A trained unconditional pixel model as functions and numbers."""
  apply: Callable             # (params, x [b h w 1], c_noise [b], cond) -> like x
  params: Params
  sde: SDE
  shape: tuple[int, int]      # (h, w) of the images
  transform: ChargeTransform
  scale: StateScale           # of transformed pixels
  threshold_mev: float        # pixels below are exactly zero in what comes out
  prediction: str             # what the network predicts, see `score.PREDICTIONS`
  sigma_data: float


def to_state(diffusion: PixelDiffusion, images_mev: Float[Array, "b h w"]) -> Float[Array, "b h w 1"]:
  """The diffused state: transformed pixels, normalised over the training data."""
  y = diffusion.transform.forward(images_mev)
  return ((y - diffusion.scale.shift) / diffusion.scale.scale)[..., None]


def from_state(diffusion: PixelDiffusion, state: Float[Array, "b h w 1"]) -> Float[Array, "b h w"]:
  """Images in MeV, exactly zero below the threshold."""
  y = state[..., 0] * diffusion.scale.scale + diffusion.scale.shift
  return exact_zeros(diffusion.transform.inverse(y), diffusion.threshold_mev)


def pixel_denoiser(diffusion: PixelDiffusion) -> Callable:
  """denoise_fn(x [b h w 1], sigma [b]) -> posterior mean of the clean state."""
  return make_denoiser(diffusion.apply, diffusion.params, None, prediction=diffusion.prediction,
                       sigma_data=diffusion.sigma_data)


def pixel_score(diffusion: PixelDiffusion) -> ScoreFn:
  """score_fn(x [b h w 1], t [b])."""
  return score_from_denoiser(diffusion.sde, pixel_denoiser(diffusion))


def make_draw(diffusion: PixelDiffusion, sampler: Callable, num: int) -> Callable:
  """Builds draw(key) -> images [num h w] in MeV. `sampler` is sample(score_fn, x, key) -> x0, see `lartpc_jax.samplers`."""
  def draw(key: Array) -> Float[Array, "b h w"]:
    key_prior, key_steps = jax.random.split(key)
    noise = diffusion.sde.prior_sampling(key_prior, (num, *diffusion.shape, 1)).astype(jnp.float32)
    return from_state(diffusion, sampler(pixel_score(diffusion), noise, key_steps))
  return draw
