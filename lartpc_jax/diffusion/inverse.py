"""Inverse problems: samples of p(x_0 | y) for a measurement y of a clean state, by any sampler of the prior.

Guidance of the score by an approximation of p(y | x_t), which needs the spread of x_0 given x_t. Where that
spread is the true one (Gaussian data and "moments"; unit normal data and "unit"), so is the guided score.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.diffusion.prediction import denoised_from_score
from lartpc_jax.diffusion.sde import SDE, alpha_std, batch_mul
from lartpc_jax.types import ScoreFn

COVARIANCES = ("moments", "unit", "none")


class Measurement(NamedTuple):
  """value = measure(x_0) + noise of standard deviation 1 / weight; what has weight 0 is not measured."""
  measure: Callable                # x_0 [b ...] -> [b m ...], differentiable; each example by itself
  value: Float[Array, "b ..."]     # [b m ...]
  weight: Float[Array, "b ..."]    # [b m ...], at least 0


def measurement_guidance(sde: SDE, score_fn: ScoreFn, known: Measurement, *, covariance: str = "moments",
                         num_iterations: int = 3, unit: float = 1.0, inflation: float = 0.0) -> ScoreFn:
  """score_fn(x, t) of states given a measurement: the prior's plus grad_x log p(y | x_t).

  p(y | x_t) is taken as normal about measure(D), with D the denoised state and `measure` linear about it:
  grad = D'^T A^T (R + A C A^T)^-1 (y - measure(D)), R the noise and C the covariance of x_0 given x_t. With
  sigma = std / alpha it is, by name:

  - moments: sigma^2 D', which Tweedie's formula makes the true one of any data (Rozet et al. 2024, arXiv
    2405.13712; Boys et al. 2023, arXiv 2310.06721).
  - unit: sigma^2 unit^2 / (sigma^2 + unit^2), that of independent normal data of deviation `unit` (PiGDM,
    Song et al. 2023, ICLR).
  - none: 0, diffusion posterior sampling (Chung et al. 2023, arXiv 2209.14687). It overstates what noisy
    states know, and diverges for precise measurements.

  Args:
    sde: of the score.
    score_fn: of the prior.
    known: the measurement.
    covariance: see above.
    num_iterations: of conjugate gradients; each is one gradient of the denoiser ("moments") or of `measure`
      alone ("unit").
    unit: standard deviation of the data for "unit".
    inflation: of a curved `measure`, whose slope is wrong over the spread of x_0: the noise is raised, in
      quadrature, by that share of the spread sigma / sqrt(1 + sigma^2) of unit normal data. It fades with the
      noise level. Less precise measurements also need fewer iterations; 0 is exact where `measure` is linear.
  Raises:
    ValueError: naming an unknown covariance, fewer than one iteration, or a negative inflation.
  """
  if covariance not in COVARIANCES:
    raise ValueError(f"Unknown covariance {covariance!r}; choose from {list(COVARIANCES)}.")
  if num_iterations < 1:
    raise ValueError(f"num_iterations must be at least 1; got {num_iterations}.")
  if not inflation >= 0.0:
    raise ValueError(f"inflation must be at least 0; got {inflation}.")
  denoised_fn = denoised_from_score(sde, score_fn)

  def guided(x, t):
    alpha, std = alpha_std(sde, t)
    sigma = std / alpha
    denoised, pull_denoiser = jax.vjp(lambda x: denoised_fn(x, t), x)
    found, push_measure = jax.linearize(known.measure, denoised)
    pull_measure = jax.linear_transpose(push_measure, denoised)
    raised = inflation**2 * sigma**2 / (1.0 + sigma**2)
    weight = known.weight / jnp.sqrt(1.0 + batch_mul(raised, known.weight**2))
    pull = lambda v: pull_measure(weight * v)[0]            # A^T R^-1/2
    push = lambda v: weight * push_measure(v)               # R^-1/2 A
    # D' with respect to x / alpha is alpha times that with respect to x, and symmetric.
    moment = lambda v: batch_mul(sigma**2 * alpha, pull_denoiser(v)[0])
    spread = {"moments": moment, "none": jnp.zeros_like,
              "unit": lambda v: batch_mul(sigma**2 * unit**2 / (sigma**2 + unit**2), v)}[covariance]
    residual = weight * (known.value - found)
    solved = residual if covariance == "none" else conjugate_gradients(
        lambda v: v + push(spread(pull(v))), residual, num_iterations=num_iterations)
    gradient = pull_denoiser(pull(solved))[0]
    prior = batch_mul(1.0 / std**2, batch_mul(alpha, denoised) - x)
    return prior + gradient
  return guided


def conjugate_gradients(apply: Callable, b: Float[Array, "b ..."], *,
                        num_iterations: int) -> Float[Array, "b ..."]:
  """x [b ...] with apply(x) = b for each example, after so many iterations from 0 (Hestenes & Stiefel 1952).

  `apply` must be linear, and symmetric and positive for each example; an example along whose direction it is
  not (a learned denoiser's derivative need not be) keeps what it has. One that is solved stays.
  """
  dot = lambda a, b: jnp.sum(a * b, axis=tuple(range(1, a.ndim)))
  over = lambda a, b: jnp.where(b > 0.0, a / jnp.where(b > 0.0, b, 1.0), 0.0)

  def step(carry, _):
    x, r, p, square = carry
    image = apply(p)
    length = over(square, dot(p, image))
    x, r = x + batch_mul(length, p), r - batch_mul(length, image)
    new = dot(r, r)
    # stopped examples keep p = 0 from here on
    p = batch_mul((length > 0.0).astype(p.dtype), r + batch_mul(over(new, square), p))
    return (x, r, p, new), None

  return jax.lax.scan(step, (jnp.zeros_like(b), b, b, dot(b, b)), None, length=num_iterations)[0][0]
