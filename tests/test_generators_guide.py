"""Guides: densities by scipy, and a guide that knows the classes of normal data draws one of them."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lartpc_jax.diffusion.sde import alpha_std, vp_sde
from lartpc_jax.generators import guide as lib
from lartpc_jax.generators.condition import make_condition

LABELS = make_condition({"particle": dict(kind="label", classes=("proton", "mu-")),
                         "kinetic_mev": dict(kind="scalar", mean=50.0, scale=10.0),
                         "momentum_mev": dict(kind="vector", scale=100.0)})
OUTPUTS = np.array([[0.3, -1.0, 0.5, -0.7, 1.0, 0.0, -1.0, 0.1, 0.2, -2.0]], np.float32)
X, SIGMA = jnp.zeros((1, 2, 2, 1)), jnp.ones(1)
FIXED = lib.Guide(lambda params, x, c_noise: jnp.asarray(OUTPUTS), None, LABELS)
WANTED = {"particle": jnp.array([1]), "kinetic_mev": jnp.array([62.0]),
          "momentum_mev": jnp.array([[120.0, 10.0, -80.0]])}


def deviation(log_std):
  """The soft clip, written down: a logistic curve between the limits, of slope 1 in its middle."""
  low, high = lib.LOG_DEVIATIONS
  return np.exp(low + (high - low) * stats.logistic.cdf(4 * (log_std - (low + high) / 2) / (high - low)))


def test_log_density_is_the_sum_over_labels():
  assert lib.num_outputs(LABELS) == OUTPUTS.shape[1]
  parts = {"particle": OUTPUTS[0, 1] - np.log(np.exp(OUTPUTS[0, :2]).sum()),
           "kinetic_mev": stats.norm.logpdf(1.2, OUTPUTS[0, 2], deviation(OUTPUTS[0, 3])),
           "momentum_mev": stats.norm.logpdf([1.2, 0.1, -0.8], OUTPUTS[0, 4:7],
                                             deviation(OUTPUTS[0, 7:])).sum()}
  for name, want in parts.items():
    np.testing.assert_allclose(lib.log_density(FIXED, {name: WANTED[name]})(X, SIGMA), [want], rtol=1e-5)
  np.testing.assert_allclose(lib.log_density(FIXED, WANTED)(X, SIGMA), [sum(parts.values())], rtol=1e-5)
  with pytest.raises(ValueError, match=r"Unknown label 'charge'; this guide reads \['kinetic_mev'"):
    lib.log_density(FIXED, {"charge": jnp.ones(1)})


def test_a_guide_of_normal_classes_gives_their_scores():
  """Two classes of mean +-1: what a network would read is the log odds 2 x / (s^2 + sigma^2)."""
  s, sde = 0.5, vp_sde()

  def apply(params, x, c_noise):
    sigma2 = jnp.exp(16.0 * c_noise)            # x is state / sqrt(1 + sigma^2)
    odds = x[:, 0, 0, 0] * jnp.sqrt(1.0 + sigma2) / (s**2 + sigma2)
    return jnp.stack([-odds, odds], axis=1)
  guide = lib.Guide(apply, None, make_condition({"particle": dict(kind="label", classes=("a", "b"))}))
  t = jnp.linspace(0.05, 0.95, 6)
  x = jax.random.normal(jax.random.key(0), (6, 1, 1, 1))
  alpha, std = (np.asarray(a, float)[:, None, None, None] for a in alpha_std(sde, t))
  variance = (alpha * s)**2 + std**2
  mixture = lambda x, t: jnp.asarray(-(np.asarray(x) - alpha * np.tanh(alpha * np.asarray(x) / variance))
                                     / variance, jnp.float32)
  steered = lib.steer(guide, sde, {"particle": jnp.ones(6, jnp.int32)})(mixture)
  np.testing.assert_allclose(steered(x, t), -(np.asarray(x) - alpha) / variance, rtol=1e-3, atol=1e-3)
  assert lib.steer(guide, sde, {"particle": jnp.ones(6, jnp.int32)}, guidance_scale=0.0)(mixture) is mixture
