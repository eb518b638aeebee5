"""Series of the fast transport against what they stand for."""
import numpy as np
import pytest

from lartpc_jax.simulation import scattering, steps, stopping

PROTON = stopping.PARTICLES["proton"]
SCALES = (stopping.GEANT4_SCALE, scattering.GEANT4_SCALE)


@pytest.mark.parametrize("particle,low,high,degree", [("proton", 50.0, 100.0, 8), ("proton", 100.0, 100.0, 4),
                                                      ("muon", 20.0, 100.0, 12),
                                                      ("electron_approximate", 5.0, 50.0, 12)])
def test_series_are_the_values(particle, low, high, degree):
  """Between the energies at which they were fitted, with a degree that is worth it."""
  kind = stopping.PARTICLES[particle]
  tables = steps.step_tables(kind, 24, 1.0, low, high, True, *SCALES)
  assert len(tables.coefficients) <= degree + 1
  kinetic = np.geomspace(low, high, 57)
  a, b = tables.log_kinetic
  series = np.polynomial.chebyshev.chebval((2 * np.log(kinetic) - a - b) / (b - a), tables.coefficients).T
  values = steps.step_values(kinetic, kind, tables.step, tables.fraction, 24, True, SCALES)
  for name, expected in values.items():
    np.testing.assert_allclose(series[:, tables.rows[name]], expected,
                               atol=4e-3 if name in steps.ANGLES else 4e-5, err_msg=name)


def test_values_follow_from_the_range_table():
  """Energies left at the nodes are those of residual ranges; variances and angles add up to the whole
  track's."""
  kinetic = np.array([60.0, 90.0])
  values = steps.step_values(kinetic, PROTON, np.arange(24), np.ones(24), 24, False, SCALES)
  left = kinetic[:, None] * (1 - values["deposited"][:, :-1])
  ranges = stopping.csda_range(kinetic, PROTON, scale=SCALES[0])
  np.testing.assert_allclose(stopping.csda_range(left, PROTON, scale=SCALES[0]),
                             ranges[:, None] * steps.node_fractions(24)[1:-1], rtol=1e-5)
  mean = np.exp(values["log_path"] + 0.5 * values["path_spread"]**2)
  np.testing.assert_allclose(mean.sum(1), ranges, rtol=1e-6)
  variance = (mean**2 * np.expm1(values["path_spread"]**2)).sum(1)
  energy = np.linspace(0.005, 1, 20_000) * kinetic[:, None]
  loss = SCALES[0] * stopping.stopping_power(energy, PROTON)
  np.testing.assert_allclose(variance,
                             np.mean(stopping.straggling_power(energy, PROTON) / loss**3, axis=1) * kinetic,
                             rtol=0.01)


def test_segments_fill_the_steps():
  step, fraction = steps.segment_points(PROTON, 24, 1.0, 100.0, SCALES)
  assert step[0] == 0 and fraction[0] == 0 and step[-1] == 23 and fraction[-1] == 1
  mean = -np.diff(steps.node_fractions(24)) * stopping.csda_range(100.0, PROTON)
  share = np.array([np.diff(np.append(fraction[:-1][step[:-1] == k], 1.0)).max() for k in range(24)])
  assert 0.6 < (mean * share).max() < 1.0  # five sigma of straggling fit in
  np.testing.assert_array_equal(steps.segment_points(PROTON, 24, None, 100.0, SCALES)[0], [*range(24), 23])
