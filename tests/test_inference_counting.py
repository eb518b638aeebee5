"""Counting of tracks: p-values by hand, the level kept under the null, and matching."""
import numpy as np
import pytest

from lartpc_jax.inference import counting


def test_p_values_by_hand():
  p = counting.p_values(np.array([0.5, 2.0, 3.5, np.nan]), np.array([1.0, 2.0, 3.0]))
  np.testing.assert_allclose(p, [1.0, 0.75, 0.25, 1.0])


def test_gains_and_count_by_hand():
  objective = np.array([[5.0, 4.9, 4.8], [5.0, 2.0, 1.9], [5.0, 2.0, 0.5], [5.0, 4.9, 0.5]])
  null = np.linspace(0.0, 1.0, 99)
  np.testing.assert_allclose(counting.gains(objective)[1], [3.0, 0.1])
  found = counting.count_tracks(objective, [null, null], level=0.05)
  # the last event gains by its third track alone, but nothing asks for the second
  np.testing.assert_array_equal(found.number, [1, 2, 3, 1])
  np.testing.assert_array_equal(counting.count_tracks(objective, [null]).number, [1, 2, 2, 1])


def test_false_splits_keep_to_the_level():
  """Null and data of one distribution: the share of splits is the level, within 3 sigma."""
  rng = np.random.default_rng(0)
  objective = np.stack([np.zeros(4000), -rng.normal(size=4000)], axis=1)
  number = counting.count_tracks(objective, [rng.normal(size=4000)], level=0.05).number
  assert abs(np.mean(number == 2) - 0.05) < 3 * np.sqrt(2 * 0.05 * 0.95 / 4000)


def test_matching_does_not_mind_the_order():
  rng = np.random.default_rng(1)
  true = rng.normal(size=(3, 3)) * 300
  found = true[[2, 0, 1]] + 1.0
  np.testing.assert_allclose(counting.match_tracks(found, true), np.sqrt(3.0))
  np.testing.assert_allclose(counting.match_tracks(np.concatenate([found, found[:1] + 500]), true),
                             np.sqrt(3.0))


@pytest.mark.parametrize("call, message", [
    (lambda: counting.p_values(np.zeros(1), np.zeros(0)), "null distribution must hold numbers; got 0"),
    (lambda: counting.count_tracks(np.zeros((2, 2)), [np.zeros(3)], level=0.0),
     "level must lie between 0 and 1; got 0.0"),
    (lambda: counting.count_tracks(np.zeros((2, 2)), []), "need 1 to 1 null distributions; got 0"),
])
def test_bad_input_is_named(call, message):
  with pytest.raises(ValueError, match=message):
    call()
