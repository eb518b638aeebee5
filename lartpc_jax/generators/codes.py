"""Images from codes: a prior draws a map of codes, a decoder draws the pixels of it (van den Oord et al.
2017)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lartpc_jax.generators.condition import Condition
from lartpc_jax.generators.keyed import KeyedModel, features_of
from lartpc_jax.generators.sparse_state import GapScale, gap_state, image_from_gap_state
from lartpc_jax.types import Params


def state_of_decoded(decoded: Float[Array, "b h w 3"], gap: GapScale, keys: Array | None = None
                     ) -> Float[Array, "b h w 1"]:
  """State of a decoder's output (logit of lit, mean of y if lit, logarithm of its width).

  Args:
    decoded: output of the decoder.
    gap: what a state means.
    keys: [b], to draw every pixel by itself; None: lit where that is likelier, with the mean charge.
  """
  logit, mean, log_std = (decoded[..., i] for i in range(3))
  lit, y = logit > 0.0, mean
  if keys is not None:
    split = jax.vmap(jax.random.split)(keys)
    each = lambda draw, column: jax.vmap(lambda key: draw(key, logit.shape[1:]))(split[:, column])
    lit = each(jax.random.uniform, 0) < jax.nn.sigmoid(logit)
    y = mean + jnp.exp(log_std) * each(jax.random.normal, 1)
  # a drawn charge below the threshold is reflected at it, as in `image_from_gap_state`
  y = gap.faintest + jnp.abs(y - gap.faintest)
  return jnp.where(lit, y, 0.0)[..., None] / gap.scale


def draw_codes(start: Callable, step: Callable, keys: Array, shape: tuple[int, int], cond: dict
               ) -> Int[Array, "b h w"]:
  """Maps of codes, drawn place after place in raster order.

  Args:
    start: (b, shape) -> cache.
    step: (cache, codes, place, cond) -> logits [b k], cache; see `networks.discrete.SequenceNetwork`.
    keys: [b].
    shape: of the maps.
    cond: of the network.
  """
  b, (h, w) = len(keys), shape

  def place(carry, index):
    codes, cache = carry
    logits, cache = step(cache, codes.reshape(b, h, w), index, cond)
    chosen = lambda key, logits: jax.random.categorical(jax.random.fold_in(key, index), logits)
    drawn = jax.vmap(chosen)(keys, logits)
    codes = jax.lax.dynamic_update_index_in_dim(codes, drawn.astype(jnp.int32), index, axis=1)
    return (codes, cache), None
  (codes, _), _ = jax.lax.scan(place, (jnp.zeros((b, h * w), jnp.int32), start(b, shape)), jnp.arange(h * w))
  return codes.reshape(b, h, w)


def code_nats(logits: Float[Array, "b h w k"], codes: Int[Array, "b h w"]) -> Float[Array, " b"]:
  """Exact log probability of maps of codes in nats, from the logits of each given those before it."""
  found = jnp.take_along_axis(jax.nn.log_softmax(logits), codes[..., None], axis=-1)
  return found.sum((1, 2, 3))


def make_code_model(codes: tuple, prior: tuple, params: dict[str, Params], *, shape: tuple[int, int],
                    gap: GapScale, condition: Condition, table: dict[str, Array],
                    sample_pixels: bool) -> KeyedModel:
  """The trained pair as what draws by keys; its nats are those of the codes of an image, without a condition.

  Args:
    codes: `networks.discrete.CodeNetwork`.
    prior: `networks.discrete.SequenceNetwork`.
    params: of both, "codes" and "prior".
    shape: of maps of codes.
    gap: what a state means.
    condition: what the prior is told.
    table: conditions of training images.
    sample_pixels: draw pixels from the decoder, in place of what is likeliest.
  """
  told = lambda cond, num: {"features": features_of(condition, cond, num), "keep": jnp.ones(num)}

  def draw(keys: Array, cond: dict[str, Array]) -> Float[Array, "b n m"]:
    split = jax.vmap(jax.random.split)(keys)
    step = lambda *args: prior.step(params["prior"], *args)
    drawn = draw_codes(prior.start, step, split[:, 0], shape, told(cond, len(keys)))
    decoded = codes.decode(params["codes"], codes.vectors(params["codes"], drawn))
    return image_from_gap_state(state_of_decoded(decoded, gap, split[:, 1] if sample_pixels else None), gap)

  def nats(images: Float[Array, "b n m"]) -> Float[Array, " b"]:
    found = codes.quantize(params["codes"], codes.encode(params["codes"], gap_state(images, gap)))[1]
    row = {name: values[:1].repeat(len(images)) for name, values in table.items()}
    cond = {**told(row, len(images)), "keep": jnp.zeros(len(images))}  # the features are not looked at
    return code_nats(prior.logits(params["prior"], found, cond), found)
  return KeyedModel(draw, condition, table, nats)
