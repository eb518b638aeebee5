"""Images that a detector saw in part, completed by a generator: draws of what is missing, given the rest.

What was seen is compared where the noise of the generator is even: on pixel states themselves, else on the
root of the charge, as autoencoders are trained.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.diffusion.inverse import Measurement, measurement_guidance
from lartpc_jax.generators.condition import placeholder
from lartpc_jax.generators.frame import IDENTITY
from lartpc_jax.generators.generator import Generator, network_cond, noise_keys, state_score
from lartpc_jax.types import Cond


class Inpainting(NamedTuple):
  """How what was seen guides the draws; see `diffusion.inverse.measurement_guidance`."""
  covariance: str = "moments"
  num_iterations: int = 3
  # standard deviation of what a decoder gets wrong, in roots of MeV (or pixel states)
  floor: float = 0.05
  inflation: float = 0.5    # through a decoder: how far its slope is wrong, in roots of MeV
  noise_mev: float = 0.0    # standard deviation of the noise of a seen pixel
  # the root of charge is taken of so much more, as its slope at zero is not finite
  softening_mev: float = 0.01


def is_pixels(generator: Generator) -> bool:
  """Whether the state of the generator is the image itself, pixel by pixel."""
  h, w, c = generator.codec.state_shape
  return c == 1 and generator.frame is IDENTITY and (
      generator.spec is None or (h, w) == generator.spec.shape)


def seen_pixels(generator: Generator, images: Float[Array, "b n m"], seen: Float[Array, "b n m"],
                cond: Cond, settings: Inpainting) -> Measurement:
  """The measurement of a state that images in MeV are, where `seen` is 1."""
  if is_pixels(generator):
    encode = lambda q: generator.codec.encode(q, cond)
    # the slope of the state by charge at what was seen, for the noise
    rise = (encode(images + settings.softening_mev) - encode(images)) / settings.softening_mev
    std = jnp.hypot(settings.floor, settings.noise_mev * rise)
    return Measurement(lambda state: state, encode(images), seen[..., None] / std)
  root = lambda q: jnp.sqrt(jnp.maximum(q, 0.0) + settings.softening_mev)
  std = jnp.hypot(settings.floor, 0.5 * settings.noise_mev / root(images))
  decoded = lambda state: root(generator.frame.place(generator.codec.decode(state, cond), cond, None))
  return Measurement(decoded, root(images), seen / std)


def make_inpaint(generator: Generator, sampler: Callable, settings: Inpainting, *,
                 guidance_scale: float = 1.0) -> Callable:
  """Builds inpaint(noise [b h w c], images [b n n], seen [b n n], cond, key=None) -> images [b n n] in MeV.

  Args:
    generator: the trained generator.
    sampler: sample(score_fn, noise, key) -> x0 from standard normal noise; see `build.models.build_sampler`.
    settings: of the guidance by what was seen.
    guidance_scale: of the condition, if there is one; see `diffusion.guidance.classifier_free`.
  Returns:
    inpaint: a draw of the whole image given `images` in MeV where `seen` is 1 (0: dead). `cond` are physical
    values by name, None where nothing is known: the network then gets its null condition. What was seen
    without noise stays as it is. The key is as for `generators.generator.make_generate`.
  Raises:
    ValueError: when called without a condition, for a generator that places its pictures by one.
  """
  def inpaint(noise: Float[Array, "b h w c"], images: Float[Array, "b n m"], seen: Float[Array, "b n m"],
              cond: Cond = None, key: Array | None = None) -> Float[Array, "b n m"]:
    scale = guidance_scale
    if not cond and generator.condition.variables:
      if generator.frame is not IDENTITY:
        raise ValueError("This generator places its pictures by the momentum: it needs a condition, "
                         f"{sorted(generator.condition.variables)}.")
      cond, scale = placeholder(generator.condition, len(images)), 0.0
    prior = state_score(generator.denoiser, network_cond(generator, cond), guidance_scale=scale)
    score_fn = measurement_guidance(
        generator.denoiser.sde, prior, seen_pixels(generator, images, seen, cond, settings),
        covariance=settings.covariance, num_iterations=settings.num_iterations,
        inflation=0.0 if is_pixels(generator) else settings.inflation)
    state = sampler(score_fn, noise, noise_keys(noise) if key is None else key)
    drawn = generator.frame.place(generator.codec.decode(state, cond), cond, None)
    return drawn if settings.noise_mev else jnp.where(seen > 0.0, images, drawn)
  return inpaint
