"""The forward SDE against its moment equations, scipy's quadrature and densities, and simulated paths."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from lartpc_jax import sde as lib


def test_marginal_moments_solve_their_ode():
  sde, t = lib.vp_sde(), jnp.linspace(0.05, 0.95, 7)
  mean = lambda s: sde.marginal_prob(jnp.full((7, 1), 2.0), s)[0][:, 0]
  var = lambda s: sde.marginal_prob(jnp.ones((7, 1)), s)[1] ** 2
  a = sde.drift(jnp.ones_like(t), t)  # drift is a(t) x
  ones = jnp.ones_like(t)
  np.testing.assert_allclose(jax.jvp(var, (t,), (ones,))[1], 2 * a * var(t) + sde.diffusion(t) ** 2, rtol=1e-3, atol=1e-5)
  np.testing.assert_allclose(jax.jvp(mean, (t,), (ones,))[1], a * mean(t), rtol=1e-4)


@pytest.mark.parametrize("beta_min,beta_max", [(0.1, 20.0), (0.5, 3.0)])
def test_alpha_and_std_equal_a_quadrature_of_beta(beta_min, beta_max):
  times = np.array([1e-3, 0.1, 0.5, 1.0])
  integral = [integrate.quad(lambda s: beta_min + s * (beta_max - beta_min), 0.0, t)[0] for t in times]
  alpha, std = lib.alpha_std(lib.vp_sde(beta_min, beta_max), jnp.asarray(times, jnp.float32))
  np.testing.assert_allclose(alpha, np.exp(-0.5 * np.array(integral)), rtol=2e-5)
  np.testing.assert_allclose(std, np.sqrt(1 - np.exp(-np.array(integral))), rtol=2e-5)
  np.testing.assert_allclose(alpha**2 + std**2, 1.0, rtol=1e-5)  # variance-preserving


def test_simulated_paths_have_the_marginal_moments():
  sde, n, steps = lib.vp_sde(), 4096, 200
  x0 = jnp.full(n, 1.5)

  def step(x, inputs):
    key, t = inputs
    t = jnp.full(n, t)
    noise = jax.random.normal(key, (n,))
    return x + sde.drift(x, t) * (0.5 / steps) + sde.diffusion(t) * noise * (0.5 / steps) ** 0.5, None

  times = (jnp.arange(steps, dtype=jnp.float32) + 0.5) * (0.5 / steps)  # midpoints: bias of order dt^2
  x = jax.lax.scan(step, x0, (jax.random.split(jax.random.key(0), steps), times))[0]
  mean, std = sde.marginal_prob(x0, jnp.full(n, 0.5))
  np.testing.assert_allclose(x.mean(), mean[0], atol=4 * float(std[0]) / n**0.5 + 2e-3)
  np.testing.assert_allclose(x.std(), std[0], rtol=4 / (2 * n) ** 0.5 + 1e-2)


def test_prior_is_the_marginal_at_one_and_a_standard_normal():
  sde = lib.vp_sde()
  alpha, std = lib.alpha_std(sde, jnp.ones(1))
  assert float(alpha[0]) < 0.01 and abs(float(std[0]) - 1) < 1e-4
  z = sde.prior_sampling(jax.random.key(0), (500, 4, 2))
  assert stats.kstest(np.asarray(z).ravel(), "norm").pvalue > 1e-4
  np.testing.assert_allclose(sde.prior_logp(z), stats.norm.logpdf(np.asarray(z)).sum((1, 2)), rtol=1e-5)


def test_batch_mul_scales_each_example():
  x = jnp.arange(12.0).reshape(2, 3, 2)
  np.testing.assert_array_equal(lib.batch_mul(jnp.array([2.0, -1.0]), x), np.asarray(x) * np.array([2, -1])[:, None, None])


@pytest.mark.parametrize("beta_min,beta_max", [(0.0, 1.0), (-1.0, 1.0), (2.0, 2.0)])
def test_bad_betas_are_named(beta_min, beta_max):
  with pytest.raises(ValueError, match=f"0 < beta_min < beta_max; got beta_min={beta_min}, beta_max={beta_max}"):
    lib.vp_sde(beta_min, beta_max)
