"""Physics quantities of proton images against straight lines, a power-law Bragg curve, and Geant4 with
PSTAR."""
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.data.open import open_events
from lartpc_jax.geometry import rasterize as raster
from lartpc_jax.metrics import closure, proton


def draw(length_mm, direction, charge_per_mm):
  """Image of deposits every 0.1 mm along a straight line; charge_per_mm is a function of residual range in
  mm."""
  s = np.arange(0.05, length_mm, 0.1)
  position = s[:, None] * np.asarray(direction, float) / np.linalg.norm(direction)
  edep = charge_per_mm(length_mm - s) * 0.1
  return np.asarray(raster.rasterize(jnp.asarray(position, jnp.float32), jnp.asarray(edep, jnp.float32)))


def test_track_length_of_a_straight_line():
  image = draw(60.0, (1, 0, 0), lambda r: 1.0 + 0 * r)
  assert abs(proton.track_length_mm(image) - 60.0) < 4.0  # pixels of 3 mm
  assert proton.track_length_mm(np.zeros((64, 64))) == 0.0


@pytest.mark.parametrize("direction", [(1, 0, 0), (-1, 1, 0), (2, 1, 0)])
def test_cumulative_charge_ends_at_the_total(direction):
  image = draw(50.0, direction, lambda r: 1.0 + 0 * r)
  position, charge = proton.cumulative_charge(image, np.array(direction[:2]))
  assert np.all(np.diff(position) > 0)
  np.testing.assert_allclose(charge[-1], image.sum(), rtol=1e-6)
  np.testing.assert_allclose(np.interp(25.0, position, charge), 0.5 * image.sum(), rtol=0.02)


def test_bragg_curve_of_a_power_law():
  """T = (r / a)^(1/p) gives dE/dx = r^(1/p - 1) / (p a^(1/p)): the estimator finds the bin means."""
  a, p = 0.0259, 1.77
  image = draw(70.0, (1, 0, 0), lambda r: np.maximum(r, 0.05) ** (1 / p - 1) / (p * a ** (1 / p)))
  edges = np.array([7.0, 10, 20, 40, 60])
  expected = np.diff((edges / a) ** (1 / p)) / np.diff(edges)
  np.testing.assert_allclose(proton.residual_dedx(image, np.array([1.0, 0.0]), edges), expected, rtol=0.06)


def test_geant4_follows_pstar():
  """Sample events of 85-95 MeV turned along x; smearing hides the peak, so from 7 mm on."""
  events = open_events("sample")
  images, momentum = closure.matched_images(events, 90.0, np.array([1.0, 0, 0]), window_mev=5.0,
                                            max_events=60, seed=0, spec=raster.ImageSpec())
  row = closure.compare(images, images, momentum, 90.0, "along x", pitch_mm=3.0)
  np.testing.assert_allclose(row.dedx[0][2:], proton.PSTAR_DEDX_MEV_PER_MM[2:], rtol=0.06)
  np.testing.assert_array_equal(row.length_mm[0], row.length_mm[1])
  assert abs(row.charge_median[0] - 1.0) < 0.01


def test_closure_sees_a_planted_charge_scale():
  events = open_events("sample")
  images = {}

  def scaled(momentum_mev):
    return 1.05 * images["simulated"]

  simulated, momentum = closure.matched_images(events, 75.0, np.array([1.0, 0, 0]), window_mev=3.0,
                                               max_events=40, seed=0, spec=raster.ImageSpec())
  images["simulated"] = simulated
  row = closure.compare(simulated, scaled(momentum), momentum, 75.0, "along x", pitch_mm=3.0)
  np.testing.assert_allclose(row.charge_ratio[1] / row.charge_ratio[0], 1.05, rtol=1e-5)


def test_too_few_events_are_named():
  events = open_events("sample")
  with pytest.raises(ValueError, match="Only 0 events within 1.0 MeV of 10.0 MeV"):
    closure.matched_images(events, 10.0, np.array([1.0, 0, 0]), window_mev=1.0, max_events=40, seed=0,
                           spec=raster.ImageSpec())


def test_bins_behind_the_vertex_are_not_known():
  curve = proton.residual_dedx(draw(30.0, (1, 0, 0), lambda r: 1.0 + 0 * r), np.array([1.0, 0.0]))
  assert np.isfinite(curve[:4]).all() and np.isnan(curve[-3:]).all()


def test_length_ignores_blips():
  image = draw(30.0, (1, 0, 0), lambda r: 1.0 + 0 * r)
  alone = proton.track_length_mm(image)
  image = image.copy()
  image[2, 2] = 5.0
  assert proton.track_length_mm(image) == alone
