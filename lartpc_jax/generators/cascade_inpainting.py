"""A cascade completes images: first the map of blocks that are not wholly seen, then their pixels.

Nothing is known of the condition of an image that was seen in part, so both networks get their null one.
"""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.diffusion.inverse import Measurement, measurement_guidance
from lartpc_jax.diffusion.prediction import make_denoiser, score_from_denoiser
from lartpc_jax.generators.cascade import Cascade, Stage, noisy_map
from lartpc_jax.generators.condition import embed, placeholder
from lartpc_jax.generators.inpainting import Inpainting
from lartpc_jax.generators.sparse_state import block_map, gap_state, image_from_gap_state, whole_map


def make_cascade_inpaint(cascade: Cascade, samplers: tuple[Callable, Callable],
                         settings: Inpainting) -> Callable:
  """Builds inpaint(keys [b], images [b n n], seen [b n n]) -> images [b n n] in MeV; what was seen stays.

  Args:
    cascade: the trained one.
    samplers: of the coarse and the fine stage, from standard normal noise.
    settings: of the guidance; `floor` counts in the states of both stages.
  Raises:
    ValueError: for noise, of which the maps of blocks would not be known, and for other than two stages of
      whole pictures.
  """
  if len(cascade.stages) != 2 or cascade.fine.windows is not None:
    raise ValueError(f"Only a cascade of two stages completes images; this one has {len(cascade.stages)}.")
  if settings.noise_mev:
    raise ValueError(f"A cascade completes dead pixels, not noise; got noise_mev = {settings.noise_mev}.")

  def draw(stage: Stage, sampler: Callable, keys: Array, told: dict, value: Array, weight: Array) -> Array:
    features = embed(stage.condition, placeholder(stage.condition, len(keys)))
    told = {**told, "features": features, "keep": jnp.zeros(len(keys))}
    prior = score_from_denoiser(stage.sde, make_denoiser(stage.apply, stage.params, told))
    score_fn = measurement_guidance(
        stage.sde, prior, Measurement(lambda state: state, value, weight), covariance=settings.covariance,
        num_iterations=settings.num_iterations)
    split = jax.vmap(jax.random.split)(keys)
    noise = jax.vmap(lambda key: jax.random.normal(key, stage.state_shape))(split[:, 0])
    return sampler(score_fn, noise, split[:, 1])

  def inpaint(keys: Array, images: Float[Array, "b n m"],
              seen: Float[Array, "b n m"]) -> Float[Array, "b n m"]:
    split = jax.vmap(lambda key: jax.random.split(key, 3))(keys)
    state, size = gap_state(images, cascade.gap), cascade.coarse.blocks.size
    b, n, m = seen.shape
    whole = seen.reshape(b, n // size, size, m // size, size).min((2, 4))[..., None]
    maps = block_map(state, cascade.gap, cascade.coarse.blocks)
    drawn = draw(cascade.coarse, samplers[0], split[:, 0], {}, maps,
                 jnp.broadcast_to(whole / settings.floor, maps.shape))
    maps = jnp.where(whole > 0.0, maps, whole_map(drawn, cascade.coarse.blocks))
    told = jax.vmap(lambda maps, key: noisy_map(maps, cascade.fine.told.noise, key))(maps, split[:, 1])
    pixels = draw(cascade.fine, samplers[1], split[:, 2], {"map": told}, state,
                  seen[..., None] / settings.floor)
    return jnp.where(seen > 0.0, images, image_from_gap_state(pixels, cascade.gap))
  return inpaint
