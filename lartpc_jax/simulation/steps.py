"""What each step of the fast transport needs, as Chebyshev series in the logarithm of the energy. Host-side
numpy.

The nodes of a track are fixed fractions of its range, so that everything about step k is a smooth function of
one variable, the energy at the vertex: a few multiplications give it, where a table of range or energy would
have to be looked up.
"""
import functools
from typing import NamedTuple

import numpy as np

from lartpc_jax.simulation import nuclear as nuclear_lib, scattering, stopping
from lartpc_jax.simulation.stopping import Particle

NODE_POWER = 1.5        # of the mean residual range: the shorter, the nearer to the end
MIN_KINETIC_MEV = 0.1
TOLERANCE = 2e-5        # of the series of energies, relative for paths
ANGLE_TOLERANCE = 2e-3  # of those of `StepScattering`, which have kinks in the last micrometres
ANGLES = ("log_chi_c2", "core", "log_cut")
DEGREES = (4, 6, 8, 12, 16, 24, 32, 48)
STRAGGLING_SIGMAS = 5.0  # by which a segment may exceed its mean


class StepTables(NamedTuple):
  """Series of n steps in m segments; `rows` says which rows of `coefficients` belong to what."""
  coefficients: np.ndarray   # [degree + 1, rows] float64
  rows: dict[str, slice]     # names as in `step_values`
  log_kinetic: tuple[float, float]  # log MeV at -1 and 1 of the series
  step: np.ndarray           # [m + 1] of each point of the track, int
  fraction: np.ndarray       # [m + 1] of that step which is behind it
  num_steps: int


@functools.lru_cache(maxsize=32)
def integrals(particle: Particle, stopping_scale: float, scattering_scale: float) -> tuple[np.ndarray, ...]:
  """(range [g] mm, energy [g] MeV, and from there to the end: path variance mm2, chi_c^2 rad2, nuclear
  optical depth)."""
  material = stopping.LIQUID_ARGON
  kinetic, ranges = stopping.range_table(particle, material, stopping_scale)
  loss = stopping_scale * stopping.stopping_power(kinetic, particle, material)
  def integral(per_mm):  # over the logarithmic grid
    steps = 0.5 * (per_mm[1:] + per_mm[:-1]) * np.diff(ranges)
    return np.concatenate([[0.0], np.cumsum(steps)])
  variance = integral(stopping.straggling_power(kinetic, particle, material) / loss**2)
  # Below 50 keV, the last micrometre, a direction has no meaning any more.
  chi_c2 = scattering_scale * integral(
      scattering.characteristic_power(np.maximum(kinetic, 0.05), particle, material))
  depth = integral(nuclear_lib.interaction_rate(kinetic, particle, material))
  return ranges, kinetic, variance, chi_c2, depth


def node_fractions(num_steps: int) -> np.ndarray:
  """Residual range over range at the ends of the steps [n + 1]: from 1 to 0."""
  return (1.0 - np.arange(num_steps + 1) / num_steps)**NODE_POWER


def step_values(kinetic_mev: np.ndarray, particle: Particle, step: np.ndarray, fraction: np.ndarray,
                num_steps: int, nuclear: bool, scales: tuple[float, float]) -> dict[str, np.ndarray]:
  """What is tabulated, for energies [j], n steps and m segments.

  Returns:
    By name: deposited [j m + 1], share of the energy lost before each point; log_path [j n] and path_spread
    [j n], of the log-normal path of a step in mm; log_chi_c2, core, log_cut [j n], see
    `scattering.StepScattering`; optical_depth [j m + 1], if `nuclear`, of interactions before each point.
  """
  ranges, kinetic, variance, chi_c2, depth = integrals(particle, *scales)
  log_ranges = np.log(ranges)
  def at(values, range_mm):  # zero at the end
    return np.interp(np.log(np.maximum(range_mm, 1e-30)), log_ranges, values) * (range_mm > 0)
  nodes = node_fractions(num_steps)
  whole = np.exp(np.interp(np.log(kinetic_mev), np.log(kinetic), log_ranges))[:, None]
  at_nodes = whole * nodes
  at_points = whole * (nodes[step] + fraction * (nodes[step + 1] - nodes[step]))
  energy = lambda range_mm: np.exp(at(np.log(kinetic), range_mm)) * (range_mm > 0)
  mean = -np.diff(at_nodes)
  log_variance = np.log1p(-np.diff(at(variance, at_nodes)) / mean**2)
  energies = energy(at_nodes)
  middle = 0.5 * (energies[:, 1:] + energies[:, :-1])
  angles = scattering.step_scattering(-np.diff(at(chi_c2, at_nodes)), middle, particle)
  values = {
      "deposited": 1.0 - energy(at_points) / kinetic_mev[:, None],
      "log_path": np.log(mean) - 0.5 * log_variance, "path_spread": np.sqrt(log_variance),
      "log_chi_c2": np.log(angles.chi_c2), "core": angles.core, "log_cut": np.log(angles.cut)
  }
  if nuclear:
    values["optical_depth"] = at(depth, whole) - at(depth, at_points)
  return values


@functools.lru_cache(maxsize=32)
def step_tables(particle: Particle, num_steps: int, segment_mm: float | None, min_kinetic_mev: float,
                max_kinetic_mev: float, nuclear: bool, stopping_scale: float,
                scattering_scale: float) -> StepTables:
  """Series for energies from `min_kinetic_mev` to `max_kinetic_mev`, of the lowest degree that reaches
  TOLERANCE."""
  scales = (stopping_scale, scattering_scale)
  low, high = np.log(min(min_kinetic_mev, 0.98 * max_kinetic_mev)), np.log(max_kinetic_mev)
  step, fraction = segment_points(particle, num_steps, segment_mm, max_kinetic_mev, scales)
  def exact(x):
    values = step_values(np.exp(low + (high - low) * 0.5 * (x + 1.0)), particle, step, fraction, num_steps,
                         nuclear, scales)
    return np.concatenate(list(values.values()), axis=1), values
  check = np.linspace(-1.0, 1.0, 201)
  expected, values = exact(check)
  limits = np.concatenate([np.full(value.shape[1], ANGLE_TOLERANCE if name in ANGLES else TOLERANCE)
                           for name, value in values.items()])
  stops = np.cumsum([0, *(v.shape[1] for v in values.values())])
  rows = {name: slice(int(a), int(b)) for name, a, b in zip(values, stops[:-1], stops[1:], strict=True)}
  for degree in DEGREES:
    # where interpolation is nearly the best fit
    x = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    basis = np.polynomial.chebyshev.chebvander(x, degree)
    weights = np.where(np.arange(degree + 1) > 0, 2.0, 1.0) / (degree + 1)
    coefficients = weights[:, None] * (basis.T @ exact(x)[0])
    if (np.abs(np.polynomial.chebyshev.chebvander(check, degree) @ coefficients - expected).max(axis=0)
        < limits).all():
      break
  return StepTables(coefficients, rows, (float(low), float(high)), step, fraction, num_steps)


def segment_points(particle: Particle, num_steps: int, segment_mm: float | None, max_kinetic_mev: float,
                   scales: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
  """The step and the fraction of it at each point of a track: equal segments of each step, no longer than
  `segment_mm`."""
  counts = np.ones(num_steps, int)
  if segment_mm is not None:
    ends = np.arange(num_steps), np.ones(num_steps)
    values = step_values(np.array([max_kinetic_mev]), particle, *ends, num_steps, False, scales)
    longest = np.exp(values["log_path"] + STRAGGLING_SIGMAS * values["path_spread"])[0]
    counts = np.ceil(longest / segment_mm).astype(int)
  step = np.repeat(np.arange(num_steps), counts)
  number = np.arange(len(step)) - np.repeat(np.cumsum(counts) - counts, counts)
  return np.append(step, num_steps - 1), np.append(number / counts[step], 1.0)
