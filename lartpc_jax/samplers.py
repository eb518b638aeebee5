"""Reverse-time samplers: single-device, un-jitted `lax.scan` loops over a grid of times.

Every builder returns `sample(score_fn, x) -> x0`, where x [b ...] is a draw of the prior at times[0]. The ones here are
deterministic: the same x gives the same x0, differentiable (forward and reverse mode) in x and in whatever score_fn closes
over. With `remat`, reverse mode keeps one state per step instead of every network activation. The last step lands on the
denoised image at times[-1].
"""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.score import denoised_from_score
from lartpc_jax.sde import SDE, alpha_std


def _check_times(times: np.ndarray) -> np.ndarray:
  times = np.asarray(times, np.float32)
  if times.ndim != 1 or len(times) < 2 or not np.all(np.diff(times) < 0) or times[-1] <= 0 or times[0] > 1:
    raise ValueError(f"times must fall strictly from at most 1 to above 0, two at least; got {times}.")
  return times


def _log_snr_tables(sde: SDE, times: np.ndarray, dtype):
  """t, alpha, std and lambda = log(alpha / std) at each time, as constants in the precision of the state."""
  t = jnp.asarray(times, dtype)
  alpha, std = alpha_std(sde, t)
  return t, alpha, std, jnp.log(alpha / std)


def _scan(step: Callable, carry, inputs, remat: bool):
  if remat:
    step = jax.checkpoint(step, prevent_cse=False)  # safe inside scan
  return jax.lax.scan(step, carry, inputs)[0]


def ddim(sde: SDE, times: np.ndarray, *, remat: bool = False) -> Callable:
  """Deterministic DDIM (Song, Meng & Ermon 2021, eq. 12 with eta = 0). One network evaluation a step; order 1."""
  times = _check_times(times)

  def sample(score_fn, x):
    grid, alpha, std, _ = _log_snr_tables(sde, times, x.dtype)
    denoised_fn = denoised_from_score(sde, score_fn)

    def step(x, inputs):
      t, alpha_next, ratio, alpha_t = inputs
      denoised = denoised_fn(x, jnp.full(x.shape[:1], t))
      return alpha_next * denoised + ratio * (x - alpha_t * denoised), None

    inputs = (grid[:-1], alpha[1:], std[1:] / std[:-1], alpha[:-1])
    x = _scan(step, x, inputs, remat)
    return denoised_fn(x, jnp.full(x.shape[:1], grid[-1]))
  return sample


def dpm_solver_pp_2m(sde: SDE, times: np.ndarray, *, remat: bool = False) -> Callable:
  """DPM-Solver++(2M), data prediction (Lu et al. 2022b, alg. 2). One network evaluation a step; order 2."""
  times = _check_times(times)

  def sample(score_fn, x):
    grid, alpha, std, lam = _log_snr_tables(sde, times, x.dtype)
    denoised_fn = denoised_from_score(sde, score_fn)
    h = jnp.diff(lam)
    # extrapolation weight 1 / (2 r), r = h_{i-1} / h_i; the first step has no history and is of order 1
    weight = jnp.concatenate([jnp.zeros(1, x.dtype), 0.5 * h[1:] / h[:-1]])

    def step(carry, inputs):
      x, previous = carry
      t, w, ratio, gain = inputs
      denoised = denoised_fn(x, jnp.full(x.shape[:1], t))
      mixed = (1.0 + w) * denoised - w * previous
      return (ratio * x + gain * mixed, denoised), None

    inputs = (grid[:-1], weight, std[1:] / std[:-1], -alpha[1:] * jnp.expm1(-h))
    x, _ = _scan(step, (x, jnp.zeros_like(x)), inputs, remat)
    return denoised_fn(x, jnp.full(x.shape[:1], grid[-1]))
  return sample


SAMPLERS = {"ddim": ddim, "dpm_solver_pp_2m": dpm_solver_pp_2m}
NUM_EXTRA_EVALUATIONS = 1  # both end on the denoised image at times[-1]: one evaluation more than steps


def make_sampler(name: str, sde: SDE, times: np.ndarray, *, remat: bool = False) -> Callable:
  """The sampler called `name`. Raises ValueError naming it and the allowed set."""
  if name not in SAMPLERS:
    raise ValueError(f"Unknown sampler {name!r}; choose from {sorted(SAMPLERS)}.")
  return SAMPLERS[name](sde, times, remat=remat)
