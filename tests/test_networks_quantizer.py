"""Quantisers against plain numpy, and their straight-through gradients."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.networks import discrete, quantizer
from tests.toy_weights import toy_params

LEVELS = (8, 5, 4, 3)


def numpy_fsq(z, levels):
  """The code of Mentzer et al. 2023, appendix A, one number after the other."""
  out = np.empty_like(z)
  for index in np.ndindex(*z.shape[:-1]):
    for i, number in enumerate(levels):
      half = (number - 1) * (1 - 1e-3) / 2
      offset = 0.0 if number % 2 == 1 else 0.5
      bounded = np.tanh(z[index][i] + np.tan(offset / half)) * half - offset
      out[index][i] = np.round(bounded) / (number // 2)
  return out


def test_finite_scalars_are_those_of_plain_numpy():
  z = 2.0 * np.random.default_rng(0).normal(size=(3, 4, len(LEVELS)))
  np.testing.assert_allclose(quantizer.fsq(jnp.asarray(z, jnp.float32), LEVELS), numpy_fsq(z, LEVELS),
                             atol=1e-6)


def test_codes_of_finite_scalars_count_all_vectors_once():
  codes = jnp.arange(np.prod(LEVELS))
  vectors = quantizer.fsq_vectors(codes, LEVELS)
  assert len(np.unique(np.asarray(vectors), axis=0)) == len(codes)
  np.testing.assert_array_equal(quantizer.fsq_codes(vectors, LEVELS), codes)
  # what the bound reaches are these vectors, all of them
  z = np.random.default_rng(1).uniform(-2.5, 2.5, (200_000, len(LEVELS)))
  taken = np.unique(np.asarray(quantizer.fsq_codes(quantizer.fsq(jnp.asarray(z, jnp.float32), LEVELS),
                                                   LEVELS)))
  np.testing.assert_array_equal(taken, codes)


def test_the_nearest_code_and_the_averages_of_the_codebook_are_those_of_a_loop():
  draw = np.random.default_rng(0)
  vectors, z = draw.normal(size=(5, 3)), draw.normal(size=(2, 4, 3))
  counts, sums, decay = draw.uniform(1, 2, 5), draw.normal(size=(5, 3)), 0.9
  book = quantizer.Codebook(*(jnp.asarray(x, jnp.float32) for x in (vectors, counts, sums)))
  codes = quantizer.nearest_code(jnp.asarray(z, jnp.float32), book.vectors)
  flat = z.reshape(-1, 3)
  wanted = [min(range(5), key=lambda k: ((x - vectors[k])**2).sum()) for x in flat]
  np.testing.assert_array_equal(codes.reshape(-1), wanted)
  new = quantizer.updated_codebook(book, jnp.asarray(z, jnp.float32), codes, jax.random.key(0), decay=decay,
                                   revive_below=0.0)
  for k in range(5):
    members = flat[[w == k for w in wanted]]
    count = decay * counts[k] + (1 - decay) * len(members)
    total = decay * sums[k] + (1 - decay) * members.sum(0)
    np.testing.assert_allclose(new.counts[k], count, rtol=1e-5)
    np.testing.assert_allclose(new.vectors[k], total / count, rtol=1e-4, atol=1e-5)


def test_a_dead_code_starts_anew_at_a_latent():
  book = quantizer.Codebook(jnp.array([[0.0, 0.0], [9.0, 9.0]]), jnp.array([1.0, 0.01]),
                            jnp.array([[0.0, 0.0],
                                                                                                  [0.1,
                                                                                                   0.1]]))
  z = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)), jnp.float32)
  codes = quantizer.nearest_code(z, book.vectors)
  new = quantizer.updated_codebook(book, z, codes, jax.random.key(1), decay=0.9, revive_below=0.05)
  assert float(new.counts[1]) == 1.0
  assert float(jnp.abs(z - new.vectors[1][None]).sum(1).min()) == 0.0
  kept = quantizer.updated_codebook(book, z, codes, jax.random.key(1), decay=0.9, revive_below=0.001)
  np.testing.assert_allclose(kept.vectors[1], [10.0, 10.0], rtol=1e-5)  # as before: sum over count


@pytest.mark.parametrize("kwargs", [dict(num_codes=6, features=3), dict(levels=(4, 3, 3))])
def test_the_gradient_passes_straight_through(kwargs):
  small = dict(width=4, depth=1)
  network = discrete.make_codes(**kwargs, encoder=small, decoder={**small, "head_features": 2})
  params = toy_params(lambda: network.init(jax.random.key(0), (8, 8)))
  z = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, 2, 3)), jnp.float32)
  weights = jnp.asarray(np.random.default_rng(1).normal(size=z.shape), jnp.float32)
  found = jax.grad(lambda z: jnp.sum(weights * network.quantize(params, z)[0]))(z)
  if "levels" in kwargs:  # of the bound, over the half width
    width = jnp.array([2.0, 1.0, 1.0])[None, None, None]
    wanted = jax.grad(lambda z: jnp.sum(weights * quantizer.fsq_bound(z, (4, 3, 3)) / width))(z)
    assert float(jnp.abs(wanted - weights).max()) > 0.01  # not the identity
  else:
    wanted = weights
  np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
  quantized, codes = network.quantize(params, z)
  np.testing.assert_allclose(quantized, network.vectors(params, codes), atol=1e-6)
  assert codes.shape == (2, 2, 2) and int(codes.max()) < network.num_codes


def test_perplexity_is_the_number_of_codes_taken_equally_often():
  codes = jnp.array([[0, 1, 2, 3], [0, 1, 2, 3]])
  np.testing.assert_allclose(quantizer.perplexity(codes, 10), 4.0, rtol=1e-5)
  np.testing.assert_allclose(quantizer.perplexity(jnp.zeros((3, 3), jnp.int32), 10), 1.0, rtol=1e-5)


@pytest.mark.parametrize("kwargs", [dict(), dict(num_codes=4, features=2, levels=(3, 3)), dict(num_codes=4),
                                    dict(levels=(3, 1))])
def test_codes_that_are_neither_kind_are_named(kwargs):
  with pytest.raises(ValueError, match="Need network.num_codes and network.features, or network.levels"):
    discrete.make_codes(**kwargs)
