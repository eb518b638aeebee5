"""Stopping powers, straggling and ranges of charged particles in liquid argon. Host-side numpy in float64.

Sources: Bethe formula and constants, PDG 2024 (Phys. Rev. D 110, 030001, ch. 34); density correction,
Sternheimer, Berger and Seltzer 1984 (At. Data Nucl. Data Tables 30, 261), as the PDG lists it for liquid
argon; shell correction, Barkas and Berger 1964 (NASA SP-3013), eq. 5 of Groom, Mokhov and Striganov 2001 (At.
Data Nucl. Data Tables 78, 183); Bloch correction, ICRU 49 (1993), eq. 2.7; slow particles, NIST PSTAR.
"""
import functools
from typing import NamedTuple

import numpy as np

from lartpc_jax.simulation import pstar
from lartpc_jax.units import PROTON_MASS_MEV

Values = float | int | np.floating | np.ndarray  # one number or an array of them

ELECTRON_MASS_MEV = 0.51099895
MUON_MASS_MEV = 105.6583755
FINE_STRUCTURE = 1.0 / 137.035999
BETHE_K = 0.307075  # MeV cm2 / mol

# PSTAR turns into the Bethe formula between these proton energies, where both agree to 0.3 %. The shell
# correction holds above 7.9 MeV (beta gamma of 0.13).
JOIN_MEV = (8.0, 14.0)
# Fitted: the ranges of Geant4 11.4.1 (option1 tables, G4_lAr) are 0.2 to 0.5 % longer than those of PSTAR at
# 10 to 100 MeV, and this constant is what brings ours to Geant4's. 1 is the formula; both lie within the 1 to
# 2 % that ICRU 49 gives.
GEANT4_SCALE = 0.9945


class Material(NamedTuple):
  """An element as a medium; the density-effect parameters are those of Sternheimer's formula."""
  z: float
  a: float                     # g/mol
  density: float               # g/cm3
  excitation_ev: float         # mean excitation energy I
  radiation_length_mm: float
  density_effect: tuple[float, float, float, float, float]  # x0, x1, a, k, C-bar


LIQUID_ARGON = Material(18.0, 39.948, 1.396, 188.0, 140.0, (0.2000, 3.0000, 0.19559, 3.0000, 5.2146))


class Particle(NamedTuple):
  """A singly charged particle."""
  name: str
  mass_mev: float
  interacts: bool  # has nuclear interactions


# The electron is an approximation: it loses energy by collisions alone, without bremsstrahlung, and its
# deltas are local.
PARTICLES = {
    "proton": Particle("proton", PROTON_MASS_MEV, True),
    "muon": Particle("muon", MUON_MASS_MEV, False),
    "electron_approximate": Particle("electron_approximate", ELECTRON_MASS_MEV, False),
}


def find_particle(name: str) -> Particle:
  """The particle of that name. Raises ValueError naming it if it is not in PARTICLES."""
  if name not in PARTICLES:
    raise ValueError(f"Unknown particle {name!r}; choose from {sorted(PARTICLES)}.")
  return PARTICLES[name]


class Kinematics(NamedTuple):
  """Of a particle of given kinetic energies."""
  gamma: Values
  beta2: Values             # (v/c)^2
  momentum_mev: Values      # MeV/c
  max_transfer_mev: Values  # to a free electron


def kinematics(kinetic_mev: Values, particle: Particle) -> Kinematics:
  """Relativistic kinematics; largest transfer to an electron, PDG 2024, eq. 34.4 (half the energy for
  electrons)."""
  kinetic_mev = np.asarray(kinetic_mev, float)
  mass = particle.mass_mev
  gamma = 1.0 + kinetic_mev / mass
  momentum = np.sqrt(kinetic_mev * (kinetic_mev + 2.0 * mass))
  beta2 = (momentum / (kinetic_mev + mass))**2
  ratio = ELECTRON_MASS_MEV / mass
  if _is_electron(particle):
    transfer = 0.5 * kinetic_mev  # the faster of two equal particles is the primary
  else:
    transfer = 2.0 * ELECTRON_MASS_MEV * (momentum / mass)**2 / (1.0 + 2.0 * gamma * ratio + ratio**2)
  return Kinematics(gamma, beta2, momentum, transfer)


def _is_electron(particle: Particle) -> bool:
  return particle.mass_mev == ELECTRON_MASS_MEV


def density_correction(beta_gamma: Values, material: Material = LIQUID_ARGON) -> Values:
  """delta of Sternheimer's formula for an insulator, PDG 2024, eq. 34.6."""
  x0, x1, a, k, c = material.density_effect
  x = np.log10(beta_gamma)
  delta = 2.0 * np.log(10.0) * x - c + a * np.maximum(x1 - x, 0.0)**k
  return np.where(x < x0, 0.0, delta)


def shell_correction(beta_gamma: Values, material: Material = LIQUID_ARGON) -> Values:
  """C / Z of Barkas and Berger 1964; valid for beta gamma > 0.13 only."""
  w, i = 1.0 / np.asarray(beta_gamma)**2, material.excitation_ev
  c = ((0.422377 * w + 0.0304043 * w**2 - 0.00038106 * w**3) * 1e-6 * i**2
       + (3.850190 * w - 0.1667989 * w**2 + 0.00157955 * w**3) * 1e-9 * i**3)
  return c / material.z


def bloch_correction(beta2: Values) -> Values:
  """Bloch's z^4 correction to the stopping number of a unit charge, to be added; ICRU 49, eq. 2.7."""
  y2 = FINE_STRUCTURE**2 / beta2
  return -y2 * (1.20206 - y2 * (1.042 - 0.8549 * y2 + 0.343 * y2**2))


def bethe(kinetic_mev: Values, particle: Particle, material: Material = LIQUID_ARGON) -> Values:
  """Collision stopping power in MeV/mm with density, shell and Bloch corrections, PDG 2024, eq. 34.5.

  For electrons the formula of Berger and Seltzer (ICRU 37, eq. 2.14; Rohrlich and Carlson 1954), density
  correction only. Slow particles (beta gamma < 0.13) are outside its validity: see `stopping_power`.
  """
  kin = kinematics(kinetic_mev, particle)
  beta_gamma = np.sqrt(kin.beta2) * kin.gamma
  excitation = material.excitation_ev * 1e-6
  front = 0.1 * BETHE_K * material.density * material.z / material.a / kin.beta2
  if _is_electron(particle):
    tau = np.asarray(kinetic_mev, float) / ELECTRON_MASS_MEV
    f = 1.0 - kin.beta2 + (tau**2 / 8.0 - (2.0 * tau + 1.0) * np.log(2.0)) / (tau + 1.0)**2
    number = np.log(np.asarray(kinetic_mev, float) / excitation) + 0.5 * np.log(1.0 + tau / 2.0) + 0.5 * f
    return front * (number - 0.5 * density_correction(beta_gamma, material))
  number = 0.5 * np.log(
      2.0 * ELECTRON_MASS_MEV * beta_gamma**2 * kin.max_transfer_mev / excitation**2) - kin.beta2
  number = number - 0.5 * density_correction(beta_gamma, material) + bloch_correction(kin.beta2)
  return front * (number - shell_correction(np.maximum(beta_gamma, 0.13), material))


def cubic_spline(x: np.ndarray, y: np.ndarray, at: Values) -> Values:
  """At `at`, the interpolating cubic spline through x [n] and y [n] without a knot at the second and the
  last but one point, as scipy's `CubicSpline`.

  scipy takes longer to import than the fast simulation of 30,000 events.
  """
  n, h, slope = len(x), np.diff(x), np.diff(y) / np.diff(x)
  matrix, right = np.zeros((n, n)), np.zeros(n)  # for the second derivatives
  matrix[0, :3] = h[1], -h[0] - h[1], h[0]
  matrix[-1, -3:] = h[-1], -h[-2] - h[-1], h[-2]
  inner = np.arange(1, n - 1)
  matrix[inner, inner - 1], matrix[inner, inner + 1] = h[:-1], h[1:]
  matrix[inner, inner] = 2.0 * (h[:-1] + h[1:])
  right[1:-1] = 6.0 * np.diff(slope)
  second = np.linalg.solve(matrix, right)
  i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, n - 2)
  d = at - x[i]
  first = slope[i] - h[i] * (2.0 * second[i] + second[i + 1]) / 6.0
  return y[i] + d * (first + d * (0.5 * second[i] + d * (second[i + 1] - second[i]) / (6.0 * h[i])))


def stopping_power(kinetic_mev: Values, particle: Particle, material: Material = LIQUID_ARGON) -> Values:
  """Mean energy loss in MeV/mm: the Bethe formula, for slow particles PSTAR at equal velocity.

  Nuclear stopping (0.05 % at 10 MeV) and radiation are left out. The PSTAR values are those of argon whatever
  `material`.
  """
  kinetic_mev = np.asarray(kinetic_mev, float)
  if _is_electron(particle):
    # the formula turns over below a few times I
    return bethe(np.maximum(kinetic_mev, 1e-3), particle, material)
  log_t = np.log(kinetic_mev * (PROTON_MASS_MEV / particle.mass_mev))
  start, stop = np.log(pstar.SLOW[[0, -1], 0])
  slow = cubic_spline(*np.log(pstar.SLOW[:, :2]).T, np.clip(log_t, start, stop))
  # Below the first value the loss goes with the velocity (Lindhard and Scharff).
  slow = 0.1 * material.density * np.exp(slow + 0.5 * np.minimum(log_t - start, 0.0))
  low, high = np.log(JOIN_MEV)
  share = np.clip((log_t - low) / (high - low), 0.0, 1.0)
  share = share**2 * (3.0 - 2.0 * share)
  return (1.0 - share) * slow + share * bethe(kinetic_mev, particle, material)


def straggling_power(kinetic_mev: Values, particle: Particle, material: Material = LIQUID_ARGON) -> Values:
  """Growth of the variance of the energy loss in MeV2/mm: Bohr's, relativistic.

  (K/2) rho Z/A Tmax (1 - beta^2/2) / beta^2, the second moment of the free-electron cross section of a heavy
  particle (Rossi 1952, sect. 2.7), which is the variance of Vavilov's distribution.
  """
  kin = kinematics(kinetic_mev, particle)
  front = 0.05 * BETHE_K * material.density * material.z / material.a
  return front * kin.max_transfer_mev * (1.0 - 0.5 * kin.beta2) / kin.beta2


class RangeTable(NamedTuple):
  """Continuous-slowing-down range against energy, on a logarithmic grid."""
  kinetic_mev: np.ndarray  # [g]
  range_mm: np.ndarray     # [g]


MIN_KINETIC_MEV, MAX_KINETIC_MEV = 1e-3, 2000.0  # of the tables


@functools.lru_cache(maxsize=32)
def range_table(particle: Particle, material: Material = LIQUID_ARGON, scale: float = 1.0) -> RangeTable:
  """CSDA ranges for a stopping power of `scale` times `stopping_power`: the integral of dT / S from zero
  energy."""
  kinetic = np.geomspace(MIN_KINETIC_MEV, MAX_KINETIC_MEV, 20001)
  slowness = kinetic / (scale * stopping_power(kinetic, particle, material))  # per unit of log T
  steps = 0.5 * (slowness[1:] + slowness[:-1]) * np.log(kinetic[1] / kinetic[0])
  first = 2.0 * slowness[0]  # S goes with the velocity below the grid
  return RangeTable(kinetic, first + np.concatenate([[0.0], np.cumsum(steps)]))


def csda_range(kinetic_mev: Values, particle: Particle, material: Material = LIQUID_ARGON, *,
               scale: float = 1.0) -> Values:
  """CSDA range in mm at 1 keV to 2 GeV. Raises ValueError outside."""
  kinetic_mev = np.asarray(kinetic_mev, float)
  if kinetic_mev.size and not (np.all(kinetic_mev >= MIN_KINETIC_MEV) and
                               np.all(kinetic_mev <= MAX_KINETIC_MEV)):
    raise ValueError(f"Kinetic energies must be within {MIN_KINETIC_MEV:g} to {MAX_KINETIC_MEV:g} MeV; got "
                     f"{kinetic_mev.min():g} to {kinetic_mev.max():g}.")
  table = range_table(particle, material, scale)
  return np.exp(np.interp(np.log(kinetic_mev), np.log(table.kinetic_mev), np.log(table.range_mm)))
