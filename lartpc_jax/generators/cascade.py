"""A cascade for sparse images: one diffusion draws a map of blocks, a second one the pixels given the map.

Every image draws its noise from a key of its own, so what it looks like depends neither on the images beside
it nor on the number of devices.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.diffusion.guidance import classifier_free
from lartpc_jax.diffusion.prediction import make_denoiser, score_from_denoiser
from lartpc_jax.diffusion.sde import SDE
from lartpc_jax.generators.condition import Condition, embed
from lartpc_jax.generators.keyed import table_rows
from lartpc_jax.generators.sparse_state import BlockScale, GapScale, image_from_gap_state, whole_map
from lartpc_jax.types import Params


class Stage(NamedTuple):
  """One trained diffusion of the cascade."""
  # (params, x [b h w c], c_noise [b], cond) -> like x; preconditioned as "edm"
  apply: Callable
  params: Params
  sde: SDE
  state_shape: tuple[int, int, int]
  condition: Condition


class Cascade(NamedTuple):
  """Two stages, what their states mean, and conditions of real images for draws without one."""
  coarse: Stage
  fine: Stage
  gap: GapScale
  blocks: BlockScale
  # standard deviations of what the fine stage has on its maps, in units of `blocks`
  map_noise: tuple[float, float]
  table: dict[str, Array]    # name -> [r]: conditions of training images


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


def draw_maps(cascade: Cascade, sampler: Callable, keys: Array, cond: dict, *, guidance_scale: float = 1.0
              ) -> Float[Array, "b h w 2"]:
  """Maps of the coarse stage for physical conditions `cond`, made ones of an image (whole numbers of lit
  pixels)."""
  features = embed(cascade.coarse.condition, cond)
  drawn = draw_stage(cascade.coarse, sampler, keys, {"features": features}, guidance_scale=guidance_scale)
  return whole_map(drawn, cascade.blocks)


def draw_pixels(cascade: Cascade, sampler: Callable, keys: Array, cond: dict, maps: Float[Array, "b h w 2"],
                *, guidance_scale: float = 1.0) -> Float[Array, "b n m"]:
  """Images in MeV of the fine stage, for physical conditions and maps."""
  split = jax.vmap(jax.random.split)(keys)
  told = {"features": embed(cascade.fine.condition, cond),
          "map": jax.vmap(lambda maps, key: noisy_map(maps, cascade.map_noise, key))(maps, split[:, 0])}
  state = draw_stage(cascade.fine, sampler, split[:, 1], told, guidance_scale=guidance_scale)
  return image_from_gap_state(state, cascade.gap)


def make_cascade_draw(cascade: Cascade, coarse_sampler: Callable, fine_sampler: Callable, *,
                      guidance_scale: float = 1.0) -> Callable:
  """Builds draw(keys [b], cond) -> images [b n m] in MeV; cond None: conditions of training images.

  guidance_scale is that of the coarse stage; 1.0 means none. Differentiable in cond through both stages, but
  for the whole numbers of lit pixels, which stay as they are.
  """
  def draw(keys: Array, cond: dict | None = None) -> Float[Array, "b n m"]:
    split = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, 1)))(keys)
    cond = conditions_of(cascade, keys) if cond is None else cond
    maps = draw_maps(cascade, coarse_sampler, split[:, 0], cond, guidance_scale=guidance_scale)
    return draw_pixels(cascade, fine_sampler, split[:, 1], cond, maps)
  return draw
