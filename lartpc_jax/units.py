"""Units and constants: lengths in mm, energies in MeV, momenta in MeV/c. Source: PDG 2024 (Phys. Rev. D 110,
030001)."""
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PROTON_MASS_MEV = 938.27209
PROTON_PDG = 2212
# Rest masses in MeV by PDG code (antiparticles: the same), of what enters and leaves interactions in argon.
MASS_MEV = {
    11: 0.51099895, 12: 0.0, 13: 105.6583755, 14: 0.0, 22: 0.0, 111: 134.9768, 211: 139.57039, 321: 493.677,
    2112: 939.5654205, PROTON_PDG: PROTON_MASS_MEV
}
# PDG codes of the particles by the names that the simulations of the package take.
PDG_CODES = {
    "proton": PROTON_PDG, "neutron": 2112, "muon": 13, "mu-": 13, "mu+": -13, "e-": 11, "e+": -11,
    "gamma": 22, "electron_approximate": 11, "pi-": -211, "pi+": 211, "pi0": 111, "kaon+": 321, "kaon-": -321
}
PROTON_RANGE_100_MM = 78.22   # at 100 MeV in liquid argon: NIST PSTAR, 10.92 g/cm2, at 1.396 g/cm3
PROTON_RANGE_POWER = 1.769    # of the energy, from PSTAR at 40 MeV, 2.159 g/cm2


def momentum_from_kinetic(kinetic_mev: Float[Array, "*b"] | float,
                          mass_mev: Float[Array, "*b"] | float = PROTON_MASS_MEV) -> Float[Array, "*b"]:
  """|p| in MeV/c of a particle with kinetic energy T in MeV: p^2 = T (T + 2 m)."""
  return jnp.sqrt(kinetic_mev * (kinetic_mev + 2.0 * mass_mev))


def kinetic_from_momentum(momentum_mev: Float[Array, "*b"],
                          mass_mev: Float[Array, "*b"] | float = PROTON_MASS_MEV) -> Float[Array, "*b"]:
  """Kinetic energy in MeV of a particle with |p| in MeV/c: T = p^2 / (sqrt(p^2 + m^2) + m), free of
  cancellation."""
  squared = momentum_mev**2
  return squared / (jnp.sqrt(squared + mass_mev**2) + mass_mev)


def kinetic_energy(momentum_mev: np.ndarray, mass_mev: float | np.ndarray = PROTON_MASS_MEV) -> np.ndarray:
  """The same of momentum vectors [n 3], on the host and in float64: [n] MeV. `mass_mev` may be one for each,
  [n]."""
  squared = np.sum(np.asarray(momentum_mev, np.float64)**2, axis=1)
  return squared / (np.sqrt(squared + mass_mev**2) + mass_mev)


def masses_mev(pdg: np.ndarray, unknown: float = np.nan) -> np.ndarray:
  """Rest masses [n] in MeV of particles by their PDG codes [n]; `unknown` for codes that MASS_MEV lacks."""
  return np.array([MASS_MEV.get(abs(int(code)), unknown) for code in np.atleast_1d(pdg)], np.float64)


def proton_range_mm(kinetic_mev: Float[Array, "*b"]) -> Float[Array, "*b"]:
  """Mean range in mm of protons in liquid argon by the Bragg-Kleeman rule (Bragg & Kleeman 1905), to a few
  per cent."""
  return PROTON_RANGE_100_MM * (kinetic_mev / 100.0) ** PROTON_RANGE_POWER
