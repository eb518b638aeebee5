"""Batches of whole interactions and crops: against `interaction_image`, and the 24 symmetric pictures of an event."""
import itertools

import numpy as np
import pytest

from lartpc_jax.data import interaction_batches as lib
from lartpc_jax.data.interactions import Interactions, interaction_image
from lartpc_jax.geometry.rasterize import VIEWS, ImageSpec

SPEC = ImageSpec(num_pixels=16, pitch_mm=3.0, sigma_mm=0.0, threshold_mev=0.1)
VOXELS = np.array([[0, 0, 0], [1, 2, 4], [3, -2, 1], [0, 5, 6], [2, 2, 0], [200, 0, 0], [-7, -8, 7]], np.int16)
CHARGE = np.float32([1.0, 2.0, 4.0, 8.0, 0.05, 3.0, 16.0])  # the fifth is too faint, the sixth outside
EVENTS = Interactions(np.array([0, 5, 7]), VOXELS, np.ones(7, np.uint8), CHARGE, 3.0)


def test_whole_images_are_those_of_the_labelled_pictures():
  images = lib.whole_images(EVENTS, np.array([1, 0]), spec=SPEC)
  for image, number in zip(images, (1, 0)):
    np.testing.assert_array_equal(image, interaction_image(EVENTS, number, spec=SPEC)[0])
  assert images[1].sum() == 15.0 and images[0].sum() == 16.0


def turned_by_the_cube(number):
  """Pictures of an event turned by all 48 symmetries of the cube, from its voxels: bytes of 24 different pictures."""
  rows = slice(EVENTS.offsets[number], EVENTS.offsets[number + 1])
  out = set()
  for axes in itertools.permutations(range(3)):
    for signs in itertools.product((1, -1), repeat=3):
      centre = (VOXELS[rows].astype(float)[:, axes] + 0.5) * signs
      turned = Interactions(np.array([0, len(centre)]), np.floor(centre).astype(np.int16), EVENTS.label[rows], CHARGE[rows],
                            3.0)
      out.add(lib.whole_images(turned, np.array([0]), spec=SPEC).tobytes())
  return out


def test_batches_hold_the_24_pictures_and_no_other():
  pictures = turned_by_the_cube(0)
  assert len(pictures) == 24
  batch_fn = lib.make_interaction_batches(EVENTS, np.array([0]), batch_size=200, seed=3, spec=SPEC)
  batch = batch_fn(0)["image"]
  assert batch.shape == (200, 16, 16) and batch.dtype == np.float32
  assert {image.tobytes() for image in batch} == pictures  # each is missed with probability 24 (23/24)^200 = 0.005
  np.testing.assert_array_equal(batch_fn(0)["image"], batch)  # a function of the step
  assert not np.array_equal(batch_fn(1)["image"], batch)


def test_crops_are_windows_of_a_picture_with_charge():
  batch = lib.make_interaction_batches(EVENTS, np.array([0]), batch_size=64, seed=0, spec=SPEC, crop_px=4)(0)["image"]
  whole = [np.frombuffer(x, np.float32).reshape(16, 16) for x in turned_by_the_cube(0)]
  windows = {image[i:i + 4, j:j + 4].tobytes() for image in whole for i in range(13) for j in range(13)}
  assert {image.tobytes() for image in batch} <= windows
  assert batch.sum((1, 2)).min() >= 1.0


def test_views_of_geant4_events(shared_data):
  """An event of a real file: every lit pixel in place, in each view."""
  path = shared_data / "lartpc_events_geant4.npz"
  if not path.exists():
    pytest.skip("no lartpc_events_geant4.npz")
  events, spec = lib.open_interactions(str(path)), ImageSpec(512, 3.0, 0.0, 0.1)
  for view in VIEWS:
    np.testing.assert_array_equal(lib.whole_images(events, np.array([7]), spec=spec, view=view)[0],
                                  interaction_image(events, 7, view=view, spec=spec)[0])


def test_the_protons_of_the_package_and_the_split():
  events = lib.open_interactions("sample")
  train, held = lib.split_numbers(events, num_holdout=20)
  assert len(train) == 480 and list(held) == list(range(480, 500))
  image = lib.whole_images(events, held[:1], spec=ImageSpec(128, 3.0, 0.0, 0.0))[0]
  rows = slice(events.offsets[480], events.offsets[481])
  assert image.sum() == pytest.approx(events.edep_mev[rows].sum(), rel=1e-5)


@pytest.mark.parametrize("knobs,match", [
    (dict(batch_size=0), "data.batch_size must be at least 1; got 0"),
    (dict(crop_px=17), "data.crop_px must lie between 0 .none. and image.num_pixels = 16; got 17"),
    (dict(spec=SPEC._replace(sigma_mm=1.0)), "image.sigma_mm must be 0; got 1.0")])
def test_bad_numbers_are_named(knobs, match):
  with pytest.raises(ValueError, match=match):
    lib.make_interaction_batches(EVENTS, np.array([0]), **{**dict(batch_size=2, seed=0, spec=SPEC), **knobs})


def test_bad_data_are_named(tmp_path):
  with pytest.raises(ValueError, match="data.path is not set"):
    lib.open_interactions("")
  with pytest.raises(FileNotFoundError, match="No event file at"):
    lib.open_interactions(str(tmp_path / "none.npz"))
  with pytest.raises(ValueError, match="data.num_holdout must lie between 1 and 1, .*; got 2"):
    lib.split_numbers(EVENTS, num_holdout=2)
  dark = lib.make_interaction_batches(EVENTS, np.array([0]), batch_size=1, seed=0, spec=SPEC._replace(threshold_mev=99.0))
  with pytest.raises(ValueError, match="200 events in a row have no pixel of 99.0 MeV"):
    dark(0)
