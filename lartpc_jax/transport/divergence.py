"""Sinkhorn divergence between two sets of equal weights, from their costs, by ott-jax; for evaluation."""
import contextlib
import functools

import jax
import jax.numpy as jnp

from lartpc_jax.transport.potentials import numpy_promotion


@functools.partial(jax.jit, static_argnames=("max_iterations",))
def _entropic_value(cost, epsilon, threshold, max_iterations):
  from ott.geometry import epsilon_scheduler, geometry
  from ott.problems.linear import linear_problem
  from ott.solvers.linear import sinkhorn
  with numpy_promotion():
    start = jnp.maximum(cost.max() / epsilon, 1.0)
    schedule = epsilon_scheduler.Epsilon(target=epsilon, init=start, decay=0.7)
    solver = sinkhorn.Sinkhorn(threshold=threshold, max_iterations=max_iterations)
    out = solver(linear_problem.LinearProblem(geometry.Geometry(cost, epsilon=schedule)))
    plan = jnp.exp((out.f[:, None] + out.g[None, :] - cost) / epsilon)
    errors = (jnp.abs(plan.sum(i) - 1.0 / cost.shape[1 - i]).sum() for i in (0, 1))
    return out.f.mean() + out.g.mean(), jnp.maximum(*errors)


def sinkhorn_divergence(cost_xy, cost_xx, cost_yy, *, epsilon: float, threshold: float = 1e-3,
                        max_iterations: int = 5000, double: bool = False):
  """Sinkhorn divergence of two sets with equal weights: OT_eps(x, y) - OT_eps(x, x) / 2 - OT_eps(y, y) / 2.

  Feydy et al. 2019, eq. 3, on ott-jax, annealed from the largest cost down to epsilon.

  Args:
    cost_xy: costs [n m] between the sets.
    cost_xx: costs [n n] within the first.
    cost_yy: costs [m m] within the second.
    epsilon: regularisation, in the unit of the costs.
    threshold: L1 error of the marginals at which to stop.
    max_iterations: of each of the three problems.
    double: computes in float64; slower, for values that agree to rounding (with a threshold such as 1e-8).
  Returns:
    The divergence, and the worst L1 marginal error of the three: far above `threshold`, the value is not
    converged.
  Raises:
    ValueError: if epsilon is not positive.
  """
  if not epsilon > 0.0:
    raise ValueError(f"sinkhorn_divergence needs epsilon > 0; got {epsilon}.")
  with jax.enable_x64(True) if double else contextlib.nullcontext():
    dtype = jnp.float64 if double else jnp.float32
    costs = (jnp.asarray(cost, dtype) for cost in (cost_xy, cost_xx, cost_yy))
    parts = [_entropic_value(cost, epsilon, threshold, max_iterations) for cost in costs]
  (xy, error_xy), (xx, error_xx), (yy, error_yy) = ((float(v), float(e)) for v, e in parts)
  return xy - 0.5 * (xx + yy), max(error_xy, error_xx, error_yy)
