"""Objectives against closed forms: optimum at the true denoiser, KL by quadrature, log-normal noise
levels."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from lartpc_jax.diffusion import losses
from lartpc_jax.diffusion.prediction import PREDICTIONS, edm_coefficients, make_denoiser, score_from_denoiser
from lartpc_jax.diffusion.sde import SDES, alpha_std
from lartpc_jax.geometry.charge import sqrt_transform
from tests.toy_scores import gaussian_score

NUM, DIMENSIONS = 4096, 4
MEAN, STD, SIGMA_DATA = 0.4, 0.3, 0.5  # the data, and what the preconditioning believes
KNOBS = dict(sigma_data=SIGMA_DATA, p_mean=-0.6, p_std=1.3)


def true_network(params, x, c_noise, cond):
  """The raw network of the posterior mean, scaled by 1 + params[0] and shifted by params[1]."""
  sigma = jnp.exp(8.0 * c_noise)
  c_skip, c_out, c_in, _ = (c[:, None] for c in edm_coefficients(sigma, SIGMA_DATA))
  noisy = x / c_in
  denoised = MEAN + STD**2 / (STD**2 + sigma[:, None] ** 2) * (noisy - MEAN)
  return (denoised - c_skip * noisy) / c_out * (1.0 + params[0]) + params[1]


@jax.jit
def gaussian_loss(params, key):
  key_z, key_loss = jax.random.split(key)
  z = MEAN + STD * jax.random.normal(key_z, (NUM, DIMENSIONS))
  network = functools.partial(true_network, params)
  return losses.edm_denoising(network, z, {}, key_loss, cond_dropout=0.1, **KNOBS)


def test_loss_at_the_true_denoiser_is_the_posterior_variance():
  value, sigma = gaussian_loss(jnp.zeros(2), jax.random.key(0))
  s = np.asarray(sigma, float)
  posterior = STD**2 * s**2 / (STD**2 + s**2)
  # Karras et al. 2022, eq. 8 and table 1: lambda(sigma)
  weight = (s**2 + SIGMA_DATA**2) / (s * SIGMA_DATA) ** 2
  excess = np.asarray(value, float) - weight * posterior
  assert abs(excess.mean()) < 4 * excess.std() / NUM**0.5
  bands = np.array_split(np.argsort(s), 4)  # and so at every noise level
  assert all(abs(excess[band].mean()) < 4 * excess[band].std() / len(band) ** 0.5 for band in bands)


def test_loss_has_its_minimum_at_the_true_denoiser():
  mean_loss = lambda params, key: gaussian_loss(params, key)[0].mean()
  with jax.debug_key_reuse(False):
    gradients = jax.jit(jax.vmap(jax.grad(mean_loss), (None, 0)))(
        jnp.zeros(2), jax.random.split(jax.random.key(1), 32))
  np.testing.assert_allclose(gradients.mean(0), 0.0, atol=4 * float(gradients.std(0).max()) / 32**0.5)
  at = lambda *params: float(mean_loss(jnp.array(params), jax.random.key(2)))
  best = at(0.0, 0.0)
  assert all(at(*p) > best for p in [(0.2, 0.0), (-0.2, 0.0), (0.0, 0.2), (0.0, -0.2)])
  # the weight cancels c_out: plain squared error
  np.testing.assert_allclose(at(0.0, 0.5) - best, 0.25, atol=0.02)


def test_noise_levels_are_log_normal_and_stratified():
  sigma = np.asarray(losses.sample_sigma(jax.random.key(0), 2000, p_mean=-0.6, p_std=1.3), float)
  target = stats.lognorm(s=1.3, scale=np.exp(-0.6)).cdf
  # one draw in each of 2000 equal shares of probability
  assert stats.kstest(sigma, target).statistic < 1.5 / 2000
  assert abs(np.corrcoef(np.arange(2000), np.log(sigma))[0, 1]) < 4 / 2000**0.5  # in random order
  with jax.debug_key_reuse(False):
    firsts = jax.vmap(lambda key: losses.sample_sigma(key, 4, p_mean=-0.6, p_std=1.3)[0])(
        jax.random.split(jax.random.key(1), 1000))
  assert stats.kstest(np.asarray(firsts, float), target).pvalue > 1e-4  # each example alone


def test_conditions_are_dropped_at_the_asked_rate_and_passed_on():
  seen = []
  def network(x, c_noise, cond):
    seen.append(cond)
    return x
  momentum = jnp.ones((NUM, 3))
  for rate in (0.0, 0.1, 1.0):
    seen.clear()
    losses.edm_denoising(network, jnp.zeros((NUM, 1)), {"momentum": momentum}, jax.random.key(3),
                         cond_dropout=rate, **KNOBS)
    keep = np.asarray(seen[0]["keep"])
    assert seen[0]["momentum"] is momentum and set(np.unique(keep)) <= {0.0, 1.0}
    assert abs(keep.mean() - (1 - rate)) <= 4 * (rate * (1 - rate) / NUM) ** 0.5


def test_autoencoder_terms_equal_numpy_and_quadrature():
  """A linear decoder, and an encoder of one pixel with known mean and log-variance."""
  transform = sqrt_transform(2.0)
  means, logvars = [0.0, 0.7, -1.5], [0.0, -2.0, 0.5]
  encode = lambda params, y: (jnp.array(means).reshape(3, 1, 1, 1), jnp.array(logvars).reshape(3, 1, 1, 1))
  decode = lambda params, z: jnp.full((3, 2, 2, 1), params)
  images = jnp.arange(12.0).reshape(3, 2, 2)
  terms = losses.autoencoder_terms(encode, decode, 0.6, images, jax.random.key(0), transform=transform)
  for got, m, logvar in zip(terms.kl, means, logvars):
    q = stats.norm(m, np.exp(0.5 * logvar))
    kl = integrate.quad(lambda x, q=q: q.pdf(x) * (q.logpdf(x) - stats.norm.logpdf(x)), -12, 12)[0]
    np.testing.assert_allclose(got, kl, rtol=1e-4, atol=1e-6)
  x = np.asarray(images, float)
  np.testing.assert_allclose(terms.reconstruction, ((0.6 - np.sqrt(x / 2)) ** 2).sum((1, 2)), rtol=1e-5)
  total = x.sum((1, 2))
  np.testing.assert_allclose(terms.charge, ((4 * 2 * 0.36 - total) / total) ** 2, rtol=1e-5)


def test_latent_noise_has_the_encoder_s_variance():
  drawn = []
  def decode(params, z):
    drawn.append(z)
    return jnp.zeros((NUM, 1, 1, 1))
  encode = lambda params, y: (jnp.full((NUM, 1, 1, 1), 2.0), jnp.full((NUM, 1, 1, 1), -1.0))
  losses.autoencoder_terms(encode, decode, None, jnp.zeros((NUM, 1, 1)), jax.random.key(0),
                           transform=sqrt_transform())
  assert stats.kstest(np.asarray(drawn[0]).ravel(), stats.norm(2.0, np.exp(-0.5)).cdf).pvalue > 1e-4


# --- score matching: Gaussian data N(MEAN, STD^2), for which everything is known
# ----------------------------------------
def gaussian_data(key):
  return MEAN + STD * jax.random.normal(key, (NUM, DIMENSIONS))


@pytest.mark.parametrize("name,likelihood_weighting",
                         [("vp", False), ("sub_vp", True), ("edm", False), ("ve", True)])
def test_score_matching_at_the_true_score(name, likelihood_weighting):
  """lambda(t) E|s + noise / std|^2 = lambda (1 / std^2 - 1 / total variance), per dimension (Vincent 2011,
  eq. 11)."""
  sde = SDES[name]()
  key_data, key_loss = jax.random.split(jax.random.key(0))
  value, t = losses.score_matching(sde, gaussian_score(sde, MEAN, STD), gaussian_data(key_data), key_loss,
                                   t_min=0.01, likelihood_weighting=likelihood_weighting)
  alpha, std = (np.asarray(a, float) for a in alpha_std(sde, t))
  weight = np.asarray(sde.diffusion(t), float) ** 2 if likelihood_weighting else std**2
  expected = weight * (1 / std**2 - 1 / ((alpha * STD) ** 2 + std**2))
  # at fixed t the value is a chi-squared
  pull = (np.asarray(value, float) - expected) / np.maximum(expected, 1e-6)
  usable = expected > 1e-4
  assert abs(pull[usable].mean()) < 5 * pull[usable].std() / usable.sum() ** 0.5
  assert 0.01 <= t.min() < 0.011 and 0.999 < t.max() <= 1.0


@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "edm"])
def test_every_target_has_its_optimum_at_the_true_denoiser(prediction):
  """Value at the optimum: posterior variance / c_out^2; and any change of the network raises it."""
  sde = SDES["vp"]()
  key_data, key_loss = jax.random.split(jax.random.key(1))
  z = gaussian_data(key_data)

  def network(params, x, c_noise, cond):
    sigma = jnp.exp(8.0 * c_noise)
    c_skip, c_out, c_in, _ = (c[:, None] for c in PREDICTIONS[prediction](sigma, SIGMA_DATA))
    noisy = x / c_in
    denoised = MEAN + STD**2 / (STD**2 + sigma[:, None] ** 2) * (noisy - MEAN)
    return (denoised - c_skip * noisy) / c_out + params
  loss = lambda shift: losses.prediction_matching(
      functools.partial(network, shift), z, None, key_loss, sde=sde, prediction=prediction,
      sigma_data=SIGMA_DATA, t_min=0.01)
  with jax.debug_key_reuse(False):
    (value, t), (worse, _), (also_worse, _) = loss(0.0), loss(0.3), loss(-0.3)
  alpha, std = (np.asarray(a, float) for a in alpha_std(sde, t))
  sigma = std / alpha
  _, c_out, _, _ = PREDICTIONS[prediction](jnp.asarray(sigma, jnp.float32), SIGMA_DATA)
  expected = STD**2 * sigma**2 / (STD**2 + sigma**2) / np.asarray(c_out, float) ** 2
  pull = np.asarray(value, float) / expected - 1
  assert abs(pull.mean()) < 5 * pull.std() / NUM**0.5
  np.testing.assert_allclose([worse.mean() - value.mean(), also_worse.mean() - value.mean()], 0.09, atol=0.03)


def test_noise_prediction_equals_uniform_score_matching():
  sde = SDES["vp"]()
  network = lambda params, x, c_noise, cond: jnp.tanh(x) * c_noise[:, None]
  score_fn = score_from_denoiser(sde, make_denoiser(network, None, None, prediction="eps"))
  z = 0.1 * jnp.arange(40.0).reshape(10, 4)
  with jax.debug_key_reuse(False):
    a, _ = losses.score_matching(sde, score_fn, z, jax.random.key(3), t_min=0.05)
    b, _ = losses.prediction_matching(functools.partial(network, None), z, None, jax.random.key(3), sde=sde,
                                      prediction="eps", t_min=0.05)
  np.testing.assert_allclose(a, b, rtol=2e-3)


def test_ncsn_objective_at_the_true_score():
  """sigma^2 / 2 E|s + noise / sigma|^2 = d / 2 STD^2 / (STD^2 + sigma^2) at every level."""
  sigmas = jnp.array([0.1, 0.5, 2.0])
  key_data, key_loss = jax.random.split(jax.random.key(2))
  score_fn = lambda x, sigma: -(x - MEAN) / (STD**2 + sigma**2)[:, None]
  value, level = losses.ncsn_score_matching(score_fn, gaussian_data(key_data), key_loss, sigmas=sigmas)
  for i, sigma in enumerate((0.1, 0.5, 2.0)):
    at = np.asarray(value, float)[np.asarray(level) == i]
    assert len(at) > NUM / 4
    assert abs(at.mean() - 0.5 * DIMENSIONS * STD**2 / (STD**2 + sigma**2)) < 5 * at.std() / len(at) ** 0.5


def test_sliced_score_matching_is_half_the_fisher_information_below_zero():
  """At the true score E[tr grad s + |s|^2 / 2] = -d / (2 STD^2); a wrong score is larger by half its squared
  error."""
  key_data, key_loss = jax.random.split(jax.random.key(4))
  x = gaussian_data(key_data)
  value = lambda shift: np.asarray(losses.sliced_score_matching(
      lambda y: -(y - MEAN) / STD**2 + shift, x, key_loss, num_probes=4), float)
  with jax.debug_key_reuse(False):
    true, wrong = value(0.0), value(0.5)
  assert abs(true.mean() + 0.5 * DIMENSIONS / STD**2) < 5 * true.std() / NUM**0.5
  assert abs((wrong - true).mean() - 0.5 * DIMENSIONS * 0.25) < 5 * (wrong - true).std() / NUM**0.5


def test_denoising_error_of_the_true_denoiser_is_the_posterior_variance():
  key_data, key_loss = jax.random.split(jax.random.key(5))
  denoise_fn = lambda x, sigma: MEAN + (STD**2 / (STD**2 + sigma**2))[:, None] * (x - MEAN)
  value = np.asarray(losses.denoising_error(denoise_fn, gaussian_data(key_data), 0.4, key_loss), float)
  assert abs(value.mean() - STD**2 * 0.16 / (STD**2 + 0.16)) < 5 * value.std() / NUM**0.5
