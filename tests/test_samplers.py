"""Samplers against closed-form flows of Gaussian data, scipy's ODE solver, and finite differences."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lartpc_jax import samplers, time_grids
from lartpc_jax.score import denoised_from_score
from lartpc_jax.sde import alpha_std, vp_sde
from tests.toy_scores import gaussian_score, mixture_moments, mixture_score

SDE = vp_sde()
NAMES = sorted(samplers.SAMPLERS)
NUM = 4096


@pytest.mark.parametrize("name,num_steps,bias", [("ddim", 100, 0.03), ("dpm_solver_pp_2m", 32, 0.01)])
def test_recovers_gaussian_moments(name, num_steps, bias):
  """`bias`: discretisation, relative to the standard deviation."""
  sample = samplers.make_sampler(name, SDE, time_grids.karras_grid(SDE, num_steps))
  draw = jax.jit(lambda mean, std, x: sample(gaussian_score(SDE, mean, std), x))
  noise = SDE.prior_sampling(jax.random.key(0), (NUM, 1))
  for mean, std in [(0.0, 1.0), (1.5, 0.3), (-4.0, 2.0)]:
    x = np.asarray(draw(mean, std, noise), float)
    np.testing.assert_allclose(x.mean(), mean, atol=4 * std / NUM**0.5 + bias * std + abs(mean) / 80)  # alpha(1) mean
    np.testing.assert_allclose(x.std(), std, rtol=4 / (2 * NUM) ** 0.5 + bias)


@pytest.mark.parametrize("name,num_steps,bias", [("ddim", 100, 0.03), ("dpm_solver_pp_2m", 32, 0.01)])
def test_recovers_moments_of_a_skewed_mixture(name, num_steps, bias):
  sample = samplers.make_sampler(name, SDE, time_grids.karras_grid(SDE, num_steps))
  noise = SDE.prior_sampling(jax.random.key(1), (NUM, 1))
  x = np.asarray(jax.jit(lambda x: sample(mixture_score(SDE), x))(noise), float)[:, 0]
  mean, variance, third = mixture_moments()
  for power, expected in [(1, 0.0), (2, variance), (3, third)]:
    values = (x - mean) ** power
    np.testing.assert_allclose(values.mean(), expected, atol=4 * values.std() / NUM**0.5 + bias * values.std())


def exact_gaussian_flow(x, times, mean, std):
  """Probability flow of Gaussian data: (x_t - alpha_t mean) / std_t of the marginal is conserved."""
  alpha, noise = alpha_std(SDE, jnp.asarray(times, x.dtype))
  total = jnp.sqrt((alpha * std) ** 2 + noise**2)
  return alpha[-1] * mean + total[-1] / total[0] * (x - alpha[0] * mean)


def exact_mixture_flow(x, times):
  """The same ODE, solved by scipy to 1e-10; dx/dt = drift - diffusion^2 score / 2."""
  score_fn = jax.jit(mixture_score(SDE))

  def velocity(t, y):
    y, t = jnp.asarray(y)[:, None], jnp.full(len(y), t)
    return np.asarray(SDE.drift(y, t) - 0.5 * (SDE.diffusion(t) ** 2)[:, None] * score_fn(y, t))[:, 0]
  solution = solve_ivp(velocity, (float(times[0]), float(times[-1])), np.asarray(x[:, 0]), method="DOP853",
                       rtol=1e-9, atol=1e-10)
  return jnp.asarray(solution.y[:, -1:])


@pytest.mark.parametrize("problem", ["gaussian", "mixture"])
def test_order_of_convergence(x64, problem):
  """Errors at 40 and 80 steps against the exact flow; the final denoising is applied to both."""
  score_fn = gaussian_score(SDE, 1.2, 0.5) if problem == "gaussian" else mixture_score(SDE)
  grid = lambda n: time_grids.karras_grid(SDE, n, sigma_min=0.05, sigma_max=20.0)
  times, x = grid(2), jnp.linspace(-2.0, 2.0, 9, dtype=jnp.float64)[:, None]
  end = exact_gaussian_flow(x, times, 1.2, 0.5) if problem == "gaussian" else exact_mixture_flow(x, times)
  exact = denoised_from_score(SDE, score_fn)(end, jnp.full(9, times[-1], jnp.float64))
  for name, order in [("ddim", 1), ("dpm_solver_pp_2m", 2)]:
    errors = []
    for n in (40, 80):
      x0 = jax.jit(lambda x, n=n, name=name: samplers.make_sampler(name, SDE, grid(n))(score_fn, x))(x)
      assert x0.dtype == jnp.float64
      errors.append(float(jnp.sqrt(jnp.mean((x0 - exact) ** 2))))
    assert errors[1] < 0.03 / 10 ** (order - 1), errors
    measured = np.log2(errors[0] / errors[1])
    assert order - 0.25 < measured < order + 0.6, (name, measured, errors)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_through_the_sampler(x64, name):
  """Reverse = forward mode = central differences, in the data mean (what score_fn closes over) and in the noise."""
  times = time_grids.karras_grid(SDE, 6, sigma_min=0.05)
  x = jnp.linspace(-1.5, 1.5, 4, dtype=jnp.float64)[:, None]

  def f(mean, x, remat=False):
    sample = samplers.make_sampler(name, SDE, times, remat=remat)
    shifted = lambda y, t: mixture_score(SDE)(y - alpha_std(SDE, t)[0][:, None] * mean, t)
    return jnp.sum(jnp.sin(sample(shifted, x)))

  mean, dx = jnp.float64(0.3), jnp.cos(jnp.arange(4.0, dtype=jnp.float64))[:, None]
  value_and_grad = jax.jit(jax.value_and_grad(f, argnums=(0, 1)))
  (value, (g_mean, g_x)), h = value_and_grad(mean, x), 1e-5
  total = g_mean * 0.7 + jnp.sum(g_x * dx)
  plus, minus = (value_and_grad(mean + s * h * 0.7, x + s * h * dx)[0] for s in (1, -1))
  np.testing.assert_allclose(total, (plus - minus) / (2 * h), rtol=1e-6)
  np.testing.assert_allclose(jax.jit(lambda m, x: jax.jvp(f, (m, x), (jnp.float64(0.7), dx))[1])(mean, x), total, rtol=1e-10)
  remat_value, remat_grads = jax.jit(jax.value_and_grad(lambda m, x: f(m, x, True), argnums=(0, 1)))(mean, x)
  np.testing.assert_allclose(remat_value, value, rtol=1e-12)
  np.testing.assert_allclose(remat_grads[0], g_mean, rtol=1e-10)
  np.testing.assert_allclose(remat_grads[1], g_x, rtol=1e-10)


@pytest.mark.parametrize("times", [[1.0], [0.5, 0.5], [0.1, 0.5], [1.0, 0.0], [1.2, 0.1], [[1.0, 0.5]]])
def test_bad_times_are_named(times):
  for name in NAMES:
    with pytest.raises(ValueError, match="times must fall strictly from at most 1 to above 0"):
      samplers.make_sampler(name, SDE, np.array(times))


def test_unknown_sampler_is_named():
  with pytest.raises(ValueError, match=r"Unknown sampler 'euler'; choose from \['ddim', 'dpm_solver_pp_2m'\]"):
    samplers.make_sampler("euler", SDE, np.array([1.0, 0.1]))


def test_evaluation_count_is_the_number_of_steps_and_one():
  calls = []
  def score_fn(x, t):
    jax.debug.callback(lambda _: calls.append(1), t)
    return -x
  for name in NAMES:
    calls.clear()
    samplers.make_sampler(name, SDE, np.linspace(1.0, 0.1, 6))(score_fn, jnp.ones((1, 1)))
    jax.effects_barrier()
    assert len(calls) == 5 + samplers.NUM_EXTRA_EVALUATIONS
