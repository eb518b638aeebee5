"""Counted random numbers: the generator is that of jax.random; moments and tails of what is made of its
words."""
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32
from scipy import stats

from lartpc_jax.simulation import counter_random

NUM = 200_000


def words(count=2, seed=0):
  return counter_random.words(jax.random.key(seed), jnp.arange(NUM // count, dtype=jnp.uint32), count)


def test_the_generator_is_jaxs():
  key = jnp.array([17, 4_000_000_000], jnp.uint32)
  first, second = (jax.random.bits(k, (50,)) for k in jax.random.split(jax.random.key(3)))
  ours = jnp.concatenate(jax.jit(counter_random.threefry)(key, first, second))
  np.testing.assert_array_equal(ours, threefry_2x32(key, jnp.concatenate([first, second])))


def test_words_depend_on_seed_and_number_alone():
  some = counter_random.words(jax.random.key(1), jnp.array([7, 9], jnp.uint32), 5)
  alone = counter_random.words(jax.random.key(1), jnp.uint32(9), 5)
  assert some.shape == (6, 2) and len(np.unique(some)) == 12
  np.testing.assert_array_equal(some[:, 1], alone)
  assert not np.any(np.asarray(alone) == counter_random.words(jax.random.key(2), jnp.uint32(9), 5))


def test_normals_are_normal_and_independent():
  radius, phase = words()
  x, y = (np.asarray(v, float) for v in counter_random.normals(radius, phase))
  for values in (x, y, (x + y) / np.sqrt(2), (x - 2 * y) / np.sqrt(5)):
    assert stats.kstest(values, "norm").pvalue > 1e-3
  assert stats.kstest(0.5 * (x**2 + y**2), "expon").pvalue > 1e-3
  low = np.asarray(counter_random.low_uniform(phase), float)
  assert stats.kstest(low, "uniform").pvalue > 1e-3
  assert np.abs(np.corrcoef([x, y, low, x**2, y**2]) - np.eye(5)).max() < 4.5 / np.sqrt(len(x))


def test_circle_is_that_of_numpy():
  word = words(1)[0]
  c, s = (np.asarray(v, float) for v in counter_random.unit_circle(word))
  np.testing.assert_allclose(c**2 + s**2, 1.0, atol=1e-6)
  angle = np.arctan2(s, c) / (2 * np.pi) % 1.0
  assert stats.kstest(angle, "uniform").pvalue > 1e-3
  assert float(counter_random.uniform(jnp.uint32(0))) > 0 and float(
      counter_random.uniform(jnp.uint32(2**32 - 1))) < 1
