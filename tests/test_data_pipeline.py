"""Batches: pure functions of (seed, step), rotations included; splits and cuts."""
import numpy as np
import pytest

from lartpc_jax.data import pictures
from lartpc_jax.data.events import Events, deposited_energy, load_events, save_events, select_events
from lartpc_jax.data.open import open_events
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec

SPEC = ImageSpec(num_pixels=64)


@pytest.fixture(scope="module")
def events():
  return select_events(open_events("sample"), np.arange(40))


def test_a_batch_is_a_function_of_seed_and_step(events):
  build = lambda seed: pipeline.make_batches(events, batch_size=4, seed=seed, frame=TrackFrame())
  first, again = build(3), build(3)
  a = first(7)
  first(8)
  b, other_step, other_seed = again(7), again(8), build(4)(7)
  assert a["image"].shape == (4, 64, 32) and a["momentum_mev"].shape == (4, 3)
  for name in a:
    np.testing.assert_array_equal(a[name], b[name])
    assert not np.allclose(a[name], other_step[name]) and not np.allclose(a[name], other_seed[name])


def test_batches_keep_energy_and_momentum_and_lie_along_the_first_axis(events):
  """Every momentum is that of an event up to a rotation, and the charge lies where it points."""
  inner = pictures.keep_contained(events, SPEC)
  frame = TrackFrame(threshold_mev=0.0, num_along=96, num_across=96, start_mm=-96.0)
  batch = pipeline.make_batches(inner, batch_size=16, seed=0, frame=frame)(0)
  known, energy = np.linalg.norm(inner.momentum_mev, axis=1), deposited_energy(inner)
  along, across = ((e[1:] + e[:-1]) / 2 for e in frame.edges_mm())
  aligned = 0
  for image, momentum in zip(np.asarray(batch["image"]), np.asarray(batch["momentum_mev"]), strict=True):
    event = np.abs(known - np.linalg.norm(momentum)).argmin()
    np.testing.assert_allclose(np.linalg.norm(momentum), known[event], rtol=1e-5)
    np.testing.assert_allclose(image.sum(), energy[event], rtol=2e-3)  # the smearing's tail over the edge
    assert momentum[0] >= 0 and momentum[1] == 0
    mean = np.array([along @ image.sum(1), across @ image.sum(0)]) / image.sum()
    aligned += abs(mean[1]) < 3.0 and mean[0] > 0.3 * momentum[0] / 10.0 - 3.0
  assert aligned >= 13  # nuclear interactions and scattering may turn a few


def test_images_without_rotation_conserve_charge(events):
  contained = pictures.keep_contained(events, SPEC)
  images = pictures.images_of(contained, np.arange(6), views=("xy", "yz"), spec=SPEC._replace(threshold_mev=0.0), chunk=4)
  assert images.shape == (6, 2, 64, 64)
  np.testing.assert_allclose(images.sum((2, 3)), np.repeat(deposited_energy(contained)[:6, None], 2, 1), rtol=2e-3)
  one = pictures.images_of(contained, np.array([5]), views=("xy", "yz"), spec=SPEC._replace(threshold_mev=0.0))
  np.testing.assert_allclose(one[0], images[5], atol=1e-5)


def test_holdout_and_train_are_disjoint_and_complete(events):
  train = pipeline.split_events(events, "train", num_holdout=10)
  held = pipeline.split_events(events, "holdout", num_holdout=10)
  rows = lambda e: {tuple(p) for p in e.momentum_mev.tolist()}
  assert len(train) == 30 and len(held) == 10 and not rows(train) & rows(held)
  assert rows(train) | rows(held) == rows(events)


def test_bad_splits_and_sizes_are_named(events, tmp_path):
  for num in (0, 40):
    with pytest.raises(ValueError, match=f"data.num_holdout must lie between 1 and 39.*got {num}"):
      pipeline.split_events(events, "train", num_holdout=num)
  with pytest.raises(ValueError, match=r"Unknown split 'test'; choose from \['holdout', 'train'\]"):
    pipeline.split_events(events, "test", num_holdout=1)
  with pytest.raises(ValueError, match="data.batch_size must be at least 1; got 0"):
    pipeline.make_batches(events, batch_size=0, seed=0, frame=TrackFrame())
  unknown = select_events(events, np.arange(3))
  unknown.momentum_mev[1] = 0.0
  with pytest.raises(ValueError, match="1 events have no momentum .*the first is number 1; training needs it"):
    pipeline.make_batches(unknown, batch_size=2, seed=0, frame=TrackFrame())
  with pytest.raises(ValueError, match="data.path is not set.*'sample'"):
    open_events("")
  with pytest.raises(FileNotFoundError, match="nothing.npz"):
    open_events(tmp_path / "nothing.npz")


def test_open_events_reads_a_file(events, tmp_path):
  save_events(tmp_path / "e.npz", events)
  np.testing.assert_array_equal(open_events(tmp_path / "e.npz").edep_mev, events.edep_mev)
  assert len(load_events(str(tmp_path / "e.npz"))) == 40


def test_keep_contained_drops_what_any_rotation_could_lose():
  """Half the window is 24 mm = 8 voxels; empty events, first, middle and last, are kept."""
  voxels = {1: [[0, 0, 0], [7, 0, 0]], 2: [[0, 0, 7], [6, 6, 6]], 4: [[0, 0, 0]], 5: [[0, -9, 0], [0, 0, 0]]}
  counts = [len(voxels.get(i, [])) for i in range(7)]
  flat = np.array([v for i in range(7) for v in voxels.get(i, [])], np.int16)
  events = Events(np.arange(21, dtype=np.float32).reshape(7, 3), np.concatenate([[0], np.cumsum(counts)]), flat,
                  np.ones(len(flat), np.float32), 3.0)
  kept = pictures.keep_contained(events, SPEC._replace(num_pixels=16))
  np.testing.assert_array_equal(kept.momentum_mev[:, 0] / 3, [0, 1, 3, 4, 6])
  np.testing.assert_array_equal(kept.voxel, [[0, 0, 0], [7, 0, 0], [0, 0, 0]])
