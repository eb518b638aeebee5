"""The toy mixture against numerical integrals and derivatives, and the scores learned of it."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.diffusion import toy as lib
from lartpc_jax.diffusion.sde import alpha_std, vp_sde


@pytest.mark.slow
def test_density_is_normalised_and_its_score_is_its_gradient(x64):
  mixture = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), lib.track_and_shower(num=16, std=0.1))
  line = np.linspace(-3, 3, 241)
  grid = jnp.asarray(np.stack(np.meshgrid(line, line), -1).reshape(-1, 2))
  sigma = jnp.float64(0.2)
  np.testing.assert_allclose(
      np.exp(lib.log_density(mixture, grid, sigma)).sum() * (line[1] - line[0])**2, 1.0, rtol=1e-6)
  x, h = jnp.array([[0.3, -0.5], [1.0, 1.0]]), 1e-6
  steps = [jnp.array([[h, 0.0]]), jnp.array([[0.0, h]])]
  numerical = np.stack([(lib.log_density(mixture, x + s, sigma) - lib.log_density(mixture, x - s, sigma)) /
                        (2 * h) for s in steps], -1)
  np.testing.assert_allclose(lib.score_at_sigma(mixture, sigma)(x), numerical, rtol=1e-6)
  t = jnp.array([0.2, 0.6])
  alpha, std = alpha_std(vp_sde(), t)
  shown = lib.mixture_score(mixture, vp_sde())(x, t)
  for i in range(2):  # the marginal is the density of scaled data
    scaled = lib.Mixture(alpha[i] * mixture.means, mixture.log_weights, alpha[i] * mixture.std)
    np.testing.assert_allclose(shown[i], lib.score_at_sigma(scaled, std[i])(x[i:i + 1])[0], rtol=1e-9)


def test_draws_lie_on_the_line_and_in_the_blob():
  mixture = lib.track_and_shower(std=0.01)
  x = np.asarray(lib.draw_points(jax.random.key(0), mixture, 2000))
  nearest = np.linalg.norm(x[:, None] - np.asarray(mixture.means)[None], axis=-1).min(1)
  assert np.quantile(nearest, 0.99) < 0.035
  share = (np.linalg.norm(x - [1.1, -0.8], axis=1) < 0.4).mean()
  assert abs(share - 0.3) < 4 * (0.3 * 0.7 / 2000) ** 0.5


@pytest.mark.parametrize("kwargs", [dict(num=1), dict(std=0.0)])
def test_bad_arguments_are_named(kwargs):
  with pytest.raises(ValueError, match="num >= 2 and std > 0; got num="):
    lib.track_and_shower(**kwargs)
