"""Vertices with several tracks: rotations, angles, charge, and the file."""
import numpy as np
import pytest

from lartpc_jax.data import multi_track, pictures
from lartpc_jax.data.events import Events
from lartpc_jax.data.open import open_events
from lartpc_jax.geometry.rasterize import PROTONS64

VIEWS = ("xy", "xz")


def test_opening_angles_are_those_asked_for():
  wanted = np.array([0.0, 1.0, 20.0, 90.0, 180.0])
  directions = multi_track.opening_directions(np.random.default_rng(1), wanted)
  np.testing.assert_allclose(multi_track.opening_angles(300.0 * directions), wanted, atol=1e-5)
  many = multi_track.opening_directions(np.random.default_rng(1), np.full(4000, 30.0))
  np.testing.assert_allclose(many.mean((0, 1)), 0.0, atol=0.03)  # isotropic: 3 sigma


def test_the_sum_of_two_events():
  """Charge adds up, momenta have the length of the events' and the wanted directions, a track turned back is
  as before."""
  events = open_events("sample")
  rng = np.random.default_rng(2)
  indices, directions = np.array([[3, 7], [11,
                                           5]]), multi_track.opening_directions(rng, np.array([40.0, 120.0]))
  found = multi_track.combine_events(events, indices, directions, views=VIEWS, spec=PROTONS64)
  assert found.images.shape == (2, 2, 64, 64)
  length = np.linalg.norm(events.momentum_mev[indices], axis=-1)
  np.testing.assert_allclose(found.momenta_mev, length[..., None] * directions, rtol=1e-4, atol=1e-2)
  parts = [
      multi_track.combine_events(events, indices[:, [k]], directions[:, [k]], views=VIEWS,
                                 spec=PROTONS64).images for k in range(2)
  ]
  # but for the threshold
  np.testing.assert_allclose(found.images.sum((2, 3)), sum(parts).sum((2, 3)), rtol=5e-3)
  own = events.momentum_mev[[3]] / np.linalg.norm(events.momentum_mev[[3]], axis=1, keepdims=True)
  alone = multi_track.combine_events(events, np.array([[3]]), own[:, None], views=VIEWS,
                                     spec=PROTONS64).images
  np.testing.assert_allclose(alone, pictures.images_of(events, np.array([3]), views=VIEWS, spec=PROTONS64),
                             atol=2e-3)


def test_bad_input_is_named():
  events = open_events("sample")
  with pytest.raises(ValueError, match=r"directions must have shape \(1, 2, 3\); got \(1, 1, 3\)"):
    multi_track.combine_events(events, np.array([[0, 1]]), np.ones((1, 1, 3)), views=VIEWS, spec=PROTONS64)
  unknown = Events(np.zeros_like(events.momentum_mev), *events[1:])
  with pytest.raises(ValueError, match="without momentum"):
    multi_track.combine_events(unknown, np.array([[0]]), np.ones((1, 1, 3)), views=VIEWS, spec=PROTONS64)


def test_files_round_trip(tmp_path):
  path = tmp_path / "tracks.npz"
  images, momenta = np.ones((2, 2, 4, 4), np.float32), np.full((2, 3, 3), 100.0, np.float32)
  momenta[0, 2] = np.nan
  multi_track.save_tracks(path, multi_track.MultiTrackSet(images, momenta))
  np.testing.assert_array_equal(multi_track.read_momenta(path, 2), momenta)
  with pytest.raises(ValueError, match=r"tracks.npz: momenta must have shape \(3, tracks, 3\)"):
    multi_track.read_momenta(path, 3)
  np.savez(tmp_path / "plain.npz", images=images)
  assert multi_track.read_momenta(tmp_path / "plain.npz", 2) is None
