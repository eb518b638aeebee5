"""Sets of single tracks whose images add up to that of an event, by beam search."""
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def screen_sets(target: Float[Array, " p"], candidates: Float[Array, "m p"], num_tracks: int, *, beam: int,
                keep: int) -> Int[Array, "s t"]:
  """Indices of the `keep` sets of `num_tracks` candidates whose sums are nearest to a target by squares.

  |y - s - c|^2 needs nothing but dot products, so that all pairs cost one matrix. The first candidate of a
  set of two has the smaller index; each set is extended by its best candidate, and the `beam` best of them go
  on.
  """
  gram, overlap = candidates @ candidates.T, candidates @ target
  cost_one = jnp.diag(gram) - 2.0 * overlap
  m = len(candidates)
  if num_tracks == 1:
    return jax.lax.top_k(-cost_one, keep)[1][:, None]
  pairs = cost_one[:, None] + cost_one[None, :] + 2.0 * gram
  pairs = jnp.where(jnp.arange(m)[None, :] > jnp.arange(m)[:, None], pairs, jnp.inf)
  second = jnp.argmin(pairs, axis=1)
  sets, cost = jnp.stack([jnp.arange(m), second], axis=1), pairs.min(axis=1)
  for _ in range(num_tracks - 2):
    chosen = jax.lax.top_k(-cost, min(beam, m))[1]
    sets, cost = sets[chosen], cost[chosen]
    extended = cost[:, None] + cost_one[None, :] + 2.0 * gram[sets].sum(1)
    sets = jnp.concatenate([sets, jnp.argmin(extended, axis=1)[:, None]], axis=1)
    cost = extended.min(axis=1)
  return sets[jax.lax.top_k(-cost, keep)[1]]


def is_repeated(sets: Int[Array, "s t"]) -> Array:
  """True [s] for a set that an earlier row holds, in whatever order."""
  ordered = jnp.sort(sets, axis=1)
  same = jnp.all(ordered[:, None] == ordered[None], axis=-1)
  return jnp.any(same & (jnp.arange(len(sets))[None] < jnp.arange(len(sets))[:, None]), axis=1)
