"""Labelled pictures of interactions: by hand, and pixel for pixel against the crops that the same Geant4 events gave."""
import numpy as np
import pytest

from lartpc_jax.data import interactions as lib
from lartpc_jax.data.datasets import builders, loader
from lartpc_jax.geometry.rasterize import PROTONS512, ImageSpec

VOXELS = [[0, 0, 0], [0, 0, 5], [-1, 2, 0], [-256, 255, 0], [300, 0, 0], [1, 1, 1]]
EVENT = dict(offsets=np.array([0, 0, *[6] * 8, 7]), voxel=np.array([*VOXELS, [3, 0, 0]], np.int16), edep=np.float32(
    [1.0, 2.0, 4.0, 8.0, 16.0, 1e-4, 5.0]), vlabel=np.uint8([1, 2, 3, 4, 1, 1, 2]), voxel_mm=np.float32(3.0))


@pytest.fixture
def path(tmp_path):
  np.savez(tmp_path / "lartpc_events_geant4.npz", **EVENT)
  return tmp_path / "lartpc_events_geant4.npz"


def test_by_hand(path):
  """Two voxels on one line of sight add up, the larger gives the class; far ones are lost, faint ones background."""
  events = lib.load_interactions(path)
  assert len(events) == 10
  image, label = lib.interaction_image(events, 1)
  want, classes = np.zeros((512, 512)), np.zeros((512, 512))
  for x, y, charge, kind in ((256, 256, 3.0, 2), (255, 258, 4.0, 3), (0, 511, 8.0, 4)):
    want[x, y], classes[x, y] = charge, kind
  np.testing.assert_array_equal(image, want)
  np.testing.assert_array_equal(label, classes)
  image, _ = lib.interaction_image(events, 1, view="xz")
  assert image[256, 261] == 2.0 and image[256, 256] == 1.0
  assert not lib.interaction_image(events, 0)[0].any()
  coarse, _ = lib.interaction_image(events, 1, spec=ImageSpec(num_pixels=8, pitch_mm=192.0))
  assert coarse[4, 4] == pytest.approx(3.0001) and coarse[3, 4] == 4.0 and coarse[0, 7] == 8.0
  assert coarse.sum() == pytest.approx(15.0001)  # the voxel at 901 mm is outside


def test_crops_of_geant4(shared_data):
  """The crops were cut from pictures of the same events: charge to a unit of 0.004 MeV, classes exactly."""
  for name in ("lartpc_events_geant4.npz", "lartpc_crops_geant4.npz"):
    if not (shared_data / name).exists():
      pytest.skip(f"no {name}")
  events = lib.load_interactions(shared_data / "lartpc_events_geant4.npz")
  spec = ImageSpec(num_pixels=2048, threshold_mev=0.002)
  compared, source = 0, shared_data / "lartpc_crops_geant4.npz"
  with np.load(source) as npz:
    number, origin, unit = npz["event"], npz["origin"] + 1024, float(npz["unit_mev"])
  images, labels = (next(builders.npz_rows(source, name, 60)) for name in ("image", "label"))
  for i, (x, y) in enumerate(origin[:60]):
    image, label = (a[x:x + 64, y:y + 64] for a in lib.interaction_image(events, int(number[i]), spec=spec))
    np.testing.assert_allclose(image, images[i] * unit, atol=1.01 * unit)
    lit = images[i] > 0
    np.testing.assert_array_equal(label[lit], labels[i][lit])
    compared += lit.sum()
  assert compared > 4000


def test_dataset(path, tmp_path):
  events = lib.load_interactions(path)
  directory = builders.build("lartpc_events512", tmp_path, tmp_path / "data").data_dir
  rows = {int(row["event"]): row for row in loader.open_split(directory, "train")}
  assert sorted(rows) == list(range(8)) and len(loader.open_split(directory, "test")) == 1
  for i, view in enumerate(("xy", "xz", "yz")):
    image, label = lib.interaction_image(events, 1, view=view, spec=PROTONS512)
    np.testing.assert_array_equal(rows[1]["image"][i], image)
    np.testing.assert_array_equal(rows[1]["label"][i], label)


@pytest.mark.parametrize("change,match", [
    (dict(vlabel=np.full(7, 6, np.uint8)), "'vlabel' must be below 5"),
    (dict(offsets=np.array([0, 8])), "'offsets' must rise from 0 to the number of voxels 7"),
    (dict(voxel=np.zeros((6, 3), np.int16)), r"'voxel' must have shape \(7, 3\); got \(6, 3\)"),
    (dict(edep=np.zeros(7, int)), "'edep' must have 1 axes and a dtype of kind f; got int64")])
def test_mistakes_are_named(tmp_path, change, match):
  fields = {**EVENT, **change}
  np.savez(tmp_path / "e.npz", **{name: array for name, array in fields.items() if array is not None})
  with pytest.raises(ValueError, match=f"e.npz: field {match}"):
    lib.load_interactions(tmp_path / "e.npz")


def test_missing_and_truncated_files(path, tmp_path):
  with pytest.raises(FileNotFoundError, match="none.npz"):
    lib.load_interactions(tmp_path / "none.npz")
  path.write_bytes(path.read_bytes()[:300])
  with pytest.raises(ValueError, match="not a readable npz file"):
    lib.load_interactions(path)
  np.savez(path, **{name: array for name, array in EVENT.items() if name != "vlabel"})
  with pytest.raises(ValueError, match=r"event file lacks \['vlabel'\]; it holds"):
    lib.load_interactions(path)


def test_low_energy_scatters_count_as_showers(tmp_path):
  """launch.convert writes class 5 for those of PILArNet-M; the pictures have classes 0 to 4."""
  np.savez(tmp_path / "e.npz", **{**EVENT, "vlabel": np.array([1, 5, 5, 2, 0, 3, 4], np.uint8)})
  np.testing.assert_array_equal(lib.load_interactions(tmp_path / "e.npz").label, [1, 2, 2, 2, 0, 3, 4])
