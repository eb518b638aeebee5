"""Samplers of the probability-flow ODE that use its semi-linear form, and DDIM with noise. See
`samplers.common`; times [n + 1] fall."""
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from lartpc_jax.diffusion.prediction import denoised_from_score
from lartpc_jax.diffusion.samplers.common import (
  builder,
  finish,
  log_snr_tables,
  need_key,
  normal_like,
  scan,
  step_keys,
)
from lartpc_jax.diffusion.sde import SDE


@builder
def ddim(sde: SDE, times: np.ndarray, *, remat: bool = False, eta: float = 0.0
         ) -> Callable:
  """DDIM (Song, Meng & Ermon 2021, eq. 12). One network evaluation a step; order 1.

  eta = 0 (default) is deterministic and needs no key; eta = 1 is ancestral sampling (eq. 16). Raises
  ValueError if eta < 0.
  """
  if eta < 0.0:
    raise ValueError(f"ddim needs eta >= 0; got {eta}.")
  if eta:
    return _ddim_with_noise(sde, times, eta, remat)

  def sample(score_fn, x, key=None):
    grid, alpha, std, _ = log_snr_tables(sde, times, x.dtype)
    denoised_fn = denoised_from_score(sde, score_fn)

    def step(x, inputs):
      t, alpha_next, ratio, alpha_t = inputs
      denoised = denoised_fn(x, jnp.full(x.shape[:1], t))
      return alpha_next * denoised + ratio * (x - alpha_t * denoised), None

    inputs = (grid[:-1], alpha[1:], std[1:] / std[:-1], alpha[:-1])
    x = scan(step, x, inputs, remat=remat)
    return finish(sde, score_fn, x, grid[-1])
  return sample


def _ddim_with_noise(sde: SDE, times: np.ndarray, eta: float, remat: bool) -> Callable:
  def sample(score_fn, x, key=None):
    keys = step_keys(need_key(key, "ddim"), len(times) - 1)
    grid, alpha, std, _ = log_snr_tables(sde, times, x.dtype)
    denoised_fn = denoised_from_score(sde, score_fn)
    # variance of x_s given x_t and x_0 times eta^2, never above the variance that x_s may have
    bridge = std[1:] ** 2 * (1.0 - (alpha[:-1] * std[1:] / (alpha[1:] * std[:-1])) ** 2)
    added = jnp.minimum(eta * jnp.sqrt(jnp.maximum(bridge, 0.0)), std[1:])

    def step(x, inputs):
      key, t, alpha_t, std_t, alpha_next, kept, noise_std = inputs
      denoised = denoised_fn(x, jnp.full(x.shape[:1], t))
      noise = (x - alpha_t * denoised) / std_t
      return alpha_next * denoised + kept * noise + noise_std * normal_like(key, x), None

    kept = jnp.sqrt(std[1:] ** 2 - added**2)
    x = scan(step, x, (keys, grid[:-1], alpha[:-1], std[:-1], alpha[1:], kept, added), remat=remat)
    return finish(sde, score_fn, x, grid[-1])
  return sample


def _multistep_weights(h, dtype):
  """Extrapolation weight 1 / (2 r), r = h_{i-1} / h_i; the first step has no history and is of order 1."""
  return jnp.concatenate([jnp.zeros(1, dtype), 0.5 * h[1:] / h[:-1]])


@builder
def dpm_solver_pp_2m(sde: SDE, times: np.ndarray, *, remat: bool = False) -> Callable:
  """DPM-Solver++(2M), data prediction (Lu et al. 2022b, alg. 2). One network evaluation a step; order 2.
  Needs no key."""

  def sample(score_fn, x, key=None):
    grid, alpha, std, lam = log_snr_tables(sde, times, x.dtype)
    denoised_fn = denoised_from_score(sde, score_fn)
    h = jnp.diff(lam)

    def step(carry, inputs):
      x, previous = carry
      t, w, ratio, gain = inputs
      denoised = denoised_fn(x, jnp.full(x.shape[:1], t))
      mixed = (1.0 + w) * denoised - w * previous
      return (ratio * x + gain * mixed, denoised), None

    inputs = (grid[:-1], _multistep_weights(h, x.dtype), std[1:] / std[:-1], -alpha[1:] * jnp.expm1(-h))
    x, _ = scan(step, (x, jnp.zeros_like(x)), inputs, remat=remat)
    return finish(sde, score_fn, x, grid[-1])
  return sample


@builder
def sde_dpm_solver_pp_2m(sde: SDE, times: np.ndarray, *, remat: bool = False,
                         eta: float = 1.0) -> Callable:
  """SDE-DPM-Solver++(2M) (Lu et al. 2022b, App. B): the reverse SDE in semi-linear form. One network
  evaluation a step.

  Exact for a constant denoiser; weak order 2 for Gaussian data, by the recursion of its variance. Needs a
  key. eta scales the noise: its square is the share of the SDE's noise rate, 1 the reverse SDE, and eta -> 0
  `dpm_solver_pp_2m`. Raises ValueError if eta is not positive.
  """
  if not eta > 0.0:
    raise ValueError(f"sde_dpm_solver_pp_2m needs eta > 0 (dpm_solver_pp_2m is without noise); got {eta}.")
  rate = eta**2

  def sample(score_fn, x, key=None):
    keys = step_keys(need_key(key, "sde_dpm_solver_pp_2m"), len(times) - 1)
    grid, alpha, std, lam = log_snr_tables(sde, times, x.dtype)
    denoised_fn = denoised_from_score(sde, score_fn)
    h = jnp.diff(lam)

    def step(carry, inputs):
      x, previous = carry
      key, t, w, ratio, gain, noise_std = inputs
      denoised = denoised_fn(x, jnp.full(x.shape[:1], t))
      mixed = (1.0 + w) * denoised - w * previous
      return (ratio * x + gain * mixed + noise_std * normal_like(key, x), denoised), None

    inputs = (keys, grid[:-1], _multistep_weights(h, x.dtype), std[1:] / std[:-1] * jnp.exp(-rate * h),
              -alpha[1:] * jnp.expm1(-(1.0 + rate) * h), std[1:] * jnp.sqrt(-jnp.expm1(-2.0 * rate * h)))
    x, _ = scan(step, (x, jnp.zeros_like(x)), inputs, remat=remat)
    return finish(sde, score_fn, x, grid[-1])
  return sample


@builder
def heun(sde: SDE, times: np.ndarray, *, remat: bool = False, churn: float = 0.0,
         churn_min: float = 0.0, churn_max: float = float("inf"), churn_noise: float = 1.0) -> Callable:
  """Heun's method of Karras et al. 2022 (alg. 2) in y = x / alpha and sigma = std / alpha. Two network
  evaluations a step.

  Order 2 with churn = 0, which needs no key. churn (their S_churn) raises the noise of every step by a factor
  of 1 + min(churn / steps, sqrt(2) - 1) where churn_min <= sigma <= churn_max, with noise of standard
  deviation churn_noise. Noise never goes above that of times[0]. Raises ValueError if churn < 0.
  """
  if churn < 0.0:
    raise ValueError(f"heun needs churn >= 0; got {churn}.")

  def sample(score_fn, x, key=None):
    num = len(times) - 1
    keys = step_keys(need_key(key, "heun"), num) if churn else jnp.zeros(num, x.dtype)
    grid, alpha, std, _ = log_snr_tables(sde, times, x.dtype)
    sigma = std / alpha
    gamma = jnp.where((sigma >= churn_min) & (sigma <= churn_max), min(churn / num, 2**0.5 - 1.0), 0.0)[:-1]
    raised = jnp.minimum(sigma[:-1] * (1.0 + gamma), sigma[0]) if churn else sigma[:-1]
    # the score is asked at times: those of the raised noise levels, by interpolation of log sigma
    t_raised = jnp.interp(jnp.log(raised), jnp.log(sigma[::-1]), grid[::-1]) if churn else grid[:-1]
    if churn:  # the level that belongs to the interpolated time, so that network and state agree exactly
      alpha_raised, std_raised = sde.marginal_prob(jnp.ones_like(t_raised), t_raised)
      raised = jnp.maximum(std_raised / alpha_raised, sigma[:-1])
    else:
      alpha_raised = alpha[:-1]
    denoised_fn = denoised_from_score(sde, score_fn)
    slope = lambda y, t, alpha, sigma: (y - denoised_fn(alpha * y, jnp.full(y.shape[:1], t))) / sigma

    def step(y, inputs):
      key, s, t_hat, a_hat, s_hat, t_next, a_next, s_next = inputs
      if churn:
        y = y + churn_noise * jnp.sqrt(jnp.maximum(s_hat**2 - s**2, 0.0)) * normal_like(key, y)
      first = slope(y, t_hat, a_hat, s_hat)
      guess = y + (s_next - s_hat) * first
      return y + (s_next - s_hat) * 0.5 * (first + slope(guess, t_next, a_next, s_next)), None

    inputs = (keys, sigma[:-1], t_raised, alpha_raised, raised, grid[1:], alpha[1:], sigma[1:])
    y = scan(step, x / alpha[0], inputs, remat=remat)
    return finish(sde, score_fn, alpha[-1] * y, grid[-1])
  return sample
