"""Guides of launch.sample: what steers draws that the generator itself is told nothing of."""
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from lartpc_jax.build.generators import Weights
from lartpc_jax.build.guides import build_guide
from lartpc_jax.generators import condition as condition_lib
from lartpc_jax.generators.guide import steer


def open_steer(settings: Any, weights: Weights, num: int) -> tuple[Callable, dict]:
  """What changes the score of `num` draws at once, and the values that it asks of all images.

  Raises:
    OSError, ValueError: naming the file or flag that is wrong.
  """
  if not settings.guide:
    if settings.guide_cond:
      raise ValueError(f"--guide_cond={settings.guide_cond} needs --guide, the weights of a guide.")
    return lambda score_fn: score_fn, {}
  guide = build_guide(settings.guide, weights).guide
  wanted = condition_lib.parse(guide.labels, settings.guide_cond)
  if not wanted:
    raise ValueError(f"--guide needs --guide_cond: NAME=VALUE,... of {sorted(guide.labels.variables)}.")
  rows = {name: np.full(num, value) for name, value in wanted.items()}
  rows = {name: jnp.asarray(x) for name, x in condition_lib.as_arrays(guide.labels, rows).items()}
  return steer(guide, weights.generator.denoiser.sde, rows, guidance_scale=settings.guide_scale), wanted
