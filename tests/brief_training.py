"""A few steps of a task, for the tests of what training does."""
import jax
import optax

from lartpc_jax.train.state import TrainState, init_train_state
from lartpc_jax.train.step import make_train_step
from lartpc_jax.train.task import Task


def train_briefly(task: Task, *, num_steps: int, learning_rate: float) -> tuple[dict, TrainState]:
  """The parameters at the start, and the state after some Adam steps."""
  tx = optax.adam(learning_rate)
  before = jax.jit(task.init)(jax.random.key(0))
  state = init_train_state(before, tx)
  step = jax.jit(make_train_step(task.loss_fn, tx, ema_decay=0.5))
  for i in range(num_steps):
    state, _ = step(state, task.batch_fn(i), jax.random.key(1))
  return before, state
