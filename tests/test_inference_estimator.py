"""The momentum estimator: features and coordinates turn with the event, densities integrate to one, training
improves it."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.geometry.rasterize import VIEWS
from lartpc_jax.inference import estimator as lib, view_features
from tests import toy_generator as toy

PAIRS = [("xy", "xz"), ("xz", "xy"), ("xy", "yz"), ("xz", "yz")]
BENT = toy.make_generate(scatter_rad=0.1)
KINETIC = (50.0, 100.0)
OBSERVE = jax.jit(lib.observe, static_argnums=1)  # op by op it compiles for longer


def bent_images(momentum_mev, view, seed=0):
  """Tracks bent within the picture, so that the true direction is not that of the centroid."""
  axes = np.array(VIEWS[view])
  noise = np.random.default_rng(seed).normal(size=(len(momentum_mev), *toy.LATENT_SHAPE)).astype(np.float32)
  return np.asarray(BENT(noise, {"momentum_mev": jnp.asarray(momentum_mev[:, axes])}))


def test_hats_interpolate_linearly():
  x = jnp.asarray(np.random.default_rng(0).uniform(-24.0, 96.0, 50), jnp.float32)
  weights = np.asarray(view_features._hats(x, view_features.ALONG_MM))
  np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-5)
  np.testing.assert_allclose(weights @ view_features.ALONG_MM, x, atol=1e-3)
  assert ((weights > 0).sum(1) <= 2).all()
  outside = np.asarray(view_features._hats(jnp.array([-100.0, 200.0]), view_features.ALONG_MM))
  assert outside[0, 0] == 1.0 and outside[1, -1] == 1.0 and outside.sum() == 2.0


def test_a_view_is_seen_the_same_from_every_side():
  """A picture turned by 90 degrees has the same grid, and an azimuth 90 degrees on."""
  image = bent_images(toy.random_momenta(4, seed=1), "xy")
  turned = np.rot90(image, axes=(1, 2)).copy()  # (x, y) -> (-y, x)
  a, b = (view_features.summarize_view(jnp.asarray(x)) for x in (image, turned))
  np.testing.assert_allclose(a.grid_mev, b.grid_mev, atol=2e-3)
  np.testing.assert_allclose(np.stack([-a.sin, a.cos]), np.stack([b.cos, b.sin]), atol=1e-4)
  np.testing.assert_allclose(a.charge_mev, image.sum((1, 2)), rtol=1e-5)
  np.testing.assert_allclose(a.grid_mev.sum((1, 2)), image.sum((1, 2)), rtol=1e-4)


SOME_SLOW = [PAIRS[0], *(pytest.param(pair, marks=pytest.mark.slow) for pair in PAIRS[1:])]


@pytest.mark.parametrize("views", [("xy",), ("yz",), *SOME_SLOW], ids=",".join)
def test_coordinates_round_trip(views):
  momentum = toy.random_momenta(32, seed=2)
  observed = OBSERVE(jnp.asarray(toy.straight_images(momentum, views)), views)
  basis = np.asarray(observed.basis)
  np.testing.assert_allclose(basis @ basis.swapaxes(1, 2), np.broadcast_to(np.eye(3), basis.shape), atol=1e-5)
  coordinates = lib.to_coordinates(observed, jnp.asarray(momentum))
  np.testing.assert_allclose(lib.to_momentum(observed, coordinates, KINETIC), momentum, atol=0.1)
  # the pole is the direction of the centroid, which for straight lines is that of the momentum
  if len(views) == 2:
    assert np.abs(np.asarray(coordinates)[:, :2]).max() < 0.03
  else:
    hidden = VIEWS[views[0]][2]
    mirrored = momentum * np.where(np.arange(3) == hidden, -1.0, 1.0).astype(np.float32)
    np.testing.assert_allclose(lib.to_momentum(observed, lib.mirror(coordinates), KINETIC), mirrored,
                               atol=0.3)


@pytest.mark.parametrize("views", SOME_SLOW, ids=",".join)
def test_mirrored_events_have_the_same_features(views):
  momentum = toy.random_momenta(6, seed=3)
  images = np.stack([bent_images(momentum, view, seed) for seed, view in enumerate(views)], axis=1)
  axes = [VIEWS[view][:2] for view in views]
  first = OBSERVE(jnp.asarray(images), views)
  for axis in range(3):
    flipped = np.stack([np.flip(images[:, v], [1 + pair.index(axis)]) if axis in pair else images[:, v]
                        for v, pair in enumerate(axes)], axis=1)
    other = OBSERVE(jnp.asarray(flipped), views)
    np.testing.assert_allclose(first.features, other.features, atol=0.02)
    sign = np.where(np.arange(3) == axis, -1.0, 1.0)
    np.testing.assert_allclose(np.asarray(first.basis) * sign, other.basis, atol=1e-4)


def test_views_are_named_when_they_do_not_fit():
  images = jnp.ones((1, 2, 64, 64))
  with pytest.raises(ValueError, match="two different views"):
    lib.observe(images, ("xy", "xy"))
  with pytest.raises(ValueError, match="two different views"):
    lib.observe(jnp.ones((1, 3, 64, 64)), ("xy", "xz", "yz"))


def _mixture(key, views):
  images = jnp.asarray(toy.straight_images(toy.random_momenta(1, seed=4), views))
  observed = OBSERVE(images, views)
  raw = 0.5 * jax.random.normal(key, (1, 3, 10))
  return observed, raw, lib.mixture_of(raw, observed)


@pytest.mark.parametrize("even", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_density_is_that_of_the_samples(even):
  """Mean of exp(log_density) over a uniform box gives 1, and samples have the moments that the density
  says."""
  views = ("xy",) if even else ("xy", "xz")
  _, _, mixture = _mixture(jax.random.key(3), views)
  _, mean, cholesky = (np.asarray(x[0], np.float64) for x in mixture)
  covariance = cholesky @ cholesky.swapaxes(1, 2)
  centre, width = mean.mean(0), 6.0 * np.sqrt(np.diagonal(covariance, axis1=1, axis2=2).max(0)) + np.ptp(
      mean, axis=0)
  points = np.random.default_rng(0).uniform(-1.0, 1.0, (100_000, 3)) * width + centre
  values = np.exp(np.asarray(jax.vmap(lambda x: lib.log_density(mixture, x[None], even=False)[0])(
      jnp.asarray(points, jnp.float32))))
  integral, error = values.mean() * np.prod(2 * width), values.std() * np.prod(2 * width) / np.sqrt(
      len(values))
  assert abs(integral - 1.0) < 4 * error + 0.01
  if even:
    x = jnp.asarray(points[:50], jnp.float32)
    at = lambda p: jax.vmap(lambda q: lib.log_density(mixture, q[None], even=True)[0])(p)
    np.testing.assert_allclose(at(x), at(lib.mirror(x)), atol=2e-2)


@pytest.mark.parametrize("views", [("xy",), ("xy", "xz")], ids=",".join)
def test_estimate_and_samples(views):
  """Samples scatter about the components, one view gives both signs of the hidden component, two views
  one."""
  _, raw, _ = _mixture(jax.random.key(5), views)
  raw = raw.at[..., 4:7].set(-3.0).at[..., 7:].set(0.0)
  estimator = lib.make_estimator(
      lambda params, features: jnp.broadcast_to(raw, (len(features), *raw.shape[1:])), None,
      num_views=len(views), kinetic_range_mev=KINETIC)
  momentum = toy.random_momenta(3, seed=6)
  images = jnp.asarray(toy.straight_images(momentum, views))
  best = np.asarray(jax.jit(estimator.estimate, static_argnums=1)(images, views))
  assert best.shape == (3, 3) and np.isfinite(best).all()
  samples = np.asarray(
      jax.jit(estimator.sample, static_argnums=(2, 3))(jax.random.key(0), images, views, 400))
  assert samples.shape == (400, 3, 3)
  positive = (samples[:, :, 2] > 0).mean(0)
  if len(views) == 1:
    assert (np.abs(positive - 0.5) < 4 * 0.5 / np.sqrt(400)).all()
  else:
    angle = np.degrees(np.arccos(np.clip(np.sum(samples * momentum, -1) / np.linalg.norm(samples, axis=-1)
                                         / np.linalg.norm(momentum, axis=-1), -1, 1)))
    assert np.median(angle) < 10.0
