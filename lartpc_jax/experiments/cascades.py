"""Draws of a trained cascade, by condition, in chunks on all devices: what launch.sample does with a
cascade.
"""
from collections.abc import Callable, Mapping

import jax
import numpy as np

from lartpc_jax.data.labels import COUNT
from lartpc_jax.experiments import keyed_draws
from lartpc_jax.generators.cascade import Cascade, lit_of, make_stages_draw, programs
from lartpc_jax.generators.keyed import image_keys
from lartpc_jax.generators.windows import windows_needed
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
  """Conditions of training images for a cascade; see `keyed_draws.choose_conditions`.

  Whoever asks for some primaries of an interaction asks for no others: their numbers are then 0.
  """
  if any(name.startswith(COUNT) for name in asked):
    asked = {**{name: 0.0 for name in cascade.table if name.startswith(COUNT)}, **asked}
  return keyed_draws.choose_conditions(cascade.table, cascade.coarse.condition, keys, asked)


def draw_cascade(cascade: Cascade, samplers: tuple[Callable, ...], num: int, *, seed: int = 0,
                 chunk_size: int = 64,
                guidance_scale: float = 1.0, asked: Mapping[str, float] | None = None,
                update: Callable = lambda done: None) -> tuple[np.ndarray, dict[str, np.ndarray], float]:
  """`num` images [n h w] in MeV, the conditions they were asked for, and the seconds that an image took.

  Image i depends on the seed and i alone, neither on chunks nor on devices; the seconds leave out the first
  chunk of each program, which compiles, if there are others. A stage that knows windows is a program of its
  own, made for as many windows as the fullest chunk of its maps needs.

  Args:
    cascade: the model.
    samplers: one for each stage.
    num: number of images.
    seed: of conditions and noise.
    chunk_size: images a device draws at once.
    guidance_scale: of the first stage; 1.0 means none.
    asked: variables that are the same for all images; the others are those of training images, but that
      primaries of which none is asked are none if some are asked.
    update: called with the number of finished images.
  """
  keys = image_keys(root_key(seed), num)
  cond = choose_conditions(cascade, keys, asked or {})
  maps, seconds, parts = {}, 0.0, programs(cascade)
  for done, numbers in enumerate(parts):
    order, num_windows = np.arange(num), 0
    if cascade.stages[numbers[0]].windows is not None:
      lit = lit_of(cascade, numbers[0], maps["maps"])
      order, num_windows = windows_needed(lit, cascade.stages[numbers[0]].windows, chunk_size)
    stages = make_stages_draw(cascade, samplers, numbers, guidance_scale=guidance_scale,
                              num_windows=num_windows)
    told = {name: values[order] for name, values in {**cond, **maps}.items()}
    drawn, each = keyed_draws.draw_in_chunks(
        lambda keys, told, stages=stages: stages(keys, told, told.get("maps")), keys[order], told,
        chunk_size=chunk_size, update=lambda count, done=done: update((done * num + count) // len(parts)))
    if np.isnan(drawn).any():
      raise FloatingPointError("A draw is not a number: the weights or the sampler are at fault.")
    maps, seconds = {"maps": drawn[np.argsort(order)]}, seconds + each
  return maps["maps"], cond, seconds
