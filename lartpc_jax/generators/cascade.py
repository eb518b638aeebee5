"""A cascade for sparse images: one diffusion draws a map of blocks, the next ones finer maps or the pixels,
each given the map before it.

Every image draws its noise from a key of its own, so what it looks like depends neither on the images beside
it nor on the number of devices. A stage knows whole pictures, or windows of them (see `generators.windows`).
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lartpc_jax.diffusion.guidance import classifier_free
from lartpc_jax.diffusion.prediction import make_denoiser, score_from_denoiser
from lartpc_jax.diffusion.sde import SDE
from lartpc_jax.generators.condition import Condition
from lartpc_jax.generators.keyed import features_of, table_rows
from lartpc_jax.generators.sparse_state import (
  BlockScale,
  GapScale,
  image_from_gap_state,
  lit_pixels,
  surroundings,
  whole_map,
)
from lartpc_jax.generators.windows import lit_cells, windowed_denoiser
from lartpc_jax.geometry.windows import Windows
from lartpc_jax.types import Params


class Told(NamedTuple):
  """The map that a stage is given, and how it is trained to forgive its errors."""
  blocks: BlockScale
  noise: tuple[float, float]   # standard deviations of what it had on its maps, in units of `blocks`
  side: int = 0                # of what the network sees of the map of a window; 0: as it is
  margin: int = 0              # cells around a window that it is told


class Stage(NamedTuple):
  """One trained diffusion of the cascade."""
  # (params, x [b h w c], c_noise [b], cond) -> like x; preconditioned as "edm"
  apply: Callable
  params: Params
  sde: SDE
  state_shape: tuple[int, int, int]   # of what the network sees
  condition: Condition
  blocks: BlockScale | None = None    # of the map that it draws; None: pixels
  told: Told | None = None            # None: of the first stage
  windows: Windows | None = None      # None: it sees whole pictures
  picture_px: int = 0                 # side of the whole picture

  @property
  def cell_px(self) -> int:
    """Pixels of a cell of its state."""
    return 1 if self.blocks is None else self.blocks.size


class Cascade(NamedTuple):
  """Stages from the coarsest to the pixels, what their states mean, and conditions of real images for draws
  without one."""
  stages: tuple[Stage, ...]
  gap: GapScale
  table: dict[str, Array]    # name -> [r]: conditions of training images

  @property
  def coarse(self) -> Stage:
    """The first stage, which is told conditions alone."""
    return self.stages[0]

  @property
  def fine(self) -> Stage:
    """The last one, which draws pixels."""
    return self.stages[-1]


def noisy_map(maps: Float[Array, "... h w 2"], noise: tuple[float, float],
              key: Array) -> Float[Array, "... h w 2"]:
  """Maps with normal noise, so that the fine stage forgives the coarse one small errors (Ho et al. 2022,
  cascades)."""
  normal = jax.random.normal(key, maps.shape, maps.dtype)
  return maps + normal * jnp.asarray(noise, maps.dtype).reshape(*(1,) * (maps.ndim - 1), 2)


def conditions_of(cascade: Cascade, keys: Array) -> dict[str, Array]:
  """A random row of the table for each key: name -> [b]."""
  return table_rows(cascade.table, keys)


def draw_stage(stage: Stage, sampler: Callable, keys: Array, cond: dict, *, guidance_scale: float = 1.0
               ) -> Float[Array, "b h w c"]:
  """Clean states of one stage.

  Args:
    stage: the diffusion.
    sampler: sample(score_fn, x, key) -> x0, see `diffusion.samplers`.
    keys: one an image [b].
    cond: of the network, without "keep".
    guidance_scale: 1.0 means none; see `diffusion.guidance.classifier_free`.
  """
  def score_fn(x, t, cond, keep):
    told = {**cond, "keep": jnp.full(x.shape[:1], keep)}
    return score_from_denoiser(stage.sde, make_denoiser(stage.apply, stage.params, told))(x, t)

  def one(key, cond):
    key_prior, key_steps = jax.random.split(key)
    cond = jax.tree.map(lambda x: x[None], cond)
    conditional = lambda x, t: score_fn(x, t, cond, 1.0)
    guided = conditional if guidance_scale == 1.0 else classifier_free(
        conditional, lambda x, t: score_fn(x, t, cond, 0.0), guidance_scale=guidance_scale)
    return sampler(guided, jax.random.normal(key_prior, (1, *stage.state_shape)), key_steps)[0]
  return jax.vmap(one)(keys, cond)


def draw_windows(stage: Stage, sampler: Callable, keys: Array, features: Float[Array, "b f"],
                 maps: Float[Array, "b g g 2"], num_windows: int) -> Float[Array, "b h w c"]:
  """Clean states of whole pictures of a stage that knows windows, which holds for all but blocks without
  charge.

  Args:
    stage: the diffusion.
    sampler: one that takes a key for each picture; all of the house do.
    keys: one a picture [b].
    features: of the condition.
    maps: what the pictures are given; where they have no lit pixel, nothing is computed.
    num_windows: of all pictures that are computed at each evaluation; see `windows.windowed_denoiser`.
  """
  told, cell = stage.told, stage.told.blocks.size
  lit = lit_cells(lit_pixels(maps, told.blocks) > 0.0, cell, stage.windows)

  def local(x, sigma, told_windows):
    cond = {"features": told_windows["features"], "keep": jnp.ones(len(x)),
            "map": surroundings(told_windows["map"], told.margin, told.side)}
    return make_denoiser(stage.apply, stage.params, cond)(x, sigma)

  split = jax.vmap(jax.random.split)(keys)
  noisy = jax.vmap(lambda maps, key: noisy_map(maps, told.noise, key))(maps, split[:, 0])
  denoise_fn = windowed_denoiser(local, {"features": features}, noisy, lit, stage.windows,
                                 cell_px=stage.cell_px, map_cell_px=cell, num_windows=num_windows)
  side = stage.picture_px // stage.cell_px
  two = jax.vmap(jax.random.split)(split[:, 1])
  noise = jax.vmap(lambda key: jax.random.normal(key, (side, side, stage.state_shape[-1])))(two[:, 0])
  return sampler(score_from_denoiser(stage.sde, denoise_fn), noise, two[:, 1])


def draw_maps(cascade: Cascade, sampler: Callable, keys: Array, cond: dict, *, guidance_scale: float = 1.0
              ) -> Float[Array, "b h w 2"]:
  """Maps of the first stage for physical conditions `cond`, made ones of an image (whole numbers of lit
  pixels)."""
  stage = cascade.coarse
  features = features_of(stage.condition, cond, len(keys))
  drawn = draw_stage(stage, sampler, keys, {"features": features}, guidance_scale=guidance_scale)
  return whole_map(drawn, stage.blocks)


def draw_next(cascade: Cascade, number: int, sampler: Callable, keys: Array, cond: dict,
              maps: Float[Array, "b g g 2"], *, num_windows: int = 0) -> Array:
  """Maps [b h w 2] or, of the last stage, images [b n m] in MeV of stage `number` (from 1) for the maps of
  the one before.

  num_windows is for stages that know windows; see `draw_windows`. With too few of them all is NaN.
  """
  stage = cascade.stages[number]
  features = features_of(stage.condition, cond, len(keys))
  if stage.windows is not None:
    state = draw_windows(stage, sampler, keys, features, maps, num_windows)
  else:
    split = jax.vmap(jax.random.split)(keys)
    told = {"features": features,
            "map": jax.vmap(lambda maps, key: noisy_map(maps, stage.told.noise, key))(maps, split[:, 0])}
    state = draw_stage(stage, sampler, split[:, 1], told)
  if stage.blocks is not None:
    return whole_map(state, stage.blocks)
  return jnp.where(jnp.isnan(state[..., 0]), jnp.nan, image_from_gap_state(state, cascade.gap))


def lit_of(cascade: Cascade, number: int, maps: np.ndarray) -> Bool[np.ndarray, "b g g"]:
  """Where stage `number`, which knows windows, computes something [b g g], in cells of its windows.step_px,
  for maps [b h w 2] that it is told."""
  stage = cascade.stages[number]
  cell = stage.told.blocks.size
  return np.asarray(lit_cells(lit_pixels(jnp.asarray(maps), stage.told.blocks) > 0.0, cell, stage.windows))


def make_stages_draw(cascade: Cascade, samplers: tuple[Callable, ...], numbers: range, *,
                     guidance_scale: float = 1.0, num_windows: int = 0) -> Callable:
  """Builds draw(keys [b], cond, maps=None) of the stages `numbers`: maps of the one before to what the last
  draws."""
  def draw(keys: Array, cond: dict, maps: Array | None = None) -> Array:
    split = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, 1), len(cascade.stages)))(keys)
    for number in numbers:
      if number == 0:
        maps = draw_maps(cascade, samplers[0], split[:, 0], cond, guidance_scale=guidance_scale)
      else:
        maps = draw_next(cascade, number, samplers[number], split[:, number], cond, maps,
                         num_windows=num_windows)
    return maps
  return draw


def make_cascade_draw(cascade: Cascade, *samplers: Callable, guidance_scale: float = 1.0,
                      num_windows: int = 0) -> Callable:
  """Builds draw(keys [b], cond) -> images [b n m] in MeV; cond None: conditions of training images.

  There is a sampler for each stage. guidance_scale is that of the first stage; 1.0 means none. num_windows is
  for stages that know windows, see `draw_windows`. Differentiable in cond through all stages, but for the
  whole numbers of lit pixels, which stay as they are.
  """
  if len(samplers) != len(cascade.stages):
    raise ValueError(
        f"A cascade of {len(cascade.stages)} stages needs as many samplers; got {len(samplers)}.")
  stages = make_stages_draw(cascade, samplers, range(len(cascade.stages)), guidance_scale=guidance_scale,
                            num_windows=num_windows)

  def draw(keys: Array, cond: dict | None = None) -> Float[Array, "b n m"]:
    return stages(keys, conditions_of(cascade, keys) if cond is None else cond)
  return draw


def programs(cascade: Cascade) -> list[range]:
  """Stages that are drawn by one program each: the number of windows of the next must be known before it
  starts."""
  starts = [0, *(i for i, stage in enumerate(cascade.stages) if stage.windows is not None)]
  return [range(*pair) for pair in zip(starts, [*starts[1:], len(cascade.stages)])]
