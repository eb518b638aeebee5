"""Goodness of fit against transcriptions, POT, closed forms and null distributions."""
import numpy as np
import ot
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from lartpc_jax.metrics import gof
from lartpc_jax.metrics.estimate import (
  Estimate,
  jackknife_error,
  mean_estimate,
  permutation_p_value,
  share_estimate,
  significance,
)
from lartpc_jax.transport.divergence import sinkhorn_divergence


@pytest.fixture(scope="module")
def samples():
  rng = np.random.default_rng(0)
  return rng.normal(size=(60, 5)).astype(np.float32), (rng.normal(size=(50, 5)) + 0.4).astype(np.float32)


def test_distances_are_those_of_scipy(samples):
  x, y = samples
  both = np.concatenate([x, y])
  np.testing.assert_allclose(gof.pooled_distances(x, y), cdist(both, both), atol=2e-3)
  np.testing.assert_allclose(gof.squared_distances(x, y), cdist(x, y, "sqeuclidean"), rtol=1e-4, atol=1e-4)


def loops(k, x, y, biased):
  """MMD^2 as a plain double sum (Gretton et al. 2012, eqs. 3 and 5)."""
  n, m = len(x), len(y)
  within = lambda a: sum(k(p, q) for i, p in enumerate(a) for j, q in enumerate(a) if biased or i != j)
  cross = sum(k(p, q) for p in x for q in y)
  pairs = lambda c: c * c if biased else c * (c - 1)
  return within(x) / pairs(n) + within(y) / pairs(m) - 2 * cross / (n * m)


def test_unbiased_mmd_against_double_loops(samples):
  x, y = samples
  pooled = gof.pooled_distances(x, y)
  scale = gof.median_distance(pooled)
  gauss = lambda p, q: np.mean(
      [np.exp(-np.sum((p - q)**2) / (2 * (m * scale)**2)) for m in gof.MEDIAN_MULTIPLES])
  laplace = lambda p, q: np.exp(-np.linalg.norm(p - q) / scale)
  for kernel, k in (("gauss", gauss), ("laplace", laplace)):
    np.testing.assert_allclose(
        gof.mmd(pooled, len(x), kernel=kernel, num_permutations=0).value, loops(k, x, y, False), rtol=1e-4)


def test_published_mmd_against_its_definition(samples):
  """sum over sigma = 2^10 ... 2^15 of the biased MMD^2 on the 8-bit scale; here 1 level is 0.02 MeV."""
  # MeV, far enough apart to leave the flat top of the kernels
  x, y = (300 * s.astype(float) for s in samples)
  k = lambda p, q: sum(
      np.exp(-np.sum((p / 0.02 - q / 0.02)**2, dtype=float) / (2 * 2.0**(2 * e))) for e in range(10, 16))
  got = gof.published_mmd(x, y, level=0.02, num_permutations=0)
  np.testing.assert_allclose(got.value, loops(k, x, y, True), rtol=1e-9)


def test_energy_distance_in_one_dimension_is_that_of_scipy():
  rng = np.random.default_rng(1)
  x, y = rng.normal(size=(80, 1)), rng.normal(size=(70, 1)) + 1.0
  biased = gof.two_sample_test(-gof.pooled_distances(x, y), len(x), num_permutations=0, biased=True).value
  np.testing.assert_allclose(biased, stats.energy_distance(x[:, 0], y[:, 0])**2, rtol=1e-4)


def test_mmd_is_unbiased_and_its_p_value_uniform_under_the_null():
  values, p_values = [], []
  rng = np.random.default_rng(2)
  for i in range(60):
    x, y = rng.normal(size=(2, 40, 3))
    estimate = gof.mmd(gof.pooled_distances(x, y), 40, num_permutations=60, seed=i)
    values.append(estimate.value)
    p_values.append(estimate.p_value)
  assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
  assert stats.kstest(p_values, "uniform").pvalue > 1e-3
  assert 0.6 < estimate.error / np.std(values) < 1.6  # the stated error is the scatter


def test_error_of_mmd_away_from_the_null_is_its_scatter():
  rng = np.random.default_rng(3)
  estimates = [gof.mmd(gof.pooled_distances(rng.normal(size=(60, 3)), rng.normal(size=(60, 3)) + 0.8), 60,
                       num_permutations=30) for _ in range(40)]
  scatter = np.std([e.value for e in estimates])
  assert 0.6 < np.mean([e.error for e in estimates]) / scatter < 1.6
  assert max(e.p_value for e in estimates) < 0.05


def test_sliced_wasserstein_of_a_translation():
  """A shift v moves every projection by v.w: mean |v.w| over the sphere is |v| E|w_1|; sqrt(d) E|w_1| in 3D
  is sqrt(3)/2."""
  x = np.random.default_rng(4).normal(size=(300, 3))
  estimate = gof.sliced_wasserstein(x, x + np.array([0.0, 2.0, 0.0]), num_projections=2000,
                                    num_permutations=0)
  np.testing.assert_allclose(estimate.value, 2.0 * np.sqrt(3) / 2, rtol=0.03)


def test_sliced_wasserstein_in_one_dimension_is_that_of_scipy():
  rng = np.random.default_rng(5)
  x, y = rng.normal(size=(60, 1)), rng.normal(size=(45, 1)) * 2
  estimate = gof.sliced_wasserstein(x, y, num_projections=3, num_permutations=20)
  np.testing.assert_allclose(estimate.value, stats.wasserstein_distance(x[:, 0], y[:, 0]), rtol=1e-4)
  assert estimate.p_value < 0.1


def test_wasserstein_against_pot_and_its_batches():
  rng = np.random.default_rng(6)
  x, y = rng.normal(size=(60, 4)), rng.normal(size=(60, 4)) + 1
  want = [ot.solve_sample(x[i:i + 30], y[i:i + 30], metric="euclidean").value for i in (0, 30)]
  got = gof.wasserstein(x, y, batch_size=30)
  np.testing.assert_allclose(got.value, np.mean(want), rtol=1e-5)
  np.testing.assert_allclose(got.error, np.std(want, ddof=1) / np.sqrt(2), rtol=1e-4)


def log_sinkhorn(cost, epsilon, iterations=3000):
  """Entropic transport in the log domain, transcribed: dual value of equal weights."""
  n, m = cost.shape
  f, g = np.zeros(n), np.zeros(m)
  softmin = lambda z, axis, size: -epsilon * (np.logaddexp.reduce(z / epsilon, axis=axis) - np.log(size))
  for _ in range(iterations):
    f = softmin(g[None] - cost, 1, m)
    g = softmin(f[:, None] - cost, 0, n)
  return f.mean() + g.mean()


@pytest.mark.parametrize("p,epsilon", [(1, 0.1), (2, 0.5)])
def test_sinkhorn_divergence_against_a_transcription(samples, p, epsilon):
  x, y = samples[0][:40].astype(float), samples[1][:40].astype(float)
  cost = lambda a, b: cdist(a, b) if p == 1 else 0.5 * cdist(a, b)**2
  want = log_sinkhorn(cost(x, y),
                      epsilon) - 0.5 * (log_sinkhorn(cost(x, x), epsilon) + log_sinkhorn(cost(y, y), epsilon))
  divergence = lambda *costs: sinkhorn_divergence(*costs, epsilon=epsilon, threshold=1e-4)
  got, error = gof.sinkhorn(x, y, divergence, p=p, batch_size=40)
  assert error < 3e-4
  np.testing.assert_allclose(got.value, want, rtol=5e-3)


def test_distances_within_the_first_sample_may_be_given(samples):
  x, y = samples
  np.testing.assert_array_equal(gof.pooled_distances(x, y, within_x=gof.distances_within(x)),
                                gof.pooled_distances(x, y))


def test_occupancy_against_a_contingency_table_and_under_the_null():
  """For equal samples the statistic of a pixel is (a - b)^2 / (a + b); images whose pixels all go together
  keep the null."""
  rng = np.random.default_rng(8)
  x, y = rng.uniform(size=(2, 300, 20)) > 0.7
  a, b = x.sum(0), y.sum(0)
  got = gof.occupancy_test(1.0 * x, 1.0 * y, num_permutations=0)
  np.testing.assert_allclose(got.value, np.mean((a - b)**2 / (a + b)), rtol=1e-6)
  p_values = []
  for seed in range(80):
    together = np.repeat(rng.uniform(size=(2, 60, 1)) > 0.5, 9, axis=2)
    p_values.append(gof.occupancy_test(*together, num_permutations=50, seed=seed).p_value)
  assert np.mean(np.array(p_values) <= 0.1) < 0.1 + 4 * np.sqrt(0.09 / 80)
  dead = np.where(np.arange(20) == 3, 0, y)
  assert gof.occupancy_test(x, dead, num_permutations=100).p_value < 0.02
  assert gof.occupancy_test(x[:150], y, num_permutations=100).p_value > 0.02


def test_excess_over_the_floor():
  found = gof.excess(Estimate(5.0, 0.3), Estimate(4.0, 0.4))
  np.testing.assert_allclose([found.value, found.error, found.p_value], [1.0, 0.5, stats.norm.sf(2.0)])


@pytest.mark.parametrize("call,message", [
    (lambda: gof.mmd(np.zeros((4, 4)), 2, kernel="cosine"),
     r"Unknown kernel 'cosine'; choose from \['gauss', 'laplace'\]"),
    (lambda: gof.sinkhorn(np.zeros((4, 2)), np.zeros((4, 2)), lambda *c: (0.0, 0.0), p=3),
     "needs p = 1 or 2; got 3"),
    (lambda: gof.occupancy_test(np.zeros((3, 4)), np.zeros((2, 4))), "needs images with charge"),
    (lambda: sinkhorn_divergence(np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2)), epsilon=0.0),
     "needs epsilon > 0; got 0.0"),
])
def test_bad_arguments_are_named(call, message):
  with pytest.raises(ValueError, match=message):
    call()


def test_estimates():
  assert permutation_p_value(3.0, np.array([1.0, 2.0, 3.0])) == 0.5
  assert np.isnan(permutation_p_value(float("nan"), np.zeros(199)))  # not the smallest of all p-values
  assert permutation_p_value(3.0, np.array([1.0, 2.0, np.nan])) == 0.5
  assert np.isnan(share_estimate(np.zeros(0, bool)).value) and np.isnan(mean_estimate(np.zeros(0)).value)
  rng = np.random.default_rng(7)
  x = rng.normal(size=20)
  left_out = np.array([np.delete(x, i).mean() for i in range(20)])
  np.testing.assert_allclose(jackknife_error(left_out), x.std(ddof=1) / np.sqrt(20))
  assert share_estimate(np.zeros(10, bool)).error > 0
  assert significance(Estimate(3.0, 0.3), Estimate(2.0, 0.4)) == pytest.approx(2.0)
  assert np.isnan(significance(Estimate(3.0), Estimate(2.0)))
