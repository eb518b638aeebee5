"""Fast transport of one stopping particle by condensed history: the energy is the clock.

A track is followed through fixed nodes of mean residual range, r_k = R(T) (1 - k/n)^power. In the step from r_k to r_k+1 the
particle loses exactly E(r_k) - E(r_k+1); what fluctuates is the path that this takes, with the variance that energy-loss
straggling gives it, dV/dr = (d Omega^2/dx) / S(E)^2. So deposits add up to T exactly, ranges straggle as they should, and no
step asks where the track ends. Directions follow Moliere scattering (see `scattering`); within a step the displacement
is correlated with the deflection as Fermi and Eyges have it.
"""
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.simulation import nuclear as nuclear_lib, scattering, stopping

NUM_STEPS = 96
NODE_POWER = 1.2   # steps of 1 mm at 78 mm of residual range and 0.3 mm at the end
TABLE_SIZE = 8192


class Noise(NamedTuple):
  """All that is random about one track, n steps."""
  path: Array     # [n] standard normal
  angle: Array    # [n 2] standard normal
  hinge: Array    # [n] uniform in [0, 1)
  nuclear: Array  # [2] uniform in [0, 1)


class Track(NamedTuple):
  """A track of n straight segments, the vertex at the origin."""
  position_mm: Array  # [n + 1 3]
  edep_mev: Array     # [n] deposited along each segment, evenly


class FastSimulator(NamedTuple):
  """From `make_fast_simulator`. Single events: jit, vmap and `parallel` are up to the caller."""
  sample_noise: Callable  # key -> Noise
  transport: Callable     # (kinetic_mev [], direction [3], noise) -> Track
  num_steps: int
  particle: stopping.Particle
  max_kinetic_mev: float


class Tables(NamedTuple):
  """Functions of residual range r, on a uniform grid of sqrt(r), which makes them nearly linear; float32."""
  sqrt_range_step: float
  kinetic_mev: np.ndarray    # [g]
  path_variance: np.ndarray  # [g] mm2, of the path from r to the end
  chi_c2: np.ndarray         # [g] rad2, from the largest range down to r: that way the small steps' differences keep digits
  optical_depth: np.ndarray  # [g] of nuclear interactions from r to the end
  sqrt_kinetic_step: float
  sqrt_range: np.ndarray     # [g] on a uniform grid of sqrt(T)


@functools.lru_cache(maxsize=32)
def transport_tables(particle: stopping.Particle, max_kinetic_mev: float, stopping_scale: float,
                     scattering_scale: float) -> Tables:
  """Tables up to `max_kinetic_mev`, with factors on the stopping power and on the mean squared scattering angle."""
  material = stopping.LIQUID_ARGON
  full = stopping.range_table(particle, material, stopping_scale)
  kinetic, ranges = full.kinetic_mev, full.range_mm
  loss = stopping_scale * stopping.stopping_power(kinetic, particle, material)
  def integral(per_mm):  # from zero range, over the logarithmic grid
    steps = 0.5 * (per_mm[1:] + per_mm[:-1]) * np.diff(ranges)
    return np.concatenate([[0.0], np.cumsum(steps)])
  variance = integral(stopping.straggling_power(kinetic, particle, material) / loss**2)
  # Below 50 keV, the last micrometre, a direction has no meaning any more.
  chi_c2 = scattering_scale * integral(scattering.characteristic_power(np.maximum(kinetic, 0.05), particle, material))
  depth = integral(nuclear_lib.interaction_rate(kinetic, particle, material))
  largest = np.sqrt(np.interp(max_kinetic_mev, kinetic, ranges))
  x = np.linspace(0.0, largest, TABLE_SIZE)
  def at(values, start=0.0):
    return np.interp(x**2, np.concatenate([[0.0], ranges]), np.concatenate([[start], values]))
  chi_c2 = at(chi_c2)
  y = np.linspace(0.0, np.sqrt(max_kinetic_mev), TABLE_SIZE)
  sqrt_range = np.sqrt(np.interp(y**2, np.concatenate([[0.0], kinetic]), np.concatenate([[0.0], ranges])))
  single = lambda values: values.astype(np.float32)
  return Tables(float(x[1]), single(at(kinetic)), single(at(variance)), single(chi_c2[-1] - chi_c2), single(at(depth)),
                float(y[1]), single(sqrt_range))


def _interpolate(table: np.ndarray, position: Array) -> Array:
  """Linear, at `position` in units of the grid step."""
  index = jnp.clip(position.astype(jnp.int32), 0, len(table) - 2)
  table = jnp.asarray(table, position.dtype)
  low = table[index]
  return low + (position - index.astype(position.dtype)) * (table[index + 1] - low)


def make_fast_simulator(particle: str = "proton", *, nuclear: bool = False, num_steps: int = NUM_STEPS,
                        max_kinetic_mev: float = 120.0, stopping_scale: float = stopping.GEANT4_SCALE,
                        scattering_scale: float = scattering.GEANT4_SCALE) -> FastSimulator:
  """Builds the fast transport of one kind of particle in liquid argon.

  Args:
    particle: "proton", "muon" or "electron_approximate".
    nuclear: whether protons may interact with nuclei. Such a track ends where it does, and a uniform share of what energy
      is left is deposited there; the rest leaves with particles that are not followed.
    num_steps: of every track, whatever its length; for voxels the longest, 1.2 R / num_steps, should not exceed their edge.
    max_kinetic_mev: largest energy of the tables.
    stopping_scale: factor on the stopping power; the default fits Geant4 (see `stopping.GEANT4_SCALE`), 1 is the formula.
    scattering_scale: factor on the mean squared scattering angle, likewise (`scattering.GEANT4_SCALE`).
  Raises:
    ValueError: for another particle, num_steps < 8, an energy outside 1 to 2000 MeV, or a scale that is not positive.
  """
  kind = stopping.find_particle(particle)
  if num_steps < 8:
    raise ValueError(f"num_steps must be at least 8; got {num_steps}.")
  if not 1.0 <= max_kinetic_mev <= stopping.MAX_KINETIC_MEV:
    raise ValueError(f"max_kinetic_mev must be within 1 to {stopping.MAX_KINETIC_MEV:g}; got {max_kinetic_mev}.")
  for name, scale in (("stopping_scale", stopping_scale), ("scattering_scale", scattering_scale)):
    if not scale > 0:
      raise ValueError(f"{name} must be positive; got {scale}.")
  tables = transport_tables(kind, float(max_kinetic_mev), float(stopping_scale), float(scattering_scale))

  def sample_noise(key: Array) -> Noise:
    return draw_noise(key, num_steps)

  def transport(kinetic_mev: Float[Array, ""], direction: Float[Array, "3"], noise: Noise) -> Track:
    return follow(kinetic_mev, direction, noise, tables, kind, nuclear=nuclear)

  return FastSimulator(sample_noise, transport, num_steps, kind, float(max_kinetic_mev))


def draw_noise(key: Array, num_steps: int) -> Noise:
  """The noise of one track."""
  key_normal, key_uniform = jax.random.split(key)
  # The barrier keeps XLA from drawing the numbers again for each of their uses.
  normal, uniform = jax.lax.optimization_barrier((
      jax.random.normal(key_normal, (3, num_steps)), jax.random.uniform(key_uniform, (num_steps + 2,))))
  return Noise(path=normal[0], angle=normal[1:].T, hinge=uniform[:num_steps], nuclear=uniform[num_steps:])


def isotropic_direction(key: Array) -> Float[Array, "3"]:
  """A unit vector, uniform on the sphere (Archimedes: its z is uniform)."""
  u = jax.random.uniform(key, (2,))
  z, phi = 2.0 * u[0] - 1.0, 2.0 * np.pi * u[1]
  rho = jnp.sqrt(jnp.maximum(1.0 - z * z, 0.0))
  return jnp.stack([rho * jnp.cos(phi), rho * jnp.sin(phi), z])


def follow(kinetic_mev: Float[Array, ""], direction: Float[Array, "3"], noise: Noise, tables: Tables,
           particle: stopping.Particle, *, nuclear: bool = False) -> Track:
  """One track of n steps from the origin, as given by `noise`.

  Args:
    kinetic_mev: energy at the vertex, up to that of the tables.
    direction: initial unit vector.
    noise: n steps.
    tables: from `transport_tables`.
    particle: static.
    nuclear: static; whether `noise.nuclear` may end the track.
  Returns:
    The track; deposits add up to `kinetic_mev` unless a nuclear interaction ends it.
  Differentiable in `kinetic_mev`, `direction` (but not at -z, where its frame is singular) and noise, forward and reverse;
  gradients do not see the chance of a nuclear interaction.
  """
  n = len(noise.path)
  dtype = noise.path.dtype
  nodes = jnp.asarray((1.0 - np.arange(n + 1) / n)**NODE_POWER, dtype)
  sqrt_range = _interpolate(tables.sqrt_range, jnp.sqrt(kinetic_mev) / tables.sqrt_kinetic_step)
  ranges = sqrt_range**2 * nodes
  position = sqrt_range * jnp.sqrt(nodes[1:-1]) / tables.sqrt_range_step
  def at_nodes(table, first=None):
    first = _interpolate(table, sqrt_range / tables.sqrt_range_step) if first is None else first
    values = jnp.concatenate([first[None], _interpolate(table, position), jnp.asarray(table[:1], dtype)])
    return jax.lax.optimization_barrier(values)  # else XLA looks each node up again for every use
  kinetic = at_nodes(tables.kinetic_mev, kinetic_mev)
  edep = kinetic[:-1] - kinetic[1:]
  path = _step_lengths(noise.path, ranges[:-1] - ranges[1:], -jnp.diff(at_nodes(tables.path_variance)))
  middle = 0.5 * (kinetic[:-1] + kinetic[1:])
  momentum2 = middle * (middle + 2.0 * particle.mass_mev)
  beta2 = momentum2 / (middle + particle.mass_mev)**2
  deflect = functools.partial(scattering.deflection_per_noise, particle=particle)
  factor = deflect(0.5 * jnp.sum(noise.angle**2, axis=-1), jnp.diff(at_nodes(tables.chi_c2)), jnp.sqrt(momentum2), beta2)
  factor = jax.lax.optimization_barrier(factor)
  points = _walk(direction, path, factor * noise.angle[:, 0], factor * noise.angle[:, 1], noise.hinge)
  if nuclear:
    depth = at_nodes(tables.optical_depth)
    edep = _interrupt(edep, kinetic[1:], depth[0] - depth[1:], noise.nuclear)
  return Track(points, edep)


def _step_lengths(noise: Array, mean_mm: Array, variance_mm2: Array) -> Array:
  """Positive path lengths of the given mean and variance: log-normal."""
  log_variance = jnp.log1p(variance_mm2 / mean_mm**2)
  return mean_mm * jnp.exp(jnp.sqrt(log_variance) * noise - 0.5 * log_variance)


def initial_frame(direction: Float[Array, "3"]) -> Float[Array, "3 3"]:
  """Orthonormal rows, the last along `direction` and the others as near to x and y as can be; singular at -z alone."""
  x, y, z = direction
  scale = 1.0 / jnp.maximum(1.0 + z, 1e-6)
  return jnp.stack([jnp.stack([1.0 - x * x * scale, -x * y * scale, -x]),
                    jnp.stack([-x * y * scale, 1.0 - y * y * scale, -y]), direction])


def _walk(direction: Array, path: Array, angle_1: Array, angle_2: Array, hinge: Array) -> Array:
  """Points [n + 1 3] of a walk with deflections [n] in two planes, turning somewhere within each step.

  A uniform place of the turn gives the displacement of a step Fermi's and Eyges' moments: variance theta^2 s^2 / 3 and
  covariance theta^2 s / 2. The frame is carried along by rotations in Cayley's form, by 2 arctan(theta / 2): exact
  rotations, and smooth at zero. Components are separate arrays: an axis of three would spoil the vectors of a CPU.
  """
  def step(carry, inputs):
    point, first, second, ahead = carry
    length, a, b, h = inputs
    quarter = 1.0 / (1.0 + 0.25 * (a * a + b * b))
    along = length * h
    after = length - along
    sideways = [a * x + b * y for x, y in zip(first, second, strict=True)]
    new = tuple((2.0 * quarter - 1.0) * z + quarter * d for z, d in zip(ahead, sideways, strict=True))
    tilt = [quarter * (z + 0.5 * d) for z, d in zip(ahead, sideways, strict=True)]
    point = tuple(p + along * z + after * w for p, z, w in zip(point, ahead, new, strict=True))
    first = tuple(x - a * d for x, d in zip(first, tilt, strict=True))
    second = tuple(y - b * d for y, d in zip(second, tilt, strict=True))
    return (point, first, second, new), point

  frame = initial_frame(direction)
  zero = jnp.zeros((), path.dtype)
  start = ((zero,) * 3, *(tuple(row) for row in frame))
  _, points = jax.lax.scan(step, start, (path, angle_1, angle_2, hinge))
  return jnp.stack([jnp.concatenate([zero[None], p]) for p in points], axis=-1)


def _interrupt(edep: Array, left: Array, depth: Array, noise: Array) -> Array:
  """Deposits when the track ends after the step in which `depth` [n] exceeds an exponential number."""
  limit = -jnp.log1p(-noise[0])
  before = jnp.concatenate([jnp.zeros(1, depth.dtype), depth[:-1]])
  here = (before < limit) & (depth >= limit)
  return jnp.where(before < limit, edep, 0.0) + jnp.where(here, noise[1] * left, 0.0)
