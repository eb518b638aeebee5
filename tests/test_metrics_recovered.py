"""Coverage and ratios of draws whose law is known."""
import numpy as np
import pytest

from lartpc_jax.metrics.recovered import CENTRAL, interval, recovered

NUM = 4000


@pytest.mark.parametrize("num_draws", [6, 16, 64])
@pytest.mark.parametrize("scale,covered", [(1.0, CENTRAL), (3.0, None)])
def test_draws_of_the_law_of_the_truth_cover_it_however_few(num_draws, scale, covered):
  rng = np.random.default_rng(0)
  centre = rng.uniform(20.0, 60.0, NUM)
  truth = centre + 3.0 * rng.normal(size=NUM)
  found = recovered(centre[:, None] + 3.0 * scale * rng.normal(size=(NUM, num_draws)), truth)
  if covered is None:
    assert found.coverage.value > CENTRAL + 0.2      # three times too wide
  else:
    np.testing.assert_allclose(found.coverage.value, covered, atol=4 * found.coverage.error)
    np.testing.assert_allclose(found.width_mev, 3.0, rtol=0.06)
  np.testing.assert_allclose(found.charge_ratio.value, 1.0, atol=4 * found.charge_ratio.error)


def test_a_ratio_is_that_of_the_sums():
  truth = np.array([10.0, 30.0])
  found = recovered(np.outer(truth, np.linspace(0.9, 1.3, 9)), truth)
  np.testing.assert_allclose(found.charge_ratio.value, 1.1)
  np.testing.assert_allclose(found.relative_error.value, 0.1)
  np.testing.assert_allclose(found.error_mev, np.sqrt((1.0 + 9.0) / 2))
  assert found.num_events == 2 and found.coverage.value == 1.0


def test_ends_are_weibull_quantiles():
  low, high = interval(np.arange(1.0, 10.0)[None], 0.8)   # the i-th of 9 draws is at i / 10
  np.testing.assert_allclose([low[0], high[0]], [1.0, 9.0])


def test_too_few_draws_and_no_charge_are_named():
  with pytest.raises(ValueError, match=r"needs six draws an event; got shape \(2, 5\)"):
    recovered(np.ones((2, 5)), np.ones(2))
  with pytest.raises(ValueError, match="must be positive; got 0.0 MeV"):
    recovered(np.ones((2, 6)), np.array([1.0, 0.0]))
