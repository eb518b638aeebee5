"""Guidance: functions from score functions to score functions."""
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
