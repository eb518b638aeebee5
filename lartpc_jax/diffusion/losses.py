"""Training objectives. Every function returns one value an example [b]; the caller averages."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.diffusion.prediction import PREDICTIONS, edm_coefficients
from lartpc_jax.diffusion.sde import SDE, alpha_std, batch_mul
from lartpc_jax.geometry.charge import ChargeTransform
from lartpc_jax.types import Params, ScoreFn


class AutoencoderTerms(NamedTuple):
  """Terms of the autoencoder objective, each [b]."""
  reconstruction: Array  # sum over pixels of squared error, in transformed charge
  kl: Array              # nats
  charge: Array          # squared relative error of the total charge


def autoencoder_terms(encode: Callable, decode: Callable, params: Params, images_mev: Float[Array, "b h w"],
                      key: Array, *, transform: ChargeTransform) -> AutoencoderTerms:
  """Terms of the KL autoencoder objective (Kingma & Welling 2014, eq. 10; Rombach et al. 2022, sec. 3.1).

  Args:
    encode: (params, y [b h w 1]) -> mean, logvar of the latent.
    decode: (params, z) -> y [b h w 1].
    params: autoencoder parameters.
    images_mev: charge images, MeV per pixel.
    key: draws the latent noise.
    transform: charge transform between MeV and network values.
  """
  y = transform.forward(images_mev)[..., None]
  mean, logvar = encode(params, y)
  z = mean + jnp.exp(0.5 * logvar) * jax.random.normal(key, mean.shape, mean.dtype)
  decoded = decode(params, z)
  total = images_mev.sum((1, 2))
  charge = transform.inverse(decoded)[..., 0].sum((1, 2))
  return AutoencoderTerms(
      reconstruction=jnp.sum((decoded - y) ** 2, (1, 2, 3)),
      kl=0.5 * jnp.sum(mean**2 + jnp.exp(logvar) - 1.0 - logvar, (1, 2, 3)),
      charge=((charge - total) / jnp.maximum(total, 1.0)) ** 2)


def sample_sigma(key: Array, num: int, *, p_mean: float, p_std: float) -> Float[Array, " b"]:
  """Training noise levels: log-normal, stratified over the batch so that every batch covers all levels.

  Karras et al. 2022, table 1 (training distribution); stratification as in Kingma et al. 2021 (VDM), App.
  I.1.
  """
  key_shift, key_order = jax.random.split(key)
  u = (jnp.arange(num, dtype=jnp.float32) + jax.random.uniform(key_shift, (), jnp.float32)) / num
  u = jax.random.permutation(key_order, jnp.clip(u, 1e-4, 1.0 - 1e-4))
  return jnp.exp(p_mean + p_std * jax.scipy.special.ndtri(u))


def edm_denoising(network: Callable, z: Float[Array, "b ..."], cond: dict, key: Array, *, sigma_data: float,
                  p_mean: float, p_std: float, cond_dropout: float
                  ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
  """Denoising score matching with EDM preconditioning and weights (Karras et al. 2022, eq. 8): value [b] and
  sigma [b].

  The weight cancels c_out, so the value is the plain squared error of the raw network, averaged over
  dimensions.

  Args:
    network: raw network with its parameters, (x, c_noise, cond) -> like x.
    z: clean latents.
    cond: conditions of the examples, without `keep`.
    key: draws noise levels, noise and condition dropout.
    sigma_data: standard deviation of z.
    p_mean: mean of log sigma.
    p_std: standard deviation of log sigma.
    cond_dropout: probability of training an example without its condition (Ho & Salimans 2022, alg. 1).
  """
  key_sigma, key_noise, key_drop = jax.random.split(key, 3)
  sigma = sample_sigma(key_sigma, z.shape[0], p_mean=p_mean, p_std=p_std)
  noisy = z + batch_mul(sigma, jax.random.normal(key_noise, z.shape, z.dtype))
  keep = jax.random.bernoulli(key_drop, 1.0 - cond_dropout, (z.shape[0],)).astype(z.dtype)
  c_skip, c_out, c_in, c_noise = edm_coefficients(sigma, sigma_data)
  target = batch_mul(1.0 / c_out, z - batch_mul(c_skip, noisy))
  predicted = network(batch_mul(c_in, noisy), c_noise, {**cond, "keep": keep})
  return jnp.mean((predicted - target) ** 2, axis=tuple(range(1, z.ndim))), sigma


def noisy_likelihood(log_density: Callable, x0: Float[Array, "b ..."], key: Array, *, p_mean: float,
                     p_std: float) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
  """Negative log-likelihood of what is known of each example, seen through noise: value [b], nats, and sigma
  [b].

  Its minimum over all densities is p(y | x_0 + sigma noise) (Dhariwal & Nichol 2021, sec. 4).

  Args:
    log_density: (x [b ...], sigma [b]) -> log p(y | x) [b].
    x0: clean states.
    key: draws noise levels and noise.
    p_mean: mean of log sigma.
    p_std: standard deviation of log sigma.
  """
  key_sigma, key_noise = jax.random.split(key)
  sigma = sample_sigma(key_sigma, x0.shape[0], p_mean=p_mean, p_std=p_std)
  noisy = x0 + batch_mul(sigma, jax.random.normal(key_noise, x0.shape, x0.dtype))
  return -log_density(noisy, sigma), sigma


def _sum_squares(x: Array) -> Float[Array, " b"]:
  return jnp.sum(x**2, axis=tuple(range(1, x.ndim)))


def stratified_times(key: Array, num: int, *, t_min: float) -> Float[Array, " b"]:
  """Diffusion times uniform in [t_min, 1], one in each of `num` equal intervals (Kingma et al. 2021, App.
  I.1)."""
  u = (jnp.arange(num, dtype=jnp.float32) + jax.random.uniform(key, (num,), jnp.float32)) / num
  return t_min + (1.0 - t_min) * u


def score_matching(sde: SDE, score_fn: ScoreFn, x0: Float[Array, "b ..."], key: Array, *, t_min: float = 1e-5,
                   likelihood_weighting: bool = False) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
  """Denoising score matching in continuous time (Song et al. 2021, eq. 7): value [b], mean over dimensions,
  and t [b].

  lambda(t) = std(t)^2 ("uniform" in the noise: the error of a noise prediction), or with likelihood_weighting
  g(t)^2, which bounds the negative log-likelihood (Song, Durkan et al. 2021, thm. 1).
  """
  key_t, key_noise = jax.random.split(key)
  t = stratified_times(key_t, x0.shape[0], t_min=t_min)
  mean, std = sde.marginal_prob(x0, t)
  noise = jax.random.normal(key_noise, x0.shape, x0.dtype)
  error = batch_mul(std, score_fn(mean + batch_mul(std, noise), t)) + noise
  value = _sum_squares(error) / (x0.size // x0.shape[0])
  return (value * (sde.diffusion(t) / std) ** 2 if likelihood_weighting else value), t


def prediction_matching(network: Callable, x0: Float[Array, "b ..."], cond: dict | None, key: Array, *,
                        sde: SDE, prediction: str, sigma_data: float = 1.0, t_min: float = 1e-5
                        ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
  """Squared error of the raw network against its target ("edm", "eps", "x0", "v"), t uniform: value, t [b].

  For "eps" it is Ho et al. 2020, eq. 14 in continuous time, and equals `score_matching` with uniform
  weighting.
  """
  key_t, key_noise = jax.random.split(key)
  t = stratified_times(key_t, x0.shape[0], t_min=t_min)
  alpha, std = alpha_std(sde, t)
  sigma = std / alpha
  noisy = x0 + batch_mul(sigma, jax.random.normal(key_noise, x0.shape, x0.dtype))
  c_skip, c_out, c_in, c_noise = PREDICTIONS[prediction](sigma, sigma_data)
  target = batch_mul(1.0 / c_out, x0 - batch_mul(c_skip, noisy))
  error = network(batch_mul(c_in, noisy), c_noise, cond) - target
  return _sum_squares(error) / (x0.size // x0.shape[0]), t


def ncsn_score_matching(score_fn: ScoreFn, x0: Float[Array, "b ..."], key: Array, *,
                        sigmas: Float[Array, " n"]) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
  """Denoising score matching at discrete noise levels, lambda = sigma^2 (Song & Ermon 2019, eq. 5 and 6):
  value, level.

  score_fn takes (x, sigma); the value is |sigma score + noise|^2 / 2 summed over dimensions. The level [b] is
  a float index.
  """
  key_level, key_noise = jax.random.split(key)
  level = jax.random.randint(key_level, (x0.shape[0],), 0, len(sigmas))
  sigma = sigmas[level]
  noise = jax.random.normal(key_noise, x0.shape, x0.dtype)
  error = batch_mul(sigma, score_fn(x0 + batch_mul(sigma, noise), sigma)) + noise
  return 0.5 * _sum_squares(error), level.astype(x0.dtype)


def sliced_score_matching(score_fn: Callable, x: Float[Array, "b ..."], key: Array, *, num_probes: int = 1
                          ) -> Float[Array, " b"]:
  """Sliced score matching with variance reduction (Song et al. 2019, eq. 8): v . grad(score . v) + |score|^2
  / 2.

  Needs no noise and no density: a check of a score x -> [b ...] on data. Its mean is, up to a constant of the
  data, half the expected squared distance to the true score. v are standard normal.
  """
  def one(key):
    probe = jax.random.normal(key, x.shape, x.dtype)
    score, slope = jax.jvp(score_fn, (x,), (probe,))
    return jnp.sum(probe * slope, axis=tuple(range(1, x.ndim))) + 0.5 * _sum_squares(score)
  return jax.vmap(one)(jax.random.split(key, num_probes)).mean(0)


def denoising_error(denoise_fn: Callable, x0: Float[Array, "b ..."], sigma: float | Array,
                    key: Array) -> Float[Array, " b"]:
  """Mean squared error of the denoiser at one noise level: points of the loss curve against noise."""
  levels = jnp.full(x0.shape[:1], sigma, x0.dtype)
  noisy = x0 + sigma * jax.random.normal(key, x0.shape, x0.dtype)
  return _sum_squares(denoise_fn(noisy, levels) - x0) / (x0.size // x0.shape[0])
