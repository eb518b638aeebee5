"""Pixel statistics by hand, and the chi-squared against its distribution under the null hypothesis."""
import numpy as np
import pytest
from scipy import stats

from lartpc_jax.metrics import pixels as lib


def test_statistics_by_hand():
  images = np.zeros((2, 3, 3), np.float32)
  images[0, 0, :2] = [0.05, 0.5]
  images[1, 1] = [0.1, 2.0, 3.0]
  got = lib.pixel_statistics(images, threshold_mev=0.1)
  np.testing.assert_array_equal(got.active, [1, 3])
  np.testing.assert_allclose(got.charge, [0.5, 5.1], rtol=1e-6)
  np.testing.assert_allclose(np.sort(got.spectrum), [0.1, 0.5, 2.0, 3.0], rtol=1e-6)


def test_chi2_by_hand():
  """Equal totals: sum (a - b)^2 / (a + b)."""
  got = lib.two_sample_chi2(np.repeat([0.5, 1.5, 2.5], [10, 20, 30]), np.repeat([0.5, 1.5, 2.5], [20, 10, 30]), np.arange(5))
  np.testing.assert_allclose(got.chi2, 100 / 30 + 100 / 30, rtol=1e-12)
  assert got.ndf == 2 and got.reduced == got.chi2 / 2
  np.testing.assert_allclose(got.p_value, np.exp(-got.chi2 / 2), rtol=1e-9)  # two degrees of freedom


def test_chi2_of_one_population_follows_its_distribution_for_unequal_samples():
  rng = np.random.default_rng(0)
  bins = np.linspace(-3, 3, 13)
  p_values = [lib.two_sample_chi2(rng.normal(size=3000), rng.normal(size=1000), bins).p_value for _ in range(300)]
  assert stats.kstest(p_values, "uniform").pvalue > 1e-3
  assert lib.two_sample_chi2(rng.normal(size=3000), rng.normal(0.3, 1.0, 1000), bins).p_value < 1e-6


def sparse_images(rng, num, scale):
  return np.where(rng.random((num, 8, 8)) < 0.2, rng.exponential(scale, (num, 8, 8)), 0.0).astype(np.float32)


def test_comparison_accepts_its_own_population_and_rejects_another():
  rng = np.random.default_rng(1)
  real, same, other = sparse_images(rng, 1500, 1.0), sparse_images(rng, 1000, 1.0), sparse_images(rng, 1000, 1.3)
  accepted, rejected = lib.compare(real, same), lib.compare(real, other)
  assert set(accepted) == {"active", "charge", "spectrum"}
  assert all(chi2.p_value > 1e-4 for chi2 in accepted.values()), accepted
  assert rejected["charge"].p_value < 1e-6 and rejected["spectrum"].p_value < 1e-3, rejected


@pytest.mark.parametrize("a,b,bins,match", [
    ([1.0], [1.0], [0.0, 1.0], "rising bin edges, three at least"), ([1.0], [1.0], [0.0, 2.0, 1.0], "rising bin edges"),
    ([], [1.0], [0.0, 1.0, 2.0], "entries in both samples; got 0 and 1")])
def test_bad_arguments_are_named(a, b, bins, match):
  with pytest.raises(ValueError, match=match):
    lib.two_sample_chi2(np.array(a), np.array(b), np.array(bins))
