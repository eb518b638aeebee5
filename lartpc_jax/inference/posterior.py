"""Posteriors of the momentum from a density: Laplace's Gaussian about its maximum, and NUTS.

The density is the amortised one, alone or times exp(-distance / temperature), the generalised posterior of
Bissiri et al. 2016 with the Earth Mover's Distance as its loss. Everything happens in coordinates u in which
the heaviest Gaussian of the amortised density is a unit normal: estimator coordinates x = mean + cholesky u.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.extras import require_extra
from lartpc_jax.inference import estimator as estimator_lib
from lartpc_jax.inference.estimator import Estimator, Mixture, Posterior

METHODS = ("amortised", "laplace", "nuts")
STEP = 0.2       # of finite differences, in units of u: wide beside the kinks of a distance over few draws
FLATTEST = 0.05  # least curvature that a Newton step divides by


class Samples(NamedTuple):
  """Draws from the posteriors of b events."""
  momentum_mev: Float[Array, "s b 3"]
  log_density: Float[Array, "s b"]  # in estimator coordinates, up to a constant of each event
  divergent: Float[Array, " b"]     # share of steps of NUTS that diverged


def heaviest(mixture: Mixture) -> tuple[Float[Array, "b 3"], Float[Array, "b 3 3"]]:
  """Mean and cholesky factor of the component of the largest weight."""
  best = jnp.argmax(mixture.log_weight, axis=-1)[:, None]
  return (jnp.take_along_axis(mixture.mean, best[..., None], axis=1)[:, 0],
          jnp.take_along_axis(mixture.cholesky, best[..., None, None], axis=1)[:, 0])


def make_log_density(estimator: Estimator, evaluate: Callable | None = None,
                     temperature_px: float = float("inf")) -> Callable:
  """Builds log_density(x [b 3], known, *args) -> [b]: log q(x) - evaluate(momentum of x, *args) /
  temperature.

  Args:
    estimator: with the density q of its coordinates.
    evaluate: distance in pixels, as of an `Objective` without a prior; None: q alone.
    temperature_px: pixels for a nat.
  Raises:
    ValueError: for a temperature that is not above 0, or one without a distance.
  """
  if not temperature_px > 0.0:
    raise ValueError(f"temperature_px must be above 0; got {temperature_px}.")
  if evaluate is None and np.isfinite(temperature_px):
    raise ValueError(f"temperature_px = {temperature_px} needs a distance.")

  def log_density(x, known: Posterior, *args):
    # of x itself: beyond the energies of `to_momentum`, which clamps them, a density of the momentum would
    # not fall
    value = estimator_lib.log_density(known.mixture, x, even=estimator.num_views == 1)
    if evaluate is None:
      return value
    return value - evaluate(estimator.to_momentum(known, x), *args) / temperature_px
  return log_density


def _in_units(log_density: Callable, known: Posterior, *args) -> tuple[Callable, Callable]:
  """(u [b 3] -> estimator coordinates, u [b 3] -> log density [b])."""
  mean, cholesky = heaviest(known.mixture)
  place = lambda u: mean + jnp.einsum("bij,bj->bi", cholesky, u)
  return place, lambda u: log_density(place(u), known, *args)


def laplace(log_density: Callable, known: Posterior, *args, num_steps: int = 8) -> Posterior:
  """One Gaussian about the maximum that Newton's method finds from the heaviest component.

  Curvatures are central differences of gradients, as distances over few draws have kinks. Where the curvature
  at the end is not that of a maximum, the Gaussian is NaN, so that nothing takes it for a result.

  Args:
    log_density: (estimator coordinates [b 3], known, *args) -> [b], differentiable; events must not mix.
    known: posterior of the estimator.
    args: of the density.
    num_steps: Newton steps, none longer than 1 in u.
  Returns:
    `known` with one component.
  """
  place, value = _in_units(log_density, known, *args)
  gradient = jax.grad(lambda u: value(u).sum())

  def curvature(u):
    # compiled once
    shifted = jax.lax.map(gradient, u[None] + STEP * jnp.concatenate([jnp.eye(3), -jnp.eye(3)])[:, None])
    matrix = -jnp.moveaxis(shifted[:3] - shifted[3:], 0, -1) / (2.0 * STEP)
    return jnp.linalg.eigh(0.5 * (matrix + matrix.swapaxes(-1, -2)))

  def newton(u, _):
    size, axes = curvature(u)
    step = jnp.einsum("bij,bj->bi", axes,
                      jnp.einsum("bji,bj->bi", axes, gradient(u)) / jnp.maximum(size, FLATTEST))
    length = jnp.linalg.norm(step, axis=-1, keepdims=True)
    return u + step / jnp.maximum(length, 1.0), None

  u, _ = jax.lax.scan(newton, jnp.zeros_like(known.mixture.mean[:, 0]), length=num_steps)
  size, axes = curvature(u)
  size = jnp.where(size > 0.0, size, jnp.nan)
  covariance = jnp.einsum("bij,bj,bkj->bik", axes, 1.0 / size, axes)
  _, scale = heaviest(known.mixture)
  factor = jnp.linalg.cholesky(scale @ covariance @ scale.swapaxes(-1, -2))
  mixture = Mixture(jnp.zeros_like(u[:, :1]), place(u)[:, None], factor[:, None])
  return known._replace(mixture=mixture)


def nuts(key: Array, estimator: Estimator, log_density: Callable, known: Posterior, *args,
         num_warmup: int = 150, num_samples: int = 200) -> Samples:
  """Draws by the no-U-turn sampler (Hoffman & Gelman 2014) of blackjax, one chain an event from the heaviest
  component.

  With one view the density is even in the hidden component: each draw is mirrored with probability 1/2, so
  that a chain need not cross from one mode to the other.

  Args:
    key: of the draws.
    estimator: of the views.
    log_density: as of `laplace`; leaves of `args` start with the axis of events.
    known: posterior of the estimator.
    args: of the density.
    num_warmup: steps that adapt the step size and the metric.
    num_samples: draws an event.
  Raises:
    ValueError: naming the extra, without blackjax.
  """
  require_extra("sampling", "NUTS")
  import blackjax
  one = lambda tree: jax.tree.map(lambda x: x[None], tree)

  def chain(key, known, *args):
    _, value = _in_units(log_density, one(known), *one(args))
    density = lambda u: value(u[None])[0]
    key_warmup, key_steps = jax.random.split(key)
    warmup = blackjax.window_adaptation(blackjax.nuts, density, initial_step_size=0.5)
    (state, tuned), _ = warmup.run(key_warmup, jnp.zeros(3), num_steps=num_warmup)
    kernel = blackjax.nuts(density, **tuned)
    def step(state, key):
      state, info = kernel.step(key, state)
      return state, (state.position, state.logdensity, info.is_divergent)
    return jax.lax.scan(step, state, jax.random.split(key_steps, num_samples))[1]

  key_chains, key_side = jax.random.split(key)
  u, value, divergent = jax.vmap(chain)(jax.random.split(key_chains, len(known.mixture.mean)), known, *args)
  place, _ = _in_units(log_density, known, *args)
  momentum = jax.vmap(lambda x: estimator.to_momentum(known, place(x)))(u.swapaxes(0, 1))
  if estimator.num_views == 1:
    pole = known.observed.basis[:, 2]
    along = jnp.einsum("sbi,bi->sb", momentum, pole)
    flip = jax.random.bernoulli(key_side, shape=along.shape)
    momentum = momentum - jnp.where(flip, 2.0 * along, 0.0)[..., None] * pole
  return Samples(momentum, value.T, divergent.mean(1))
