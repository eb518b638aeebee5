"""Draws of a trained unconditional model beside real images: what launch.sample and launch.benchmark_samplers
do.
"""
import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build.data import TrainingData, build_crop_data, build_data
from lartpc_jax.build.models import build_sampler
from lartpc_jax.data.batches import first
from lartpc_jax.data.labels import COUNT
from lartpc_jax.generators import condition as condition_lib
from lartpc_jax.generators.frame import IDENTITY
from lartpc_jax.generators.generator import Generator, make_generate
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.keys import root_key
from lartpc_jax.metrics.histograms import Chi2

# images whose noise comes from one key, whatever the chunks: draws of a seed are the same on any machine
NOISE_BLOCK = 64
MAX_CONDITIONS = 2048  # training events that conditions are taken from


class RealImages(NamedTuple):
  """Real images in MeV, cut at the threshold of the model."""
  holdout: np.ndarray   # never trained on
  training: np.ndarray  # training images in their own orientation, chosen at random


def load_real(path: str | Path, info: dict, num: int) -> RealImages:
  """At most `num` held-out and training images of the file that a model was trained on; `info` is the model's
  JSON.

  Of whole interactions, which are large, as many training images as held-out ones.
  """
  if info.get("image"):
    return _real_images(path, info, num)
  kept_apart = info.get("data") or {"num_holdout": info["num_holdout_events"]}
  data = build_crop_data({"path": str(path), "batch_size": 1, **kept_apart}, seed=0,
                         wanted={})  # as in training
  cut = lambda x: np.where(x >= threshold_of(info), x, 0.0).astype(np.float32)
  chosen = np.random.default_rng(0).choice(data.train.num, min(num, data.train.num), replace=False)
  return RealImages(cut(first(data.held, num)["image"]), cut(data.train.read(chosen, None, None)["image"]))


def threshold_of(info: dict) -> float:
  """The threshold in MeV, below which pixels of a model's images are zero; `info` is the model's JSON."""
  blocks = (info, info.get("codec") or {}, info.get("image") or {})
  return next(block["threshold_mev"] for block in blocks if "threshold_mev" in block)


def _real_images(path: str | Path, info: dict, num: int) -> RealImages:
  data = _data_of(path, info, wanted={})
  chosen = np.random.default_rng(0).choice(data.train.num, min(num, data.held.num, data.train.num),
                                           replace=False)
  return RealImages(first(data.held, num)["image"], data.train.read(chosen, None, None)["image"])


def _data_of(path: str | Path, info: dict, *, wanted: Mapping) -> TrainingData:
  """The data that a model with a block `image` was trained on."""
  values = {"path": str(path), "batch_size": 1, **info["data"]}
  return build_data(values, seed=0, spec=ImageSpec(**info["image"]), wanted=wanted)


def conditions_for(generator: Generator, info: dict, num: int, *, asked: Mapping[str, float | int],
                   path: str | None, seed: int) -> dict[str, np.ndarray]:
  """What `num` images are asked for, name -> [num ...]: `asked` for all of them, the rest as in training
  events.

  Args:
    generator: the model.
    info: the JSON of its weights.
    num: number of images.
    asked: values by name, see `generators.condition.parse`. The rest is that of training events that agree in
      labels and counts: an energy of muons for muons.
    path: the file that the model was trained on; needed if something is not asked for.
    seed: of the choice.
  Raises:
    ValueError: naming what is missing, or if no training event agrees.
  """
  variables = generator.condition.variables
  missing = sorted(set(variables) - set(asked))
  cond = {name: np.full(num, value) for name, value in asked.items()}
  if not missing:
    return cond
  if path is None:
    raise ValueError(f"This generator is asked for {sorted(variables)}; give {missing} in --cond, or --data, "
                     "whose events then say them.")
  data = _data_of(path, info, wanted={name: variable.classes for name, variable in variables.items()})
  rng = np.random.default_rng(seed)
  chosen = rng.permutation(data.train.num)[:MAX_CONDITIONS]
  parts = [data.train.read(chosen[i:i + NOISE_BLOCK], rng, None) for i in range(0, len(chosen), NOISE_BLOCK)]
  seen = {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in variables}
  exact = [name for name in asked if variables[name].kind == "label" or name.startswith(COUNT)]
  same = [np.ones(len(chosen), bool), *(seen[name] == asked[name] for name in exact)]
  agree = np.flatnonzero(np.all(same, axis=0))
  if not len(agree):
    raise ValueError(f"None of {len(chosen)} training events of {path} has "
                     f"{', '.join(f'{name} = {asked[name]:g}' for name in exact)}; give {missing} in --cond.")
  rows = rng.choice(agree, num)
  return {name: cond[name] if name in cond else seen[name][rows] for name in variables}


def compile_network(generator: Generator, num: int) -> Generator:
  """The same model with its network compiled once for batches of `num`, for many samplers that differ in
  their steps.

  Use it under `jax.disable_jit()`: the steps then run one by one around the compiled network.
  """
  raw = generator.denoiser
  x, c_noise = jnp.zeros((num, *generator.codec.state_shape)), jnp.zeros(num)
  unconditional = jax.jit(lambda params, x, c: raw.apply(params, x, c, None))
  compiled = unconditional.lower(raw.params, x, c_noise).compile()

  def apply(params, x, c_noise, cond):
    del cond
    with jax.disable_jit(False):  # a compiled program refuses to run without
      return compiled(params, x, c_noise)
  return generator._replace(denoiser=raw._replace(apply=apply))


def draws_of(seed: int, numbers: np.ndarray, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
  """Standard normal noise [b ...] and keys [b] of the images of these numbers [b]; they depend on nothing but
  the seed.
  """
  noise, keys = [], []
  for block in np.unique(numbers // NOISE_BLOCK):
    rows = numbers[numbers // NOISE_BLOCK == block] % NOISE_BLOCK
    key_prior, key_steps = jax.random.split(jax.random.fold_in(root_key(seed), int(block) * NOISE_BLOCK))
    noise.append(jax.random.normal(key_prior, (NOISE_BLOCK, *shape))[rows])
    keys.append(jax.random.split(key_steps, NOISE_BLOCK)[rows])
  return jnp.concatenate(noise), jnp.concatenate(keys)


def _told(generator: Generator, cond: Mapping | None, num: int) -> tuple[dict, float]:
  """Allowed values of the condition for `num` images, and the guidance scale that makes them count or not."""
  variables = generator.condition.variables
  if cond is not None or not variables:
    return condition_lib.check(generator.condition, cond or {}), 1.0
  if generator.frame is not IDENTITY:
    raise ValueError(f"This generator places its pictures by {sorted(variables)}: use launch.generate.")
  return condition_lib.placeholder(generator.condition, num), 0.0


def draw_images(generator: Generator, num: int, *, seed: int = 0, chunk_size: int = 64,
                one_by_one: bool = False, cond: Mapping[str, np.ndarray] | None = None,
                update: Callable = lambda done: None, steer: Callable = lambda score_fn: score_fn,
                **sampler) -> tuple[np.ndarray, float]:
  """`num` images [n h w] in MeV and the seconds that an image took, without compilation.

  The n-th image of a seed is the same whatever num and chunk_size are, but for rounding (and, where an
  adaptive sampler chooses one step size for its batch, for its tolerance).

  Args:
    generator: the model; compiled by `compile_network` for chunk_size images if one_by_one.
    num: number of images.
    seed: of noise and steps.
    chunk_size: images a device draws at once.
    one_by_one: run the steps of the sampler one by one instead of as one program.
    cond: physical values [num ...] of all variables of its condition; None for one without, or to tell it
      none, so that draws have those of its training data.
    update: called with the number of finished images.
    steer: (score_fn) -> score_fn of chunk_size images, see `generators.guide.steer`.
    **sampler: see `build.models.build_sampler`.
  Raises:
    ValueError: if conditions are missing, or out of range.
  """
  cond, scale = _told(generator, cond, num)
  make = make_generate(generator, build_sampler(generator.denoiser.sde, **sampler), guidance_scale=scale,
                       steer=steer)
  generate = lambda noise, keys, asked: make(noise, asked or None, keys)

  def draws(first):
    numbers = np.arange(first, first + chunk_size)
    asked = {name: jnp.asarray(values[numbers % num]) for name, values in cond.items()}
    return *draws_of(seed, numbers, generator.codec.state_shape), asked
  if not one_by_one:
    generate = jax.jit(generate).lower(*draws(0)).compile()
  images = []
  start = time.perf_counter()
  for i in range(0, num, chunk_size):
    drawn = draws(i)
    with jax.disable_jit() if one_by_one else contextlib.nullcontext():
      images.append(np.asarray(generate(*drawn)))
    update(min(i + chunk_size, num))
  seconds = (time.perf_counter() - start) / (len(images) * chunk_size)
  return np.concatenate(images)[:num], seconds


def chi2_cells(result: dict[str, Chi2]) -> list[str]:
  """chi2/ndf of active pixels, total charge and spectrum, as text."""
  return [f"{chi2.reduced:.2f}" for chi2 in result.values()]
