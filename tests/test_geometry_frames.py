"""The track frame: turning events and turning pictures agree, charge is kept, the azimuth has a
derivative."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.data.events import pad_events
from lartpc_jax.data.open import open_events
from lartpc_jax.geometry import frames
from lartpc_jax.geometry.rasterize import ImageSpec, rasterize
from lartpc_jax.transport import emd as emd_lib

SPEC, FRAME = ImageSpec(), frames.TrackFrame()


@pytest.fixture(scope="module")
def batch():
  return pad_events(open_events("sample"), np.arange(24))


@pytest.fixture(scope="module")
def turned(batch):
  """Detector images drawn in the track frame and turned, and drawn directly."""
  @jax.jit
  def draw(position_mm, edep_mev, momentum_mev):
    images = frames.track_images(frames.to_track_frame(position_mm, momentum_mev)[0], edep_mev, FRAME)
    direct = jax.vmap(lambda x, e: rasterize(x, e, SPEC))(position_mm, edep_mev)
    return frames.turn_images(images, momentum_mev, FRAME, SPEC), direct
  return tuple(np.asarray(a) for a in draw(batch.position_mm, batch.edep_mev, batch.momentum_mev))


def test_turned_pictures_equal_pictures_of_the_deposits(turned):
  """Far below the distance of two events of equal momentum, 0.54 pixel."""
  distance = emd_lib.make_emd(**emd_lib.REPORTING)
  values = jax.jit(jax.vmap(lambda a, b: distance.emd(a, b).value))(*turned)
  assert np.median(values) < 0.03 and np.percentile(values, 90) < 0.06, values


def test_the_turn_keeps_the_charge(turned):
  ratio = turned[0].sum((1, 2)) / turned[1].sum((1, 2))
  assert abs(np.median(ratio) - 1) < 1e-3 and (ratio > 0.9).all() and (ratio < 1.01).all(), ratio


def test_momentum_in_the_track_frame_has_no_second_component(batch):
  _, momentum = frames.to_track_frame(jnp.asarray(batch.position_mm), jnp.asarray(batch.momentum_mev))
  want = np.stack([np.hypot(*batch.momentum_mev[:, :2].T), np.zeros(24), batch.momentum_mev[:, 2]], -1)
  np.testing.assert_allclose(momentum, want, rtol=1e-5)


def test_an_event_does_not_depend_on_its_azimuth_in_the_track_frame(batch):
  angle = 0.7
  matrix = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]],
                    np.float32)
  a, _ = frames.to_track_frame(jnp.asarray(batch.position_mm), jnp.asarray(batch.momentum_mev))
  b, _ = frames.to_track_frame(jnp.asarray(batch.position_mm @ matrix.T),
                               jnp.asarray(batch.momentum_mev @ matrix.T))
  np.testing.assert_allclose(a, b, atol=2e-3)


def test_along_the_line_of_sight_the_azimuth_is_zero_and_derivatives_are_finite():
  p = jnp.array([[0.0, 0.0, 400.0], [1e-3, 2e-3, -400.0]])
  np.testing.assert_array_equal(jnp.stack(frames.azimuth(p)), [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
  image = jnp.zeros((2, *FRAME.shape)).at[:, 20, 10].set(1.0)
  assert np.isfinite(jax.jit(jax.jacfwd(lambda q: frames.turn_images(image, q, FRAME, SPEC)))(p)).all()
  assert np.isfinite(jax.jit(jax.jacfwd(lambda q: frames.expected_end(q, FRAME)))(p)).all()


def test_gradient_of_the_turn_equals_finite_differences(x64):
  rng = np.random.default_rng(0)
  spec = SPEC._replace(threshold_mev=0.0)
  image, weights = jnp.asarray(rng.random((1, *FRAME.shape)) ** 8), jnp.asarray(rng.normal(size=(64, 64)))
  p, step, h = jnp.array([[200.0, -150.0, 100.0]]), jnp.array([[0.3, 1.0, 0.2]]), 1e-4
  f = jax.jit(lambda q: jnp.sum(weights * frames.turn_images(image, q, FRAME, spec)[0]))
  difference = (f(p + h * step) - f(p - h * step)) / (2 * h)
  np.testing.assert_allclose(
      jax.jit(lambda p, step: jax.jvp(f, (p,), (step,))[1])(p, step), difference, rtol=1e-5)
  np.testing.assert_allclose(jnp.sum(jax.jit(jax.grad(f))(p) * step), difference, rtol=1e-5)


def test_the_vertex_moves_the_picture(x64):
  """By whole pixels it is the same picture elsewhere; its derivative equals finite differences at any part of
  a pixel."""
  rng = np.random.default_rng(1)
  spec = SPEC._replace(threshold_mev=0.0)
  image = jnp.asarray(np.pad(rng.random((1, 20, 10)), ((0, 0), (12, 32), (11, 11))))
  p = jnp.array([[200.0, -150.0, 100.0]])
  turn = jax.jit(lambda vertex: frames.turn_images(image, p, FRAME, spec, vertex))
  still = frames.turn_images(image, p, FRAME, spec)
  np.testing.assert_allclose(turn(jnp.array([[6.0, -3.0, 50.0]])), jnp.roll(still, (2, -1), axis=(1, 2)),
                             atol=1e-9)
  weights, h = jnp.asarray(rng.normal(size=(64, 64))), 1e-4
  at, step = jnp.array([[1.3, -0.4, 0.0]]), jnp.array([[0.3, 1.0, 0.2]])
  f = lambda vertex: jnp.sum(weights * turn(vertex)[0])
  np.testing.assert_allclose(
      jax.jvp(f, (at,), (step,))[1], (f(at + h * step) - f(at - h * step)) / (2 * h), rtol=1e-5)


def test_the_expected_end_is_the_projected_range():
  # 100 MeV: 78.2 mm
  p = jnp.array([[444.58, 0.0, 0.0], [0.0, 0.0, 444.58], [0.0, 444.58 / 2**0.5, 444.58 / 2**0.5]])
  end_mm = (np.asarray(frames.expected_end(p, FRAME)) + 1) * 64.0 - 24.0
  np.testing.assert_allclose(end_mm, [78.22, 0.0, 78.22 / 2**0.5], atol=0.05)


def test_a_track_frame_that_smears_more_than_the_detector_is_refused():
  with pytest.raises(
      ValueError, match=r"frame.sigma_mm = 1.3 and frame.pitch_mm = 2.0 smear more than the image.sigma_mm"):
    frames.remaining_sigma_mm(FRAME._replace(sigma_mm=1.3), SPEC)
