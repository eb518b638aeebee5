"""Seeds: whole numbers that jax can tell apart."""
import jax
import numpy as np
import pytest

from lartpc_jax.keys import root_key


@pytest.mark.parametrize("seed", [2**32, -1, 1.5, True])
def test_seeds_that_would_be_taken_for_others_are_named(seed):
  """jax.random.key keeps 32 bits: 4294967296 would draw what 0 does."""
  with pytest.raises(ValueError, match=f"seed must be a whole number within 0 to 2.32 - 1; got {seed}"):
    root_key(seed)


def test_seeds_are_told_apart():
  draws = [float(jax.random.normal(root_key(seed))) for seed in (0, 1, 2**31, 2**32 - 1, np.int64(7))]
  assert len(set(draws)) == 5 and float(jax.random.normal(jax.random.key(0))) == draws[0]
