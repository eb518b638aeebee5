"""What a network predicts, turned into a denoiser and a score. The only place that knows the
parameterisation."""
from collections.abc import Callable

import jax.numpy as jnp

from lartpc_jax.diffusion.sde import SDE, alpha_std, batch_mul
from lartpc_jax.types import Cond, Params, ScoreFn


def edm_coefficients(sigma, sigma_data: float):
  """c_skip, c_out, c_in, c_noise [b] of the preconditioning (Karras et al. 2022, table 1)."""
  total = sigma**2 + sigma_data**2
  c_skip = sigma_data**2 / total
  c_out = sigma * sigma_data / jnp.sqrt(total)
  # The logarithm is divided by 4 in the paper; a further factor brings its range to about [-1, 1] for Fourier
  # features.
  return c_skip, c_out, 1.0 / jnp.sqrt(total), 0.125 * jnp.log(sigma)


def eps_coefficients(sigma, sigma_data: float):
  """c_skip, c_out, c_in, c_noise [b] of a network that predicts the noise (Ho et al. 2020, eq. 11): D = x -
  sigma F."""
  _, _, c_in, c_noise = edm_coefficients(sigma, sigma_data)
  return jnp.ones_like(sigma), -sigma, c_in, c_noise


def x0_coefficients(sigma, sigma_data: float):
  """c_skip, c_out, c_in, c_noise [b] of a network that predicts the data: D = F."""
  _, _, c_in, c_noise = edm_coefficients(sigma, sigma_data)
  return jnp.zeros_like(sigma), jnp.ones_like(sigma), c_in, c_noise


def v_coefficients(sigma, sigma_data: float):
  """c_skip, c_out, c_in, c_noise [b] of a network that predicts v = alpha noise - std x_0,
  variance-preserving.

  Salimans & Ho 2022, App. D: D = alpha x_t - std F with alpha = 1 / sqrt(1 + sigma^2), x_t = alpha x, std =
  alpha sigma.
  """
  _, _, c_in, c_noise = edm_coefficients(sigma, sigma_data)
  alpha = 1.0 / jnp.sqrt(1.0 + sigma**2)
  return alpha**2, -alpha * sigma, c_in, c_noise


PREDICTIONS = {"edm": edm_coefficients, "eps": eps_coefficients, "x0": x0_coefficients, "v": v_coefficients}


def make_denoiser(apply_fn: Callable, params: Params, cond: Cond, *, prediction: str = "edm",
                  sigma_data: float = 1.0) -> Callable:
  """denoise_fn(x, sigma) of a network that predicts "edm", "eps", "x0" or "v" targets; arguments as in
  `edm_denoiser`.

  Every one is D(x, sigma) = c_skip x + c_out F(c_in x, c_noise), so that the parameterisation is a choice of
  coefficients. Raises ValueError naming an unknown prediction and the allowed set.
  """
  if prediction not in PREDICTIONS:
    raise ValueError(f"Unknown prediction {prediction!r}; choose from {sorted(PREDICTIONS)}.")

  def denoise_fn(x, sigma):
    c_skip, c_out, c_in, c_noise = PREDICTIONS[prediction](sigma, sigma_data)
    return batch_mul(c_skip, x) + batch_mul(c_out, apply_fn(params, batch_mul(c_in, x), c_noise, cond))
  return denoise_fn


def edm_denoiser(apply_fn: Callable, params: Params, cond: Cond, *, sigma_data: float = 1.0) -> Callable:
  """denoise_fn(x, sigma) -> posterior mean of x_0 given x = x_0 + sigma noise (Karras et al. 2022, eq. 7).

  Args:
    apply_fn: raw network, (params, x [b ...], c_noise [b], cond) -> [b ...].
    params: its parameters.
    cond: condition of each example, or None.
    sigma_data: standard deviation of the data the network was trained on.
  """
  def denoise_fn(x, sigma):
    c_skip, c_out, c_in, c_noise = edm_coefficients(sigma, sigma_data)
    return batch_mul(c_skip, x) + batch_mul(c_out, apply_fn(params, batch_mul(c_in, x), c_noise, cond))
  return denoise_fn


def score_from_denoiser(sde: SDE, denoise_fn: Callable) -> ScoreFn:
  """score_fn(x, t) of the SDE's marginals by Tweedie's formula: (alpha D(x / alpha, std / alpha) - x) /
  std^2."""
  def score_fn(x, t):
    alpha, std = alpha_std(sde, t)
    denoised = denoise_fn(batch_mul(1.0 / alpha, x), std / alpha)
    return batch_mul(1.0 / std**2, batch_mul(alpha, denoised) - x)
  return score_fn


def denoised_from_score(sde: SDE, score_fn: ScoreFn) -> Callable:
  """denoised_fn(x, t) -> posterior mean of x_0: (x + std^2 score) / alpha, the inverse of
  `score_from_denoiser`."""
  def denoised_fn(x, t):
    alpha, std = alpha_std(sde, t)
    return batch_mul(1.0 / alpha, x + batch_mul(std**2, score_fn(x, t)))
  return denoised_fn
