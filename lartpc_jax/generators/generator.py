"""The generator: noise and momentum to charge images, through the whole sampler. Pure and differentiable."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.diffusion import guidance
from lartpc_jax.diffusion.prediction import edm_denoiser, score_from_denoiser
from lartpc_jax.diffusion.sde import SDE
from lartpc_jax.generators.latent import LatentSpace
from lartpc_jax.geometry.frames import TrackFrame, expected_end, momentum_in_track_frame, turn_images
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.types import Params
from lartpc_jax.units import kinetic_from_momentum


class ChargeRatio(NamedTuple):
  """Total charge over kinetic energy, normalised to (ratio - mean) / std where the diffusion works."""
  mean: float
  std: float


class Diffusion(NamedTuple):
  """A trained conditional latent diffusion model as functions and numbers."""
  apply: Callable                      # (params, z, c_noise, cond) -> like z
  params: Params
  sde: SDE
  latent: LatentSpace                  # of images in the track frame
  frame: TrackFrame
  spec: ImageSpec                      # of the images that come out
  charge_ratio: ChargeRatio
  latent_shape: tuple[int, int, int]   # (h, w, c + 1) of the diffused state: latents and one plane for the charge
  sigma_data: float
  momentum_scale_mev: float
  kinetic_range_mev: tuple[float, float]  # energies it was trained on


def condition_of(diffusion: Diffusion, momentum_mev: Float[Array, "b 3"]) -> dict:
  """What the network is told of a momentum in MeV/c in the frame of the view: all but its azimuth."""
  return {"momentum": momentum_in_track_frame(momentum_mev) / diffusion.momentum_scale_mev,
          "end": expected_end(momentum_mev, diffusion.frame)}


def to_state(diffusion: Diffusion, images: Float[Array, "b h w"], momentum_mev: Float[Array, "b 3"]
             ) -> Float[Array, "b y x c"]:
  """What the diffusion learns of images in the track frame: their latents, and a plane that repeats the charge ratio.

  The total charge is a number of its own, as calorimeter generators learn energies beside normalised showers (Mikuni &
  Nachman 2022, Phys. Rev. D 106, 092009, sec. III): spread over all latents it would scatter by 10 %.
  """
  z = diffusion.latent.encode(images)
  ratio = images.sum((1, 2)) / _kinetic(momentum_mev)
  plane = (ratio - diffusion.charge_ratio.mean) / diffusion.charge_ratio.std
  return jnp.concatenate([z, jnp.broadcast_to(plane[:, None, None, None], (*z.shape[:3], 1))], axis=-1)


def from_state(diffusion: Diffusion, state: Float[Array, "b y x c"], momentum_mev: Float[Array, "b 3"]
               ) -> Float[Array, "b h w"]:
  """Images in the track frame: decoded, then scaled to the total charge that the last plane names (at least 0)."""
  images = diffusion.latent.decode(state[..., :-1])
  ratio = diffusion.charge_ratio.mean + diffusion.charge_ratio.std * state[..., -1].mean((1, 2))
  total = images.sum((1, 2))
  scale = jnp.maximum(ratio, 0.0) * _kinetic(momentum_mev) / jnp.where(total > 0.0, total, 1.0)
  return images * scale[:, None, None]


def _kinetic(momentum_mev: Float[Array, "b 3"]) -> Float[Array, " b"]:
  return kinetic_from_momentum(jnp.linalg.norm(momentum_mev, axis=-1))


def latent_score(diffusion: Diffusion, momentum_mev: Float[Array, "b 3"], *, guidance_scale: float = 1.0) -> Callable:
  """score_fn(x, t) of latents given a momentum [b 3] each, MeV/c in the frame of the view.

  guidance_scale 1.0 means none; see `lartpc_jax.diffusion.guidance.classifier_free`.
  """
  cond = condition_of(diffusion, momentum_mev)
  score = lambda c: score_from_denoiser(
      diffusion.sde, edm_denoiser(diffusion.apply, diffusion.params, c, sigma_data=diffusion.sigma_data))
  if guidance_scale == 1.0:
    return score(cond)
  return guidance.classifier_free(score(cond), score(None), guidance_scale=guidance_scale)


def make_generate(diffusion: Diffusion, sampler: Callable, *, guidance_scale: float = 1.0, mirrored: bool = False
                  ) -> Callable:
  """Builds generate(noise [b h w c], momentum_mev [b 3]) -> images [b n n] in MeV; with `mirrored`, [b 2 n n].

  `sampler` is sample(score_fn, noise) -> x0 from standard normal noise, see `samplers.start_from_noise`. The noise is
  standard normal, whatever the SDE; the same noise and momentum give the same image. Differentiable in both, forward
  and reverse mode. momentum_mev is in the frame of the view (see `data.rasterize.to_view`). The sampler draws in the
  track frame (see `data.frames`), and the image is turned to the azimuth of the momentum: equivariant by construction.

  A track and its reflection about the momentum are equally probable, so each draw of the network is worth two images: with
  `mirrored` both are returned. Their scatter to the sides cancels exactly, and the second costs no network.

  A third argument vertex_mm [b 3], in the frame of the view, moves the vertex from the middle of the image to there.
  """
  def generate(noise: Float[Array, "b h w c"], momentum_mev: Float[Array, "b 3"],
               vertex_mm: Float[Array, "b 3"] | None = None) -> Float[Array, "b *m n n"]:
    if momentum_mev.shape != (len(noise), 3):
      raise ValueError(f"generate needs a momentum for each draw, of shape ({len(noise)}, 3); got {momentum_mev.shape}.")
    turn = lambda images: turn_images(images, momentum_mev, diffusion.frame, diffusion.spec, vertex_mm)
    score_fn = latent_score(diffusion, momentum_mev, guidance_scale=guidance_scale)
    images = from_state(diffusion, sampler(score_fn, noise), momentum_mev)
    return jnp.stack([turn(images), turn(images[:, :, ::-1])], axis=1) if mirrored else turn(images)
  return generate


def prior_noise(diffusion: Diffusion, key: Array, num: int) -> Float[Array, "b h w c"]:
  """`num` standard normal draws, the first argument of `generate`; the sampler scales them to its first noise level."""
  return jax.random.normal(key, (num, *diffusion.latent_shape))
