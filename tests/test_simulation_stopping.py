"""Stopping powers and ranges against NIST PSTAR, the PDG's muon table and closed limits."""
import numpy as np
import pytest

from lartpc_jax.simulation import nuclear, pstar, stopping

PROTON, MUON = stopping.PARTICLES["proton"], stopping.PARTICLES["muon"]
DENSITY = stopping.LIQUID_ARGON.density
# Muons in liquid argon: kinetic energy in MeV, CSDA range in g/cm2; PDG Atomic and Nuclear Properties (Groom
# et al. 2001).
MUON_RANGES = np.array([(20.0, 3.321), (30.0, 6.598), (40.0, 10.58), (80.0, 30.84), (100.0, 42.50),
                        (140.0, 67.32), (200.0, 106.3), (300.0, 172.5), (400.0, 238.5)])


def test_stopping_power_is_that_of_pstar():
  energy, loss, _ = pstar.TABLE[pstar.TABLE[:, 0] <= 1000].T
  np.testing.assert_allclose(10 * stopping.stopping_power(energy, PROTON) / DENSITY, loss, rtol=4e-3)


def test_bethe_alone_is_that_of_pstar():
  """The formula with its corrections, nothing tabulated; without the shell correction it would be 2 % off at
  10 MeV."""
  energy, loss, _ = pstar.TABLE[(pstar.TABLE[:, 0] >= 10) & (pstar.TABLE[:, 0] <= 1000)].T
  np.testing.assert_allclose(10 * stopping.bethe(energy, PROTON) / DENSITY, loss, rtol=4e-3)


def test_ranges_are_those_of_pstar():
  energy, _, range_gcm2 = pstar.TABLE[pstar.TABLE[:, 0] <= 1000].T
  np.testing.assert_allclose(0.1 * DENSITY * stopping.csda_range(energy, PROTON), range_gcm2, rtol=3e-3)


def test_scaled_ranges_are_those_of_geant4():
  """CSDA ranges that Geant4 11.4.1 gives for G4_lAr, g/cm2."""
  energy, range_gcm2 = np.array([(20.0, 0.6345), (30.0, 1.2992), (40.0, 2.1692), (50.0, 3.2245),
                                 (75.0, 6.610), (80.0, 7.4025), (100.0, 10.956)]).T
  ours = 0.1 * DENSITY * stopping.csda_range(energy, PROTON, scale=stopping.GEANT4_SCALE)
  np.testing.assert_allclose(ours, range_gcm2, rtol=3.5e-3)


def test_muon_ranges_are_those_of_the_pdg():
  energy, range_gcm2 = MUON_RANGES.T
  np.testing.assert_allclose(0.1 * DENSITY * stopping.csda_range(energy, MUON), range_gcm2, rtol=5e-3)


def test_minimum_ionization_of_muons():
  """1.508 MeV cm2/g at 266 MeV (PDG Atomic and Nuclear Properties, liquid argon)."""
  energy = np.linspace(100, 600, 501)
  loss = 10 * stopping.stopping_power(energy, MUON) / DENSITY
  assert abs(loss.min() / 1.508 - 1) < 2e-3
  assert abs(energy[loss.argmin()] - 266) < 25


def test_slow_particles_of_equal_velocity_lose_the_same():
  energy = np.array([0.01, 0.1, 1.0, 5.0])
  ratio = MUON.mass_mev / PROTON.mass_mev
  np.testing.assert_allclose(stopping.stopping_power(energy * ratio, MUON),
                             stopping.stopping_power(energy, PROTON))


def test_electrons_reach_the_minimum_of_collision_losses():
  """ICRU 37 for argon: the collision loss has its minimum between 1 and 2 MeV, and the density effect slows
  its rise."""
  energy = np.geomspace(0.1, 100, 400)
  loss = stopping.stopping_power(energy, stopping.PARTICLES["electron_approximate"])
  assert 0.8 < energy[loss.argmin()] < 2.0
  dense = np.log(loss[-1] / loss.min())
  assert 0 < dense < 0.35


def test_range_is_the_integral_of_the_stopping_power():
  energy, step = np.array([0.5, 5.0, 50.0, 500.0]), 1e-3
  ranges = [stopping.csda_range(energy * factor, PROTON) for factor in (1 - step, 1 + step)]
  slope = (ranges[1] - ranges[0]) / (2 * step * energy)
  np.testing.assert_allclose(slope, 1 / stopping.stopping_power(energy, PROTON), rtol=1e-4)


def test_straggling_of_slow_particles_is_bohrs():
  """4 pi r_e^2 m^2 N Z = 0.1569 MeV2 cm2/g Z / A (Bohr 1915), for any slow heavy particle."""
  bohr = 0.15692 * DENSITY * 18 / 39.948 / 10
  np.testing.assert_allclose(stopping.straggling_power(0.5, PROTON), bohr, rtol=2e-3)
  np.testing.assert_allclose(stopping.straggling_power(0.05, MUON), bohr, rtol=2e-2)


def test_density_correction_limits():
  x0, x1, _, _, c = stopping.LIQUID_ARGON.density_effect
  assert stopping.density_correction(0.9 * 10**x0) == 0
  np.testing.assert_allclose(stopping.density_correction(10**(x1 + 1)), 2 * np.log(10**(x1 + 1)) - c)


def test_inelastic_cross_section_of_argon():
  """Letaw et al. 1983: 45 mb A^0.7 at high energy; more at 50 MeV, and nothing below the Coulomb barrier."""
  argon = stopping.LIQUID_ARGON
  np.testing.assert_allclose(nuclear.inelastic_cross_section(2000.0, argon), 0.045 * 39.948**0.7, rtol=0.03)
  assert nuclear.inelastic_cross_section(50.0, argon) > nuclear.inelastic_cross_section(200.0, argon)
  assert nuclear.inelastic_cross_section(2.0, argon) == 0
  assert nuclear.interaction_rate(50.0, MUON, argon) == 0


def test_unknown_particles_are_named():
  with pytest.raises(ValueError, match="Unknown particle 'kaon'"):
    stopping.find_particle("kaon")


@pytest.mark.parametrize("energy", [1e-4, 3000.0, float("nan")])
def test_energies_off_the_table_are_named(energy):
  with pytest.raises(ValueError, match="Kinetic energies must be within"):
    stopping.csda_range(energy, PROTON)


def test_spline_is_scipys():
  from scipy.interpolate import CubicSpline
  x, y = np.log(pstar.SLOW).T
  at = np.linspace(x[0], x[-1], 501)
  np.testing.assert_allclose(stopping.cubic_spline(x, y, at), CubicSpline(x, y)(at), atol=1e-12)
