"""Trained generators of every kind, opened for completing images: what launch.inpaint takes."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build.cascade import build_cascade, build_cascade_samplers, is_cascade
from lartpc_jax.build.generators import build_generator
from lartpc_jax.build.models import build_sampler
from lartpc_jax.data.images import ImageSet
from lartpc_jax.generators import condition as condition_lib
from lartpc_jax.generators.cascade_inpainting import make_cascade_inpaint
from lartpc_jax.generators.frame import IDENTITY
from lartpc_jax.generators.generator import Generator
from lartpc_jax.generators.inpainting import Inpainting, make_inpaint
from lartpc_jax.geometry.rasterize import ImageSpec

UNKNOWN, TRUTH = "unknown", "truth"
LEVELS = dict(sigma_min=0.03, sigma_max=30.0)  # of the sampler's grid; no pixel shows what lies outside


class Painter(NamedTuple):
  """What completes images, whatever kind of generator it is."""
  # (keys [b], images [b n n], seen [b n n], cond) -> images [b n n] in MeV
  draw: Callable
  spec: ImageSpec
  # (images of the file, their number) -> physical values by name [n ...], or None where nothing is known
  conditions: Callable
  digests: dict


def open_painter(settings: Any) -> Painter:
  """The generator of `settings.weights`, to be asked as the settings of launch.inpaint say.

  Raises:
    OSError, ValueError: naming the file, flag or key that is wrong.
  """
  if settings.weights is not None and is_cascade(settings.weights):
    return _open_cascade(settings)
  generator, info, digests = build_generator(settings.weights)
  inpaint = make_inpaint(generator, build_sampler(generator.denoiser.sde, **_sampler_of(settings)),
                         _guidance_of(settings))

  def draw(keys, given, seen, cond):
    split = jax.vmap(jax.random.split)(keys)
    noise = jax.vmap(lambda key: jax.random.normal(key, generator.codec.state_shape))(split[:, 0])
    return inpaint(noise, given, seen, cond, split[:, 1])
  return Painter(draw, generator.spec or ImageSpec(num_pixels=int(info["shape"][0])),
                 lambda data, num: _conditions(settings, generator, data, num), digests)


def _open_cascade(settings: Any) -> Painter:
  if settings.cond != UNKNOWN:
    raise ValueError(f"--cond={settings.cond}: a cascade completes images without knowing their condition.")
  cascade, info = build_cascade(settings.weights)
  # the grid is the stages' own: their states are not those of latents
  changed = {name: dict(name=settings.sampler, num_steps=settings.num_steps, num_evaluations=None)
             for name in info}
  inpaint = make_cascade_inpaint(cascade, build_cascade_samplers(cascade, info, **changed),
                                 _guidance_of(settings))
  return Painter(lambda keys, given, seen, cond: inpaint(keys, given, seen),
                 ImageSpec(num_pixels=cascade.fine.state_shape[0]), lambda data, num: None,
                 {name: info[name]["sha256"] for name in info})


def _sampler_of(settings: Any) -> dict:
  return dict(name=settings.sampler, num_steps=settings.num_steps, **LEVELS)


def _guidance_of(settings: Any) -> Inpainting:
  return Inpainting(settings.covariance, settings.num_iterations, settings.floor, settings.inflation,
                    settings.noise_mev)


def _conditions(settings: Any, generator: Generator, data: ImageSet, num: int) -> dict | None:
  condition = generator.condition
  if settings.cond == UNKNOWN:
    if condition.variables and generator.frame is not IDENTITY:
      raise ValueError(f"These weights place their pictures by {sorted(condition.variables)}, so it must be "
                       "known: --cond=truth, or weights that learned from images alone.")
    return None
  if not condition.variables:
    raise ValueError(f"--cond={settings.cond}: this generator takes no condition.")
  if settings.cond != TRUTH:
    told = condition_lib.parse(condition, settings.cond)
    return condition_lib.check(condition, {name: np.full(num, value) for name, value in told.items()})
  unknown = sorted(set(condition.variables) - {"momentum_mev"})
  if unknown or data.momentum_mev is None:
    raise ValueError(f"--cond=truth: {settings.input} does not tell {unknown or 'the momenta'}; give "
                     "--cond=unknown or NAME=VALUE.")
  return condition_lib.as_arrays(condition, {"momentum_mev": data.momentum_mev})


def draw_many(painter: Painter, num: int) -> Callable:
  """(keys [b], images [b n n], seen [b n n], cond) -> `num` draws of each [b num n n], compiled."""
  @jax.jit
  def draw(keys, given, seen, cond):
    split = jax.vmap(lambda key: jax.random.split(key, num))(keys).reshape(-1)
    many = lambda x: jnp.repeat(x, num, axis=0)
    drawn = painter.draw(split, many(given), many(seen), jax.tree.map(many, cond))
    return drawn.reshape(len(keys), num, *drawn.shape[1:])
  return draw
