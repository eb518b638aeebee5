"""Faults of the detector have the size that they say."""
import numpy as np

from lartpc_jax.data import detector_faults as faults, pictures
from lartpc_jax.data.open import SAMPLE, open_events
from lartpc_jax.geometry.rasterize import ImageSpec

SIZES = faults.Faults()


def images(num=40):
  rng = np.random.default_rng(0)
  out = np.zeros((num, 2, 64, 64), np.float32)
  out[:, :, 20:40, 20:40] = rng.uniform(1.0, 5.0, (num, 2, 20, 20))
  return out


def test_noise_is_that_of_the_brightest_pixel_and_suppressed_elsewhere():
  clean = images()
  noisy = faults.noisy(clean, np.random.default_rng(1), SIZES)
  lit = clean > 0
  sigma = 0.02 * clean.max((2, 3), keepdims=True)
  pull = ((noisy - clean) / sigma)[lit]
  np.testing.assert_allclose(pull.std(), 1.0, atol=4 / np.sqrt(2 * pull.size))
  np.testing.assert_allclose(pull.mean(), 0.0, atol=4 / np.sqrt(pull.size))
  share = np.mean(noisy[~lit] > 0)
  # 3.2e-5 beyond 4 sigma
  assert share < 1e-4 and noisy.min() == 0.0 and np.all((noisy == 0) | (noisy >= 4.0 * sigma))


def test_charge_and_dead_wires():
  clean = images()
  np.testing.assert_allclose(faults.miscalibrated(clean, np.random.default_rng(1), SIZES), 1.05 * clean,
                             rtol=1e-6)
  dead = faults.with_dead_wires(clean + 0.01, np.random.default_rng(2), SIZES)
  silent = np.all(dead == 0.0, axis=2)
  assert np.all(silent.sum(-1) == 6)  # a tenth of 64 wires, all along the drift axis
  np.testing.assert_array_equal(dead, np.where(silent[:, :, None], 0.0, clean + np.float32(0.01)))
  assert len(np.unique(silent.reshape(-1, 64), axis=0)) > 70  # every view and event has its own
  one = np.zeros((50, 1, 64, 64), np.float32)
  one[..., 30] = 1.0  # a track along the drift lies on one wire, which stays
  assert np.all(faults.with_dead_wires(one, np.random.default_rng(3), SIZES).sum((2, 3)) == 64.0)


def test_shifts_move_the_event():
  """By whole pixels the image moves as it is; in each view by the components that it sees."""
  events, spec = open_events(SAMPLE), ImageSpec()
  chosen = np.arange(3)
  still = pictures.images_of(events, chosen, views=("xy", "xz"), spec=spec)
  moved = faults.shifted_images(events, chosen, np.array([[3.0, -6.0, 0.0]] * 3), views=("xy", "xz"),
                                spec=spec)
  np.testing.assert_allclose(moved[:, 0], np.roll(still[:, 0], (1, -2), axis=(1, 2)), atol=1e-3)
  np.testing.assert_allclose(moved[:, 1], np.roll(still[:, 1], (1, 0), axis=(1, 2)), atol=1e-3)
  shifts = faults.random_shifts(500, 3.0, np.random.default_rng(0))
  np.testing.assert_allclose(np.linalg.norm(shifts, axis=1), 3.0)
  assert np.abs(shifts.mean(0)).max() < 4 * 3.0 / np.sqrt(3 * 500)
