"""NCSN++ and NCSN: published sizes, resampling against a direct convolution, no mixing of examples,
invariances."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import crops64_score
from lartpc_jax.build import models as config_models
from lartpc_jax.diffusion import prediction
from lartpc_jax.networks import api, blocks, ncsnpp

TINY = dict(features=8, multipliers=[1, 2], num_blocks=1, attention_sizes=[4], stem=2)


def randomise(params, seed=7):
  """Zero-initialised layers would hide what is behind them."""
  leaves, tree = jax.tree.flatten(params)
  rng = np.random.default_rng(seed)
  return tree.unflatten(
      [leaf + jnp.asarray(0.1 * rng.normal(size=leaf.shape), leaf.dtype) for leaf in leaves])


def count(network, shape):
  return sum(
      leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda: network.init(jax.random.key(0), shape))))


def test_the_published_network_has_its_published_size():
  """62.7 million parameters (Phys. Rev. D 109, 072011)."""
  network = config_models.build_denoising_network(crops64_score.get_config("published").network.to_dict())
  assert round(count(network, (64, 64, 1)) / 1e6, 1) == 62.7


def fir_matrix(n):
  """Convolution with [1 3 3 1] / 8, stride 2, zero padding, as a matrix [n/2, n]."""
  matrix = np.zeros((n // 2, n))
  for i in range(n // 2):
    for k, weight in enumerate((1, 3, 3, 1)):
      if 0 <= 2 * i - 1 + k < n:
        matrix[i, 2 * i - 1 + k] = weight / 8
  return matrix


def test_fir_resampling_is_its_matrix_and_transpose():
  x = np.random.default_rng(0).normal(size=(2, 8, 6, 3)).astype(np.float32)
  expected = np.einsum("ih,jw,bhwc->bijc", fir_matrix(8), fir_matrix(6), x)
  np.testing.assert_allclose(ncsnpp.fir_down(jnp.asarray(x)), expected, atol=1e-6)
  expected = 4 * np.einsum("hi,wj,bhwc->bijc", fir_matrix(16), fir_matrix(12), x)
  np.testing.assert_allclose(ncsnpp.fir_up(jnp.asarray(x)), expected, atol=1e-6)
  ones = jnp.ones((1, 8, 8, 1))
  np.testing.assert_allclose(ncsnpp.fir_up(ones)[:, 2:-2, 2:-2], 1.0, rtol=1e-6)  # keeps a constant
  np.testing.assert_array_equal(ncsnpp.pool_down(ncsnpp.nearest_up(jnp.asarray(x))), x)


@pytest.mark.slow
@pytest.mark.parametrize("knobs", [dict(fir=True, input_pyramid=True, embedding="positional"),
                                   dict(fir=False, input_pyramid=False, embedding="fourier")],
                         ids=["ncsnpp", "ddpmpp"])
def test_a_fresh_network_is_zero_and_a_trained_one_sees_noise_and_no_other_example(knobs):
  network = api.make_ncsnpp(**TINY, **knobs)
  fresh = network.init(jax.random.key(0), (16, 16, 1))
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 16, 16, 1)), jnp.float32)
  apply = jax.jit(lambda params, x, c: network.apply(params, x, c, None))
  assert not apply(fresh, x, jnp.zeros(2)).any()
  params = randomise(fresh)
  both = apply(params, x, jnp.array([0.1, -0.2]))
  assert both.shape == x.shape
  np.testing.assert_allclose(apply(params, x[::-1], jnp.array([-0.2, 0.1]))[::-1], both, atol=1e-5)
  changed = apply(params, x.at[1].add(1.0), jnp.array([0.1, -0.2]))
  np.testing.assert_allclose(changed[0], both[0], atol=1e-5)
  assert np.abs(apply(params, x, jnp.array([0.3, -0.2]))[0] - both[0]).max() > 1e-3


@pytest.mark.slow
def test_fourier_frequencies_are_not_trained():
  network = api.make_ncsnpp(**TINY, embedding="fourier", fir=False, input_pyramid=False)
  params = randomise(network.init(jax.random.key(0), (16, 16, 1)))
  grads = jax.jit(
      jax.grad(lambda p: jnp.sum(network.apply(p, jnp.ones((1, 16, 16, 1)), jnp.ones(1), None)**2)))(params)
  assert not grads["TimeEmbedding_0"]["frequency"].any()
  assert grads["Dense_0"]["kernel"].any()


@pytest.mark.slow
def test_ncsn_depends_on_its_level_and_on_no_other_example():
  network = api.make_ncsn(features=4, num_levels=3)
  params = randomise(network.init(jax.random.key(0), (8, 8, 1)))
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 1)), jnp.float32)
  apply = jax.jit(network.apply)
  both = apply(params, x, jnp.array([0, 2]))
  assert both.shape == x.shape
  np.testing.assert_allclose(apply(params, x.at[1].add(1.0), jnp.array([0, 2]))[0], both[0], atol=1e-5)
  assert np.abs(apply(params, x, jnp.array([1, 2]))[0] - both[0]).max() > 1e-3


def test_unknown_embedding_is_named():
  with pytest.raises(ValueError,
                     match=r"Unknown network.embedding 'none'; choose from \['fourier', 'positional'\]"):
    api.make_ncsnpp(embedding="none")


@pytest.mark.parametrize("logit, share", [(-50.0, 0.0), (50.0, 1.0)], ids=["closed", "open"])
def test_a_gate_multiplies_the_skip_of_the_denoiser(logit, share):
  """D = gate c_skip x + c_out F (Karras et al. 2022, eq. 7, with a gate), at noise above that where it is
  cut."""
  random = np.random.default_rng(0)
  x, h = (jnp.asarray(random.normal(size=(3, 4, 4, 2)), jnp.float32) for _ in range(2))
  sigma = jnp.asarray([0.3, 1.0, 20.0])
  apply = lambda params, u, c_noise, cond: blocks.with_gate(jnp.concatenate([h, jnp.full_like(h, logit)], -1),
                                                            u, c_noise)
  found = prediction.edm_denoiser(apply, None, None)(x, sigma)
  c_skip, c_out, _, _ = (c[:, None, None, None] for c in prediction.edm_coefficients(sigma, 1.0))
  np.testing.assert_allclose(found, share * c_skip * x + c_out * h, rtol=1e-4, atol=1e-5)


def test_a_network_with_gates_keeps_its_shape_and_starts_without_an_answer_of_its_own():
  """Fresh, F is 0 but for the gate, which is alike everywhere: F is a multiple of x."""
  network = api.make_ncsnpp(**TINY, fir=False, input_pyramid=False, embedding="fourier", gated_skip=True)
  params = network.init(jax.random.key(0), (16, 16, 1))
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 16, 16, 1)), jnp.float32)
  answer = jax.jit(lambda params, x, c: network.apply(params, x, c, None))(params, x, jnp.zeros(2))
  assert answer.shape == x.shape
  np.testing.assert_allclose(answer, (1.0 / (1.0 + np.exp(-2.0)) - 1.0) * x, rtol=1e-4)
