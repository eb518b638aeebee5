"""Fast transport of stopping particles by condensed history: the energy is the clock.

A track is followed through fixed nodes of mean residual range, r_k = R(T) (1 - k/n)^power. In the step from
r_k to r_k+1 the particle loses exactly E(r_k) - E(r_k+1); what fluctuates is the path that this takes, with
the variance that energy-loss straggling gives it, dV/dr = (d Omega^2/dx) / S(E)^2. So deposits add up to T
exactly, ranges straggle as they should, and no step asks where the track ends. Directions follow Moliere
scattering (see `scattering`); within a step the displacement is correlated with the deflection as Fermi and
Eyges have it. Each step is cut into segments as short as the caller wants, straight from one end of the step
to the other, with the energy that is lost along each.

Events are the last axis of every array, written `*e` and absent for a single one: along it run a processor's
vectors.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from lartpc_jax.simulation import counter_random, scattering, steps as steps_lib, stopping

NUM_STEPS = 24
PRIMARY_WORDS = 3  # random words of an event that draw its energy and direction; those of the noise follow


class Noise(NamedTuple):
  """All that is random about a track, n steps."""
  path: Array     # [n *e] standard normal
  angle: Array    # [2 n *e] standard normal
  hinge: Array    # [n *e] uniform in (0, 1)
  nuclear: Array  # [2 *e] uniform in (0, 1)


class Track(NamedTuple):
  """A track of m straight segments, the vertex at the origin."""
  position_mm: Array    # [m + 1 3 *e]
  deposited_mev: Array  # [m + 1 *e] from the vertex to each point; evenly along a segment


class FastSimulator(NamedTuple):
  """From `make_fast_simulator`. jit and `parallel` are up to the caller."""
  sample_noise: Callable  # (key, numbers [*e] = 0) -> Noise of the events so numbered in the stream `key`
  transport: Callable     # (kinetic_mev [*e], direction [3 *e], noise) -> Track
  tables: steps_lib.StepTables
  particle: stopping.Particle
  min_kinetic_mev: float
  max_kinetic_mev: float


def make_fast_simulator(particle: str = "proton", *, nuclear: bool = False, num_steps: int = NUM_STEPS,
                        segment_mm: float | None = None, min_kinetic_mev: float = 10.0,
                        max_kinetic_mev: float = 120.0, stopping_scale: float = stopping.GEANT4_SCALE,
                        scattering_scale: float = scattering.GEANT4_SCALE) -> FastSimulator:
  """Builds the fast transport of one kind of particle in liquid argon.

  Args:
    particle: "proton", "muon" or "electron_approximate".
    nuclear: whether protons may interact with nuclei. Such a track ends where it does, and a uniform share of
      what energy is left is deposited there; the rest leaves with particles that are not followed.
    num_steps: of every track, whatever its length.
    segment_mm: longest segment, within five sigma of straggling; None: every step is one segment.
    min_kinetic_mev, max_kinetic_mev: energies that the tables hold; tracks of others are NaN.
    stopping_scale: factor on the stopping power; the default fits Geant4 (see `stopping.GEANT4_SCALE`), 1 is
      the formula.
    scattering_scale: factor on the mean squared scattering angle, likewise (`scattering.GEANT4_SCALE`).
  Raises:
    ValueError: for another particle, num_steps < 8, energies outside 0.1 to 2000 MeV or in the wrong order,
      or a length or scale that is not positive.
  """
  kind = stopping.find_particle(particle)
  if num_steps < 8:
    raise ValueError(f"num_steps must be at least 8; got {num_steps}.")
  if not steps_lib.MIN_KINETIC_MEV <= min_kinetic_mev <= max_kinetic_mev <= stopping.MAX_KINETIC_MEV:
    raise ValueError(
        f"min_kinetic_mev and max_kinetic_mev must be in order and within {steps_lib.MIN_KINETIC_MEV:g} to "
        f"{stopping.MAX_KINETIC_MEV:g}; got {min_kinetic_mev:g} and {max_kinetic_mev:g}.")
  for name, scale in (("stopping_scale", stopping_scale), ("scattering_scale", scattering_scale),
                      ("segment_mm", 1.0 if segment_mm is None else segment_mm)):
    if not scale > 0:
      raise ValueError(f"{name} must be positive; got {scale}.")
  tables = steps_lib.step_tables(kind, num_steps, segment_mm, float(min_kinetic_mev), float(max_kinetic_mev),
                                 nuclear, float(stopping_scale), float(scattering_scale))

  def sample_noise(key: Array, numbers: UInt32[Array, "*e"] | None = None) -> Noise:
    numbers = jnp.zeros((), jnp.uint32) if numbers is None else numbers
    words = counter_random.words(key, numbers, PRIMARY_WORDS + noise_words(num_steps))
    return draw_noise(words[PRIMARY_WORDS:], num_steps)

  def transport(kinetic_mev: Float[Array, "*e"], direction: Float[Array, "3 *e"], noise: Noise) -> Track:
    return follow(kinetic_mev, direction, noise, tables)

  return FastSimulator(sample_noise, transport, tables, kind, float(min_kinetic_mev), float(max_kinetic_mev))


def noise_words(num_steps: int) -> int:
  """Random words that the noise of a track takes: two a step, one for half of them twice, and two."""
  return 2 + 2 * (num_steps + (num_steps + 1) // 2)


def draw_noise(words: UInt32[Array, "w *e"], num_steps: int) -> Noise:
  """The noise of tracks from at least `noise_words(num_steps)` random words each."""
  pairs = num_steps + (num_steps + 1) // 2
  radius, phase = words[2:2 + pairs], words[2 + pairs:2 + 2 * pairs]
  first, second = jax.lax.optimization_barrier(counter_random.normals(radius, phase))
  path = jnp.concatenate([first[num_steps:], second[num_steps:]])[:num_steps]
  return Noise(path, jnp.stack([first[:num_steps], second[:num_steps]]),
               counter_random.low_uniform(phase[:num_steps]), counter_random.uniform(words[:2]))


def isotropic_direction(words: UInt32[Array, "2 *e"]) -> Float[Array, "3 *e"]:
  """Unit vectors, uniform on the sphere (Archimedes: their z is uniform)."""
  z = 2.0 * counter_random.uniform(words[0]) - 1.0
  rho = jnp.sqrt(jnp.maximum(1.0 - z * z, 0.0))
  c, s = counter_random.unit_circle(words[1])
  return jnp.stack([rho * c, rho * s, z])


def follow(kinetic_mev: Float[Array, "*e"], direction: Float[Array, "3 *e"], noise: Noise,
           tables: steps_lib.StepTables) -> Track:
  """Tracks from the origin, as given by `noise`.

  Args:
    kinetic_mev: energy at the vertex, within that of the tables.
    direction: initial unit vector.
    noise: n steps.
    tables: from `steps.step_tables`; with nuclear interactions if they have an optical depth.
  Returns:
    The tracks; deposits add up to `kinetic_mev` unless a nuclear interaction ends a track.
  Differentiable in `kinetic_mev`, `direction` (but not at -z, where its frame is singular) and noise, forward
  and reverse; gradients do not see the chance of a nuclear interaction.
  """
  return lay(direction, draw_steps(kinetic_mev, noise, tables), noise.hinge, tables)


class Steps(NamedTuple):
  """What the noise makes of the n steps of a track, and what it deposits up to each of its m + 1 points."""
  path: Array       # [n *e] mm
  angle_1: Array    # [n *e] projected deflections, rad
  angle_2: Array
  deposited: Array  # [m + 1 *e] MeV


def draw_steps(kinetic_mev: Float[Array, "*e"], noise: Noise, tables: steps_lib.StepTables) -> Steps:
  """The first half of `follow`."""
  values = _step_values(kinetic_mev, tables)
  path = jnp.exp(values["log_path"] + values["path_spread"] * noise.path)
  first, second = noise.angle
  angles = scattering.StepScattering(jnp.exp(values["log_chi_c2"]), values["core"],
                                     jnp.exp(values["log_cut"]))
  factor = scattering.deflection_per_noise(0.5 * (first * first + second * second), angles)
  deposited = kinetic_mev[None] * values["deposited"]
  if "optical_depth" in values:
    deposited = _interrupt(deposited, kinetic_mev, values["optical_depth"], noise.nuclear)
  return Steps(*jax.lax.optimization_barrier((path, factor * first, factor * second)), deposited)


def lay(direction: Float[Array, "3 *e"], steps: Steps, hinge: Float[Array, "n *e"],
        tables: steps_lib.StepTables) -> Track:
  """The second half of `follow`: `steps` one after the other, each turning at `hinge`."""
  nodes = _walk(direction, steps.path, steps.angle_1, steps.angle_2, hinge)
  column = lambda x: x.reshape(-1, *(1,) * (nodes.ndim - 1))
  before, after = nodes[tables.step], nodes[tables.step + 1]
  points = before + column(tables.fraction.astype(steps.path.dtype)) * (after - before)
  return Track(points, steps.deposited)


def _step_values(kinetic_mev: Array, tables: steps_lib.StepTables) -> dict[str, Array]:
  """The rows of `tables` [rows *e] by name, by Clenshaw's recurrence; NaN outside of their energies."""
  low, high = tables.log_kinetic
  x = (2.0 * jnp.log(kinetic_mev) - (low + high)) / (high - low)
  x = jnp.where(jnp.abs(x) < 1.0 + 1e-4, x, jnp.nan)[None]
  coefficients = tables.coefficients.astype(x.dtype).reshape(*tables.coefficients.shape, *(1,) * (x.ndim - 1))
  ahead, value = jnp.zeros_like(x), coefficients[-1]
  for row in coefficients[-2:0:-1]:
    ahead, value = value, 2.0 * x * value - ahead + row
  # else drawn again for each of its uses
  value = jax.lax.optimization_barrier(x * value - ahead + coefficients[0])
  named = {name: value[rows] for name, rows in tables.rows.items()}
  ends = [jnp.zeros_like(x), jnp.ones_like(x)]
  return {**named, "deposited": jnp.concatenate([ends[0], named["deposited"][1:-1], ends[1]])}  # exactly


def initial_frame(direction: Float[Array, "3 *e"]) -> Float[Array, "3 3 *e"]:
  """Orthonormal rows, the last along `direction` and the others as near to x and y as can be; singular at -z
  alone."""
  x, y, z = direction
  scale = 1.0 / jnp.maximum(1.0 + z, 1e-6)
  return jnp.stack([jnp.stack([1.0 - x * x * scale, -x * y * scale, -x]),
                    jnp.stack([-x * y * scale, 1.0 - y * y * scale, -y]), direction])


def _walk(direction: Array, path: Array, angle_1: Array, angle_2: Array, hinge: Array) -> Array:
  """Points [n + 1 3 *e] of a walk with deflections [n *e] in two planes, turning somewhere within each step.

  A uniform place of the turn gives the displacement of a step Fermi's and Eyges' moments: variance theta^2
  s^2 / 3 and covariance theta^2 s / 2. The frame is carried along by rotations in Cayley's form, by 2
  arctan(theta / 2): exact rotations, and smooth at zero.
  """
  def step(carry, inputs):
    point, first, second, ahead = carry
    length, a, b, h = (x[None] for x in inputs)
    quarter = 1.0 / (1.0 + 0.25 * (a * a + b * b))
    along = length * h
    after = length - along
    sideways = a * first + b * second
    new = (2.0 * quarter - 1.0) * ahead + quarter * sideways
    tilt = quarter * (ahead + 0.5 * sideways)
    point = point + along * ahead + after * new
    return (point, first - a * tilt, second - b * tilt, new), point

  start = (jnp.zeros_like(direction), *initial_frame(direction))
  _, points = jax.lax.scan(step, start, (path, angle_1, angle_2, hinge))
  return jnp.concatenate([jnp.zeros_like(direction)[None], points])


def _interrupt(deposited: Array, kinetic_mev: Array, depth: Array, noise: Array) -> Array:
  """Deposits [m + 1 *e] when the track ends in the segment in which `depth` [m + 1 *e] exceeds an exponential
  number."""
  limit, share = -jnp.log1p(-noise[:1]), noise[1:]
  here = (depth[:-1] < limit) & (depth[1:] >= limit)
  ended = jnp.sum(jnp.where(here, deposited[1:] + share * (kinetic_mev[None] - deposited[1:]), 0.0), axis=0)
  return jnp.where(depth < limit, deposited, ended[None])
