"""Samplers against closed-form flows and laws, scipy's ODE solver, and finite differences."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp

from lartpc_jax.diffusion import samplers, time_grids
from lartpc_jax.diffusion.prediction import denoised_from_score
from lartpc_jax.diffusion.samplers.langevin import annealed_std
from lartpc_jax.diffusion.sde import SDES, alpha_std, vp_sde
from tests.toy_scores import (
  MEANS,
  STDS,
  WEIGHTS,
  gaussian_score,
  mixture_cdf,
  mixture_draws,
  mixture_moments,
  mixture_score,
)

SDE = vp_sde()
NUM = 4096
GAUSSIAN = ((0.5, 0.5), (1.5, 1.5), (0.3, 0.3))  # a mixture of two equal parts
MIXTURE = (WEIGHTS, MEANS, STDS)
slow = lambda *case: pytest.param(*case, marks=pytest.mark.slow)  # variants: each is a program to compile
# sampler, SDE, steps, bias (of discretisation, relative to the standard deviation), knobs
CASES = [
    ("ddim", "vp", 100, 0.03, {}),
    slow("ddim", "sub_vp", 150, 0.04, dict(eta=0.5)),
    ("dpm_solver_pp_2m", "vp", 32, 0.01, {}),
    slow("dpm_solver_pp_2m", "vp_cosine", 32, 0.01, {}),
    slow("dpm_solver_pp_2m", "sub_vp", 32, 0.01, {}),
    ("sde_dpm_solver_pp_2m", "edm", 64, 0.03, {}),
    ("sde_dpm_solver_pp_2m", "edm", 64, 0.03, {"eta": 0.5}),
    ("heun", "edm", 32, 0.01, {}),
    slow("heun", "ve", 64, 0.02, dict(churn=10.0)),
    ("euler_maruyama", "vp", 1000, 0.03, dict(uniform=True)),
    ("reverse_diffusion", "vp_cosine", 300, 0.04, {}),
    ("ancestral", "ve", 300, 0.04, {}),
    ("predictor_corrector", "vp", 300, 0.05, dict(snr=0.1)),
    ("probability_flow_ode", "edm", 64, 0.01, dict(method="heun")),
    ("probability_flow_adaptive", "ve", 1, 0.01, dict(rtol=1e-5, atol=1e-5)),
    ("annealed_langevin", "ve", 300, 0.06, dict(step_scale=0.2, num_corrections=3)),
]


def levels(name):
  return dict(sigma_min=0.02, sigma_max=40.0 if name == "ve" else 80.0)


def grid_of(name, num_steps, knobs):
  sde = SDES[name]()
  if knobs.get("uniform"):
    return time_grids.uniform_grid(num_steps)
  return time_grids.karras_grid(sde, num_steps, **levels(name))


@pytest.mark.parametrize("name,sde_name,num_steps,bias,knobs", CASES,
                         ids=lambda v: v if isinstance(v, str) else "")
def test_recovers_a_gaussian_and_a_skewed_mixture(name, sde_name, num_steps, bias, knobs):
  """Three moments, and two-sample and one-sample Kolmogorov-Smirnov tests; one program for both laws."""
  sde, times = SDES[sde_name](), grid_of(sde_name, num_steps, knobs)
  sample = samplers.make_sampler(name, sde, times, **{k: v for k, v in knobs.items() if k != "uniform"})

  @jax.jit
  def draw(law, key):
    key_prior, key_steps = jax.random.split(key)
    alpha, std = alpha_std(sde, jnp.asarray(times[:1]))
    # the marginal at times[0]
    x = std[0] * jax.random.normal(key_prior, (NUM, 1)) + alpha[0] * jnp.sum(law[0] * law[1])
    return sample(mixture_score(sde, *law), x, key_steps)[:, 0]

  for seed, law in enumerate((GAUSSIAN, MIXTURE)):
    x = np.asarray(draw(jnp.asarray(law, jnp.float32), jax.random.key(seed)), float)
    mean, variance, third = mixture_moments() if law is MIXTURE else (1.5, 0.09, 0.0)
    for power, expected in [(1, 0.0), (2, variance), (3, third)]:
      values = (x - mean) ** power
      np.testing.assert_allclose(values.mean(), expected,
                                 atol=4 * values.std() / NUM**0.5 + bias * values.std())
    allowed = 1.95 / NUM**0.5 + 0.5 * bias  # 0.1 % point of the one-sample test, and what the bias may move
    assert stats.kstest(x, lambda y, law=law: mixture_cdf(y, *law)).statistic < allowed
    if law is MIXTURE:
      assert stats.ks_2samp(x, mixture_draws(3, NUM)).statistic < 1.95 * (2 / NUM) ** 0.5 + 0.5 * bias


def test_plain_langevin_draws_the_marginal_of_its_level():
  """At noise 0.5 it mixes; the denoised draws are compared with denoised draws of the exact marginal."""
  sde = SDES["edm"]()
  times = np.linspace(0.01, 0.5 / 80, 301)
  score_fn = mixture_score(sde)
  key_start, key_exact, key_steps = jax.random.split(jax.random.key(0), 3)
  sample = samplers.langevin(sde, times, step_scale=0.1)
  x = jax.jit(lambda x, key: sample(score_fn, x, key))(2.0 * jax.random.normal(key_start, (NUM, 1)),
                                                       key_steps)
  noisy = jnp.asarray(mixture_draws(0, NUM),
                      jnp.float32)[:, None] + 0.5 * jax.random.normal(key_exact, (NUM, 1))
  exact = denoised_from_score(sde, score_fn)(noisy, jnp.full(NUM, 0.5 / 80))
  assert stats.ks_2samp(np.asarray(x[:, 0]), np.asarray(exact[:, 0])).statistic < 1.95 * (2 / NUM)**0.5 + 0.02


def test_annealing_finds_the_weights_of_far_modes_where_plain_langevin_does_not():
  """Song & Ermon 2019, sec. 3.2.2: with modes 20 standard deviations apart, plain dynamics keeps the start's
  shares."""
  sde = SDES["ve"](0.1, 20.0)
  law = ((0.2, 0.8), (-5.0, 5.0), (0.25, 0.25))
  times = time_grids.karras_grid(sde, 150, sigma_min=0.11, sigma_max=19.0)
  x = 19.0 * jax.random.normal(jax.random.key(0), (1024, 1))
  share = {}
  for name, knobs in [("langevin", {}), ("annealed_langevin", dict(step_scale=0.2, num_corrections=3))]:
    sample = samplers.make_sampler(name, sde, times, **knobs)
    x0 = jax.jit(lambda x, key, sample=sample: sample(mixture_score(sde, *law), x, key))(x, jax.random.key(1))
    share[name] = float((np.asarray(x0) > 0).mean())
  assert abs(share["annealed_langevin"] - 0.8) < 0.1 and abs(share["langevin"] - 0.5) < 0.1, share


def test_ddim_with_full_noise_is_ancestral_sampling(x64):
  """Song, Meng & Ermon 2021, sec. 4.1: the same numbers for the same key."""
  times = time_grids.karras_grid(SDE, 5)
  x, key = jnp.linspace(-1.0, 1.0, 4, dtype=jnp.float64)[:, None], jax.random.key(0)
  with jax.debug_key_reuse(False):
    a, b = (sample(mixture_score(SDE), x, key)
            for sample in (samplers.ddim(SDE, times, eta=1.0), samplers.ancestral(SDE, times)))
  np.testing.assert_allclose(a, b, rtol=1e-9)


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


@pytest.mark.parametrize("problem", [pytest.param("gaussian", marks=pytest.mark.slow), "mixture"])
def test_order_of_convergence(x64, problem):
  """Errors at n and 2 n steps against the exact flow; the final denoising is applied to both."""
  score_fn = gaussian_score(SDE, 1.2, 0.5) if problem == "gaussian" else mixture_score(SDE)
  grid = lambda n: time_grids.karras_grid(SDE, n, sigma_min=0.05, sigma_max=20.0)
  times, x = grid(2), jnp.linspace(-2.0, 2.0, 9, dtype=jnp.float64)[:, None]
  end = exact_gaussian_flow(x, times, 1.2, 0.5) if problem == "gaussian" else exact_mixture_flow(x, times)
  exact = denoised_from_score(SDE, score_fn)(end, jnp.full(9, times[-1], jnp.float64))
  cases = [("ddim", {}, 1), ("dpm_solver_pp_2m", {}, 2), ("heun", {}, 2)]
  if problem == "gaussian":
    cases += [("probability_flow_ode", dict(method=m), order)
              for m, order in (("euler", 1), ("heun", 2), ("rk4", 4))]
  for name, knobs, order in cases:
    errors = []
    for n in (40, 80):
      sample = samplers.make_sampler(name, SDE, grid(n), **knobs)
      x0 = jax.jit(lambda x, sample=sample: sample(score_fn, x))(x)
      assert x0.dtype == jnp.float64
      errors.append(float(jnp.sqrt(jnp.mean((x0 - exact) ** 2))))
    assert errors[1] < 0.03 / 10 ** (order - 1), (name, errors)
    measured = np.log2(errors[0] / errors[1])
    assert order - 0.3 < measured < order + 0.7, (name, knobs, measured, errors)


@pytest.mark.parametrize("name,num_steps", [
    ("euler_maruyama", 16), *(pytest.param(*case, marks=pytest.mark.slow) for case in (
        ("reverse_diffusion", 16), ("ancestral", 16), ("sde_dpm_solver_pp_2m", 24)))])
def test_weak_order_of_the_sde_solvers(name, num_steps):
  """The error of the variance of Gaussian data halves with the step, or falls faster (Kloeden & Platen 1992,
  sec. 9.7)."""
  std, num = 0.5, 1 << 18

  def error(n):
    times = time_grids.karras_grid(SDE, n, sigma_min=0.05, sigma_max=20.0)
    alpha, noise = (np.asarray(a, float) for a in alpha_std(SDE, jnp.asarray(times[[0, -1]])))
    start = float(np.sqrt((alpha[0] * std) ** 2 + noise[0] ** 2))
    sample = samplers.make_sampler(name, SDE, times)

    def draw(key):
      key_prior, key_steps = jax.random.split(key)
      return sample(gaussian_score(SDE, 0.0, std), start * jax.random.normal(key_prior, (num, 1)),
                    key_steps).var()
    sigma = noise[1] / alpha[1]
    denoised = std**4 / (std**2 + sigma**2)  # variance of the posterior mean
    return float(jax.jit(draw)(jax.random.key(n))) / denoised - 1.0
  errors = [error(num_steps), error(2 * num_steps)]
  resolution = 2 * (2 / num) ** 0.5
  assert abs(errors[0]) > 5 * resolution, errors  # large enough to be measured
  assert abs(errors[1]) < 2**-0.7 * abs(errors[0]) + resolution, errors


@pytest.mark.parametrize("name", [
    "ddim", "dpm_solver_pp_2m", "euler_maruyama", *(pytest.param(name, marks=pytest.mark.slow) for name in (
        "ancestral", "annealed_langevin", "heun", "predictor_corrector", "probability_flow_ode",
        "sde_dpm_solver_pp_2m"))])
def test_gradients_through_the_sampler(x64, name):
  """Reverse = forward mode = central differences, in the data mean (what score_fn closes over) and in the
  noise."""
  times = time_grids.karras_grid(SDE, 6, sigma_min=0.05, sigma_max=5.0)
  x = jnp.linspace(-1.5, 1.5, 4, dtype=jnp.float64)[:, None]

  knobs = dict(step_scale=1.0, num_corrections=6) if name == "annealed_langevin" else {}

  def f(mean, x, remat=False):
    sample = samplers.make_sampler(name, SDE, times, remat=remat, **knobs)
    shifted = lambda y, t: mixture_score(SDE)(y - alpha_std(SDE, t)[0][:, None] * mean, t)
    return jnp.sum(jnp.sin(sample(shifted, x, jax.random.key(0))))

  mean, dx = jnp.float64(0.3), jnp.cos(jnp.arange(4.0, dtype=jnp.float64))[:, None]
  value_and_grad = jax.jit(jax.value_and_grad(f, argnums=(0, 1)))
  (value, (g_mean, g_x)), h = value_and_grad(mean, x), 1e-5
  total = g_mean * 0.7 + jnp.sum(g_x * dx)
  plus, minus = (value_and_grad(mean + s * h * 0.7, x + s * h * dx)[0] for s in (1, -1))
  np.testing.assert_allclose(total, (plus - minus) / (2 * h), rtol=1e-6)
  np.testing.assert_allclose(
      jax.jit(lambda m, x: jax.jvp(f, (m, x), (jnp.float64(0.7), dx))[1])(mean, x), total, rtol=1e-9)
  if name not in ("ddim", "dpm_solver_pp_2m", "euler_maruyama"):  # remat is the same wrapper everywhere
    return
  remat_value, remat_grads = jax.jit(jax.value_and_grad(lambda m, x: f(m, x, True), argnums=(0, 1)))(mean, x)
  np.testing.assert_allclose(remat_value, value, rtol=1e-12)
  np.testing.assert_allclose(remat_grads[0], g_mean, rtol=1e-10)
  np.testing.assert_allclose(remat_grads[1], g_x, rtol=1e-10)


@pytest.mark.slow
def test_the_adaptive_flow_equals_scipy_and_differentiates_forward(x64):
  times = time_grids.karras_grid(SDE, 2, sigma_min=0.05, sigma_max=20.0)
  x = jnp.linspace(-2.0, 2.0, 5, dtype=jnp.float64)[:, None]
  sample = samplers.probability_flow_adaptive(SDE, times, rtol=1e-8, atol=1e-8, count=True)
  run = jax.jit(lambda shift, x: sample(mixture_score(SDE), x + shift))
  x0, count = run(0.0, x)
  exact = denoised_from_score(SDE, mixture_score(SDE))(exact_mixture_flow(x, times),
                                                       jnp.full(5, times[-1], jnp.float64))
  np.testing.assert_allclose(x0, exact, atol=1e-6)
  assert 50 < int(count) < 2000
  slope = jax.jvp(lambda s: run(s, x)[0], (jnp.float64(0.0),), (jnp.float64(1.0),))[1]
  difference = (run(jnp.float64(1e-4), x)[0] - run(jnp.float64(-1e-4), x)[0]) / 2e-4
  np.testing.assert_allclose(slope, difference, rtol=1e-3, atol=1e-5)


def test_evaluation_count_is_as_stated():
  calls = []
  def score_fn(x, t):
    jax.debug.callback(lambda _: calls.append(1), t)
    return -x
  for name in sorted(samplers.SAMPLERS):
    calls.clear()
    knobs = {"probability_flow_adaptive": dict(count=True),
             "annealed_langevin": dict(num_corrections=2)}.get(name, {})
    start = 0.3 if name == "annealed_langevin" else 1.0  # which follows no steeper fall in so few steps
    sample = samplers.make_sampler(name, SDE, np.linspace(start, 0.1, 6), **knobs)
    out = sample(score_fn, jnp.ones((1, 1)), jax.random.key(0))
    jax.effects_barrier()
    expected = int(out[1]) if "count" in knobs else samplers.num_evaluations(name, 5, **knobs)
    assert len(calls) == expected, name
  assert samplers.num_evaluations("probability_flow_ode", 5, method="rk4") == 21
  assert samplers.num_evaluations("probability_flow_adaptive", 5) is None
  assert samplers.num_steps_for("heun", 20) == 9 and samplers.num_steps_for("ddim", 20) == 19


@pytest.mark.parametrize("sigma_max", [8.0, 30.0])
@pytest.mark.parametrize("name", sorted(SDES))
def test_standard_normal_noise_starts_at_the_first_level_of_the_grid(name, sigma_max):
  """Data N(0, 0.5^2) come out with 0.5 from wherever the grid starts; noise of t = 1 gave 80 / 30 times as
  much with edm."""
  sde = SDES[name]()
  times = time_grids.karras_grid(sde, 40, sigma_min=0.02, sigma_max=sigma_max)
  sample = samplers.start_from_noise(sde, times, samplers.dpm_solver_pp_2m(sde, times))
  noise = jax.random.normal(jax.random.key(0), (NUM, 1))
  x0 = np.asarray(jax.jit(lambda noise: sample(gaussian_score(sde, 0.0, 0.5), noise))(noise))
  alpha, std = (float(a[0]) for a in alpha_std(sde, jnp.asarray(times[:1])))
  # data of variance 1 are taken for granted
  start = float(np.sqrt((alpha**2 + std**2) / ((0.5 * alpha) ** 2 + std**2)))
  np.testing.assert_allclose(x0.std() / np.asarray(noise).std(), 0.5 * start, rtol=0.01)
  assert start < 1.01


def test_variance_preserving_starts_are_the_noise_itself():
  """Bit for bit: their marginals of normalised data have variance 1 at every level."""
  for name in ("vp", "vp_cosine"):
    times = time_grids.karras_grid(SDES[name](), 3, sigma_max=30.0)
    noise = jax.random.normal(jax.random.key(0), (100, 3))
    np.testing.assert_array_equal(
        samplers.start_from_noise(SDES[name](), times, lambda _, x, key: x)(None, noise), noise)


@pytest.mark.parametrize("name", sorted(set(samplers.SAMPLERS) - {"probability_flow_adaptive"}))
def test_with_a_key_each_an_example_does_not_depend_on_its_batch(name):
  times = time_grids.karras_grid(SDE, 6, sigma_min=0.05, sigma_max=5.0)
  knobs = dict(step_scale=1.0, num_corrections=6) if name == "annealed_langevin" else {}
  sample = samplers.make_sampler(name, SDE, times, **knobs)
  x, keys = jax.random.normal(jax.random.key(0), (4, 3)), lambda: jax.random.split(jax.random.key(1), 4)
  run = jax.jit(lambda x, keys: sample(gaussian_score(SDE, 0.3, 0.5), x, keys))
  with jax.debug_key_reuse(False):  # the same keys twice is what is tested
    whole, parts = run(x, keys()), jnp.concatenate([run(x[i:i + 2], keys()[i:i + 2]) for i in (0, 2)])
  np.testing.assert_allclose(whole, parts, atol=1e-5)
  assert len(np.unique(np.round(np.asarray(whole), 4))) == 12  # and no two are alike


@pytest.mark.parametrize("name,sde_name,num_steps", [
    ("dpm_solver_pp_2m", "vp", 200), ("ddim", "vp_cosine", 20), ("ancestral", "ve", 100), ("heun", "edm", 50),
    ("euler_maruyama", "vp", 300), ("predictor_corrector", "vp", 100), ("probability_flow_ode", "edm", 64)])
def test_half_precision_draws_the_same_law(name, sde_name, num_steps):
  """In bfloat16 neighbouring times of these grids are equal; the steps are taken in float32."""
  sde = SDES[sde_name]()
  times = time_grids.karras_grid(sde, num_steps, sigma_min=0.02, sigma_max=40.0)
  sample = samplers.start_from_noise(sde, times, samplers.make_sampler(name, sde, times))
  noise = jax.random.normal(jax.random.key(0), (1024, 1)).astype(jnp.bfloat16)
  x0 = jax.jit(lambda noise, key: sample(gaussian_score(sde, 0.0, 0.5), noise, key))(noise, jax.random.key(1))
  assert x0.dtype == jnp.bfloat16
  assert abs(float(np.asarray(x0, np.float32).std()) - 0.5) < 0.07


@pytest.mark.parametrize("num_steps,knobs", [(19, {}), (200, dict(step_scale=0.1)),
                                             (20, dict(num_corrections=3))])
def test_annealing_that_cannot_follow_its_levels_is_refused(num_steps, knobs):
  times = time_grids.karras_grid(SDES["edm"](), num_steps, sigma_min=0.02)
  with pytest.raises(ValueError,
                     match="annealed_langevin does not follow its .* noise levels with step_scale="):
    samplers.annealed_langevin(SDES["edm"](), times, **knobs)


def test_annealing_by_its_defaults_ends_at_the_width_of_the_data():
  sde = SDES["edm"]()
  times = time_grids.karras_grid(sde, 150, sigma_min=0.02)
  sample = samplers.start_from_noise(sde, times, samplers.annealed_langevin(sde, times))
  noise, key = jax.random.normal(jax.random.key(0), (NUM, 1)), jax.random.key(1)
  x0 = np.asarray(jax.jit(lambda noise, key: sample(gaussian_score(sde, 0.0, 1.0), noise, key))(noise, key))
  expected = annealed_std(sde, times, 0.5, 1)
  assert expected < 1.2
  np.testing.assert_allclose(x0.std(), expected, rtol=4 / (2 * NUM) ** 0.5)


@pytest.mark.parametrize("times", [[1.0], [0.5, 0.5], [0.1, 0.5], [1.0, 0.0], [1.2, 0.1], [[1.0, 0.5]]])
def test_bad_times_are_named(times):
  for name in samplers.SAMPLERS:
    with pytest.raises(ValueError, match="times must fall strictly from at most 1 to above 0"):
      samplers.make_sampler(name, SDE, np.array(times))


@pytest.mark.parametrize("name,knobs,match", [
    ("ddim", dict(eta=-1.0), "eta >= 0; got -1.0"), ("heun", dict(churn=-1.0), "churn >= 0; got -1.0"),
    ("langevin", dict(step_scale=0.0), "step_scale > 0; got 0.0"),
    ("annealed_langevin", dict(num_corrections=0), "num_corrections >= 1; got 0"),
    ("predictor_corrector", dict(predictor="none"), r"Unknown predictor 'none'; choose from \['ancestral'"),
    ("predictor_corrector", dict(snr=0.0), "snr > 0; got num_corrections=1, snr=0.0"),
    ("probability_flow_ode", dict(method="rk9"),
     r"Unknown method 'rk9'; choose from \['euler', 'heun', 'rk4'\]"),
    ("probability_flow_adaptive", dict(rtol=0.0), "rtol > 0 and atol > 0; got rtol=0.0"),
    ("probability_flow_adaptive", dict(remat=True), "takes no remat")])
def test_bad_knobs_are_named(name, knobs, match):
  with pytest.raises(ValueError, match=match):
    samplers.SAMPLERS[name](SDE, np.array([1.0, 0.1]), **knobs)


def test_unknown_samplers_missing_keys_and_too_few_evaluations_are_named():
  with pytest.raises(
      ValueError, match=r"Unknown sampler 'euler'; choose from \['ancestral', 'annealed_langevin', 'ddim'"):
    samplers.make_sampler("euler", SDE, np.array([1.0, 0.1]))
  with pytest.raises(ValueError, match="Unknown sampler 'euler'"):
    samplers.num_evaluations("euler", 3)
  with pytest.raises(ValueError, match="2 evaluations are no step of sampler 'heun'"):
    samplers.num_steps_for("heun", 2)
  with pytest.raises(ValueError, match="Sampler 'ancestral' draws noise: give"):
    samplers.ancestral(SDE, np.array([1.0, 0.1]))(lambda x, t: -x, jnp.ones((1, 1)))
