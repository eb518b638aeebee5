"""Coverage and ranks of posteriors that are known: a Gaussian's own, one that is too narrow, one that is
shifted."""
import numpy as np
import pytest
from scipy import stats

from lartpc_jax.metrics import coverage

N, S = 2000, 400


def gaussian(scale=1.0, shift=0.0, seed=0):
  """Truth [n] ~ N(m, 1) with m known, samples [s n] of N(m + shift, scale), and both densities."""
  draw = np.random.default_rng(seed)
  mean = draw.normal(size=N) * 5
  truth = mean + draw.normal(size=N)
  samples = mean + shift + scale * draw.normal(size=(S, N))
  density = lambda x: stats.norm.logpdf(x, mean + shift, scale)
  return truth, samples, density(truth), density(samples)


def test_a_right_posterior_covers():
  truth, samples, at_truth, at_samples = gaussian()
  level = coverage.credible_level(at_truth, at_samples)
  assert stats.kstest(level, "uniform").pvalue > 0.01
  for credibility in (0.68, 0.95):
    found = coverage.coverage(level, credibility)
    assert abs(found.value - credibility) < 4 * found.error
    # the region of a Gaussian is |x - m| < z: the same share, found without densities
    inside = np.abs(truth - samples.mean(0)) < stats.norm.ppf(0.5 + credibility / 2)
    assert abs(found.value - inside.mean()) < 0.02
  uniform = coverage.rank_uniformity(samples, truth)
  assert uniform.count.sum() == N and uniform.chi2.p_value > 0.01
  assert abs(coverage.pulls(samples, truth).std() - 1.0) < 4 / np.sqrt(2 * N)


@pytest.mark.parametrize("wrong", [dict(scale=0.8), dict(scale=1.3), dict(shift=0.3)])
def test_a_wrong_posterior_shows(wrong):
  truth, samples, at_truth, at_samples = gaussian(**wrong)
  assert coverage.rank_uniformity(samples, truth).chi2.p_value < 1e-4
  level = coverage.credible_level(at_truth, at_samples)
  found = coverage.coverage(level, 0.68)
  if "scale" in wrong:  # P(|x| < z scale) of a unit Gaussian
    expected = 2 * stats.norm.cdf(stats.norm.ppf(0.84) * wrong["scale"]) - 1
    assert abs(found.value - expected) < 4 * found.error + 0.01
    np.testing.assert_allclose(coverage.pulls(samples, truth).std(), 1 / wrong["scale"], rtol=0.08)


def test_ties_have_any_of_their_ranks():
  """Whole numbers from one law: broken one way, ties alone give p = 0."""
  draw = np.random.default_rng(0)
  samples, truth = draw.integers(0, 6, (99, N)), draw.integers(0, 6, N)
  assert coverage.rank_uniformity(samples, truth).chi2.p_value > 0.01
  assert coverage.rank_uniformity(np.zeros((99, N)), np.zeros(N)).chi2.p_value > 0.01
  # log densities of a uniform law are all equal: half of the samples stand before the truth
  np.testing.assert_array_equal(coverage.credible_level(np.zeros(5), np.zeros((10, 5))), 0.5)


def test_ranks_need_events_and_credibilities_sense():
  with pytest.raises(ValueError, match="99 events are too few for 20 bins; need 100"):
    coverage.rank_uniformity(np.zeros((10, 99)), np.zeros(99))
  with pytest.raises(ValueError, match="credibility must lie between 0 and 1; got 68"):
    coverage.coverage(np.zeros(3), 68.0)
