"""Likelihood against the analytic densities of a correlated Gaussian and of a mixture."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lartpc_jax.diffusion import likelihood as lib, time_grids
from lartpc_jax.diffusion.sde import SDES, alpha_std
from tests.toy_scores import MEANS, STDS, WEIGHTS, mixture_draws, mixture_score

MEAN = np.array([0.5, -0.2, 0.1])
COVARIANCE = np.array([[0.5, 0.2, 0.0], [0.2, 0.4, -0.1], [0.0, -0.1, 0.3]])
TOLERANCE = 0.01  # nats per dimension


def gaussian_score(sde):
  """score_fn of N(MEAN, COVARIANCE)."""
  def one(x, alpha, std):
    total = alpha**2 * jnp.asarray(COVARIANCE, x.dtype) + std**2 * jnp.eye(3, dtype=x.dtype)
    return -jnp.linalg.solve(total, x - alpha * jnp.asarray(MEAN, x.dtype))
  return lambda x, t: jax.vmap(one)(x, *alpha_std(sde, t))


def grid(sde_name):
  """From t = 1 down to noise 0.02, on 60 steps."""
  sde = SDES[sde_name]()
  sigma_max = {"vp": 150.0, "sub_vp": 150.0, "edm": 79.0, "ve": 49.0}[sde_name]
  times = time_grids.karras_grid(sde, 60, sigma_min=0.02, sigma_max=sigma_max)
  return sde, np.concatenate([[1.0], times[1:]])


def gaussian_logp(x, sigma):
  return stats.multivariate_normal(MEAN, COVARIANCE + sigma**2 * np.eye(3)).logpdf(x)


@pytest.mark.parametrize("sde_name", ["vp", "sub_vp", "edm", "ve"])
def test_exact_divergence_gives_the_density_of_a_gaussian(sde_name):
  sde, times = grid(sde_name)
  x = np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, 32)
  got = jax.jit(lambda x: lib.log_likelihood(sde, times, exact=True)(gaussian_score(sde), x))(jnp.asarray(
      x, jnp.float32))
  alpha, std = (np.asarray(a, float)[0] for a in alpha_std(sde, jnp.asarray(times[-1:], jnp.float32)))
  expected = gaussian_logp(x / alpha, std / alpha) - 3 * np.log(alpha)
  np.testing.assert_allclose(got, expected, atol=3 * TOLERANCE)


def test_half_precision_gives_the_density_too():
  sde, times = grid("vp")
  x = jnp.asarray(np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, 8), jnp.bfloat16)
  got = jax.jit(lambda x: lib.log_likelihood(sde, times, exact=True)(gaussian_score(sde), x))(x)
  np.testing.assert_allclose(got, gaussian_logp(np.asarray(x, float), 0.02), atol=3 * TOLERANCE)


def test_hutchinson_is_unbiased_and_exact_in_one_dimension():
  sde, times = grid("vp")
  x = np.random.default_rng(1).multivariate_normal(MEAN, COVARIANCE, 4)
  logp = jax.jit(lambda x, key: lib.log_likelihood(sde, times, num_probes=256)(gaussian_score(sde), x, key))
  got = logp(jnp.asarray(x, jnp.float32), jax.random.key(0))
  np.testing.assert_allclose(got, gaussian_logp(x, 0.02), atol=6 * TOLERANCE)


@pytest.mark.parametrize("adaptive", [False, True])
def test_density_of_a_skewed_mixture(adaptive):
  sde, times = grid("vp")
  x = mixture_draws(0, 64)
  logp = lib.log_likelihood(sde, times, adaptive=adaptive, rtol=1e-4, atol=1e-4)
  got = jax.jit(lambda x, key: logp(mixture_score(sde), x, key))(
      jnp.asarray(x, jnp.float32)[:, None], jax.random.key(0))
  alpha, std = (np.asarray(a, float)[0] for a in alpha_std(sde, jnp.asarray(times[-1:], jnp.float32)))
  density = sum(
      w * stats.norm.pdf(x, alpha * m, np.hypot(alpha * s, std)) for w, m, s in zip(WEIGHTS, MEANS, STDS))
  np.testing.assert_allclose(got, np.log(density), atol=TOLERANCE)


def test_divergences_of_a_matrix():
  matrix = jnp.array([[1.0, 2.0], [3.0, -0.5]])
  velocity = lambda x, t: x @ matrix.T
  x, t = jnp.array([[1.0, 2.0], [0.0, -1.0]]), jnp.ones(2)
  value, divergence = lib.exact_divergence(velocity)(x, t)
  np.testing.assert_allclose(value, x @ matrix.T, rtol=1e-6)
  np.testing.assert_allclose(divergence, 0.5, rtol=1e-6)  # the trace
  probes = jnp.array([[[1.0, 1.0]] * 2, [[1.0, -1.0]] * 2])
  np.testing.assert_allclose(lib.hutchinson_divergence(velocity, probes)(x, t)[1], 0.5, rtol=1e-6)


def test_bits_per_dim_of_uniform_levels_are_their_logarithm():
  """Levels 0..255, uniform, dequantised: density 1/256 a level, 8 bits; in units of z = level / 255 as
  well."""
  logp = jnp.full(3, 4 * np.log(1 / 256), jnp.float32)
  np.testing.assert_allclose(lib.bits_per_dim(logp, 4), 8.0, rtol=1e-6)
  scaled = jnp.full(3, 4 * np.log(255 / 256), jnp.float32)
  np.testing.assert_allclose(lib.bits_per_dim(scaled, 4, log_volume=-np.log(255.0)), 8.0, rtol=1e-6)
  levels = lib.uniform_dequantise(jax.random.key(0), jnp.full((1000,), 7.0))
  assert stats.kstest(np.asarray(levels) - 7.0, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("times,kwargs,match", [
    ([0.9, 0.1], {}, r"times\[0\] = 1; got 0.9"), ([1.0, 0.1], dict(num_probes=0), "num_probes >= 1; got 0"),
    ([1.0, 0.1], dict(method="rk9"), "Unknown method 'rk9'")])
def test_bad_arguments_are_named(times, kwargs, match):
  with pytest.raises(ValueError, match=match):
    lib.log_likelihood(SDES["vp"](), np.array(times), **kwargs)


def test_a_missing_key_is_named():
  with pytest.raises(ValueError, match="Hutchinson estimator draws probes: give"):
    lib.log_likelihood(SDES["vp"](), np.array([1.0, 0.1]))(lambda x, t: -x, jnp.ones((1, 1)))
