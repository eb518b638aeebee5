"""Everything that changes during training and has to survive a restart."""
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class TrainState(NamedTuple):
  """Numbers of a training run between two steps; a pytree."""
  step: jax.Array          # [] int32, number of steps done
  params: Any              # pytree of float32
  ema_params: Any          # same structure
  opt_state: optax.OptState


def init_train_state(params, tx: optax.GradientTransformation) -> TrainState:
  """State before the first step; the moving average starts at the parameters."""
  ema_params = jax.tree.map(jnp.copy, params)  # a copy: donating aliased buffers is an error
  return TrainState(jnp.zeros((), jnp.int32), params, ema_params, tx.init(params))
