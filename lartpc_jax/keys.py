"""The random key that everything random of a run comes from."""
import numbers

import jax

NUM_SEEDS = 2**32  # jax keeps 32 bits of a seed: others would repeat the draws of one of these


def root_key(seed: numbers.Real) -> jax.Array:
  """The key of a seed. Raises ValueError naming a seed that is no whole number within 0 to 2^32 - 1."""
  if isinstance(seed, bool) or int(seed) != seed or not 0 <= seed < NUM_SEEDS:
    raise ValueError(f"seed must be a whole number within 0 to 2^32 - 1; got {seed}.")
  return jax.random.key(int(seed))
