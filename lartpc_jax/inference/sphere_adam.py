"""Adam on the chart of momenta: one second moment for the direction, one for the energy, one for the vertex
if fitted."""
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

_EPSILON = 1e-8
_VERTEX_MM = 15.0  # of a step of the vertex, where the direction turns by a radian: its lever arm


class SphereAdamState(NamedTuple):
  """Moments of the gradient of b hypotheses."""
  count: jax.Array        # steps taken
  mean: jax.Array         # [b 4], or [b 7] with a vertex
  square: jax.Array       # [b 2 or 3]: mean square per degree of freedom of direction, energy and vertex


def _tangential(vector: jax.Array, hypothesis: jax.Array) -> jax.Array:
  n = hypothesis[:, :3]
  direction = vector[:, :3] - jnp.sum(vector[:, :3] * n, axis=-1, keepdims=True) * n
  return jnp.concatenate([direction, vector[:, 3:]], axis=-1)


def _squares(gradient: jax.Array) -> jax.Array:
  """[b 2 or 3]: mean square per degree of freedom of the direction, of the energy, and of the vertex if there
  is one."""
  parts = [0.5 * jnp.sum(gradient[:, :3] ** 2, axis=-1), gradient[:, 3] ** 2]
  return jnp.stack(parts + [jnp.mean(gradient[:, 4:] ** 2, axis=-1)] * (gradient.shape[1] > 4), axis=-1)


def _per_coordinate(factors: jax.Array) -> jax.Array:
  """[b 4] from [b 2], [b 7] from [b 3]."""
  return jnp.concatenate(
      [jnp.repeat(factors[:, :1], 3, axis=1), factors[:, 1:2],
       jnp.repeat(factors[:, 2:], 3, axis=1)], axis=1)


def _limits(gradient: jax.Array, state: SphereAdamState, b2: float, clip: float) -> jax.Array:
  """Factors [b 2 or 3], at most 1, that bring a gradient down to `clip` times the rms of those before it."""
  steps = state.count.astype(jnp.float32)
  earlier = jnp.sqrt(state.square / jnp.where(steps > 0.0, 1.0 - b2**steps, 1.0))
  limit = clip * earlier / (jnp.sqrt(_squares(gradient)) + _EPSILON)
  return jnp.where(earlier > 0.0, jnp.minimum(limit, 1.0), 1.0)  # no scale yet: let it pass


def sphere_adam(learning_rate: optax.Schedule, *, b1: float, b2: float, clip: float | None = None,
                energy_factor: float = 1.0) -> optax.GradientTransformation:
  """Adam on the product of sphere and line (Becigneul & Ganea 2019, alg. 1a): each factor has one adaptive
  step size.

  Adam by coordinates would stretch the gradient along x, y and z differently, so that the path would depend
  on the choice of axes. The first moment is carried along by projection on the tangent plane. `update` needs
  params: hypotheses [b 4] of `chart`, retracted, or [b 7] with the vertex in mm at the end; gradients are
  tangents there. Gradients above `clip` times the rms of those before are shortened to it, for direction,
  energy and vertex apart: where a draw changes its topology the slope is steep and means nothing. The
  energy's learning rate is `energy_factor` times the direction's.
  """
  def init(params):
    return SphereAdamState(jnp.zeros((), jnp.int32), jnp.zeros_like(params), jnp.zeros_like(_squares(params)))

  def update(gradient, state, params):
    if clip is not None:
      gradient = gradient * _per_coordinate(_limits(gradient, state, b2, clip))
    mean = b1 * _tangential(state.mean, params) + (1.0 - b1) * gradient
    square = b2 * state.square + (1.0 - b2) * _squares(gradient)
    count = state.count + 1
    steps = count.astype(jnp.float32)
    rms = jnp.sqrt(square / (1.0 - b2**steps)) + _EPSILON
    scale = jnp.array([1.0, energy_factor, _VERTEX_MM][:rms.shape[1]], rms.dtype)[None] / rms
    step = -learning_rate(state.count) * mean / (1.0 - b1**steps) * _per_coordinate(scale)
    return step, SphereAdamState(count, mean, square)

  return optax.GradientTransformation(init, update)
