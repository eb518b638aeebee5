"""Dual potentials of entropic transport (Cuturi 2013) between weighted points, in px, by ott-jax and by hand.

The only importer of ott besides `transport.divergence` (inside functions: the import takes 1.8 s).
"""
import contextlib
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

_MOMENTUM = 1.5          # over-relaxation of Sinkhorn (Thibault et al. 2021); 1.8 diverged on noisy images
_MIN_WEIGHT = 1e-12      # share of the charge below which a pixel counts as empty (float32 ratios)
# Annealed from here by halves, by the power of the cost; a start at 16 px changes nothing for W1 up to 20 px.
LADDER_START = {1: 2.0, 2: 64.0}


@contextlib.contextmanager
def numpy_promotion():
  """ott broadcasts as numpy does, whatever the caller's strictness."""
  with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
    yield


class Levels(NamedTuple):
  """Regularisations eps (px), their coefficients in the value, the price rho (px; None if balanced)."""
  eps: tuple[float, ...]
  coefficients: tuple[float, ...]
  rho: float | None
  power: int = 1  # of the distance in the cost


def make_levels(ot_epsilon_px: float, *, extrapolate: bool, rho: float | None, power: int) -> Levels:
  """S_eps alone, or with `extrapolate` 2 S_eps - S_2eps."""
  if extrapolate:
    return Levels((2.0 * ot_epsilon_px, ot_epsilon_px), (-1.0, 2.0), rho, power)
  return Levels((ot_epsilon_px,), (1.0,), rho, power)


def ladder_of(levels: Levels) -> tuple[float, ...]:
  """Rungs ..., 4 eps, 2 eps from the start of the annealing, then the levels themselves."""
  num_rungs = max(math.ceil(math.log2(LADDER_START[levels.power] / levels.eps[0])), 0)
  return (*(levels.eps[0] * 2.0**rung for rung in range(num_rungs, 0, -1)), *levels.eps)


def _tau(levels, eps):
  return 1.0 if levels.rho is None else levels.rho / (levels.rho + eps)


@functools.cache
def _ott_solvers():
  """Imports ott; returns solve_scaling and solve_unbalanced: a fixed number of Sinkhorn iterations."""
  from ott.geometry import geometry
  from ott.problems.linear import linear_problem
  from ott.solvers.linear import acceleration, sinkhorn

  @jax.tree_util.register_pytree_node_class
  class FixedKernel(geometry.Geometry):
    """ott raises its kernel to the power 1.0 before each product, at 16 times the price of it."""

    def apply_kernel(self, vec, eps=None, axis=0):
      return jnp.dot(self.kernel_matrix if axis == 1 else self.kernel_matrix.T, vec)

  def solver(num_iterations, momentum, **kwargs):
    return sinkhorn.Sinkhorn(
        min_iterations=num_iterations, max_iterations=num_iterations, inner_iterations=num_iterations,
        momentum=acceleration.Momentum(value=momentum), **kwargs)

  def solve_scaling(plan, a, b, eps, num_iterations):
    """The g [m] (px) of exp((f + g) / eps) * plan with marginals a [n], b [m]; -inf where b is 0."""
    sinkhorn_solver = solver(num_iterations, _MOMENTUM, lse_mode=False, recenter_potentials=False)
    with numpy_promotion():
      problem = linear_problem.LinearProblem(FixedKernel(kernel_matrix=plan, epsilon=eps), a, b)
      return sinkhorn_solver(problem).g

  def solve_unbalanced(cost, a, b, init, eps, tau, num_iterations):
    """The g [m] (px) of the plan exp((f + g - cost) / eps), from init (f, g) of the same kind."""
    with numpy_promotion():
      problem = linear_problem.LinearProblem(geometry.Geometry(cost, epsilon=eps), a, b, tau_a=tau, tau_b=tau)
      return solver(num_iterations, 1.0, lse_mode=True, recenter_potentials=True)(problem, init=init).g

  return solve_scaling, solve_unbalanced


def _log(weights):
  return jnp.where(weights > _MIN_WEIGHT, jnp.log(jnp.where(weights > 0, weights, 1.0)), -jnp.inf)


def _softmin(cost, potential, log_weights, eps):
  """(c, eps)-transform [n] of a potential [m], px: -eps log sum_m w exp((potential - cost) / eps)."""
  return -eps * jax.nn.logsumexp((log_weights + potential / eps)[None, :] - cost / eps, axis=1)


def costs(x, y, power=1):
  """Euclidean distances [n m] between points [n 2] and [m 2], px, or their squares; never differentiated."""
  squares = jnp.sum((x[:, None, :] - y[None, :, :])**2, axis=-1)
  return squares if power == 2 else jnp.sqrt(squares)


def _balanced_rung(cost, weights, logs, potentials, eps, num_iterations):
  """The g [m] (px) at eps from (f, g) at the rung before, absorbed in the kernel (Schmitzer 2019, sec. 3)."""
  solve_scaling, _ = _ott_solvers()
  log_a, log_b = logs
  g = _softmin(cost.T, potentials[0], log_a, eps)
  f = _softmin(cost, g, log_b, eps)
  plan = jnp.exp(log_a[:, None] + log_b[None, :] + (f[:, None] + g[None, :] - cost) / eps)
  dg = solve_scaling(plan, *weights, eps, num_iterations)
  return g + jnp.where(jnp.isfinite(dg), dg, 0.0)


def _unbalanced_rung(cost, a, b, potentials, eps, tau, num_iterations):
  """The g [m] (px) at eps from (f, g) at the rung before, in the log domain."""
  _, solve_unbalanced = _ott_solvers()
  # ott's reference measure is uniform, ours a b: the difference belongs to the cost
  floor_a, floor_b = a + _MIN_WEIGHT, b + _MIN_WEIGHT
  reference = eps * (jnp.log(floor_a)[:, None] + jnp.log(floor_b)[None, :])
  return solve_unbalanced(cost - reference, floor_a, floor_b, potentials, eps, tau, num_iterations)


def cross_potentials(cost, a, b, levels: Levels, num_iterations: int):
  """Potentials [l n] and [l m] (px) at the last rungs of the ladder, and the worst L1 marginal error there.

  Scaling iterations cost one matrix-vector product, log-domain ones an exponential per pair of pixels: 6
  times more, measured. The former underflow at cost >> eps unless the potentials found so far are absorbed in
  the kernel, as is done here at each rung. Unbalanced problems stay in the log domain.
  """
  ladder = ladder_of(levels)
  log_a, log_b = _log(a), _log(b)

  def rung(potentials, eps):
    tau = _tau(levels, eps)
    if levels.rho is None:
      g = _balanced_rung(cost, (a, b), (log_a, log_b), potentials, eps, num_iterations)
    else:
      g = _unbalanced_rung(cost, a, b, potentials, eps, tau, num_iterations)
    f = tau * _softmin(cost, g, log_b, eps)
    g_next = tau * _softmin(cost.T, f, log_a, eps)
    error = jnp.sum(b * jnp.abs(jnp.expm1((g - g_next) / (tau * eps))))
    return (f, g_next), (f, g_next, error)

  potentials = jnp.zeros_like(a), jnp.zeros_like(b)
  if levels.rho is None:
    _, found = lax.scan(rung, potentials, jnp.array(ladder, a.dtype))
  else:  # ott compares tau with 1.0 in python: no scan
    found = []
    for eps in ladder:
      potentials, rung_found = rung(potentials, eps)
      found.append(rung_found)
    found = (jnp.stack(x) for x in zip(*found, strict=True))
  f, g, errors = (x[-len(levels.eps):] for x in found)
  return f, g, errors.max()


def _isolated(levels, a):
  """Potentials [l n] (px) of pixels against themselves when none is near, -eps / 2 log a for equal masses.

  The share of an empty pixel is set to 1e-4: its derivative is that of a faint charge. (The first 1e-30 of
  charge would cost less: in the self term it spreads over the track.) With two levels the share cancels.
  """
  log_a = jnp.log(jnp.maximum(a, 1e-4))
  return jnp.stack([-eps * _tau(levels, eps) / (1.0 + _tau(levels, eps)) * log_a for eps in levels.eps])


def self_potentials(cost, a, levels: Levels):
  """Potentials [l n] (px) of a against itself, by averaged symmetric updates (Feydy et al. 2019, eq. 25).

  They start from isolated pixels, nearly the answer already for eps below one pixel: these numbers of updates
  leave less than 1e-5 px at eps up to 0.8 px (measured on Geant4 protons).
  """
  log_a, found = _log(a), []
  for eps, isolated in zip(levels.eps, _isolated(levels, a), strict=True):
    tau = _tau(levels, eps)
    update = lambda _, f, eps=eps, tau=tau: 0.5 * (f + tau * _softmin(cost, f, log_a, eps))
    f = lax.fori_loop(0, 3 + math.ceil(30.0 * eps), update, isolated)
    extended = tau * _softmin(cost, f, log_a, eps)
    found.append(jnp.where(a > _MIN_WEIGHT, f, jnp.minimum(extended, isolated)))
  return jnp.stack(found)


def slopes(levels: Levels, potentials):
  """Derivatives [n] of the dual objective in the weights, px, from potentials [l n]."""
  if levels.rho is not None:  # rho (1 - exp(-f / rho)) - eps exp(-f / rho)
    eps = jnp.array(levels.eps, potentials.dtype)
    potentials = levels.rho - (levels.rho + eps)[:, None] * jnp.exp(-potentials / levels.rho)
  return jnp.array(levels.coefficients, potentials.dtype) @ potentials


def mass_term(levels: Levels, weights, potentials):
  """Sum of coefficient * eps * transported mass over levels, px; the slopes of both marginals count it."""
  if levels.rho is None:
    return 0.0
  factors = [c * eps for c, eps in zip(levels.coefficients, levels.eps, strict=True)]
  return jnp.array(factors, weights.dtype) @ (jnp.exp(-potentials / levels.rho) @ weights)
