"""Adam on the chart of momenta: one second moment for the direction, one for the energy."""
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

_EPSILON = 1e-8


class SphereAdamState(NamedTuple):
  """Moments of the gradient of b hypotheses."""
  count: jax.Array        # steps taken
  mean: jax.Array         # [b 4]
  square: jax.Array       # [b 2]: mean square per degree of freedom of the direction, and of the energy


def _tangential(vector: jax.Array, hypothesis: jax.Array) -> jax.Array:
  n = hypothesis[:, :3]
  direction = vector[:, :3] - jnp.sum(vector[:, :3] * n, axis=-1, keepdims=True) * n
  return jnp.concatenate([direction, vector[:, 3:]], axis=-1)


def _squares(gradient: jax.Array) -> jax.Array:
  """[b 2]: mean square per degree of freedom of the direction, and of the energy."""
  return jnp.stack([0.5 * jnp.sum(gradient[:, :3] ** 2, axis=-1), gradient[:, 3] ** 2], axis=-1)


def _per_coordinate(factors: jax.Array) -> jax.Array:
  """[b 4] from [b 2]."""
  return jnp.concatenate([jnp.repeat(factors[:, :1], 3, axis=1), factors[:, 1:]], axis=1)


def _limits(gradient: jax.Array, state: SphereAdamState, b2: float, clip: float) -> jax.Array:
  """Factors [b 2], at most 1, that bring a gradient down to `clip` times the rms of those before it."""
  earlier = jnp.sqrt(state.square / jnp.where(state.count > 0, 1.0 - b2**state.count, 1.0))
  limit = clip * earlier / (jnp.sqrt(_squares(gradient)) + _EPSILON)
  return jnp.where(earlier > 0.0, jnp.minimum(limit, 1.0), 1.0)  # no scale yet: let it pass


def sphere_adam(learning_rate: optax.Schedule, *, b1: float, b2: float, clip: float | None = None,
                energy_factor: float = 1.0) -> optax.GradientTransformation:
  """Adam on the product of sphere and line (Becigneul & Ganea 2019, alg. 1a): each factor has one adaptive step size.

  Adam by coordinates would stretch the gradient along x, y and z differently, so that the path would depend on the choice
  of axes. The first moment is carried along by projection on the tangent plane. `update` needs params: hypotheses [b 4]
  of `chart`, retracted; gradients are tangents there. Gradients above `clip` times the rms of those before are shortened to
  it, for direction and energy apart: where a draw changes its topology the slope is steep and means
  nothing. The energy's learning rate is `energy_factor` times the direction's.
  """
  def init(params):
    return SphereAdamState(jnp.zeros((), jnp.int32), jnp.zeros_like(params), jnp.zeros_like(params[:, :2]))

  def update(gradient, state, params):
    if clip is not None:
      gradient = gradient * _per_coordinate(_limits(gradient, state, b2, clip))
    mean = b1 * _tangential(state.mean, params) + (1.0 - b1) * gradient
    square = b2 * state.square + (1.0 - b2) * _squares(gradient)
    count = state.count + 1
    rms = jnp.sqrt(square / (1.0 - b2**count)) + _EPSILON
    scale = jnp.stack([1.0 / rms[:, 0], energy_factor / rms[:, 1]], axis=1)
    step = -learning_rate(state.count) * mean / (1.0 - b1**count) * _per_coordinate(scale)
    return step, SphereAdamState(count, mean, square)

  return optax.GradientTransformation(init, update)
