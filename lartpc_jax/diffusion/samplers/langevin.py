"""Langevin dynamics: at one noise level, annealed over all, and as the corrector of predictor-corrector
sampling, on times [n + 1]."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.diffusion.samplers.common import (
  builder,
  finish,
  log_snr_tables,
  need_key,
  normal_like,
  norms,
  scan,
  step_keys,
)
from lartpc_jax.diffusion.samplers.stochastic import PREDICTORS
from lartpc_jax.diffusion.sde import SDE, alpha_std, batch_mul

MAX_EXCESS = 0.3  # of the standard deviation that annealed Langevin dynamics may leave


def _langevin_step(score_fn, x, t, step_size, key):
  """x + step score / 2 + sqrt(step) noise (Song & Ermon 2019, eq. 4); step_size [] in units of x squared."""
  return x + 0.5 * step_size * score_fn(x, jnp.full(x.shape[:1], t)) + jnp.sqrt(step_size) * normal_like(
      key, x)


def _check_scale(step_scale: float) -> None:
  if not step_scale > 0.0:
    raise ValueError(f"Langevin dynamics needs step_scale > 0; got {step_scale}.")


def annealed_std(sde: SDE, times: np.ndarray, step_scale: float, num_corrections: int) -> float:
  """Standard deviation at which normal data of variance 1 arrive at times[-1], over the right one: 1 if
  annealing keeps up.

  With sigma = std / alpha a step of size step_scale std^2 takes the variance v of x / alpha to
  (1 - step_scale sigma^2 / (2 (1 + sigma^2)))^2 v + step_scale sigma^2, by the score -x / (alpha^2 + std^2).
  """
  with jax.ensure_compile_time_eval():  # a constant also where a caller builds the sampler under jit
    alpha, std = (np.asarray(a, np.float64) for a in alpha_std(sde, jnp.asarray(times)))
  squares = (std / alpha) ** 2
  variance = 1.0 + squares[0]
  for square in np.repeat(squares, num_corrections):
    variance = (1.0 - 0.5 * step_scale * square / (1.0 + square)) ** 2 * variance + step_scale * square
  return float(np.sqrt(variance / (1.0 + squares[-1])))


@builder
def langevin(sde: SDE, times: np.ndarray, *, remat: bool = False, step_scale: float = 0.1
             ) -> Callable:
  """Plain Langevin dynamics at the last noise level alone (Song & Ermon 2019, eq. 4): len(times) - 1 steps.

  A step is step_scale times the variance of that level. Its stationary law is the marginal at times[-1] as
  step_scale goes to 0; started from the prior it hardly ever gets there, which annealing cures. Needs a key.
  """
  _check_scale(step_scale)

  def sample(score_fn, x, key=None):
    keys = step_keys(need_key(key, "langevin"), len(times) - 1)
    grid, _, std, _ = log_snr_tables(sde, times, x.dtype)
    step = lambda x, key: (_langevin_step(score_fn, x, grid[-1], step_scale * std[-1] ** 2, key), None)
    return finish(sde, score_fn, scan(step, x, keys, remat=remat), grid[-1])
  return sample


@builder
def annealed_langevin(sde: SDE, times: np.ndarray, *, remat: bool = False,
                      step_scale: float = 0.5, num_corrections: int = 1) -> Callable:
  """Annealed Langevin dynamics (Song & Ermon 2019, alg. 1): num_corrections steps at each noise level, from
  times[0] down.

  A step is step_scale times the variance of its level (their alpha_i = epsilon sigma_i^2 / sigma_L^2).
  Between levels the state is scaled by the ratio of alphas, which is 1 for ve and edm. Needs a key.

  Raises:
    ValueError: for num_corrections below 1, or if the steps are too few or too small for the state to follow
      the levels: if normal data of variance 1 would come out wider by more than MAX_EXCESS.
  """
  _check_scale(step_scale)
  if num_corrections < 1:
    raise ValueError(f"annealed_langevin needs num_corrections >= 1; got {num_corrections}.")
  if not (ratio := annealed_std(sde, times, step_scale, num_corrections)) <= 1.0 + MAX_EXCESS:
    raise ValueError(
        f"annealed_langevin does not follow its {len(times)} noise levels with {step_scale=} and "
        f"{num_corrections=}: data of standard deviation 1 would come out with {ratio:.2g}. Give more of "
        "them (of evaluations), a smaller highest level, or a larger step_scale, 1 at most.")

  def sample(score_fn, x, key=None):
    keys = step_keys(need_key(key, "annealed_langevin"), len(times))
    grid, alpha, std, _ = log_snr_tables(sde, times, x.dtype)

    def step(x, inputs):
      key, t, size, ratio = inputs
      correct = lambda x, key: (_langevin_step(score_fn, x, t, size, key), None)
      return jax.lax.scan(correct, ratio * x, step_keys(key, num_corrections))

    ratio = jnp.concatenate([jnp.ones(1, x.dtype), alpha[1:] / alpha[:-1]])
    x = scan(step, x, (keys, grid, step_scale * std**2, ratio), remat=remat)
    return finish(sde, score_fn, x, grid[-1])
  return sample


@builder
def predictor_corrector(sde: SDE, times: np.ndarray, *, remat: bool = False,
                        predictor: str = "reverse_diffusion", num_corrections: int = 1,
                        snr: float = 0.16) -> Callable:
  """Predictor-corrector sampling (Song et al. 2021, alg. 1 with algs. 4 and 5): a predictor step, then
  Langevin steps.

  The corrector's step is 2 a (snr |noise| / |score|)^2, norms averaged over the batch, so an example depends
  on its batch (with one key an example, its own norms);
  a = 1 for ve and edm, for the others the share of signal kept over the step, squared (their alpha_i).
  Evaluations a step: 1 + num_corrections. Needs a key.

  Raises:
    ValueError: naming an unknown predictor, or snr or num_corrections out of range.
  """
  if predictor not in PREDICTORS:
    raise ValueError(f"Unknown predictor {predictor!r}; choose from {sorted(PREDICTORS)}.")
  if num_corrections < 1 or not snr > 0.0:
    raise ValueError(
        f"predictor_corrector needs num_corrections >= 1 and snr > 0; got {num_corrections=}, {snr=}.")

  def sample(score_fn, x, key=None):
    keys = step_keys(need_key(key, "predictor_corrector"), len(times) - 1)
    predict, inputs = PREDICTORS[predictor](sde, times, score_fn, x.dtype)
    grid, alpha, _, _ = log_snr_tables(sde, times, x.dtype)

    def correct(x, t, kept, key):
      noise, score = normal_like(key, x), score_fn(x, jnp.full(x.shape[:1], t))
      of_noise, of_score = norms(noise), norms(score)
      if not key.ndim:
        of_noise, of_score = (jnp.broadcast_to(jnp.mean(norm), norm.shape) for norm in (of_noise, of_score))
      size = 2.0 * kept * (snr * of_noise / of_score) ** 2
      return x + batch_mul(size, score) + batch_mul(jnp.sqrt(2.0 * size), noise)

    def step(x, inputs):
      key, inputs, t_next, kept = inputs
      key, *rest = step_keys(key, 1 + num_corrections)
      x = predict(x, key, inputs)
      for k in rest:
        x = correct(x, t_next, kept, k)
      return x, None

    kept = (alpha[:-1] / alpha[1:]) ** 2
    x = scan(step, x, (keys, inputs, grid[1:], kept), remat=remat)
    return finish(sde, score_fn, x, grid[-1])
  return sample
