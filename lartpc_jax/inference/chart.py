"""Momentum as a direction on the unit sphere and a kinetic energy held inside a range by a bijection.

In free (px, py, pz) a descent shortens the track instead of turning it, leaves the energies the generator was trained on
and stalls. Here every step turns the direction, and no step can leave the range. A hypothesis is an array [b 4]: unit
direction (3) and the logit of the position of the kinetic energy in its range.
"""
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.units import kinetic_from_momentum, momentum_from_kinetic

NUM_TANGENTS = 3  # two turns of the direction, one change of energy
_EDGE = 0.02      # a momentum outside the range starts this far inside, where the gradient of the bijection is alive


def to_momentum(hypothesis: Float[Array, "b 4"], kinetic_range_mev: tuple[float, float]) -> Float[Array, "b 3"]:
  """Momentum in MeV/c: direction times |p| of T = low + (high - low) sigmoid(logit). Smooth."""
  low, high = kinetic_range_mev
  direction = hypothesis[:, :3] / jnp.linalg.norm(hypothesis[:, :3], axis=-1, keepdims=True)
  kinetic_mev = low + (high - low) * jax.nn.sigmoid(hypothesis[:, 3])
  return momentum_from_kinetic(kinetic_mev)[:, None] * direction


def from_momentum(momentum_mev: Float[Array, "b 3"], kinetic_range_mev: tuple[float, float]) -> Float[Array, "b 4"]:
  """Inverse of `to_momentum`; energies outside the range are moved just inside it. Momentum zero is taken along x."""
  low, high = kinetic_range_mev
  magnitude = jnp.linalg.norm(momentum_mev, axis=-1)
  fraction = jnp.clip((kinetic_from_momentum(magnitude) - low) / (high - low), _EDGE, 1.0 - _EDGE)
  logit = jnp.log(fraction) - jnp.log1p(-fraction)
  still = magnitude[:, None] == 0.0
  direction = momentum_mev / jnp.where(still, 1.0, magnitude[:, None])
  direction = jnp.where(still, jnp.array([[1.0, 0.0, 0.0]], momentum_mev.dtype), direction)
  return jnp.concatenate([direction, logit[:, None]], axis=-1)


def tangent_basis(hypothesis: Float[Array, "b 4"]) -> Float[Array, "3 b 4"]:
  """Orthonormal tangents of the chart at each hypothesis: two across the direction, one along the logit."""
  n = hypothesis[:, :3]
  smallest = jax.nn.one_hot(jnp.argmin(jnp.abs(n), axis=-1), 3, dtype=n.dtype)
  first = jnp.cross(n, smallest)
  first = first / jnp.linalg.norm(first, axis=-1, keepdims=True)
  second = jnp.cross(n, first)
  nothing = jnp.zeros_like(n[:, :1])
  energy = jnp.concatenate([jnp.zeros_like(n), jnp.ones_like(nothing)], axis=-1)
  return jnp.stack([jnp.concatenate([first, nothing], axis=-1), jnp.concatenate([second, nothing], axis=-1), energy])


def retract(hypothesis: Float[Array, "b 4"]) -> Float[Array, "b 4"]:
  """Brings the direction back to the unit sphere after a step."""
  direction = hypothesis[:, :3] / jnp.linalg.norm(hypothesis[:, :3], axis=-1, keepdims=True)
  return jnp.concatenate([direction, hypothesis[:, 3:]], axis=-1)


def random_hypotheses(key: Array, num: int) -> Float[Array, "b 4"]:
  """Directions uniform on the sphere, kinetic energies uniform inside the range (away from its outermost 2 %)."""
  key_direction, key_energy = jax.random.split(key)
  direction = jax.random.normal(key_direction, (num, 3))
  fraction = jax.random.uniform(key_energy, (num,), minval=_EDGE, maxval=1.0 - _EDGE)
  logit = jnp.log(fraction) - jnp.log1p(-fraction)
  return retract(jnp.concatenate([direction, logit[:, None]], axis=-1))
