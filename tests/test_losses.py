"""Objectives against closed forms: optimum at the true denoiser, KL by quadrature, log-normal noise levels."""
import jax
import jax.numpy as jnp
import numpy as np
from scipy import integrate, stats

from lartpc_jax import losses
from lartpc_jax.data.charge import sqrt_transform
from lartpc_jax.score import edm_coefficients

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


def gaussian_loss(params, key):
  key_z, key_loss = jax.random.split(key)
  z = MEAN + STD * jax.random.normal(key_z, (NUM, DIMENSIONS))
  return losses.edm_denoising(true_network, params, z, {}, key_loss, cond_dropout=0.1, **KNOBS)


def test_loss_at_the_true_denoiser_is_the_posterior_variance():
  value, sigma = gaussian_loss(jnp.zeros(2), jax.random.key(0))
  s = np.asarray(sigma, float)
  posterior = STD**2 * s**2 / (STD**2 + s**2)
  weight = (s**2 + SIGMA_DATA**2) / (s * SIGMA_DATA) ** 2  # Karras et al. 2022, eq. 8 and table 1: lambda(sigma)
  excess = np.asarray(value, float) - weight * posterior
  assert abs(excess.mean()) < 4 * excess.std() / NUM**0.5
  bands = np.array_split(np.argsort(s), 4)  # and so at every noise level
  assert all(abs(excess[band].mean()) < 4 * excess[band].std() / len(band) ** 0.5 for band in bands)


def test_loss_has_its_minimum_at_the_true_denoiser():
  mean_loss = lambda params, key: gaussian_loss(params, key)[0].mean()
  with jax.debug_key_reuse(False):
    gradients = jax.vmap(jax.grad(mean_loss), (None, 0))(jnp.zeros(2), jax.random.split(jax.random.key(1), 32))
  np.testing.assert_allclose(gradients.mean(0), 0.0, atol=4 * float(gradients.std(0).max()) / 32**0.5)
  at = lambda *params: float(mean_loss(jnp.array(params), jax.random.key(2)))
  best = at(0.0, 0.0)
  assert all(at(*p) > best for p in [(0.2, 0.0), (-0.2, 0.0), (0.0, 0.2), (0.0, -0.2)])
  np.testing.assert_allclose(at(0.0, 0.5) - best, 0.25, atol=0.02)  # the weight cancels c_out: plain squared error


def test_noise_levels_are_log_normal_and_stratified():
  sigma = np.asarray(losses.sample_sigma(jax.random.key(0), 2000, p_mean=-0.6, p_std=1.3), float)
  target = stats.lognorm(s=1.3, scale=np.exp(-0.6)).cdf
  assert stats.kstest(sigma, target).statistic < 1.5 / 2000  # one draw in each of 2000 equal shares of probability
  assert abs(np.corrcoef(np.arange(2000), np.log(sigma))[0, 1]) < 4 / 2000**0.5  # in random order
  with jax.debug_key_reuse(False):
    firsts = jax.vmap(lambda key: losses.sample_sigma(key, 4, p_mean=-0.6, p_std=1.3)[0])(
        jax.random.split(jax.random.key(1), 1000))
  assert stats.kstest(np.asarray(firsts, float), target).pvalue > 1e-4  # each example alone


def test_conditions_are_dropped_at_the_asked_rate_and_passed_on():
  seen = []
  def apply_fn(params, x, c_noise, cond):
    seen.append(cond)
    return x
  momentum = jnp.ones((NUM, 3))
  for rate in (0.0, 0.1, 1.0):
    seen.clear()
    losses.edm_denoising(apply_fn, None, jnp.zeros((NUM, 1)), {"momentum": momentum}, jax.random.key(3),
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
  losses.autoencoder_terms(encode, decode, None, jnp.zeros((NUM, 1, 1)), jax.random.key(0), transform=sqrt_transform())
  assert stats.kstest(np.asarray(drawn[0]).ravel(), stats.norm(2.0, np.exp(-0.5)).cdf).pvalue > 1e-4
