"""Conditions: what is refused, and features against numpy."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.generators import condition as lib

DECLARED = {"momentum_mev": dict(kind="vector", scale=500.0, low=300.0, high=450.0),
            "track_share": dict(kind="scalar", mean=0.5, scale=0.25, low=0.0, high=1.0),
            "charge_mev": dict(kind="scalar", mean=4.0, scale=0.5, low=0.1, log=True),
            "particle": dict(kind="label", classes=["proton", "muon", "electron"])}


def values(**changes):
  return {
      "momentum_mev": np.array([[400.0, 0.0, 0.0], [0.0, -240.0,
                                                    180.0]]), "track_share": np.array([0.0, 0.75]),
      "charge_mev": np.array([50.0, 100.0]), "particle": np.array([0, 2]), **changes
  }


def test_features_are_scaled_values_with_sines_and_cosines_and_one_hot_labels():
  condition = lib.make_condition(DECLARED)
  checked = lib.check(condition, values())
  found = lib.embed(condition, jax.tree.map(jnp.asarray, checked))
  angles = lambda z: np.concatenate([z, *(f([[k * v for v in row for k in (1, 2, 4)] for row in z])
                                         for f in (np.sin, np.cos))], axis=1)
  momentum, share = values()["momentum_mev"] / 500.0, (values()["track_share"][:, None] - 0.5) / 0.25
  charge = (np.log(values()["charge_mev"])[:, None] - 4.0) / 0.5
  norm = np.linalg.norm(momentum, axis=1, keepdims=True)
  wanted = np.concatenate([
      angles(np.concatenate([momentum, norm], axis=1)), momentum / norm,
      angles(share),
      angles(charge),
      np.eye(3)[[0, 2]]
  ], axis=1)
  assert found.shape == (2, lib.num_features(condition))
  np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_the_order_of_the_declaration_counts_not_that_of_the_values():
  condition = lib.make_condition(DECLARED)
  cond = jax.tree.map(jnp.asarray, lib.check(condition, values()))
  shuffled = dict(reversed(list(cond.items()))) | {"unused": jnp.ones(2)}
  np.testing.assert_array_equal(lib.embed(condition, cond), lib.embed(condition, shuffled))


@pytest.mark.parametrize("changes,message", [
    ({"colour": np.ones(2)}, "Unknown condition variable 'colour'; there are .*'track_share'"),
    ({"track_share": np.ones(3)}, r"'track_share' must have shape \(2,\); got \(3,\)"),
    ({"momentum_mev": np.ones((2, 2))}, r"'momentum_mev' must have shape \(2, 3\)"),
    ({"momentum_mev": np.full((2, 3), 300.0)}, "'momentum_mev' has norm 519.6.*; allowed: 300.0 to 450.0"),
    ({"track_share": np.array([0.5, 1.5])}, "'track_share' has value 1.5; allowed: 0.0 to 1.0"),
    ({"charge_mev": np.array([1.0, np.nan])}, "'charge_mev' has value nan"),
    ({"particle": np.array([0.0, 1.0])}, "'particle' is a label, a whole number below 3; got float64"),
    ({"particle": np.array([0, 3])}, "'particle' has value 3")])
def test_bad_values_are_named(changes, message):
  with pytest.raises(ValueError, match=message):
    lib.check(lib.make_condition(DECLARED), values(**changes))


def test_values_from_text():
  condition = lib.make_condition(DECLARED)
  assert lib.parse(condition, "track_share=1, particle=muon") == {"track_share": 1.0, "particle": 1}
  assert lib.parse(condition, "") == {}


@pytest.mark.parametrize("text,message", [
    ("charge_mev", "'charge_mev' is not NAME=VALUE"),
    ("colour=3", "Unknown condition variable 'colour'; there are"),
    ("charge_mev=much", "'charge_mev' must be a number; got 'much'"),
    ("track_share=2", "'track_share' has value 2.0"),
    ("momentum_mev=3", "'momentum_mev' is a vector"),
    ("particle=pion",
     r"Unknown class 'pion' of condition variable 'particle'; choose from \['proton', 'muon'")])
def test_bad_text_is_named(text, message):
  with pytest.raises(ValueError, match=message):
    lib.parse(lib.make_condition(DECLARED), text)


def test_a_missing_variable_is_named():
  short = values()
  del short["particle"]
  with pytest.raises(ValueError, match="Missing condition variable 'particle'"):
    lib.check(lib.make_condition(DECLARED), short)


@pytest.mark.parametrize("declared,message", [
    (dict(kind="tensor"), r"Unknown kind 'tensor' of condition variable 'x'; choose from \['label', "
                          r"'scalar', 'vector'\]"),
    (dict(kind="vector", scale=0.0), "'x': A vector needs scale > 0; got 0.0"),
    (dict(kind="vector", scale=1.0, size=0), "'x': A vector needs size >= 1; got 0"),
    (dict(kind="scalar", mean=0.0, scale=1.0, low=2.0, high=1.0),
     "'x': A scalar needs low <= high; got 2.0 and 1.0"),
    (dict(kind="scalar", mean=0.0, scale=1.0, log=True), "'x': A scalar with log needs low > 0"),
    (dict(kind="scalar", mean=0.0), "'x': .*missing.*scale"),
    (dict(kind="label", classes=["a", "a"]), "'x': A label needs at least two different classes")])
def test_bad_declarations_are_named(declared, message):
  with pytest.raises(ValueError, match=message):
    lib.make_condition({"x": declared})
