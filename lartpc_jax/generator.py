"""The generator: prior noise and momentum to charge images, through the whole sampler. Pure and differentiable."""
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax import guidance
from lartpc_jax.latent import LatentSpace
from lartpc_jax.score import edm_denoiser, score_from_denoiser
from lartpc_jax.sde import SDE
from lartpc_jax.types import Params


class Diffusion(NamedTuple):
  """A trained conditional latent diffusion model as functions and numbers."""
  apply: Callable                      # (params, z, c_noise, cond) -> like z
  params: Params
  sde: SDE
  latent: LatentSpace
  latent_shape: tuple[int, int, int]   # (h, w, c)
  sigma_data: float
  momentum_scale_mev: float
  kinetic_range_mev: tuple[float, float]  # energies it was trained on


def latent_score(diffusion: Diffusion, momentum_mev: Float[Array, "b 3"], *, guidance_scale: float = 1.0) -> Callable:
  """score_fn(x, t) of latents given a momentum [b 3] each, MeV/c in the frame of the view.

  guidance_scale 1.0 means none; see `lartpc_jax.guidance.classifier_free`.
  """
  cond = {"momentum": momentum_mev / diffusion.momentum_scale_mev}
  score = lambda c: score_from_denoiser(
      diffusion.sde, edm_denoiser(diffusion.apply, diffusion.params, c, sigma_data=diffusion.sigma_data))
  if guidance_scale == 1.0:
    return score(cond)
  return guidance.classifier_free(score(cond), score(None), guidance_scale=guidance_scale)


def make_generate(diffusion: Diffusion, sampler: Callable, *, guidance_scale: float = 1.0) -> Callable:
  """Builds generate(noise [b h w c], momentum_mev [b 3]) -> images [b n n] in MeV.

  The noise is a draw of the SDE's prior; the same noise and momentum give the same image. Differentiable in both, forward
  and reverse mode. momentum_mev is in the frame of the view (see `data.rasterize.to_view`).
  """
  def generate(noise: Float[Array, "b h w c"], momentum_mev: Float[Array, "b 3"]) -> Float[Array, "b n n"]:
    score_fn = latent_score(diffusion, momentum_mev, guidance_scale=guidance_scale)
    return diffusion.latent.decode(sampler(score_fn, noise))
  return generate


def prior_noise(diffusion: Diffusion, key: Array, num: int) -> Float[Array, "b h w c"]:
  """`num` draws of the prior, the first argument of `generate`."""
  return diffusion.sde.prior_sampling(key, (num, *diffusion.latent_shape)).astype(jnp.float32)
