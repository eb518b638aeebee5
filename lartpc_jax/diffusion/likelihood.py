"""Likelihood of a score model by the probability-flow ODE, in nats and bits per dimension."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.diffusion.ode import METHODS, runge_kutta_step, solve_adaptive
from lartpc_jax.diffusion.sde import SDE, probability_flow
from lartpc_jax.diffusion.time_grids import at_least_float32, check_times


def exact_divergence(velocity: Callable) -> Callable:
  """(x [b ...], t [b]) -> velocity [b ...], its divergence [b]: one tangent a dimension, for small states."""
  def value_and_divergence(x, t):
    flat = x.reshape(x.shape[0], -1)
    basis = jnp.eye(flat.shape[1], dtype=x.dtype)

    def along(direction):
      tangent = jnp.broadcast_to(direction[None], flat.shape).reshape(x.shape)
      value, slope = jax.jvp(lambda y: velocity(y, t), (x,), (tangent,))
      return value, jnp.sum(slope * tangent, axis=tuple(range(1, x.ndim)))
    values, slopes = jax.vmap(along)(basis)
    return values[0], slopes.sum(0)
  return value_and_divergence


def hutchinson_divergence(velocity: Callable, probes: Float[Array, "n b ..."]) -> Callable:
  """The same, estimated by v . (J v) averaged over n probes (Skilling 1989, Hutchinson 1990; Song et al.
  2021, eq. 40)."""
  def value_and_divergence(x, t):
    def along(probe):
      value, slope = jax.jvp(lambda y: velocity(y, t), (x,), (probe,))
      return value, jnp.sum(slope * probe, axis=tuple(range(1, x.ndim)))
    values, slopes = jax.vmap(along)(probes)
    return values[0], slopes.mean(0)
  return value_and_divergence


def log_likelihood(sde: SDE, times: np.ndarray, *, num_probes: int = 1, exact: bool = False,
                   method: str = "rk4", adaptive: bool = False, rtol: float = 1e-5,
                   atol: float = 1e-5) -> Callable:
  """Builds `logp(score_fn, x, key=None) -> nats [b]`: log p of x at times[-1] (Song et al. 2021, App. D.2,
  eq. 39).

  log p(x) = log prior(x(1)) + int div(f) dt along dx/dt = f, the probability flow, from times[-1] up to
  times[0] = 1. It is the density of data with the noise of times[-1]; for states with exact zeros it grows
  without bound as times[-1] falls: dequantise first (`uniform_dequantise`).

  Args:
    sde: the SDE, whose prior holds at t = 1.
    times: falling, as for samplers.
    num_probes: Rademacher probes of the Hutchinson estimator, the same all along a path; needs a key.
    exact: sum over all dimensions instead; takes no key.
    method: Runge-Kutta method between the times, see `ode.METHODS`.
    adaptive: Dormand-Prince 5(4) instead, at rtol and atol; the times between do not matter then.
  Raises:
    ValueError: for times that do not start at 1, num_probes < 1, or an unknown method.
  Differentiable in x and score_fn (forward and reverse mode; adaptive: forward only).
  """
  times = check_times(times)
  if times[0] != 1.0:
    raise ValueError(f"The likelihood needs the prior, so times[0] = 1; got {times[0]:g}.")
  if num_probes < 1:
    raise ValueError(f"log_likelihood needs num_probes >= 1; got {num_probes}.")
  if method not in METHODS:
    raise ValueError(f"Unknown method {method!r}; choose from {sorted(METHODS)}.")

  def logp(score_fn, x, key=None):
    x = at_least_float32(x)
    flow, grid = probability_flow(sde, score_fn), jnp.asarray(times[::-1], x.dtype)
    if exact:
      divergence_fn = exact_divergence(flow)
    elif key is None:
      raise ValueError(
          "The Hutchinson estimator draws probes: give logp(score_fn, x, key) a key, or use exact=True.")
    else:
      probes = jax.random.rademacher(key, (num_probes, *x.shape), x.dtype)
      divergence_fn = hutchinson_divergence(flow, probes)
    velocity = lambda y, t: divergence_fn(y[0], jnp.full(x.shape[:1], t))
    start = (x, jnp.zeros(x.shape[0], x.dtype))
    if adaptive:
      (end, gained), _ = solve_adaptive(velocity, start, grid[0], grid[-1], grid[1] - grid[0], rtol=rtol,
                                        atol=atol)
    else:
      step = lambda y, inputs: (runge_kutta_step(velocity, y, *inputs, method), None)
      (end, gained), _ = jax.lax.scan(step, start, (grid[:-1], jnp.diff(grid)))
    return sde.prior_logp(end) + gained
  return logp


def bits_per_dim(logp: Float[Array, " b"], num_dims: int, *, log_volume: float = 0.0) -> Float[Array, " b"]:
  """-log2 of the probability of a cell, per dimension, from the density logp [b] in nats.

  log_volume is the log of the width of a cell in one dimension in units of the state: for 8-bit levels behind
  z = (level / 255 - shift) / scale it is -log(255 scale). 0 gives the density itself.
  """
  return -(logp / num_dims + log_volume) / float(np.log(2.0))


def uniform_dequantise(key: Array, levels: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
  """Whole levels plus uniform noise in [0, 1): its density bounds the levels' probability (Theis et al. 2016,
  eq. 3)."""
  return levels + jax.random.uniform(key, levels.shape, levels.dtype)
