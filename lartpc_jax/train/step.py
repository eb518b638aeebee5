"""One optimisation step as a pure function; jit, donation and sharding belong to the caller."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from lartpc_jax.train.state import TrainState


def ema_decay_at(step: jax.Array, ema_decay: float, ema_power: float = 0.0) -> jax.Array:
  """Decay of the moving average after n steps: min(ema_decay, (1 + n) / (10 + n)), forgets the start.

  With ema_power > 0 that of a power function instead, (1 - 1 / (n + 1))^(ema_power + 1) (Karras et al. 2024,
  eq. 123): its memory is a fixed share of the run. Their 16.97 is a standard deviation of a twentieth of it,
  6.94 of a tenth.
  """
  n = step.astype(jnp.float32)
  if ema_power:
    return (1.0 - 1.0 / (n + 1.0)) ** (ema_power + 1.0)
  return jnp.minimum(jnp.float32(ema_decay), (1.0 + n) / (10.0 + n))


def make_train_step(loss_fn: Callable, tx: optax.GradientTransformation, *, ema_decay: float,
                    ema_power: float = 0.0) -> Callable:
  """Builds `train_step(state, batch, key) -> (state, metrics)`.

  Args:
    loss_fn: (params, batch, key) -> (scalar mean loss over the batch, dict of scalar metrics). A metric
      "assigned", a dict, is what top-level entries of the parameters become after the step, whatever their
      gradient: a codebook or moments, which no optimiser makes.
    tx: the optimiser.
    ema_decay: final decay of the parameter average, in [0, 1).
    ema_power: if not 0, a power of the step instead; see `ema_decay_at`.
  Returns:
    train_step, whose key is the run's root key: the step number is folded in, so that a resumed run draws the
    same noise. Its metrics are those of loss_fn and "loss", "grad_norm" (before clipping).
  Raises:
    ValueError: if ema_decay is outside [0, 1), or ema_power is negative.
  """
  if not 0.0 <= ema_decay < 1.0:
    raise ValueError(f"ema_decay must be in [0, 1); got {ema_decay}.")
  if not ema_power >= 0.0:
    raise ValueError(f"ema_power must be at least 0; got {ema_power}.")

  def train_step(state, batch, key):
    key = jax.random.fold_in(key, state.step)
    (loss, metrics), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params, batch, key)
    assigned = metrics.pop("assigned", {})
    metrics = {**metrics, "loss": loss, "grad_norm": optax.tree.norm(grads)}
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    params = {**params, **assigned} if assigned else params
    decay = ema_decay_at(state.step, ema_decay, ema_power)
    ema_params = jax.tree.map(lambda ema, p: ema + (1.0 - decay).astype(p.dtype) * (p - ema),
                              state.ema_params, params)
    return TrainState(state.step + 1, params, ema_params, opt_state), metrics
  return train_step
