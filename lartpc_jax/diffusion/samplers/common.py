"""What the samplers share: checks, tables of the noise schedule, the scan over steps.

Every builder takes (sde, times [n + 1] falling, *, remat, progress, knobs of its own) and returns
`sample(score_fn, x, key=None) -> x0`, where x [b ...] is a draw of the prior at times[0]. Single-device and un-jitted.
Unless said otherwise they are differentiable (forward and reverse mode) in x and in whatever score_fn closes over, for
a fixed key. With `remat`, reverse mode keeps one state per step instead of every network activation. `progress` is called
on the host with the number of finished steps, in order, for long runs. All end on the denoised image at times[-1], so
that what comes out is a posterior mean, not a noisy state.
"""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.diffusion.prediction import denoised_from_score
from lartpc_jax.diffusion.sde import SDE, alpha_std


def need_key(key, name: str):
  """The key. Raises ValueError if there is none: this sampler draws noise."""
  if key is None:
    raise ValueError(f"Sampler {name!r} draws noise: give sample(score_fn, x, key) a key.")
  return key


def log_snr_tables(sde: SDE, times: np.ndarray, dtype):
  """t, alpha, std and lambda = log(alpha / std) at each time, as constants in the precision of the state."""
  t = jnp.asarray(times, dtype)
  alpha, std = alpha_std(sde, t)
  return t, alpha, std, jnp.log(alpha / std)


def scan(step: Callable, carry, inputs, *, remat: bool, progress: Callable | None = None):
  """The carry after `step(carry, inputs[i])` for every i; steps return (carry, None)."""
  if remat:
    step = jax.checkpoint(step, prevent_cse=False)  # safe inside scan
  if progress is None:
    return jax.lax.scan(step, carry, inputs)[0]

  def reporting(carry, numbered):
    number, inputs = numbered
    carry, _ = step(carry, inputs)
    jax.debug.callback(lambda n, _: progress(int(n)), number + 1, jax.tree.leaves(carry)[0].ravel()[0], ordered=True)
    return carry, None
  num = len(jax.tree.leaves(inputs)[0])
  return jax.lax.scan(reporting, carry, (jnp.arange(num), inputs))[0]


def step_keys(key, num: int):
  """One key a step."""
  return jax.random.split(key, num)


def finish(sde: SDE, score_fn: Callable, x, t):
  """The denoised image at time t []."""
  return denoised_from_score(sde, score_fn)(x, jnp.full(x.shape[:1], t))


def normal_like(key, x):
  """Standard normal noise of the shape and type of x."""
  return jax.random.normal(key, x.shape, x.dtype)


def squared_norm(x):
  """Sum of squares of each example [b]."""
  return jnp.sum(x**2, axis=tuple(range(1, x.ndim)))


def rms_norm(x):
  """Euclidean norm of each example, averaged over the batch []."""
  return jnp.mean(jnp.sqrt(squared_norm(x)))
