"""Samplers of the reverse SDE: Euler-Maruyama, reverse diffusion, ancestral sampling. One network evaluation
a step.

Weak order 1, on times [n + 1]; all need a key. With a(s) = alpha_{s+1} / alpha_s and G^2 = std_{s+1}^2 -
a^2 std_s^2 the forward step between two times of the grid is exactly x_{s+1} = a x_s + G noise, for every
SDE of `lartpc_jax.diffusion.sde`.
"""
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
from lartpc_jax.diffusion.sde import SDE, batch_mul, reverse_drift


def _euler_maruyama(sde: SDE, times: np.ndarray, score_fn: Callable, dtype):
  grid = jnp.asarray(times, dtype)
  drift_fn = reverse_drift(sde, score_fn)

  def predict(x, key, inputs):
    t, dt = inputs  # dt < 0
    t = jnp.full(x.shape[:1], t)
    return x + dt * drift_fn(x, t) + batch_mul(sde.diffusion(t) * jnp.sqrt(-dt), normal_like(key, x))
  return predict, (grid[:-1], jnp.diff(grid))


def _reverse_diffusion(sde: SDE, times: np.ndarray, score_fn: Callable, dtype):
  grid, alpha, std, _ = log_snr_tables(sde, times, dtype)
  a = alpha[:-1] / alpha[1:]
  g2 = std[:-1] ** 2 - (a * std[1:]) ** 2

  def predict(x, key, inputs):
    t, a, g2 = inputs
    score = score_fn(x, jnp.full(x.shape[:1], t))
    return (2.0 - a) * x + g2 * score + jnp.sqrt(g2) * normal_like(key, x)
  return predict, (grid[:-1], a, jnp.maximum(g2, 0.0))


def _ancestral(sde: SDE, times: np.ndarray, score_fn: Callable, dtype):
  grid, alpha, std, _ = log_snr_tables(sde, times, dtype)
  a = alpha[:-1] / alpha[1:]
  g2 = jnp.maximum(std[:-1] ** 2 - (a * std[1:]) ** 2, 0.0)
  denoised_fn = denoised_from_score(sde, score_fn)

  def predict(x, key, inputs):
    t, from_x, from_x0, noise_std = inputs
    return from_x * x + from_x0 * denoised_fn(x, jnp.full(x.shape[:1], t)) + noise_std * normal_like(key, x)
  return predict, (grid[:-1], a * std[1:] ** 2 / std[:-1] ** 2, alpha[1:] * g2 / std[:-1] ** 2,
                   std[1:] * jnp.sqrt(g2) / std[:-1])


# name -> (sde, times, score_fn, dtype) -> predict(x, key, inputs[i]) -> x, inputs with one row a step
PREDICTORS = {
    "euler_maruyama": _euler_maruyama, "reverse_diffusion": _reverse_diffusion, "ancestral": _ancestral
}


def _sampler(name: str, sde: SDE, times: np.ndarray, remat: bool) -> Callable:

  def sample(score_fn, x, key=None):
    keys = step_keys(need_key(key, name), len(times) - 1)
    predict, inputs = PREDICTORS[name](sde, times, score_fn, x.dtype)
    step = lambda x, inputs: (predict(x, *inputs), None)
    x = scan(step, x, (keys, inputs), remat=remat)
    return finish(sde, score_fn, x, times[-1].astype(x.dtype))
  return sample


@builder
def euler_maruyama(sde: SDE, times: np.ndarray, *, remat: bool = False) -> Callable:
  """Euler-Maruyama on the reverse SDE (Song et al. 2021, eq. 6): the published setting, with 1000 uniform
  steps.

  Its noise is added at every step; the final denoised image takes the place of their "noise-free last step".
  """
  return _sampler("euler_maruyama", sde, times, remat)


@builder
def reverse_diffusion(sde: SDE, times: np.ndarray, *, remat: bool = False) -> Callable:
  """The reverse SDE discretised as the forward one: x_s = (2 - a) x + G^2 score + G noise (Song et al. 2021,
  eq. 46)."""
  return _sampler("reverse_diffusion", sde, times, remat)


@builder
def ancestral(sde: SDE, times: np.ndarray, *, remat: bool = False) -> Callable:
  """Ancestral sampling: draws of q(x_s | x_{s+1}, x_0 = denoised).

  DDPM (Ho et al. 2020, eq. 6 and 7) for the vp SDEs, Song et al. 2021, App. F, eq. 47 for ve; equal to `ddim`
  with eta = 1.
  """
  return _sampler("ancestral", sde, times, remat)
