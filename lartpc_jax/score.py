"""What a network predicts, turned into a denoiser and a score. The only place that knows the parameterisation."""
from collections.abc import Callable

import jax.numpy as jnp

from lartpc_jax.sde import SDE, alpha_std, batch_mul
from lartpc_jax.types import Cond, Params, ScoreFn


def edm_coefficients(sigma, sigma_data: float):
  """c_skip, c_out, c_in, c_noise [b] of the preconditioning (Karras et al. 2022, table 1)."""
  total = sigma**2 + sigma_data**2
  c_skip = sigma_data**2 / total
  c_out = sigma * sigma_data / jnp.sqrt(total)
  # The logarithm is divided by 4 in the paper; a further factor brings its range to about [-1, 1] for Fourier features.
  return c_skip, c_out, 1.0 / jnp.sqrt(total), 0.125 * jnp.log(sigma)


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
  """score_fn(x, t) of the SDE's marginals by Tweedie's formula: (alpha D(x / alpha, std / alpha) - x) / std^2."""
  def score_fn(x, t):
    alpha, std = alpha_std(sde, t)
    denoised = denoise_fn(batch_mul(1.0 / alpha, x), std / alpha)
    return batch_mul(1.0 / std**2, batch_mul(alpha, denoised) - x)
  return score_fn


def denoised_from_score(sde: SDE, score_fn: ScoreFn) -> Callable:
  """denoised_fn(x, t) -> posterior mean of x_0: (x + std^2 score) / alpha, the inverse of `score_from_denoiser`."""
  def denoised_fn(x, t):
    alpha, std = alpha_std(sde, t)
    return batch_mul(1.0 / alpha, x + batch_mul(std**2, score_fn(x, t)))
  return denoised_fn
