"""Pictures of events: charge, containment, and those of voxels by hand and against the crops that Geant4
events gave."""
import itertools

import numpy as np
import pytest

from lartpc_jax.data import pictures as lib
from lartpc_jax.data.datasets import builders, loader
from lartpc_jax.data.events import Events, deposited_energy, load_events, select_events
from lartpc_jax.data.open import open_events
from lartpc_jax.geometry.rasterize import PROTONS512, VIEWS, ImageSpec

SPEC = ImageSpec(num_pixels=64)
VOXELS = [[0, 0, 0], [0, 0, 5], [-1, 2, 0], [-256, 255, 0], [300, 0, 0], [1, 1, 1]]
EVENT = dict(offsets=np.array([0, 0, *[6] * 8, 7]), voxel=np.array([*VOXELS, [3, 0, 0]], np.int16),
             edep=np.float32(
    [1.0, 2.0, 4.0, 8.0, 16.0, 1e-4, 5.0]), vlabel=np.uint8([1, 2, 3, 4, 1, 1, 2]), voxel_mm=np.float32(3.0))


@pytest.fixture(scope="module")
def events():
  return select_events(open_events("sample"), np.arange(40))


@pytest.fixture
def path(tmp_path):
  np.savez(tmp_path / "lartpc_events_geant4.npz", **EVENT)
  return tmp_path / "lartpc_events_geant4.npz"


def test_images_without_rotation_conserve_charge(events):
  contained = lib.keep_contained(events, SPEC)
  images = lib.images_of(contained, np.arange(6), views=("xy", "yz"), spec=SPEC._replace(threshold_mev=0.0),
                         chunk=4)
  assert images.shape == (6, 2, 64, 64)
  np.testing.assert_allclose(images.sum((2, 3)), np.repeat(deposited_energy(contained)[:6, None], 2, 1),
                             rtol=2e-3)
  one = lib.images_of(contained, np.array([5]), views=("xy", "yz"), spec=SPEC._replace(threshold_mev=0.0))
  np.testing.assert_allclose(one[0], images[5], atol=1e-5)


def test_keep_contained_drops_what_any_rotation_could_lose():
  """Half the window is 24 mm = 8 voxels; empty events, first, middle and last, are kept."""
  voxels = {1: [[0, 0, 0], [7, 0, 0]], 2: [[0, 0, 7], [6, 6, 6]], 4: [[0, 0, 0]], 5: [[0, -9, 0], [0, 0, 0]]}
  counts = [len(voxels.get(i, [])) for i in range(7)]
  flat = np.array([v for i in range(7) for v in voxels.get(i, [])], np.int16)
  events = Events(np.arange(21, dtype=np.float32).reshape(7, 3), np.concatenate([[0], np.cumsum(counts)]),
                  flat,
                  np.ones(len(flat), np.float32), 3.0)
  kept = lib.keep_contained(events, SPEC._replace(num_pixels=16))
  np.testing.assert_array_equal(kept.momentum_mev[:, 0] / 3, [0, 1, 3, 4, 6])
  np.testing.assert_array_equal(kept.voxel, [[0, 0, 0], [7, 0, 0], [0, 0, 0]])


def test_voxels_by_hand(path):
  """Two voxels on one line of sight add up, the larger gives the class; far ones are lost, faint ones
  background."""
  events = load_events(path)
  assert len(events) == 10 and not events.momentum_mev.any()
  image, label = lib.voxel_image(events, 1)
  want, classes = np.zeros((512, 512)), np.zeros((512, 512))
  for x, y, charge, kind in ((256, 256, 3.0, 2), (255, 258, 4.0, 3), (0, 511, 8.0, 4)):
    want[x, y], classes[x, y] = charge, kind
  np.testing.assert_array_equal(image, want)
  np.testing.assert_array_equal(label, classes)
  image, _ = lib.voxel_image(events, 1, view="xz")
  assert image[256, 261] == 2.0 and image[256, 256] == 1.0
  assert not lib.voxel_image(events, 0)[0].any()
  coarse, _ = lib.voxel_image(events, 1, spec=ImageSpec(num_pixels=8, pitch_mm=192.0))
  assert coarse[4, 4] == pytest.approx(3.0001) and coarse[3, 4] == 4.0 and coarse[0, 7] == 8.0
  assert coarse.sum() == pytest.approx(15.0001)  # the voxel at 901 mm is outside


def test_low_energy_scatters_count_as_showers(tmp_path):
  """PILArNet's class 5, as launch.convert writes it."""
  np.savez(tmp_path / "e.npz", **{**EVENT, "vlabel": np.full(7, 5, np.uint8)})
  image, label = lib.voxel_image(load_events(tmp_path / "e.npz"), 1)
  np.testing.assert_array_equal(label, np.where(image > 0, 2, 0))


def test_pictures_without_labels_are_the_same(path):
  labelled = load_events(path)
  plain = Events(**{**labelled._asdict(), "label": None})
  for number in (0, 1, 9):
    np.testing.assert_array_equal(lib.voxel_images(plain, np.array([number]), spec=PROTONS512)[0],
                                  lib.voxel_image(labelled, number)[0])
  with pytest.raises(ValueError, match="no classes of their voxels .field 'vlabel'"):
    lib.voxel_image(plain, 1)


def test_voxels_keep_the_charge_of_an_event():
  events = open_events("sample")
  image = lib.voxel_images(events, np.array([480]), spec=ImageSpec(128, 3.0, 0.0, 0.0))[0]
  assert image.sum() == pytest.approx(deposited_energy(events)[480], rel=1e-5)


def test_views_of_geant4_events(shared_data):
  """An event of a real file: every lit pixel in place, in each view, against a histogram of the voxels."""
  events, spec = load_events(shared_data / "lartpc_events_geant4.npz"), ImageSpec(512, 3.0, 0.0, 0.1)
  rows = slice(events.offsets[7], events.offsets[8])
  for view, axes in zip(VIEWS, itertools.combinations(range(3), 2), strict=True):
    flat = np.histogram2d(*(events.voxel[rows].astype(float)[:, list(axes)].T + 0.5),
                          bins=[np.arange(-256, 257)] * 2,
                          weights=events.edep_mev[rows].astype(float))[0]
    np.testing.assert_allclose(lib.voxel_images(events, np.array([7]), spec=spec, view=view)[0],
                               np.where(flat >= 0.1, flat, 0), rtol=1e-6)


def test_crops_of_geant4(shared_data):
  """The crops were cut from pictures of the same events: charge to a unit of 0.004 MeV, classes exactly."""
  events = load_events(shared_data / "lartpc_events_geant4.npz")
  spec = ImageSpec(num_pixels=2048, threshold_mev=0.002)
  compared, source = 0, shared_data / "lartpc_crops_geant4.npz"
  with np.load(source) as npz:
    number, origin, unit = npz["event"], npz["origin"] + 1024, float(npz["unit_mev"])
  images, labels = (next(builders.npz_rows(source, name, 60)) for name in ("image", "label"))
  for i, (x, y) in enumerate(origin[:60]):
    image, label = (a[x:x + 64, y:y + 64] for a in lib.voxel_image(events, int(number[i]), spec=spec))
    np.testing.assert_allclose(image, images[i] * unit, atol=1.01 * unit)
    lit = images[i] > 0
    np.testing.assert_array_equal(label[lit], labels[i][lit])
    compared += lit.sum()
  assert compared > 4000


def test_dataset(path, tmp_path):
  events = load_events(path)
  directory = builders.build("lartpc_events512", tmp_path, tmp_path / "data").data_dir
  rows = {int(row["event"]): row for row in loader.open_split(directory, "train")}
  assert sorted(rows) == list(range(8)) and len(loader.open_split(directory, "test")) == 1
  for i, view in enumerate(("xy", "xz", "yz")):
    image, label = lib.voxel_image(events, 1, view=view, spec=PROTONS512)
    np.testing.assert_array_equal(rows[1]["image"][i], image)
    np.testing.assert_array_equal(rows[1]["label"][i], label)
