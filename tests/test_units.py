"""Kinematics against numpy in float64 and against the range of energies in the data."""
import jax.numpy as jnp
import numpy as np

from lartpc_jax import units


def test_momentum_of_a_kinetic_energy_is_that_of_special_relativity():
  kinetic = np.array([1e-3, 1.0, 50.0, 100.0, 938.27209, 5e3])
  energy = kinetic + 938.27209
  np.testing.assert_allclose(units.momentum_from_kinetic(jnp.asarray(kinetic, jnp.float32)),
                             np.sqrt(energy**2 - 938.27209**2), rtol=1e-6)


def test_kinetic_energy_inverts_the_momentum_without_cancellation():
  # p^2/2m far below the float32 resolution of m
  kinetic = jnp.array([1e-4, 0.1, 50.0, 100.0, 2e3], jnp.float32)
  np.testing.assert_allclose(units.kinetic_from_momentum(units.momentum_from_kinetic(kinetic)), kinetic,
                             rtol=1e-6)


def test_kinetic_energy_of_vectors_on_the_host():
  momenta = np.array([[0.0, 310.4, 0.0], [-444.6, 0.0, 0.0], [0.0, 3.0, 4.0]], np.float32)
  energy = np.sqrt(np.sum(momenta.astype(np.float64)**2, axis=1) + 938.27209**2)
  np.testing.assert_allclose(units.kinetic_energy(momenta), energy - 938.27209, rtol=1e-9)
  np.testing.assert_allclose(units.kinetic_energy(momenta[:2]), [50.0, 100.0], atol=0.05)
  np.testing.assert_allclose(units.kinetic_energy(momenta[2:], 12.0), 1.0, rtol=1e-12)  # 5, 12, 13


def test_known_values_and_another_mass():
  # T = m: p = sqrt(3) m; and the momenta at the ends of the simulated range
  np.testing.assert_allclose(units.momentum_from_kinetic(jnp.array([105.65837]), mass_mev=105.65837),
                             3**0.5 * 105.65837, rtol=1e-6)
  np.testing.assert_allclose(units.momentum_from_kinetic(jnp.array([50.0, 100.0])), [310.4, 444.6], atol=0.1)
  assert float(units.kinetic_from_momentum(jnp.float32(0.0))) == 0.0
