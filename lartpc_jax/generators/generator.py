"""The generator: noise and a condition to charge images, through the whole sampler. Pure and differentiable.

A generator is made of a denoiser (network, SDE and what the network predicts), a codec (pixels, or an
autoencoder), a condition (named physical variables) and a frame (how the picture lies in the image). Single
protons, crops and whole interactions are three settings of it.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.diffusion import guidance
from lartpc_jax.diffusion.prediction import make_denoiser, score_from_denoiser
from lartpc_jax.diffusion.sde import SDE
from lartpc_jax.generators.codec import Codec
from lartpc_jax.generators.condition import Condition
from lartpc_jax.generators.frame import Frame
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.types import Cond, Params, ScoreFn


class Denoiser(NamedTuple):
  """A network that was trained to remove noise, and what is needed to read it."""
  apply: Callable      # (params, x [b h w c], c_noise [b], cond) -> like x
  params: Params
  sde: SDE
  prediction: str      # what the network predicts, see `diffusion.prediction.PREDICTIONS`
  sigma_data: float    # standard deviation of the states


class Generator(NamedTuple):
  """A trained generator as functions and numbers."""
  denoiser: Denoiser
  codec: Codec
  condition: Condition
  # canonical cond -> what the network is told, a dict of arrays [b ...]
  inputs: Callable
  frame: Frame
  # geometry of the images that come out; None where a pixel has no size
  spec: ImageSpec | None
  # (low, high) of the particles that it was trained on; with the variable "particle", name -> (low, high)
  kinetic_range_mev: tuple[float, float] | dict[str, tuple[float, float]] | None


def replace_params(generator: Generator, params: Params) -> Generator:
  """The same generator with other parameters of its network."""
  return generator._replace(denoiser=generator.denoiser._replace(params=params))


def network_cond(generator: Generator, cond: Cond) -> dict[str, Array]:
  """What the network is told of physical values in the frame of the view; {} for a generator without a
  condition."""
  return generator.inputs(generator.frame.canonical(cond or {}))


def encode(generator: Generator, pictures: Float[Array, "b h w"], cond: Cond) -> Float[Array, "b y x c"]:
  """States of canonical pictures [b h w] in MeV, given their canonical conditions."""
  return generator.codec.encode(pictures, cond)


def denoise_fn(denoiser: Denoiser, cond: dict[str, Array] | None = None) -> Callable:
  """denoise_fn(x [b h w c], sigma [b]) -> posterior mean of the clean state, for `network_cond` and perhaps
  "keep"."""
  return make_denoiser(denoiser.apply, denoiser.params, cond or None, prediction=denoiser.prediction,
                       sigma_data=denoiser.sigma_data)


def state_score(denoiser: Denoiser, cond: dict[str, Array] | None = None, *,
                guidance_scale: float = 1.0) -> ScoreFn:
  """score_fn(x [b h w c], t [b]) of states.

  Args:
    denoiser: the trained network.
    cond: from `network_cond`; empty or None for a network without a condition.
    guidance_scale: 1.0 means none; see `diffusion.guidance.classifier_free`. 0.0 is the null condition alone.
  Raises:
    ValueError: if guidance is asked of a network without a condition.
  """
  score = lambda c: score_from_denoiser(denoiser.sde, denoise_fn(denoiser, c))
  if not cond:
    if guidance_scale != 1.0:
      raise ValueError(
          f"guidance_scale = {guidance_scale} needs a generator with a condition; this one has none.")
    return score(None)
  keep = jnp.ones(len(next(iter(cond.values()))), jnp.float32)
  conditional = score({**cond, "keep": keep})
  if guidance_scale == 1.0:
    return conditional
  free = score({**cond, "keep": jnp.zeros_like(keep)})
  if guidance_scale == 0.0:
    return free
  return guidance.classifier_free(conditional, free, guidance_scale=guidance_scale)


def make_generate(generator: Generator, sampler: Callable, *, guidance_scale: float = 1.0,
                  mirrored: bool = False, steer: Callable = lambda score_fn: score_fn) -> Callable:
  """Builds generate(noise [b h w c], cond, key=None, pose=None) -> images [b n n] in MeV; with `mirrored`, [b
  m n n].

  Args:
    generator: the trained generator.
    sampler: sample(score_fn, noise, key) -> x0 from standard normal noise; see `build.models.build_sampler`.
    guidance_scale: 1.0 means none; see `diffusion.guidance.classifier_free`.
    mirrored: return m pictures a draw, those that the symmetry of the frame makes equally probable: 2 in the
      track frame, where their scatter to the sides cancels exactly and the second costs no network; 1 in
      others.
    steer: (score_fn) -> score_fn, what else guides the draws; see `generators.guide.steer`.
  Returns:
    generate. The noise is a draw of `prior_noise`; the same noise, condition and key give the same image.
    `cond` are physical values by name, in the frame of the view (see `geometry.rasterize.to_view`), None for
    a generator without a condition. The key is for samplers that draw noise, one for the batch or [b] one for
    each image; without one they take `noise_keys`. The pose [b 3], in the frame of the view and in mm, moves
    the vertex there (frames that can). Differentiable in noise, cond and pose, forward and reverse mode.
  """
  def generate(noise: Float[Array, "b h w c"], cond: Cond = None, key: Array | None = None,
               pose: Float[Array, "b 3"] | None = None) -> Float[Array, "b *m n n"]:
    for name, value in (cond or {}).items():
      if value.shape[:1] != noise.shape[:1] or (name == "momentum_mev" and value.shape[1:] != (3,)):
        raise ValueError(
            f"Condition {name!r} needs a row for each of the {len(noise)} draws"
            f"{', of shape (3,)' if name == 'momentum_mev' else ''}; got shape {tuple(value.shape)}.")
    score_fn = state_score(generator.denoiser, network_cond(generator, cond), guidance_scale=guidance_scale)
    state = sampler(steer(score_fn), noise, noise_keys(noise) if key is None else key)
    pictures = generator.codec.decode(state, cond)
    place = lambda pictures: generator.frame.place(pictures, cond, pose)
    if not mirrored:
      return place(pictures)
    equal = [pictures] if generator.frame.mirror is None else [pictures, generator.frame.mirror(pictures)]
    return jnp.stack([place(each) for each in equal], axis=1)
  return generate


def noise_keys(noise: Float[Array, "b h w c"]) -> Array:
  """Keys [b] made of the bits of the noise itself: whatever a sampler draws then follows from `noise`
  alone."""
  bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(noise.astype(jnp.float32)), jnp.uint32)
  return jax.vmap(jax.random.wrap_key_data)(bits.reshape(len(noise), -1)[:, :2])


def prior_noise(generator: Generator, key: Array, num: int) -> Float[Array, "b h w c"]:
  """`num` standard normal draws, the first argument of `generate`; the sampler scales them to its first noise
  level."""
  return jax.random.normal(key, (num, *generator.codec.state_shape))


def make_draw(generator: Generator, sampler: Callable, *, guidance_scale: float = 1.0) -> Callable:
  """Builds draw(key, num, cond=None) -> images [num n n] in MeV; arguments as for `make_generate`."""
  generate = make_generate(generator, sampler, guidance_scale=guidance_scale)

  def draw(key: Array, num: int, cond: Cond = None) -> Float[Array, "b n m"]:
    key_prior, key_steps = jax.random.split(key)
    return generate(prior_noise(generator, key_prior, num), cond, key_steps)
  return draw
