"""Parameterisations against Gaussian data, where posterior mean and score are known."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.diffusion import prediction as lib
from lartpc_jax.diffusion.sde import vp_sde
from tests.toy_scores import gaussian_score, mixture_score

SDE = vp_sde()


def gaussian_denoiser(mean, std):
  """E[x0 | x0 + sigma n] of x0 ~ N(mean, std^2), by Bayes' rule."""
  def denoise_fn(x, sigma):
    gain = (std**2 / (std**2 + sigma**2))[:, None]
    return mean + gain * (x - mean)
  return denoise_fn


def points(n=32):
  key_x, key_t = jax.random.split(jax.random.key(0))
  return 2 * jax.random.normal(key_x, (n, 1)), jax.random.uniform(key_t, (n,), minval=0.05, maxval=1.0)


def test_score_of_the_true_denoiser_is_the_true_score():
  x, t = points()
  got = lib.score_from_denoiser(SDE, gaussian_denoiser(0.7, 0.4))(x, t)
  np.testing.assert_allclose(got, gaussian_score(SDE, 0.7, 0.4)(x, t), rtol=1e-3, atol=1e-3)


def test_mixture_score_is_the_gradient_of_its_log_density():
  """Guards the reference of the sampler tests, by a numerical derivative of scipy's density."""
  from scipy import stats

  from lartpc_jax.diffusion.sde import alpha_std
  from tests.toy_scores import MEANS, STDS, WEIGHTS
  x, t = points(8)
  alpha, std = (np.asarray(a, float) for a in alpha_std(SDE, t))
  def log_density(y):
    return np.log(sum(w * stats.norm.pdf(y, alpha * m, np.sqrt((alpha * s) ** 2 + std**2))
                      for w, m, s in zip(WEIGHTS, MEANS, STDS)))
  y = np.asarray(x[:, 0], float)
  np.testing.assert_allclose(
      mixture_score(SDE)(x, t)[:, 0], (log_density(y + 1e-5) - log_density(y - 1e-5)) / 2e-5, rtol=1e-3,
      atol=1e-4)


def test_denoised_from_score_inverts_score_from_denoiser():
  x, t = points()
  alpha, std = SDE.marginal_prob(jnp.ones_like(t), t)
  denoise_fn = gaussian_denoiser(-0.3, 1.1)
  back = lib.denoised_from_score(SDE, lib.score_from_denoiser(SDE, denoise_fn))(x, t)
  np.testing.assert_allclose(back, denoise_fn(x / alpha[:, None], std / alpha), rtol=1e-3, atol=2e-3)


def test_edm_coefficients_normalise_input_and_target():
  """Karras et al. 2022, App. B.6: unit variance of c_in x and of the raw target, for data of variance
  sigma_data^2."""
  sigma, sigma_data = jnp.array([0.02, 0.5, 1.0, 80.0]), 0.5
  c_skip, c_out, c_in, c_noise = (np.asarray(c, float) for c in lib.edm_coefficients(sigma, sigma_data))
  s = np.asarray(sigma, float)
  np.testing.assert_allclose(c_in**2 * (s**2 + sigma_data**2), 1.0, rtol=1e-5)
  variance = ((1 - c_skip) ** 2 * sigma_data**2 + c_skip**2 * s**2) / c_out**2
  np.testing.assert_allclose(variance, 1.0, rtol=1e-4)
  np.testing.assert_allclose(c_noise, np.log(s) / 8, rtol=1e-5)


def test_a_zero_network_is_the_denoiser_of_a_centred_gaussian():
  x, sigma = points()
  denoise_fn = lib.edm_denoiser(lambda params, x, c_noise, cond: 0 * x, None, None, sigma_data=0.4)
  np.testing.assert_allclose(denoise_fn(x, sigma), gaussian_denoiser(0.0, 0.4)(x, sigma), rtol=1e-5)


def test_edm_denoiser_hands_the_network_scaled_inputs_and_the_condition():
  def apply_fn(params, x, c_noise, cond):
    return params * x + c_noise[:, None] + cond["momentum"][:, :1]
  x, sigma = points(4)
  momentum = jnp.arange(12.0).reshape(4, 3)
  got = lib.edm_denoiser(apply_fn, 3.0, {"momentum": momentum}, sigma_data=1.0)(x, sigma)
  s, x = np.asarray(sigma, float)[:, None], np.asarray(x, float)
  root = np.sqrt(1 + s**2)
  raw = 3 * x / root + np.log(s) / 8 + np.asarray(momentum)[:, :1]
  np.testing.assert_allclose(got, x / root**2 + s / root * raw, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prediction", sorted(lib.PREDICTIONS))
def test_every_prediction_gives_the_same_denoiser(prediction):
  """A network that predicts its target exactly, written from the definitions of Ho et al. 2020 and Salimans &
  Ho 2022."""
  sigma_data, truth = 0.7, gaussian_denoiser(0.3, 0.5)

  def network(params, scaled, c_noise, cond):
    sigma = jnp.exp(8.0 * c_noise)
    x = scaled * jnp.sqrt(sigma**2 + sigma_data**2)[:, None]
    x0, s = truth(x, sigma), sigma[:, None]
    alpha = 1.0 / jnp.sqrt(1.0 + s**2)
    noise = (x - x0) / s
    c_skip, c_out = sigma_data**2 / (s**2 + sigma_data**2), s * sigma_data / jnp.sqrt(s**2 + sigma_data**2)
    return {"eps": noise, "x0": x0, "v": alpha * noise - alpha * s * x0,
            "edm": (x0 - c_skip * x) / c_out}[prediction]
  x, sigma = jnp.linspace(-2.0, 2.0, 6)[:, None], jnp.geomspace(0.05, 20.0, 6)
  denoise_fn = lib.make_denoiser(network, None, None, prediction=prediction, sigma_data=sigma_data)
  np.testing.assert_allclose(denoise_fn(x, sigma), truth(x, sigma), atol=2e-4)


def test_unknown_prediction_is_named():
  with pytest.raises(ValueError,
                     match=r"Unknown prediction 'noise'; choose from \['edm', 'eps', 'v', 'x0'\]"):
    lib.make_denoiser(lambda *inputs: inputs[1], None, None, prediction="noise")
