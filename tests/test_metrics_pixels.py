"""Pixel statistics by hand, and samples of images of the same and of another population."""
import numpy as np

from lartpc_jax.metrics import pixels as lib


def test_statistics_by_hand():
  images = np.zeros((2, 3, 3), np.float32)
  images[0, 0, :2] = [0.05, 0.5]
  images[1, 1] = [0.1, 2.0, 3.0]
  got = lib.pixel_statistics(images, threshold_mev=0.1)
  np.testing.assert_array_equal(got.active, [1, 3])
  np.testing.assert_allclose(got.charge, [0.5, 5.1], rtol=1e-6)
  np.testing.assert_allclose(np.sort(got.spectrum), [0.1, 0.5, 2.0, 3.0], rtol=1e-6)


def sparse_images(rng, num, scale):
  return np.where(rng.random((num, 8, 8)) < 0.2, rng.exponential(scale, (num, 8, 8)), 0.0).astype(np.float32)


def test_comparison_accepts_its_own_population_and_rejects_another():
  rng = np.random.default_rng(1)
  real, same, other = sparse_images(rng, 1500, 1.0), sparse_images(rng, 1000,
                                                                   1.0), sparse_images(rng, 1000, 1.3)
  accepted, rejected = lib.compare(real, same), lib.compare(real, other)
  assert set(accepted) == {"active", "charge", "spectrum"}
  assert all(chi2.p_value > 1e-4 for chi2 in accepted.values()), accepted
  assert rejected["charge"].p_value < 1e-6 and rejected["spectrum"].p_value < 1e-3, rejected


def test_a_generator_that_draws_nothing_has_no_chi2():
  """Empty images: NaN, not an error in the middle of a training."""
  real = sparse_images(np.random.default_rng(2), 200, 1.0)
  result = lib.compare(real, np.zeros_like(real))
  assert result["spectrum"].ndf == 0 and np.isnan(result["spectrum"].reduced) and np.isnan(
      result["spectrum"].p_value)
