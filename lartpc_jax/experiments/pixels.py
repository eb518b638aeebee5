"""Draws of a trained unconditional model beside real images: what launch.sample and launch.benchmark_samplers
do.
"""
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build.data import build_crop_data, build_voxel_data
from lartpc_jax.build.models import build_sampler
from lartpc_jax.data.batches import first
from lartpc_jax.generators.condition import placeholder
from lartpc_jax.generators.frame import IDENTITY
from lartpc_jax.generators.generator import Generator, make_generate
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.keys import root_key
from lartpc_jax.metrics.histograms import Chi2

# images whose noise comes from one key, whatever the chunks: draws of a seed are the same on any machine
NOISE_BLOCK = 64


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
    return _real_interactions(path, info, num)
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


def _real_interactions(path: str | Path, info: dict, num: int) -> RealImages:
  data = build_voxel_data({"path": str(path), "batch_size": 1, "num_holdout": info["data"]["num_holdout"]},
                          seed=0,
                          spec=ImageSpec(**info["image"]))
  chosen = np.random.default_rng(0).choice(data.train.num, min(num, data.held.num, data.train.num),
                                           replace=False)
  return RealImages(first(data.held, num)["image"], data.train.read(chosen, None, None)["image"])


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


def draw_images(generator: Generator, num: int, *, seed: int = 0, chunk_size: int = 64,
                one_by_one: bool = False,
                update: Callable = lambda done: None, steer: Callable = lambda score_fn: score_fn,
                **sampler) -> tuple[np.ndarray, float]:
  """`num` images [n h w] in MeV and the seconds that an image took, without compilation.

  The n-th image of a seed is the same whatever num and chunk_size are, but for rounding (and, where an
  adaptive sampler chooses one step size for its batch, for its tolerance).

  Args:
    generator: the model; one with a condition is told none, so draws have those of its training data.
      Compiled by `compile_network` for chunk_size images if one_by_one.
    num: number of images.
    seed: of noise and steps.
    chunk_size: images a device draws at once.
    one_by_one: run the steps of the sampler one by one instead of as one program.
    update: called with the number of finished images.
    steer: (score_fn) -> score_fn of chunk_size images, see `generators.guide.steer`.
    **sampler: see `build.models.build_sampler`.
  """
  cond, scale = None, 1.0
  if generator.condition.variables:
    if generator.frame is not IDENTITY:
      raise ValueError(f"This generator places its pictures by {sorted(generator.condition.variables)}: use "
                       "launch.generate.")
    cond, scale = placeholder(generator.condition, chunk_size), 0.0
  make = make_generate(generator, build_sampler(generator.denoiser.sde, **sampler), guidance_scale=scale,
                       steer=steer)
  generate = lambda noise, keys: make(noise, cond, keys)
  draws = lambda first: draws_of(seed, np.arange(first, first + chunk_size), generator.codec.state_shape)
  if not one_by_one:
    generate = jax.jit(generate).lower(*draws(0)).compile()
  images = []
  start = time.perf_counter()
  for i in range(0, num, chunk_size):
    noise, keys = draws(i)
    with jax.disable_jit() if one_by_one else contextlib.nullcontext():
      images.append(np.asarray(generate(noise, keys)))
    update(min(i + chunk_size, num))
  seconds = (time.perf_counter() - start) / (len(images) * chunk_size)
  return np.concatenate(images)[:num], seconds


def chi2_cells(result: dict[str, Chi2]) -> list[str]:
  """chi2/ndf of active pixels, total charge and spectrum, as text."""
  return [f"{chi2.reduced:.2f}" for chi2 in result.values()]
