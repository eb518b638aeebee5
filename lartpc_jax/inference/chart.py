"""Momentum as a direction on the unit sphere and a kinetic energy held inside a range by a bijection.

In free (px, py, pz) a descent shortens the track instead of turning it, leaves the energies the generator was
trained on and stalls. Here every step turns the direction, and no step can leave the range. A hypothesis is
an array [b 4]: unit direction (3) and the logit of the position of the kinetic energy in its range.
`make_chart` has the free coordinates too, for comparison, and lets either carry the position of the vertex as
a nuisance.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.units import PROTON_MASS_MEV, kinetic_from_momentum, momentum_from_kinetic

NUM_TANGENTS = 3  # two turns of the direction, one change of energy
FREE_SCALE_MEV = 500.0
# a momentum outside the range starts this far inside, where the gradient of the bijection is alive
_EDGE = 0.02


def to_momentum(hypothesis: Float[Array, "b 4"], kinetic_range_mev: tuple,
                mass_mev: Float[Array, " b"] | float = PROTON_MASS_MEV) -> Float[Array, "b 3"]:
  """Momentum in MeV/c: direction times |p| of T = low + (high - low) sigmoid(logit). Smooth.

  The ends of the range and the mass may be one of all hypotheses, or [b] one of each.
  """
  low, high = kinetic_range_mev
  direction = hypothesis[:, :3] / jnp.linalg.norm(hypothesis[:, :3], axis=-1, keepdims=True)
  kinetic_mev = low + (high - low) * jax.nn.sigmoid(hypothesis[:, 3])
  return momentum_from_kinetic(kinetic_mev, mass_mev)[:, None] * direction


def from_momentum(momentum_mev: Float[Array, "b 3"], kinetic_range_mev: tuple,
                  mass_mev: Float[Array, " b"] | float = PROTON_MASS_MEV) -> Float[Array, "b 4"]:
  """Inverse of `to_momentum`; energies outside the range are moved just inside it. Momentum zero is taken
  along x."""
  low, high = kinetic_range_mev
  magnitude = jnp.linalg.norm(momentum_mev, axis=-1)
  fraction = jnp.clip((kinetic_from_momentum(magnitude, mass_mev) - low) / (high - low), _EDGE, 1.0 - _EDGE)
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
  return jnp.stack(
      [jnp.concatenate([first, nothing], axis=-1),
       jnp.concatenate([second, nothing], axis=-1), energy])


def retract(hypothesis: Float[Array, "b 4"]) -> Float[Array, "b 4"]:
  """Brings the direction back to the unit sphere after a step."""
  direction = hypothesis[:, :3] / jnp.linalg.norm(hypothesis[:, :3], axis=-1, keepdims=True)
  return jnp.concatenate([direction, hypothesis[:, 3:]], axis=-1)


def random_hypotheses(key: Array, num: int) -> Float[Array, "b 4"]:
  """Directions uniform on the sphere, kinetic energies uniform inside the range (away from its outermost 2
  %)."""
  key_direction, key_energy = jax.random.split(key)
  direction = jax.random.normal(key_direction, (num, 3))
  fraction = jax.random.uniform(key_energy, (num,), minval=_EDGE, maxval=1.0 - _EDGE)
  logit = jnp.log(fraction) - jnp.log1p(-fraction)
  return retract(jnp.concatenate([direction, logit[:, None]], axis=-1))


class Chart(NamedTuple):
  """Coordinates [b d] of what is fitted; see `make_chart`."""
  to_momentum: Callable    # [b d] -> [b 3] MeV/c
  from_momentum: Callable  # [b 3] MeV/c -> [b d]
  tangent_basis: Callable  # [b d] -> orthonormal [k b d]
  retract: Callable        # [b d] -> [b d], back where coordinates are defined
  nuisance: Callable       # [b d] -> further keyword arguments of the objective


def free_chart(scale_mev: float = FREE_SCALE_MEV) -> Chart:
  """(px, py, pz) over a scale, unbounded: the coordinates of the published descent."""
  basis = lambda h: jnp.broadcast_to(jnp.eye(3, dtype=h.dtype)[:, None], (3, *h.shape))
  return Chart(lambda h: scale_mev * h, lambda p: p / scale_mev, basis, lambda h: h, lambda h: {})


def sphere_chart(kinetic_range_mev: tuple[float, float]) -> Chart:
  """Direction and bounded energy: the functions of this module."""
  return Chart(lambda h: to_momentum(h, kinetic_range_mev), lambda p: from_momentum(p, kinetic_range_mev),
               tangent_basis, retract, lambda h: {})


class Species(NamedTuple):
  """k particle types that hypotheses are made of."""
  names: tuple[str, ...]
  label: tuple[int, ...]                           # of each, in the generator's condition "particle"
  mass_mev: tuple[float, ...]
  kinetic_range_mev: tuple[tuple[float, float], ...]  # energies that the generator knows of each


def species_chart(species: Species) -> Chart:
  """Direction and bounded energy of hypotheses whose types are those of `species`, again and again: row i
  has type i mod k, and with it its mass and its range of energies.
  """
  def of_rows(h):
    rows = lambda values: jnp.tile(jnp.asarray(values, jnp.float32), len(h) // len(species.names))
    low, high = zip(*species.kinetic_range_mev, strict=True)
    return (rows(low), rows(high)), rows(species.mass_mev)

  told = lambda h: {"particle": jnp.tile(jnp.asarray(species.label, jnp.int32), len(h) // len(species.names))}
  return Chart(lambda h: to_momentum(h, *of_rows(h)), lambda p: from_momentum(p, *of_rows(p)), tangent_basis,
               retract, lambda h: {"told": told(h)})


def with_vertex(chart: Chart) -> Chart:
  """The chart with the position of the vertex [b 3] in mm as the last three coordinates, zero where a
  momentum starts."""
  def basis(h):
    own = jnp.pad(chart.tangent_basis(h[:, :-3]), ((0, 0), (0, 0), (0, 3)))
    shifts = jnp.broadcast_to(jnp.eye(3, h.shape[1], k=h.shape[1] - 3, dtype=h.dtype)[:, None], (3, *h.shape))
    return jnp.concatenate([own, shifts])

  return Chart(lambda h: chart.to_momentum(h[:, :-3]), lambda p: jnp.pad(chart.from_momentum(p), (
      (0, 0), (0, 3))), basis, lambda h: jnp.concatenate([chart.retract(h[:, :-3]), h[:, -3:]], axis=-1),
               lambda h: {"vertex_mm": h[:, -3:]})


def make_chart(name: str, kinetic_range_mev: tuple[float, float], *, vertex: bool = False) -> Chart:
  """Coordinates "sphere" or "free"; with `vertex` its position too.

  Raises:
    ValueError: naming an unknown name.
  """
  charts = {"sphere": sphere_chart(kinetic_range_mev), "free": free_chart()}
  if name not in charts:
    raise ValueError(f"Unknown coordinates {name!r}; choose from {sorted(charts)}.")
  return with_vertex(charts[name]) if vertex else charts[name]
