"""Laplace and NUTS against densities whose moments are known, and against the amortised draws themselves."""
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.inference import estimator as estimator_lib, posterior as lib
from tests import toy_generator as toy

RAW = dict(log_weight=[0.0, -1.5], mean=[[0.2, -0.1, 0.3], [-0.4, 0.3, 0.0]])


def toy_estimator(num_components=1, num_views=2):
  """An estimator that answers Gaussians of 0.04 rad (0.1 with one view), with a correlation, whatever it
  sees."""
  raw = np.zeros((1, num_components, 10), np.float32)
  raw[0, :, 0] = RAW["log_weight"][:num_components]
  raw[0, :, 1:4] = RAW["mean"][:num_components]
  raw[0, :, 4:7] = [0.0, -0.3, -1.0]
  raw[0, :, 7] = 0.5
  raw = jnp.asarray(raw)
  return estimator_lib.make_estimator(
      lambda params, features: jnp.broadcast_to(raw, (len(features), *raw.shape[1:])), None,
      num_views=num_views, kinetic_range_mev=toy.KINETIC_RANGE_MEV)


def seen(estimator, views, seed=3, num=3):
  momentum = toy.random_momenta(num, seed=seed)
  return momentum, jax.jit(lambda x: estimator.posterior(x, views))(toy.straight_images(momentum, views))


def test_laplace_of_a_gaussian_is_the_gaussian():
  estimator = toy_estimator()
  _, known = seen(estimator, ("xy", "xz"))
  found = jax.jit(lambda k: lib.laplace(lib.make_log_density(estimator), k))(known)
  np.testing.assert_allclose(found.mixture.mean, known.mixture.mean, atol=1e-4)
  np.testing.assert_allclose(found.mixture.cholesky, known.mixture.cholesky, rtol=5e-3, atol=1e-5)


def quadratic(momentum_mev, centre_mev):
  """A distance with its minimum at a known momentum: 100 px a squared radian of direction."""
  unit = lambda p: p / jnp.linalg.norm(p, axis=-1, keepdims=True)
  return 100.0 * jnp.sum((unit(momentum_mev) - unit(centre_mev))**2, axis=-1)


@pytest.mark.slow
def test_a_distance_narrows_the_density_and_draws_it_to_its_minimum():
  """Product of two Gaussians in the angles: precisions add, and the mean is their weighted one."""
  estimator = toy_estimator()
  _, known = seen(estimator, ("xy", "xz"))
  mean, factor = lib.heaviest(known.mixture)
  wanted = mean + jnp.asarray([0.03, 0.02, 0.0])
  centre = estimator.to_momentum(known, wanted)
  density = lib.make_log_density(estimator, quadratic, temperature_px=0.25)  # 800 a squared radian: 0.035 rad
  found = jax.jit(lambda k, c: lib.laplace(density, k, c))(known, centre)
  precision = np.linalg.inv(factor @ factor.swapaxes(1, 2))
  both = precision + 800.0 * np.diag([1.0, 1.0, 0.0])
  expected = np.linalg.solve(both, (800.0 * np.array([0.03, 0.02, 0.0]) * np.ones((3, 1)))[..., None])[..., 0]
  np.testing.assert_allclose(found.mixture.mean[:, 0] - mean, expected, atol=1e-3)
  covariance = found.mixture.cholesky[:, 0] @ found.mixture.cholesky[:, 0].swapaxes(1, 2)
  np.testing.assert_allclose(covariance[:, :2, :2], np.linalg.inv(both)[:, :2, :2], rtol=0.05, atol=2e-5)


def test_no_maximum_is_nan():
  estimator = toy_estimator()
  _, known = seen(estimator, ("xy", "xz"))
  saddle = lambda x, known: 0.5 * (x**2 @ jnp.array([1.0, -1.0, -1.0]))
  assert np.isnan(lib.laplace(saddle, known).mixture.cholesky).any(axis=(1, 2, 3)).all()


@pytest.mark.slow
@pytest.mark.parametrize("views", [("xy",), ("xy", "xz")], ids=",".join)
def test_nuts_draws_what_the_density_draws(views):
  """Means and covariances of NUTS beside those of direct draws from the same mixture, within the errors of
  both."""
  estimator = toy_estimator(num_components=2, num_views=len(views))
  _, known = seen(estimator, views)
  with jax.debug_key_reuse(False):  # a cond of blackjax under vmap
    drawn = jax.jit(
        lambda key, k: lib.nuts(key, estimator, lib.make_log_density(estimator), k, num_samples=1500))(
            jax.random.key(0), known)
  direct = np.asarray(estimator.draw(jax.random.key(1), known, 1500))
  samples = np.asarray(drawn.momentum_mev)
  assert samples.shape == (1500, 3, 3) and np.asarray(drawn.divergent).max() < 0.05
  sigma = direct.std(0)
  # some 200 independent draws
  np.testing.assert_allclose((samples.mean(0) - direct.mean(0)) / sigma, 0.0, atol=0.25)
  np.testing.assert_allclose(samples.std(0) / sigma, 1.0, atol=0.2)
  if len(views) == 1:
    assert (np.abs((samples[..., 2] > 0).mean(0) - 0.5) < 0.06).all()


def test_bad_temperatures_and_a_missing_package_are_named(monkeypatch):
  estimator = toy_estimator()
  with pytest.raises(ValueError, match="temperature_px must be above 0; got 0.0"):
    lib.make_log_density(estimator, quadratic, temperature_px=0.0)
  with pytest.raises(ValueError, match="temperature_px = 2.0 needs a distance"):
    lib.make_log_density(estimator, temperature_px=2.0)
  monkeypatch.setitem(sys.modules, "blackjax", None)
  with pytest.raises(ValueError, match=r"needs blackjax, of the extra \[sampling\]: pip install"):
    lib.nuts(jax.random.key(0), estimator, lib.make_log_density(estimator), seen(estimator, ("xy", "xz"))[1])
