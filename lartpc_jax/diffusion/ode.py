"""Explicit Runge-Kutta solvers of dy/dt = velocity(y, t) for pytrees: fixed steps, and adaptive ones."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

# Explicit Runge-Kutta methods: nodes c, rows of a, weights b (Hairer, Norsett & Wanner 1993, sec. II.1).
METHODS = {
    "euler": ((0.0,), ((),), (1.0,)),
    "heun": ((0.0, 1.0), ((), (1.0,)), (0.5, 0.5)),
    "rk4": ((0.0, 0.5, 0.5, 1.0), ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}
ORDERS = {"euler": 1, "heun": 2, "rk4": 4}
# Dormand & Prince 1980, RK5(4)7M: nodes, rows, and weights of the difference of the two solutions. The last
# row is the fifth-order solution, so its evaluation is the first one of the next step.
DOPRI_C = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
DOPRI_A = ((), (1 / 5,), (3 / 40, 9 / 40), (44 / 45, -56 / 15, 32 / 9),
           (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
           (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
           (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84))
DOPRI_E = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
SAFETY, SMALLEST, LARGEST = 0.9, 0.2, 5.0  # factors of the step size (Hairer et al. 1993, sec. II.4)


def runge_kutta_step(velocity: Callable, y, t, dt, method: str):
  """One step of dy/dt = velocity(y, t) for a pytree y; t and dt are scalars."""
  nodes, rows, weights = METHODS[method]
  slopes: list = []
  for c, row in zip(nodes, rows):
    slopes.append(velocity(_advance(y, dt, row, slopes), t + c * dt))
  return _advance(y, dt, weights, slopes)


def _advance(y, dt, weights, slopes):
  for w, slope in zip(weights, slopes):
    if w:
      y = jax.tree.map(lambda a, k, w=w: a + (w * dt) * k, y, slope)
  return y


def solve_adaptive(velocity: Callable, y, t_start, t_end, first_step, *, rtol: float, atol: float,
                   max_steps: int = 10_000):
  """Solves dy/dt = velocity(y, t) from t_start to t_end by Dormand-Prince 5(4): y, number of evaluations []
  int32.

  The error is a root mean square over all of y (Hairer et al. 1993, eq. II.4.11), so examples of a batch
  share their steps. A `lax.while_loop`: differentiable in forward mode only. Gives NaN if max_steps do not
  suffice.
  """
  direction = jnp.sign(t_end - t_start)

  def body(state):
    y, slope, t, size, count, _ = state
    dt = direction * jnp.minimum(size, jnp.abs(t_end - t))
    slopes = [slope]
    for c, row in zip(DOPRI_C[1:], DOPRI_A[1:]):
      stage = _advance(y, dt, row, slopes)
      slopes.append(velocity(stage, t + c * dt))
    error = jax.tree.map(jnp.zeros_like, y)
    error = _advance(error, dt, DOPRI_E, slopes)
    scaled = jax.tree.map(lambda e, a, b: e / (atol + rtol * jnp.maximum(jnp.abs(a), jnp.abs(b))), error, y,
                          stage)
    leaves = jax.tree.leaves(scaled)
    norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in leaves) / sum(leaf.size for leaf in leaves))
    accepted = norm <= 1.0
    factor = jnp.clip(SAFETY * jnp.maximum(norm, 1e-10) ** -0.2, SMALLEST, LARGEST)
    factor = jnp.where(jnp.isfinite(norm), factor, SMALLEST)  # a step that overflowed
    pick = lambda new, old: jax.tree.map(lambda a, b: jnp.where(accepted, a, b), new, old)
    left = jnp.abs(t_end - t) - jnp.abs(dt)
    t = jnp.where(accepted, jnp.where(left <= 0.0, t_end, t + dt), t)
    return pick(stage, y), pick(slopes[-1], slope), t, jnp.abs(dt) * factor, count + 6, norm

  def unfinished(state):
    return (state[2] != t_end) & (state[4] < 6 * max_steps)

  state = (y, velocity(y, t_start), t_start, jnp.abs(first_step), jnp.int32(1), jnp.zeros_like(t_start))
  y, _, t, _, count, _ = jax.lax.while_loop(unfinished, body, state)
  return jax.tree.map(lambda a: jnp.where(t == t_end, a, jnp.nan), y), count
