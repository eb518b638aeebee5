"""Energy, direction and type of images that are made to have them."""
import numpy as np
import pytest

from lartpc_jax.metrics import asked

SIDE = 32


def track(angle_degrees, charge, length=10):
  """A straight track from the middle."""
  image = np.zeros((SIDE, SIDE))
  along = np.linspace(0.0, length, 200)
  angle = np.radians(angle_degrees)
  rows, columns = (np.floor(SIDE / 2 + along * f(angle)).astype(int) for f in (np.cos, np.sin))
  np.add.at(image, (rows, columns), charge / 200)
  return image


ANGLES, CHARGES = np.array([0.0, 45.0, 90.0, 200.0]), np.array([50.0, 60.0, 80.0, 100.0])
IMAGES = np.stack([track(a, c) for a, c in zip(ANGLES, CHARGES, strict=True)])
MOMENTA = np.stack([np.cos(np.radians(ANGLES)), np.sin(np.radians(ANGLES)), 0 * ANGLES], axis=1)


def test_features_of_known_tracks():
  found = dict(zip(asked.FEATURES, asked.summary_features(IMAGES).T, strict=True))
  np.testing.assert_allclose(found["charge"], CHARGES)
  np.testing.assert_allclose(found["lit"], (IMAGES >= 0.1).sum((1, 2)))
  np.testing.assert_allclose(found["offset"], 5.0, atol=0.8)             # the centroid of 10 pixels
  np.testing.assert_allclose(found["long"][0], 10.0 / np.sqrt(12.0), rtol=0.1)   # a uniform law
  np.testing.assert_allclose(found["wide"][0], 0.0, atol=1e-6)
  np.testing.assert_allclose(found["within_16"], 1.0)
  np.testing.assert_allclose(found["brightest_1"], np.sqrt(IMAGES.max((1, 2))))
  empty = asked.summary_features(np.zeros((1, SIDE, SIDE)))
  assert np.isfinite(empty).all() and not empty.any()


def test_directions_and_energies_close():
  assert np.nanmax(asked.direction_errors_degrees(IMAGES, MOMENTA)) < 6.0     # whole pixels
  turned = asked.direction_errors_degrees(IMAGES, MOMENTA[:, [1, 0, 2]] * [-1, 1, 1])
  np.testing.assert_allclose(turned, 90.0, atol=6.0)
  assert np.isnan(asked.direction_errors_degrees(0 * IMAGES, MOMENTA)).all()
  found = asked.energy_closure(IMAGES, CHARGES, 0.5)
  np.testing.assert_allclose([found.median.value, found.half_width], [2.0, 0.0], atol=1e-9)


def test_distance_of_a_pair_is_that_of_roots():
  np.testing.assert_allclose(asked.pair_distance(IMAGES, 4.0 * IMAGES).value, np.sqrt(CHARGES).mean())
  assert asked.pair_distance(IMAGES, IMAGES).value == 0.0


def test_types_are_told_and_confusion_counts():
  pytest.importorskip("sklearn")
  rng = np.random.default_rng(0)
  types = np.arange(200) % 2
  images = np.stack([track(rng.uniform(0, 360), 60.0, length=6 + 8 * k) for k in types])
  features = asked.summary_features(images)
  named = asked.type_classifier(features[:100], types[:100])(features[100:])
  assert asked.type_purity(types[100:], named).value > 0.95
  table = asked.confusion(np.array([0, 0, 0, 2]), np.array([0, 0, 1, 2]), 3)
  np.testing.assert_allclose(table[[0, 2]], [[2 / 3, 1 / 3, 0], [0, 0, 1]])
  assert np.isnan(table[1]).all()
