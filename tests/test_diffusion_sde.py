"""The forward SDEs against their moment equations, scipy's quadrature and densities, and simulated paths."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from lartpc_jax.diffusion import sde as lib

NAMES = sorted(lib.SDES)


@pytest.mark.parametrize("name", NAMES)
def test_marginal_moments_solve_their_ode(name):
  """dm/dt = a m, dv/dt = 2 a v + g^2 for drift a(t) x (Sarkka & Solin 2019, eq. 6.2)."""
  sde, t = lib.SDES[name](), jnp.linspace(0.05, 0.95, 7)
  mean = lambda s: sde.marginal_prob(jnp.full((7, 1), 2.0), s)[0][:, 0]
  var = lambda s: sde.marginal_prob(jnp.ones((7, 1)), s)[1] ** 2
  a = sde.drift(jnp.ones_like(t), t)
  ones = jnp.ones_like(t)
  np.testing.assert_allclose(
      jax.jvp(var, (t,), (ones,))[1], 2 * a * var(t) + sde.diffusion(t)**2, rtol=1e-3, atol=2e-5)
  np.testing.assert_allclose(jax.jvp(mean, (t,), (ones,))[1], a * mean(t), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("beta_min,beta_max", [(0.1, 20.0), (0.5, 3.0)])
def test_alpha_and_std_equal_a_quadrature_of_beta(beta_min, beta_max):
  times = np.array([1e-3, 0.1, 0.5, 1.0])
  integral = np.array(
      [integrate.quad(lambda s: beta_min + s * (beta_max - beta_min), 0.0, t)[0] for t in times])
  alpha, std = lib.alpha_std(lib.vp_sde(beta_min, beta_max), jnp.asarray(times, jnp.float32))
  np.testing.assert_allclose(alpha, np.exp(-0.5 * integral), rtol=2e-5)
  np.testing.assert_allclose(std, np.sqrt(1 - np.exp(-integral)), rtol=2e-5)
  np.testing.assert_allclose(alpha**2 + std**2, 1.0, rtol=1e-5)  # variance-preserving
  alpha, std = lib.alpha_std(lib.sub_vp_sde(beta_min, beta_max), jnp.asarray(times, jnp.float32))
  np.testing.assert_allclose(alpha, np.exp(-0.5 * integral), rtol=2e-5)
  np.testing.assert_allclose(std, 1 - np.exp(-integral), rtol=2e-5)  # Song et al. 2021, eq. 29


def test_cosine_schedule_equals_its_published_alpha_bar():
  """Nichol & Dhariwal 2021, eq. 17: alpha_bar = f(t) / f(0), f = cos^2((t + s) / (1 + s) pi / 2)."""
  times, s = np.linspace(1e-3, 1.0, 9), 0.008
  f = lambda u: np.cos((u + s) / (1 + s) * np.pi / 2) ** 2
  alpha, std = lib.alpha_std(lib.vp_cosine_sde(), jnp.asarray(times, jnp.float32))
  np.testing.assert_allclose(alpha**2, f(0.9946 * times) / f(0.0), rtol=2e-3, atol=1e-6)
  np.testing.assert_allclose(std**2, 1 - f(0.9946 * times) / f(0.0), rtol=1e-4)
  assert float(alpha[-1]) < 0.01


def test_levels_of_the_exploding_sdes():
  t = jnp.array([0.25, 0.5, 1.0])
  np.testing.assert_allclose(
      lib.alpha_std(lib.ve_sde(0.1, 10.0), t)[1], 0.1 * 100.0**np.asarray(t), rtol=1e-5)
  np.testing.assert_allclose(lib.alpha_std(lib.edm_sde(80.0), t)[1], 80.0 * np.asarray(t), rtol=1e-6)
  np.testing.assert_array_equal(lib.alpha_std(lib.edm_sde(), t)[0], 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_simulated_paths_have_the_marginal_moments(name):
  sde, n, steps = lib.SDES[name](), 4096, 200
  x0 = jnp.full(n, 1.5)
  # ve: not zero
  start = sde.marginal_prob(x0, jnp.full(n, 1e-3))[1] * jax.random.normal(jax.random.key(7), (n,))

  def step(x, inputs):
    key, t = inputs
    t = jnp.full(n, t)
    noise = jax.random.normal(key, (n,))
    return x + sde.drift(x, t) * (0.5 / steps) + sde.diffusion(t) * noise * (0.5 / steps) ** 0.5, None

  times = (jnp.arange(steps, dtype=jnp.float32) + 0.5) * (0.5 / steps)  # midpoints: bias of order dt^2
  x = jax.lax.scan(step, x0 + start, (jax.random.split(jax.random.key(0), steps), times))[0]
  mean, std = sde.marginal_prob(x0, jnp.full(n, 0.5))
  np.testing.assert_allclose(x.mean(), mean[0], atol=4 * float(std[0]) / n**0.5 + 2e-3)
  np.testing.assert_allclose(x.std(), std[0], rtol=4 / (2 * n) ** 0.5 + 1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_prior_is_the_marginal_at_one(name):
  sde = lib.SDES[name]()
  alpha, std = lib.alpha_std(sde, jnp.ones(1))
  width = {"ve": 50.0, "edm": 80.0}.get(name, 1.0)
  # data left, in widths of the prior
  assert float(alpha[0]) / width < 0.021 and abs(float(std[0]) / width - 1) < 1e-4
  z = sde.prior_sampling(jax.random.key(0), (500, 4, 2))
  assert z.dtype == jnp.float32 and stats.kstest(np.asarray(z).ravel(),
                                                 stats.norm(0, width).cdf).pvalue > 1e-4
  np.testing.assert_allclose(sde.prior_logp(z),
                             stats.norm.logpdf(np.asarray(z), scale=width).sum((1, 2)), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_reverse_drift_and_flow_of_gaussian_data(name):
  """The flow moves x with mean m and standard deviation s of the marginal; the reverse drift is twice it less
  the drift."""
  sde, t, x = lib.SDES[name](), jnp.linspace(0.1, 0.9, 5), jnp.linspace(-1.0, 1.0, 5)
  mean = lambda s: 0.7 * lib.alpha_std(sde, s)[0]
  spread = lambda s: jnp.sqrt((0.4 * lib.alpha_std(sde, s)[0]) ** 2 + lib.alpha_std(sde, s)[1] ** 2)
  score_fn = lambda x, t: -(x - mean(t)) / spread(t) ** 2
  (m, dm), (s, ds) = (jax.jvp(f, (t,), (jnp.ones_like(t),)) for f in (mean, spread))
  expected = dm + ds / s * (x - m)
  np.testing.assert_allclose(lib.probability_flow(sde, score_fn)(x, t), expected, rtol=2e-3, atol=1e-3)
  np.testing.assert_allclose(
      lib.reverse_drift(sde, score_fn)(x, t), 2 * expected - sde.drift(x, t), rtol=2e-3, atol=2e-3)


def test_batch_mul_scales_each_example():
  x = jnp.arange(12.0).reshape(2, 3, 2)
  np.testing.assert_array_equal(lib.batch_mul(jnp.array([2.0, -1.0]), x),
                                np.asarray(x) * np.array([2, -1])[:, None, None])


@pytest.mark.parametrize("beta_min,beta_max", [(0.0, 1.0), (-1.0, 1.0), (2.0, 2.0)])
def test_bad_betas_are_named(beta_min, beta_max):
  for function in (lib.vp_sde, lib.sub_vp_sde):
    with pytest.raises(
        ValueError, match=f"{function.__name__} needs 0 < beta_min < beta_max; got beta_min={beta_min}, "
        f"beta_max={beta_max}"):
      function(beta_min, beta_max)


@pytest.mark.parametrize("function,kwargs,match", [
    (lib.ve_sde, dict(sigma_min=2.0, sigma_max=1.0), "0 < sigma_min < sigma_max; got sigma_min=2.0"),
    (lib.edm_sde, dict(sigma_max=0.0), "sigma_max > 0; got sigma_max=0.0"),
    (lib.vp_cosine_sde, dict(t_end=1.0), "0 < t_end < 1; got offset=0.008, t_end=1.0")])
def test_bad_levels_are_named(function, kwargs, match):
  with pytest.raises(ValueError, match=match):
    function(**kwargs)
