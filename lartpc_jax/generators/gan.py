"""A generator trained against a discriminator: one pass of a network from noise to an image."""
from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from lartpc_jax.generators.condition import Condition
from lartpc_jax.generators.keyed import KeyedModel, features_of
from lartpc_jax.generators.sparse_state import GapScale, image_from_gap_state
from lartpc_jax.types import Params


class GanNoise(NamedTuple):
  """What an image is made of, all standard normal."""
  latent: Float[Array, "b n"]
  pixels: Float[Array, "b h w 1"]


def gan_noise(keys: Array, latent: int, side: int) -> GanNoise:
  """Noise of images by their keys [b]."""
  split = jax.vmap(jax.random.split)(keys)
  return GanNoise(jax.vmap(lambda key: jax.random.normal(key, (latent,)))(split[:, 0]),
                  jax.vmap(lambda key: jax.random.normal(key, (side, side, 1)))(split[:, 1]))


def state_of(raw: Float[Array, "b h w c"], gap: GapScale) -> Float[Array, "b h w 1"]:
  """State of the raw output of a network: itself (one channel), or lit where a logit is positive (two).

  In the second case y = lit (faintest + softplus(charge)), so that every state is exactly that of an image.
  The gradient of `lit` is that of its probability (straight-through, Bengio et al. 2013).
  """
  if raw.shape[-1] == 1:
    return raw
  logit, charge = raw[..., :1], raw[..., 1:]
  probability = jax.nn.sigmoid(logit)
  lit = probability + jax.lax.stop_gradient((logit > 0.0).astype(raw.dtype) - probability)
  return lit * (gap.faintest + jax.nn.softplus(charge)) / gap.scale


def make_gan(generate: Callable, params: Params, *, latent: int, side: int, gap: GapScale,
             condition: Condition,
             table: dict[str, Array]) -> KeyedModel:
  """The trained generator as what draws by keys.

  Args:
    generate: (params, latent [b n], pixels [b side side 1], features [b f]) -> raw output of `state_of`.
    params: of it.
    latent: length of the noise vector.
    side: pixels a side.
    gap: what a state means.
    condition: what the network is told.
    table: conditions of training images.
  """
  def draw(keys: Array, cond: dict[str, Array]) -> Float[Array, "b n m"]:
    noise = gan_noise(keys, latent, side)
    raw = generate(params, noise.latent, noise.pixels, features_of(condition, cond, len(keys)))
    return image_from_gap_state(state_of(raw, gap), gap)
  return KeyedModel(draw, condition, table)
