"""Trained generators of every kind, opened for drawing: what launch.sample takes."""
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lartpc_jax.build import cascade as cascade_builders
from lartpc_jax.build.codes import build_code_model, is_code_model
from lartpc_jax.build.gan import build_gan, is_gan
from lartpc_jax.build.generators import build_generator
from lartpc_jax.build.pixel_sequence import build_pixel_sequence, is_pixel_sequence
from lartpc_jax.experiments import cascades, keyed_draws, pixels, steering
from lartpc_jax.generators import condition as condition_lib
from lartpc_jax.generators.generator import Generator
from lartpc_jax.units import PDG_CODES

FIELD_OF = {"momentum_mev": "momentum", "kinetic_mev": "kinetic"}  # variable -> field of a file of images


class Model(NamedTuple):
  """What draws, whatever kind of generator it is."""
  draw: Callable   # (update) -> images [n h w] MeV, arrays to save beside them, seconds an image
  info: dict       # JSON of the weights
  label: str


class Kind(NamedTuple):
  """One kind of generator."""
  holds: Callable  # weights (a directory or a name) -> whether they are of this kind
  open: Callable   # settings of launch.sample -> Model


def _open_generator(settings: Any) -> Model:
  weights = build_generator(settings.weights, tile=settings.tile)
  generator, info, _ = weights
  chunk_size = min(settings.chunk_size, settings.num)
  steered, wanted = steering.open_steer(settings, weights, chunk_size)
  asked = condition_lib.parse(generator.condition, settings.cond)
  untold = not asked and (settings.guide or settings.data is None)
  cond = None if untold else pixels.conditions_for(generator, info, settings.num, asked=asked,
                                                   path=settings.data, seed=settings.seed)

  def draw(update: Callable) -> tuple[np.ndarray, dict, float]:
    images, seconds = pixels.draw_images(
        generator, settings.num, seed=settings.seed, chunk_size=chunk_size, cond=cond, update=update,
        steer=steered, name=settings.sampler, num_evaluations=settings.num_evaluations,
        uniform=settings.uniform)
    arrays = {name: np.full(settings.num, value) for name, value in wanted.items()}
    return images, {**arrays, **_saved(generator, cond or {})}, seconds
  return Model(draw, info, f"{settings.sampler}, {settings.num_evaluations} evaluations")


def _saved(generator: Generator, cond: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Conditions as `data.image_files` reads them: particles as PDG codes."""
  saved = {FIELD_OF.get(name, name): values for name, values in cond.items()}
  if "particle" in cond:
    codes = [PDG_CODES[name] for name in generator.condition.variables["particle"].classes]
    saved["pdg"] = np.array(codes, np.int64)[saved.pop("particle")]
  return saved


def _open_cascade(settings: Any) -> Model:
  cascade, info = cascade_builders.build_cascade(settings.weights)
  texts = {name: getattr(settings, f"{name}_sampler") for name in cascade_builders.STAGES}
  for name in set(texts) - set(info):
    if texts[name]:
      raise ValueError(f"--{name}_sampler = {texts[name]!r}: this cascade has the stages {list(info)}.")
  changed = {name: cascades.parse_sampler(text) if text else {} for name, text in texts.items()}
  samplers = cascade_builders.build_cascade_samplers(cascade, info, **changed)
  asked = condition_lib.parse(cascade.coarse.condition, settings.cond)

  def draw(update):
    return cascades.draw_cascade(
        cascade, samplers, settings.num, update=update, asked=asked, guidance_scale=settings.guidance_scale,
        seed=settings.seed, chunk_size=min(settings.chunk_size, settings.num))

  knobs = [{**info[name]["sampler"], **changed[name]} for name in info]
  return Model(draw, info["fine"],
               " and ".join(f"{x['name']} {x['num_evaluations']} evaluations" for x in knobs))


def open_keyed(build: Callable, label: str) -> Callable:
  """How to open what `build` (weights -> KeyedModel, JSON) makes."""
  def open_it(settings: Any) -> Model:
    model, info = build(settings.weights)
    asked = condition_lib.parse(model.condition, settings.cond)

    def draw(update):
      return keyed_draws.draw_keyed(model, settings.num, seed=settings.seed, asked=asked, update=update,
                                    chunk_size=min(settings.chunk_size, settings.num))
    return Model(draw, info, label)
  return open_it


KEYED = {"gan": (is_gan, build_gan, "a pass of a GAN"),
         "codes": (is_code_model, build_code_model, "codes of a prior, decoded"),
         "pixel_sequence": (is_pixel_sequence, build_pixel_sequence, "lit pixels one by one")}
KINDS = {"cascade": Kind(cascade_builders.is_cascade, _open_cascade),
         **{name: Kind(holds, open_keyed(build, label)) for name, (holds, build, label) in KEYED.items()},
         "generator": Kind(lambda weights: True, _open_generator)}


def open_model(settings: Any) -> Model:
  """The model of `settings.weights`, of the first kind whose weights they are. Errors as of the builders in
  `build`.
  """
  return next(kind.open(settings) for kind in KINDS.values() if kind.holds(settings.weights))
