"""Guidance: functions from score functions to score functions."""
from collections.abc import Callable

import jax

from lartpc_jax.diffusion.sde import SDE, alpha_std, batch_mul
from lartpc_jax.types import ScoreFn


def classifier_free(conditional: ScoreFn, unconditional: ScoreFn, *, guidance_scale: float) -> ScoreFn:
  """Classifier-free guidance (Ho & Salimans 2022, eq. 6 with w = guidance_scale - 1).

  guidance_scale 1.0 is the conditional score, 0.0 the unconditional one; above 1 extrapolates. Needs a
  network trained with condition dropout.
  """
  def score_fn(x, t):
    free = unconditional(x, t)
    return free + guidance_scale * (conditional(x, t) - free)
  return score_fn


def by_bayes(score_fn: ScoreFn, log_likelihood: Callable, *, guidance_scale: float = 1.0) -> ScoreFn:
  """score + guidance_scale grad_x log p(y | x_t) (Song et al. 2021, eq. 14; Dhariwal & Nichol 2021, sec. 4).

  guidance_scale 1.0 is Bayes' rule: the score of p(x | y), if score and likelihood are those of p(x_t) and
  p(y | x_t). Above 1 the likelihood counts with that power; 0.0 is `score_fn` itself, bit for bit. It takes
  any score, a guided one too, and any sampler takes it.

  Args:
    score_fn: (x [b ...], t [b]) -> [b ...].
    log_likelihood: (x [b ...], t [b]) -> log p(y | x_t) [b] in nats, each of its own y; see `at_noise_level`.
    guidance_scale: see above.
  """
  if guidance_scale == 0.0:
    return score_fn

  def guided(x, t):
    # examples do not see each other, so the gradient of the sum is that of each
    slope = jax.grad(lambda x: log_likelihood(x, t).sum())(x)
    return score_fn(x, t) + guidance_scale * slope
  return guided


def at_noise_level(sde: SDE, log_density: Callable) -> Callable:
  """(x, t) -> log_density(x / alpha, std / alpha): what is known of states x_0 + sigma noise, for the states
  of any SDE."""
  def log_likelihood(x, t):
    alpha, std = alpha_std(sde, t)
    return log_density(batch_mul(1.0 / alpha, x), std / alpha)
  return log_likelihood
