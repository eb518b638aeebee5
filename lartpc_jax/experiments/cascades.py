"""Draws of a trained cascade, by condition, in chunks on all devices: what launch.sample does with a
cascade.
"""
from collections.abc import Callable, Mapping

import jax
import numpy as np

from lartpc_jax.experiments import keyed_draws
from lartpc_jax.generators.cascade import Cascade, make_cascade_draw
from lartpc_jax.generators.keyed import image_keys
from lartpc_jax.keys import root_key

SAMPLER_KEYS = ("name", "num_evaluations", "eta")


def parse_sampler(text: str) -> dict:
  """"name:evaluations:eta", each but the name optional -> keys of a config block `sampler`.

  Raises:
    ValueError: naming the text, if it is not that.
  """
  parts = text.split(":")
  try:
    return dict(zip(SAMPLER_KEYS,
                    (parts[0], *(kind(part) for kind, part in zip((int, float), parts[1:], strict=False)))))
  except ValueError as error:
    raise ValueError(f"{text!r} is not NAME, NAME:EVALUATIONS or NAME:EVALUATIONS:ETA.") from error


def choose_conditions(cascade: Cascade, keys: jax.Array, asked: Mapping[str, float]) -> dict[str, np.ndarray]:
  """Conditions of training images for a cascade; see `keyed_draws.choose_conditions`."""
  return keyed_draws.choose_conditions(cascade.table, cascade.coarse.condition, keys, asked)


def draw_cascade(cascade: Cascade, samplers: tuple[Callable, Callable], num: int, *, seed: int = 0,
                 chunk_size: int = 64,
                guidance_scale: float = 1.0, asked: Mapping[str, float] | None = None,
                update: Callable = lambda done: None) -> tuple[np.ndarray, dict[str, np.ndarray], float]:
  """`num` images [n h w] in MeV, the conditions they were asked for, and the seconds that an image took.

  Image i depends on the seed and i alone, neither on chunks nor on devices; the seconds leave out the first
  chunk, which compiles, if there are others.

  Args:
    cascade: the model.
    samplers: of the coarse and the fine stage.
    num: number of images.
    seed: of conditions and noise.
    chunk_size: images a device draws at once.
    guidance_scale: of the coarse stage; 1.0 means none.
    asked: variables that are the same for all images; the others are those of training images.
    update: called with the number of finished images.
  """
  keys = image_keys(root_key(seed), num)
  cond = choose_conditions(cascade, keys, asked or {})
  draw = make_cascade_draw(cascade, *samplers, guidance_scale=guidance_scale)
  images, seconds = keyed_draws.draw_in_chunks(draw, keys, cond, chunk_size=chunk_size, update=update)
  return images, cond, seconds
