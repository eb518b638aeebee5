"""Frechet and kernel distances against closed forms and plain transcriptions."""
import numpy as np
import pytest
from scipy import linalg

from lartpc_jax.metrics import frechet


def transcription(x, y):
  """|m1 - m2|^2 + Tr(C1 + C2 - 2 sqrtm(C1 C2)), as everybody writes it."""
  c1, c2 = np.cov(x.T), np.cov(y.T)
  root = linalg.sqrtm(c1 @ c2)
  return np.sum((x.mean(0) - y.mean(0))**2) + np.trace(c1 + c2 - 2 * np.real(root))


def test_known_gaussians():
  """N(0, diag(1, 4)) and N((3, 0), diag(4, 1)): 9 + (1 - 2)^2 + (2 - 1)^2 = 11."""
  got = frechet.gaussian_frechet(np.zeros(2), np.diag([1.0, 4.0]), np.array([3.0, 0.0]), np.diag([4.0, 1.0]))
  assert got == pytest.approx(11.0)


@pytest.mark.parametrize("n,m,d", [(200, 150, 6), (30, 40, 100), (40, 30, 100)])
def test_published_form_is_the_transcription(n, m, d):
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d)) @ np.diag(rng.uniform(0.5, 2, d)) + 0.2
  np.testing.assert_allclose(frechet.frechet_distance(x, y), transcription(x, y), rtol=1e-5)


def test_extrapolation_takes_the_bias_away_and_knows_its_error():
  """W2^2 of N(0, 1) and N(0.3, 1.2^2) in 10 dimensions: 10 (0.09 + 0.04) = 1.3; the plain value at N = 300 is
  far above."""
  rng = np.random.default_rng(1)
  found, plain = [], []
  for _ in range(12):
    x, y = rng.normal(size=(300, 10)), 1.2 * rng.normal(size=(300, 10)) + 0.3
    found.append(frechet.extrapolated_frechet(x, y))
    plain.append(frechet.frechet_distance(x, y))
  values, errors = np.array([e.value for e in found]), np.array([e.error for e in found])
  assert np.mean(plain) - 1.3 > 4 * np.std(plain) / np.sqrt(12)
  assert abs(values.mean() - 1.3) < 4 * values.std() / np.sqrt(12)
  assert 0.5 < errors.mean() / values.std() < 2.0


def test_extrapolation_of_equal_distributions_is_zero():
  rng = np.random.default_rng(2)
  values = [frechet.extrapolated_frechet(*rng.normal(size=(2, 400, 8))).value for _ in range(12)]
  assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(12)
  assert frechet.frechet_distance(*rng.normal(size=(2, 400, 8))) > 4 * abs(np.mean(values))


def test_kernel_distance_against_double_loops():
  rng = np.random.default_rng(3)
  x, y = rng.normal(size=(30, 4)), rng.normal(size=(25, 4)) + 0.5
  a, b = (x - x.mean(0)) / x.std(0), (y - x.mean(0)) / x.std(0)
  k = lambda p, q: (p @ q / 4 + 1)**4
  within = lambda s: sum(k(p, q) for i, p in enumerate(s) for j,
                         q in enumerate(s) if i != j) / (len(s) * (len(s) - 1))
  want = within(a) + within(b) - 2 * np.mean([[k(p, q) for q in b] for p in a])
  np.testing.assert_allclose(frechet.kernel_distance(x, y).value, want, rtol=1e-9)


def test_error_of_the_kernel_distance_is_its_scatter():
  rng = np.random.default_rng(4)
  found = [
      frechet.kernel_distance(rng.normal(size=(150, 4)),
                              rng.normal(size=(150, 4)) + 0.5) for _ in range(30)
  ]
  assert 0.5 < np.mean([e.error for e in found]) / np.std([e.value for e in found]) < 2.0


def test_too_few_images_are_named():
  with pytest.raises(ValueError, match=r"at least three images a dimension \(30\); got 20 and 40"):
    frechet.extrapolated_frechet(np.zeros((20, 10)), np.zeros((40, 10)))
