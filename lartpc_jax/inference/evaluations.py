"""What an inference costs in evaluations of the network, counted from its settings."""
from typing import NamedTuple

from lartpc_jax.inference.settings import FitSettings

PUBLISHED = 12_480  # an event: 39 steps of 32 draws of 10 DDIM steps, each with its gradient


class Evaluations(NamedTuple):
  """Of one event."""
  descent: int    # with the gradient
  report: int     # without: distances at start and end
  candidates: int  # without: drawn once for all events


def count_evaluations(settings: FitSettings, *, num_views: int, num_starts: int, a_draw: int, a_candidate: int
                      ) -> Evaluations:
  """Evaluations of the network for one event.

  Args:
    settings: of the inference.
    num_views: each has draws of its own.
    num_starts: hypotheses refined; a single one skips the first stage.
    a_draw: evaluations of the sampler of the descent for one draw.
    a_candidate: those of the sampler of the candidates; 0 without candidates.
  """
  first, second, report = settings.first, settings.second, settings.report
  descent = second.num_steps * second.num_draws
  if num_starts > 1 or not settings.skips_first:
    descent += num_starts * first.num_steps * first.num_draws
  judged = (1 + report.judges_start) * report.num_draws
  return Evaluations(descent * num_views * a_draw, judged * num_views * a_draw,
                     settings.screening.num_candidates * num_views * a_candidate)
