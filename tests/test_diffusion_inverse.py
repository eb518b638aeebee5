"""Measurement guidance against posteriors that are known in closed form."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.diffusion import inverse, samplers, time_grids
from lartpc_jax.diffusion.inverse import Measurement, conjugate_gradients, measurement_guidance
from lartpc_jax.diffusion.sde import SDES, alpha_std, vp_sde

DIM, NOISE = 5, 0.3
MASK = np.array([1.0, 1.0, 0.0, 1.0, 0.0])
NUM = 4096


def gaussian():
  """Mean [d] and covariance [d d] of strongly correlated data of variance about 1, and a measurement [d]."""
  rng = np.random.default_rng(3)
  root = rng.normal(size=(DIM, DIM))
  covariance = root @ root.T / DIM + 0.05 * np.eye(DIM)
  mean = rng.normal(size=DIM)
  truth = mean + np.linalg.cholesky(covariance) @ rng.normal(size=DIM)
  return mean, covariance, MASK * (truth + NOISE * rng.normal(size=DIM))


def posterior(mean, covariance, value, noise=NOISE):
  """Mean and covariance of the linear Gaussian posterior (Bishop 2006, eq. 2.116)."""
  inverse_covariance = np.linalg.inv(covariance)
  found = np.linalg.inv(inverse_covariance + np.diag(MASK) / noise**2)
  return found @ (inverse_covariance @ mean + MASK * value / noise**2), found


def score_of(sde, mean, covariance):
  """Score of noised Gaussian data, by numpy's eigenvectors."""
  values, vectors = (jnp.asarray(a, jnp.float32) for a in np.linalg.eigh(covariance))
  centre = jnp.asarray(mean, jnp.float32)

  def score_fn(x, t):
    alpha, std = (a[:, None] for a in alpha_std(sde, t))
    along = (x - alpha * centre[None]) @ vectors
    return -(along / (alpha**2 * values[None] + std**2)) @ vectors.T
  return score_fn


def known(value, num, noise=NOISE, measure=lambda x: x):
  rows = lambda a: jnp.broadcast_to(jnp.asarray(a, jnp.float32), (num, DIM))
  return Measurement(measure, rows(value), rows(MASK / noise))


@pytest.mark.parametrize("name", ["vp", "sub_vp", "edm"])
def test_moments_give_the_score_of_the_posterior(name):
  """The posterior of Gaussian data is Gaussian, so its noised score is known."""
  sde, (mean, covariance, value) = SDES[name](), gaussian()
  t = jnp.linspace(0.05, 0.9, 7)
  x = jax.random.normal(jax.random.key(0), (7, DIM)) * sde.unit_std(t)[:, None]
  got = measurement_guidance(sde, score_of(sde, mean, covariance), known(value, 7), num_iterations=DIM)(x, t)
  np.testing.assert_allclose(got, score_of(sde, *posterior(mean, covariance, value))(x, t), rtol=2e-3,
                             atol=2e-3)


def test_unit_data_need_no_moments():
  """For independent data of variance 1 the covariance of PiGDM is the true one."""
  sde, (mean, _, value) = vp_sde(), gaussian()
  t, x = jnp.linspace(0.05, 0.9, 7), jax.random.normal(jax.random.key(0), (7, DIM))
  score = score_of(sde, mean, np.eye(DIM))
  got = measurement_guidance(sde, score, known(value, 7), covariance="unit", num_iterations=1)(x, t)
  want = score_of(sde, *posterior(mean, np.eye(DIM), value))(x, t)
  np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-3)


def test_none_is_the_gradient_of_the_squared_residual():
  """Diffusion posterior sampling (Chung et al. 2023), by finite differences, of a curved measurement."""
  sde, (mean, covariance, value) = vp_sde(), gaussian()
  t, x = jnp.full(1, 0.4), jax.random.normal(jax.random.key(1), (1, DIM))
  score, measure = score_of(sde, mean, covariance), lambda x: jnp.sinh(x)
  guided = measurement_guidance(sde, score, known(value, 1, measure=measure), covariance="none")
  got = guided(x, t) - score(x, t)
  alpha, std = (float(a[0]) for a in alpha_std(sde, t))

  def log_p(x):
    denoised = (x + std**2 * np.asarray(score(jnp.asarray(x, jnp.float32), t))) / alpha
    return -0.5 * np.sum(MASK * (value - np.sinh(denoised))**2) / NOISE**2
  h = 1e-2
  slopes = [(log_p(np.asarray(x) + h * e) - log_p(np.asarray(x) - h * e)) / (2 * h) for e in np.eye(DIM)]
  np.testing.assert_allclose(got[0], slopes, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name,steps", [("dpm_solver_pp_2m", 48), ("sde_dpm_solver_pp_2m", 64)])
def test_samples_have_mean_and_covariance_of_the_posterior(name, steps):
  sde, (mean, covariance, value) = vp_sde(), gaussian()
  times = time_grids.karras_grid(sde, steps, sigma_min=0.02, sigma_max=80.0)
  sample = samplers.start_from_noise(sde, times, samplers.make_sampler(name, sde, times))
  score = measurement_guidance(sde, score_of(sde, mean, covariance), known(value, NUM), num_iterations=DIM)
  key_noise, key_steps = jax.random.split(jax.random.key(2))
  x = np.asarray(jax.jit(lambda noise, key: sample(score, noise, key))(
      jax.random.normal(key_noise, (NUM, DIM)), key_steps), float)
  want_mean, want = posterior(mean, covariance, value)
  scale = np.sqrt(np.diag(want))
  error = 4.0 / np.sqrt(NUM)                          # 4 standard errors, and 2 % for the steps
  np.testing.assert_allclose((x.mean(0) - want_mean) / scale, np.zeros(DIM), atol=error + 0.02)
  np.testing.assert_allclose(np.cov(x.T) / np.outer(scale, scale), want / np.outer(scale, scale),
                             atol=1.5 * error + 0.04)


def test_nothing_measured_is_the_prior():
  sde, (mean, covariance, value) = vp_sde(), gaussian()
  score, t = score_of(sde, mean, covariance), jnp.linspace(0.1, 0.9, 3)
  x = jax.random.normal(jax.random.key(0), (3, DIM))
  nothing = known(value, 3)._replace(weight=jnp.zeros((3, DIM)))
  for covariance_name in inverse.COVARIANCES:
    got = measurement_guidance(sde, score, nothing, covariance=covariance_name)(x, t)
    np.testing.assert_allclose(got, score(x, t), rtol=1e-4, atol=1e-4)


def test_conjugate_gradients_solve_each_example():
  rng = np.random.default_rng(0)
  roots = rng.normal(size=(3, 4, 4))
  matrices = np.einsum("bij,bkj->bik", roots, roots) + np.eye(4)[None]
  b = rng.normal(size=(3, 4))
  b[1] = 0.0                                          # solved at once
  apply = lambda v: jnp.einsum("bij,bj->bi", jnp.asarray(matrices, jnp.float32), v)
  got = conjugate_gradients(apply, jnp.asarray(b, jnp.float32), num_iterations=6)
  np.testing.assert_allclose(got, np.linalg.solve(matrices, b[..., None])[..., 0], rtol=1e-3, atol=1e-4)
  stuck = conjugate_gradients(lambda v: -v, jnp.asarray(b, jnp.float32), num_iterations=3)
  np.testing.assert_array_equal(stuck, np.zeros((3, 4)))


def test_inflation_is_noise_that_fades():
  """At each level it is the score for a measurement of that much more noise, written down."""
  sde, (mean, _, value), share = vp_sde(), gaussian(), 0.7
  t, x = jnp.array([0.5]), jax.random.normal(jax.random.key(0), (1, DIM))
  score = score_of(sde, mean, np.eye(DIM))
  got = measurement_guidance(sde, score, known(value, 1), inflation=share, num_iterations=1)(x, t)
  alpha, std = (float(a[0]) for a in alpha_std(sde, t))
  sigma2 = (std / alpha)**2
  noise = np.sqrt(NOISE**2 + share**2 * sigma2 / (1.0 + sigma2))
  want = measurement_guidance(sde, score, known(value, 1, noise), num_iterations=1)(x, t)
  np.testing.assert_allclose(got, want, rtol=1e-4)


@pytest.mark.parametrize("knobs,message", [
    (dict(covariance="full"), "Unknown covariance 'full'"),
    (dict(num_iterations=0), "num_iterations must be at least 1; got 0"),
    (dict(inflation=-1.0), "inflation must be at least 0; got -1.0")])
def test_bad_knobs_are_named(knobs, message):
  with pytest.raises(ValueError, match=message):
    measurement_guidance(vp_sde(), lambda x, t: -x, known(np.zeros(DIM), 1), **knobs)
