"""Samplers, one signature: builder(sde, times [n + 1], ...) -> sample(score_fn, x, key=None) -> x0. See
`samplers.common`."""
from collections.abc import Callable

import numpy as np

from lartpc_jax.diffusion.ode import METHODS
from lartpc_jax.diffusion.samplers.common import start_from_noise
from lartpc_jax.diffusion.samplers.deterministic import ddim, dpm_solver_pp_2m, heun, sde_dpm_solver_pp_2m
from lartpc_jax.diffusion.samplers.langevin import annealed_langevin, langevin, predictor_corrector
from lartpc_jax.diffusion.samplers.ode import probability_flow_adaptive, probability_flow_ode
from lartpc_jax.diffusion.samplers.stochastic import ancestral, euler_maruyama, reverse_diffusion
from lartpc_jax.diffusion.sde import SDE

__all__ = ["NUM_EXTRA_EVALUATIONS", "SAMPLERS", "ancestral", "annealed_langevin", "ddim", "dpm_solver_pp_2m",
           "euler_maruyama", "heun", "langevin", "make_sampler", "num_evaluations", "num_steps_for",
           "predictor_corrector", "probability_flow_adaptive", "probability_flow_ode", "reverse_diffusion",
           "sde_dpm_solver_pp_2m", "start_from_noise"]

SAMPLERS = {
    "ancestral": ancestral, "annealed_langevin": annealed_langevin, "ddim": ddim,
    "dpm_solver_pp_2m": dpm_solver_pp_2m, "euler_maruyama": euler_maruyama, "heun": heun,
    "langevin": langevin, "predictor_corrector": predictor_corrector,
    "probability_flow_adaptive": probability_flow_adaptive, "probability_flow_ode": probability_flow_ode,
    "reverse_diffusion": reverse_diffusion, "sde_dpm_solver_pp_2m": sde_dpm_solver_pp_2m
}
# all end on the denoised image at times[-1]: one evaluation more than the steps need
NUM_EXTRA_EVALUATIONS = 1


def make_sampler(name: str, sde: SDE, times: np.ndarray, *, remat: bool = False, **knobs) -> Callable:
  """The sampler called `name`. Raises ValueError naming it and the allowed set."""
  if name not in SAMPLERS:
    raise ValueError(f"Unknown sampler {name!r}; choose from {sorted(SAMPLERS)}.")
  return SAMPLERS[name](sde, times, remat=remat, **knobs)


def num_evaluations(name: str, num_steps: int, *, num_corrections: int = 1,
                    method: str = "heun") -> int | None:
  """Network evaluations of a sampler on num_steps + 1 times; None where the run decides (it can tell:
  `count`)."""
  if name not in SAMPLERS:
    raise ValueError(f"Unknown sampler {name!r}; choose from {sorted(SAMPLERS)}.")
  if name == "probability_flow_adaptive":
    return None
  if name == "annealed_langevin":
    return (num_steps + 1) * num_corrections + NUM_EXTRA_EVALUATIONS
  per_step = {
      "heun": 2, "predictor_corrector": 1 + num_corrections, "probability_flow_ode": len(METHODS[method][2])
  }
  return num_steps * per_step.get(name, 1) + NUM_EXTRA_EVALUATIONS


def num_steps_for(name: str, evaluations: int, **knobs) -> int:
  """The most steps that `evaluations` network evaluations allow.

  Raises ValueError if they allow none, or the sampler decides itself.
  """
  steps = 0
  while (needed := num_evaluations(name, steps + 1, **knobs)) is not None and needed <= evaluations:
    steps += 1
  if not steps:
    raise ValueError(f"{evaluations} evaluations are no step of sampler {name!r}.")
  return steps
