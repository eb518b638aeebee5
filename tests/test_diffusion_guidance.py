"""Classifier-free guidance: its fixed points, linearity, and the posterior of Gaussian data."""
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.diffusion import guidance
from lartpc_jax.diffusion.sde import alpha_std, vp_sde
from lartpc_jax.generators import generator
from lartpc_jax.generators.codec import Codec
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec
from tests.toy_parts import proton_generator
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
  np.testing.assert_allclose(guided(scale), (1 - scale) * guided(0.0) + scale * guided(1.0), rtol=1e-4,
                             atol=1e-5)


def test_guidance_sharpens_the_likelihood_of_the_condition():
  """Scores of p(x) p(c|x)^w at t -> 0: Gaussian precisions and their means combine with weights 1 - w and
  w."""
  t = jnp.full(6, 1e-4)
  got = guidance.classifier_free(CONDITIONAL, FREE, guidance_scale=2.0)(X, t)
  precision = -1 / 1.0**2 + 2 / 0.3**2
  mean = 2 / 0.3**2 / precision
  np.testing.assert_allclose(got, -precision * (X - mean), rtol=2e-3, atol=2e-2)


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
def test_the_generator_guides_from_no_condition_to_the_momentum(scale):
  """A network that says 1 of a condition and 0 of none: the scores are alpha c_out / std^2 apart (Karras et
  al. 2022)."""
  apply = lambda params, z, c_noise, cond: jnp.ones_like(z) * cond["keep"][:, None, None, None]
  codec = Codec(None, None, (2, 2, 1))
  protons = proton_generator(apply, None, SDE, codec, frame=TrackFrame(), spec=ImageSpec())
  x, t, momentum = jnp.full((3, 2, 2, 1), 0.3), jnp.array([0.2, 0.5, 0.9]), jnp.full((3, 3), 200.0)
  told = generator.network_cond(protons, {"momentum_mev": momentum})
  score = lambda scale: np.asarray(generator.state_score(protons.denoiser, told, guidance_scale=scale)(x, t))
  alpha, std = (np.asarray(a, float)[:, None, None, None] for a in alpha_std(SDE, t))
  sigma = std / alpha
  free = (0.3 / alpha / (1.0 + sigma**2) * alpha - 0.3) / std**2
  apart = alpha / std**2 * sigma / np.sqrt(1.0 + sigma**2)
  np.testing.assert_allclose(score(scale), np.broadcast_to(free + scale * apart, x.shape), rtol=1e-4)
