"""What the samplers share: checks, tables of the noise schedule, the scan over steps.

Every builder takes (sde, times [n + 1] falling, *, remat, knobs of its own) and returns
`sample(score_fn, x, key=None) -> x0`, where x [b ...] is a draw of the marginal at times[0]. Single-device
and un-jitted. The key is one for the batch, or [b] one for each example, which then does not depend on the
others beside it. Unless said otherwise they are differentiable (forward and reverse mode) in x and in
whatever score_fn closes over, for a fixed key. With `remat`, reverse mode keeps one state per step instead of
every network activation. All end on the denoised image at times[-1], so that what comes out is a posterior
mean, not a noisy state. They work in float32 at least: in half precision neighbouring times of a grid are
equal. The result has the type of x.
"""
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.diffusion.prediction import denoised_from_score
from lartpc_jax.diffusion.sde import SDE, alpha_std
from lartpc_jax.diffusion.time_grids import at_least_float32, check_times


def builder(build: Callable) -> Callable:
  """The builder of a sampler, its times checked, and its sampler in float32 at least; see the module."""
  @functools.wraps(build)
  def checked(sde: SDE, times: np.ndarray, **knobs) -> Callable:
    sample = build(sde, check_times(times), **knobs)

    def wide(score_fn, x, key=None):
      found = sample(score_fn, at_least_float32(x), key)
      return jax.tree.map(lambda a: a.astype(x.dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, found)
    return wide
  return checked


def start_from_noise(sde: SDE, times: np.ndarray, sample: Callable) -> Callable:
  """sample(score_fn, noise, key=None) -> x0 from standard normal noise, scaled to the level of times[0].

  The start is normal with the variance that data of variance 1 have at times[0], which is what images and
  latents are normalised to: alpha^2 + std^2, so 1 for the variance-preserving SDEs and about sigma^2 for the
  exploding ones.
  """
  with jax.ensure_compile_time_eval():  # a constant also where a caller builds the sampler under jit
    scale = float(sde.unit_std(jnp.asarray(check_times(times)[:1]))[0])
  return lambda score_fn, noise, key=None: sample(score_fn, jnp.asarray(scale, noise.dtype) * noise, key)


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


def scan(step: Callable, carry, inputs, *, remat: bool):
  """The carry after `step(carry, inputs[i])` for every i; steps return (carry, None)."""
  if remat:
    step = jax.checkpoint(step, prevent_cse=False)  # safe inside scan
  return jax.lax.scan(step, carry, inputs)[0]


def step_keys(key, num: int):
  """One key a step [num], or [num b] of keys [b]."""
  if not key.ndim:
    return jax.random.split(key, num)
  # vmap of split would do, but a scan over its transpose looks like key reuse
  return jax.vmap(lambda step: jax.vmap(lambda k: jax.random.fold_in(k, step))(key))(jnp.arange(num))


def finish(sde: SDE, score_fn: Callable, x, t):
  """The denoised image at time t []."""
  return denoised_from_score(sde, score_fn)(x, jnp.full(x.shape[:1], t))


def normal_like(key, x):
  """Standard normal noise of the shape and type of x [b ...], of one key or of keys [b]."""
  draw = lambda key, x: jax.random.normal(key, x.shape, x.dtype)
  return jax.vmap(draw)(key, x) if key.ndim else draw(key, x)


def squared_norm(x):
  """Sum of squares of each example [b]."""
  return jnp.sum(x**2, axis=tuple(range(1, x.ndim)))


def norms(x):
  """Euclidean norm of each example [b]."""
  return jnp.sqrt(squared_norm(x))
