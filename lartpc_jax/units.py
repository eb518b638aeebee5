"""Units and constants: lengths in mm, energies in MeV, momenta in MeV/c. Source: PDG 2024 (Phys. Rev. D 110, 030001)."""
import jax.numpy as jnp
from jaxtyping import Array, Float

PROTON_MASS_MEV = 938.27209


def momentum_from_kinetic(kinetic_mev: Float[Array, "*b"], mass_mev: float = PROTON_MASS_MEV) -> Float[Array, "*b"]:
  """|p| in MeV/c of a particle with kinetic energy T in MeV: p^2 = T (T + 2 m)."""
  return jnp.sqrt(kinetic_mev * (kinetic_mev + 2.0 * mass_mev))


def kinetic_from_momentum(momentum_mev: Float[Array, "*b"], mass_mev: float = PROTON_MASS_MEV) -> Float[Array, "*b"]:
  """Kinetic energy in MeV of a particle with |p| in MeV/c: T = p^2 / (sqrt(p^2 + m^2) + m), free of cancellation."""
  squared = momentum_mev**2
  return squared / (jnp.sqrt(squared + mass_mev**2) + mass_mev)
