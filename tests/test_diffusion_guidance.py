"""Classifier-free guidance: its fixed points, linearity, and the posterior of Gaussian data."""
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.diffusion import guidance
from lartpc_jax.diffusion.sde import vp_sde
from tests.toy_scores import gaussian_score

SDE = vp_sde()
X, T = jnp.linspace(-2.0, 2.0, 6)[:, None], jnp.linspace(0.1, 0.9, 6)
CONDITIONAL, FREE = gaussian_score(SDE, 1.0, 0.3), gaussian_score(SDE, 0.0, 1.0)


def guided(scale):
  return np.asarray(guidance.classifier_free(CONDITIONAL, FREE, guidance_scale=scale)(X, T))


def test_scale_one_is_conditional_and_zero_unconditional():
  np.testing.assert_allclose(guided(1.0), CONDITIONAL(X, T), rtol=1e-5)
  np.testing.assert_array_equal(guided(0.0), FREE(X, T))


@pytest.mark.parametrize("scale", [-1.0, 0.5, 3.0])
def test_guidance_is_linear_in_its_scale(scale):
  np.testing.assert_allclose(guided(scale), (1 - scale) * guided(0.0) + scale * guided(1.0), rtol=1e-4, atol=1e-5)


def test_guidance_sharpens_the_likelihood_of_the_condition():
  """Scores of p(x) p(c|x)^w at t -> 0: Gaussian precisions and their means combine with weights 1 - w and w."""
  t = jnp.full(6, 1e-4)
  got = guidance.classifier_free(CONDITIONAL, FREE, guidance_scale=2.0)(X, t)
  precision = -1 / 1.0**2 + 2 / 0.3**2
  mean = 2 / 0.3**2 / precision
  np.testing.assert_allclose(got, -precision * (X - mean), rtol=2e-3, atol=2e-2)
