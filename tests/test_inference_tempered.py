"""Weighted draws of the generalised posterior against Gaussians whose product is known, and the calibrated
temperature."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.inference import estimator as estimator_lib, tempered as lib
from tests.test_inference_posterior import quadratic, seen, toy_estimator

VIEWS = ("xy", "xz")


def test_draws_have_the_moments_of_the_product():
  """q^0.5 times a Gaussian in the angles: precisions add."""
  estimator = toy_estimator()
  truth, known = seen(estimator, VIEWS)
  mean, factor = known.mixture.mean[:, 0], known.mixture.cholesky[:, 0]
  centre = estimator.to_momentum(known, mean)
  draw = jax.jit(lib.make_draws(estimator, quadratic, power=0.5, num_samples=20_000))
  draws = draw(jax.random.key(0), known, truth, centre)
  momentum = lib.resample(draws, 0.25, num=20_000, seed=1)  # 800 a squared radian
  x = jax.vmap(lambda p: estimator_lib.to_coordinates(known.observed, p))(jnp.asarray(momentum))
  precision = 0.5 * np.linalg.inv(factor @ factor.swapaxes(1, 2)) + 800.0 * np.diag([1.0, 1.0, 0.0])
  delta = np.asarray(x) - np.asarray(mean)
  covariance = np.einsum("sni,snj->nij", delta, delta) / len(delta)
  np.testing.assert_allclose(covariance[:, :2, :2], np.linalg.inv(precision)[:, :2, :2], rtol=0.1, atol=4e-5)
  assert (lib.effective_samples(draws, 0.25) > 1000).all()


def gaussian_draws(num_events, *, num_samples=400, seed=0):
  """One coordinate: q is flat where it matters, the distance is squared, and truths scatter with a width of
  0.3."""
  random = np.random.default_rng(seed)
  truth = 0.3 * random.normal(size=num_events)
  x = random.normal(size=(num_samples, num_events)) * 1.5
  flat = np.zeros_like(x)
  return lib.Draws(np.stack([x] * 3, -1), x**2, flat, -0.5 * (x / 1.5)**2, truth**2, flat[0])


def test_the_temperature_is_that_of_the_scatter():
  """exp(-x^2 / T) has a variance of T / 2: T = 2 * 0.3^2."""
  draws = gaussian_draws(2000)
  temperature = lib.fit_temperature(draws)
  assert temperature == pytest.approx(0.18, rel=0.15)
  assert np.mean(lib.credible_levels(draws, temperature) <= 0.95) == pytest.approx(0.95, abs=0.02)


def test_no_temperature_calibrates_truths_far_away():
  draws = gaussian_draws(200)
  with pytest.raises(ValueError, match="No temperature from 0.003 to 30 px covers 68 % of 200 events"):
    lib.fit_temperature(draws._replace(true_distance_px=draws.true_distance_px + 1e4))


def test_what_has_no_distance_counts_for_nothing():
  """A draw without one has no weight; an event without one of its truth, or of any draw, has no level."""
  draws = gaussian_draws(4)
  distance, truth = draws.distance_px.copy(), draws.true_distance_px.copy()
  distance[:5, 0], distance[:, 1], truth[2] = np.nan, np.nan, np.nan
  draws = draws._replace(distance_px=distance, true_distance_px=truth)
  weight = lib.weights(draws, 0.2)
  assert (weight[:5, 0] == 0.0).all() and weight[:, 0].sum() == pytest.approx(1.0)
  np.testing.assert_array_equal(np.isnan(lib.credible_levels(draws, 0.2)), [False, True, True, False])
  np.testing.assert_array_equal(
      np.isnan(lib.resample(draws, 0.2, num=30, seed=0)).all((0, 2)), [False, True, False, False])


def test_mistakes():
  estimator = toy_estimator()
  for power in (0.0, 1.5):
    with pytest.raises(ValueError, match=f"power must lie above 0 and at most at 1; got {power}"):
      lib.make_draws(estimator, quadratic, power=power, num_samples=20)
  with pytest.raises(ValueError, match="num_samples must be at least 20; got 3"):
    lib.make_draws(estimator, quadratic, power=0.5, num_samples=3)
  with pytest.raises(ValueError, match="temperature_px must be above 0; got 0"):
    lib.weights(gaussian_draws(3), 0.0)


def test_one_view_draws_both_signs():
  estimator = toy_estimator(num_views=1)
  truth, known = seen(estimator, ("xy",))
  flat = lambda p: jnp.zeros(len(p))
  draws = jax.jit(lib.make_draws(estimator, flat, power=1.0, num_samples=400))(
      jax.random.key(0), known, truth)
  np.testing.assert_allclose(lib.weights(draws, 1.0), 1 / 400, rtol=1e-3)
  along = np.einsum("sni,ni->sn", np.asarray(draws.momentum_mev), np.asarray(known.observed.basis[:, 2]))
  assert (np.abs((along > 0).mean(0) - 0.5) < 0.1).all()
