"""Comparison of made with real images where some hold no charge."""
import numpy as np

from lartpc_jax.train.held_out import compare_charge


def test_events_without_charge_void_nothing():
  """Distances are the images' numbers here: those of pairs where both hold charge remain."""
  real = np.ones((4, 2, 2), np.float32)
  real[1] = 0.0
  made = 2.0 * np.ones((4, 2, 2), np.float32)
  made[2] = 0.0
  ratio, distance = compare_charge(
      made, real, lambda a, b: np.where((a.sum((1, 2)) > 0) & (b.sum((1, 2)) > 0), np.arange(4.0), np.nan))
  np.testing.assert_array_equal(ratio, [2.0, 0.0, 2.0])
  np.testing.assert_array_equal(distance, [0.0, 3.0])
  ratio, distance = compare_charge(made, 0.0 * real, lambda a, b: np.full(4, np.nan))
  assert not len(ratio) and not len(distance)
