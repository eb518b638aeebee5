"""Probabilities of types against Bayes' rule for normal features, and files that say what is wrong."""
import json

import numpy as np
import pytest
from scipy import special

from lartpc_jax.inference import type_probability as lib
from lartpc_jax.metrics.calibration import calibration

TYPES = ("proton", "mu-", "e-")


def sample(num, seed, spread=1.0):
  """Features [n 9] of types that differ in their means alone: log p(type | x) is linear in x."""
  draw = np.random.default_rng(seed)
  label = draw.integers(3, size=num)
  means = np.random.default_rng(1).normal(size=(3, 9)) * 0.8
  x = means[label] + spread * draw.normal(size=(num, 9))
  return x, label, special.softmax(x @ means.T / spread**2 - 0.5 * (means**2).sum(1) / spread**2, axis=1)


def test_it_is_bayes_rule_where_that_is_linear():
  x, label, _ = sample(20_000, 2)
  known = lib.fit_type_map(x, label, TYPES, identity={})
  x, label, exact = sample(4_000, 3)
  found = lib.type_probability(known, x)
  np.testing.assert_allclose(found.sum(1), 1.0)
  assert np.abs(found - exact).mean() < 0.01
  assert calibration(found.max(1), found.argmax(1) == label).expected_error < 0.03
  assert 0.9 < known.temperature < 1.1


def test_features_are_logarithms_and_what_is_not_finite_is_far():
  near = np.array([[[3.0, 1.0, 2.0, 4.0, 100.0], [np.nan, 1.0, 1.0, 1.0, 1.0]]])
  features = lib.features_of(np.array([[2.0, np.nan]]), np.array([[0.1, np.inf]]), near)
  np.testing.assert_allclose(features[0], np.log([2.02, 1000.02, 0.105, 1000.005, 2.52, 1.02]))


def test_a_map_is_written_and_read(tmp_path):
  x, label, _ = sample(200, 4)
  known = lib.fit_type_map(x, label, TYPES, identity={"views": "xy"})
  again = lib.load_type_map(lib.save_type_map(tmp_path / "map.json", known))
  assert again.types == TYPES and again.identity == {"views": "xy"} and again.num_events == 200
  np.testing.assert_allclose(lib.type_probability(again, x), lib.type_probability(known, x))


@pytest.mark.parametrize("change", [
    lambda values: values.pop("weight"), lambda values: values.update(format="other"),
    lambda values: values.update(features=["emd"]), lambda values: values.update(mean=[0.0])])
def test_a_bad_file_is_named(tmp_path, change):
  x, label, _ = sample(100, 5)
  path = lib.save_type_map(tmp_path / "map.json", lib.fit_type_map(x, label, TYPES, identity={}))
  values = json.loads(path.read_text())
  change(values)
  path.write_text(json.dumps(values))
  with pytest.raises(ValueError, match="map.json"):
    lib.load_type_map(path)
  with pytest.raises(FileNotFoundError):
    lib.load_type_map(tmp_path / "nothing.json")


def test_too_few_events_of_a_type_are_named():
  x, label, _ = sample(60, 6)
  with pytest.raises(ValueError, match="at least 8 events of each type; of e- there are 0"):
    lib.fit_type_map(x[label < 2], label[label < 2], TYPES, identity={})
