"""General-purpose solvers of the probability-flow ODE (Song et al. 2021, eq. 13): fixed steps on times [n +
1], and adaptive ones."""
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from lartpc_jax.diffusion.ode import METHODS, runge_kutta_step, solve_adaptive
from lartpc_jax.diffusion.samplers.common import builder, finish, scan
from lartpc_jax.diffusion.sde import SDE, probability_flow


@builder
def probability_flow_ode(sde: SDE, times: np.ndarray, *, remat: bool = False,
                         method: str = "heun") -> Callable:
  """Fixed steps of an explicit Runge-Kutta method in t: "euler" (1 evaluation a step), "heun" (2) or "rk4"
  (4).

  Deterministic, of order 1, 2 and 4. Raises ValueError naming an unknown method and the allowed set.
  """
  if method not in METHODS:
    raise ValueError(f"Unknown method {method!r}; choose from {sorted(METHODS)}.")

  def sample(score_fn, x, key=None):
    grid, flow = jnp.asarray(times, x.dtype), probability_flow(sde, score_fn)
    velocity = lambda x, t: flow(x, jnp.full(x.shape[:1], t))
    step = lambda x, inputs: (runge_kutta_step(velocity, x, *inputs, method), None)
    return finish(sde, score_fn, scan(step, x, (grid[:-1], jnp.diff(grid)), remat=remat), grid[-1])
  return sample


@builder
def probability_flow_adaptive(sde: SDE, times: np.ndarray, *, remat: bool = False,
                              rtol: float = 1e-3, atol: float = 1e-3, count: bool = False) -> Callable:
  """Adaptive Dormand-Prince 5(4) from times[0] to times[-1] (Song et al. 2021, App. D.4: RK45 at 1e-5).

  The times between matter not, except for the size of the first step. Differentiable in forward mode only.
  With `count`, sample returns (x0, number of network evaluations). Raises ValueError for remat, as the number
  of steps is not known beforehand.
  """
  if remat:
    raise ValueError("probability_flow_adaptive takes no remat: its steps are not known beforehand.")
  if not (rtol > 0.0 and atol > 0.0):
    raise ValueError(f"probability_flow_adaptive needs rtol > 0 and atol > 0; got {rtol=}, {atol=}.")

  def sample(score_fn, x, key=None):
    grid, flow = jnp.asarray(times, x.dtype), probability_flow(sde, score_fn)
    velocity = lambda x, t: flow(x, jnp.full(x.shape[:1], t))
    x, evaluations = solve_adaptive(velocity, x, grid[0], grid[-1], grid[1] - grid[0], rtol=rtol, atol=atol)
    x0 = finish(sde, score_fn, x, grid[-1])
    return (x0, evaluations + 1) if count else x0
  return sample
