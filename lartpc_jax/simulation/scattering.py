"""Multiple Coulomb scattering of one step: Moliere's Gaussian core and single-scattering tail, without a
rejection loop.

Sources: Moliere 1948 (Z. Naturforsch. 3a, 78) and Bethe 1953 (Phys. Rev. 89, 1256) for the characteristic
angle chi_c and the screening angle chi_a; Fano 1954 (Phys. Rev. 93, 117) for the share of atomic electrons;
Eyges 1948 (Phys. Rev. 74, 1534) for displacements; Highland's formula as PDG 2024 (Phys. Rev. D 110, 030001),
eq. 34.16.
"""
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.simulation.stopping import (
  ELECTRON_MASS_MEV,
  FINE_STRUCTURE,
  LIQUID_ARGON,
  Material,
  Particle,
  Values,
  kinematics,
)

# Fitted: the lateral spread of 50 to 100 MeV protons in Geant4 11.4.1 (option1) is 3.5 % below the full
# second moment of single scattering. 1 is the theory.
GEANT4_SCALE = 0.93

# Nuclear form factor 1 / (1 + q^2 R^2 / 12)^2 with R = 1.27 A^0.27 fm (Ivanchenko et al. 2010, J. Phys. Conf.
# Ser. 219, 032045): a cut at q = sqrt(12) / R times exp(-1/2) has the same second moment.
HBARC_MEV_FM = 197.32698


def characteristic_power(kinetic_mev: Values, particle: Particle,
                         material: Material = LIQUID_ARGON) -> Values:
  """Growth of chi_c^2 in rad2/mm from nuclei: 0.157 Z^2 / A rho / (p v)^2 (Bethe 1953, eq. 7, with Z^2 for Z
  (Z + 1))."""
  kin = kinematics(kinetic_mev, particle)
  pv2 = kin.momentum_mev**2 * kin.beta2
  return 0.1 * 0.157 * material.z**2 / material.a * material.density / pv2


def screening_angle2(momentum_mev: Values, beta2: Values, material: Material = LIQUID_ARGON) -> Values:
  """chi_a^2 in rad2: (hbar / p a)^2 (1.13 + 3.76 (alpha Z / beta)^2), a the Thomas-Fermi radius (Bethe 1953,
  eq. 14)."""
  radius_fm = 0.885 * 52917.721 * material.z**(-1 / 3)
  correction = 1.13 + 3.76 * (FINE_STRUCTURE * material.z)**2 / beta2
  return (HBARC_MEV_FM / radius_fm)**2 / momentum_mev**2 * correction


def largest_angle2(momentum_mev: Values, material: Material = LIQUID_ARGON) -> Values:
  """Where the finite nucleus ends the single-scattering tail, rad2."""
  radius_fm = 1.27 * material.a**0.27
  return (12.0 * np.exp(-1.0) * (HBARC_MEV_FM / radius_fm)**2) / momentum_mev**2


class StepScattering(NamedTuple):
  """What one step does to the direction; see `deflection_per_noise`."""
  chi_c2: Array  # characteristic angle squared of the step, nuclei only, rad2
  core: Array    # 2 sigma^2 / chi_c^2 of the Gaussian core
  cut: Array     # chi_c^2 / theta_max^2: the chance at which the nucleus ends the tail


def step_scattering(chi_c2: Values, kinetic_mev: Values, particle: Particle, material: Material = LIQUID_ARGON
                    ) -> StepScattering:
  """Of a step with `chi_c2`, at the energy in its middle. Host-side numpy.

  The core takes what the single-scattering tail leaves of the second moment, chi_c^2 (ln(theta_max^2 /
  chi_a^2) - 1):

    2 sigma^2 = chi_c^2 (ln(chi_c^2 / chi_a^2) + 2) + electrons.

  Electrons deflect by less than their mass ratio, so theirs is Gaussian: chi_c^2 / Z (ln(theta_e^2 / chi_a^2)
  - 1).
  """
  kin = kinematics(kinetic_mev, particle)
  chi_a2 = screening_angle2(kin.momentum_mev, kin.beta2, material)
  electron2 = min(ELECTRON_MASS_MEV / particle.mass_mev, 1.0)**2
  # In steps of a few collisions (chi_c < 3 chi_a) there is no core; the logarithms stay where they are still
  # positive.
  core = np.log(np.maximum(chi_c2 / chi_a2, 10.0)) + 2.0
  core = core + np.maximum(np.log(electron2 / chi_a2) - 1.0, 0.0) / material.z
  return StepScattering(chi_c2, core, chi_c2 / largest_angle2(kin.momentum_mev, material))


def deflection_per_noise(exponential: Float[Array, "*n"], step: StepScattering) -> Float[Array, "*n"]:
  """Factor that turns two standard normal numbers into the projected deflection angles of a step; smooth.

  E = |normal|^2 / 2 is exponential, so exp(-E) is the chance of a larger deflection theta = |normal| factor:

    theta^2 = 2 sigma^2 E + chi_c^2 (exp(E) - 1 - E - E^2 / 2),

  a Gaussian for small E, and Rutherford's chance chi_c^2 / theta^2 for large E, up to the cut of
  `largest_angle2`.
  """
  e = exponential + 1e-4  # the shift keeps the cancellation harmless in float32
  survival = jnp.exp(-e) + step.cut
  tail = jnp.maximum(1.0 / survival - 1.0 - e - 0.5 * e**2, 0.0) / (2.0 * e)
  return jnp.sqrt(step.chi_c2 * (0.5 * step.core + tail))
