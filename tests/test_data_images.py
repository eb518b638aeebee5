"""Files of target images."""
import re

import numpy as np
import pytest

from lartpc_jax.data import events as events_lib, image_files, images as images_lib, pictures
from lartpc_jax.data.batches import first, image_pool, rotated_pool
from lartpc_jax.data.open import open_data, open_events
from lartpc_jax.geometry.rasterize import ImageSpec

SPEC = ImageSpec()
TWO = ("xy", "xz")


def random_images(num, views=2):
  return np.random.default_rng(0).uniform(size=(num, views, 64, 64)).astype(np.float32)


def test_npz_round_trip(tmp_path):
  images, momentum = random_images(5), 500 + np.arange(15.0, dtype=np.float32).reshape(5, 3)
  image_files.save_images(tmp_path / "a.npz", images, momentum)
  found = images_lib.open_images(tmp_path / "a.npz", views=TWO, spec=SPEC, first=1, num=3)
  np.testing.assert_array_equal(found.images, images[1:4])
  np.testing.assert_array_equal(found.momentum_mev, momentum[1:4])
  assert found.clean is None and found.num_in_file == 5


def test_some_of_the_views_of_a_file_and_its_particles(tmp_path, caplog):
  images, pdg = random_images(3), np.array([13, 2212, 22])
  image_files.save_images(tmp_path / "a.npz", images, np.full((3, 3), 500, np.float32), pdg=pdg)
  found = images_lib.open_images(tmp_path / "a.npz", views=("xz",), spec=SPEC, any_particle=True)
  np.testing.assert_array_equal(found.images, images[:, 1:])
  np.testing.assert_array_equal(found.pdg, pdg)
  assert not caplog.records
  with pytest.raises(ValueError, match="holds 2 views of each event, but 1 are named: u"):
    images_lib.open_images(tmp_path / "a.npz", views=("u",), spec=SPEC)


def test_npy_is_mapped_and_one_view_needs_no_axis(tmp_path):
  images = random_images(4, 1)[:, 0]
  np.save(tmp_path / "a.npy", images)
  found = images_lib.open_images(tmp_path / "a.npy", views=("xz",), spec=SPEC)
  assert isinstance(found.images.base, np.memmap) and found.momentum_mev is None
  np.testing.assert_array_equal(found.images, images[:, None])


def test_events_are_drawn(tmp_path):
  events = events_lib.select_events(open_events("sample"), np.arange(6))
  events_lib.save_events(tmp_path / "a.npz", events)
  found = images_lib.open_images(tmp_path / "a.npz", views=TWO, spec=SPEC, first=2)
  np.testing.assert_array_equal(found.momentum_mev, events.momentum_mev[2:])
  np.testing.assert_allclose(
      found.images.sum((2, 3))[:, 0],
      events_lib.deposited_energy(events)[2:], rtol=0.02)
  same = images_lib.open_images("sample", views=TWO, spec=SPEC, first=2, num=4)
  np.testing.assert_array_equal(same.images, found.images)


def test_clean_events_deposit_all_their_energy_in_the_window():
  def event(momentum, voxel):  # 50 MeV deposited in one voxel
    return np.array([momentum], np.float32), np.array([voxel], np.int16)
  kinetic_50 = (0.0, 0.0, 310.3)  # MeV/c of 50 MeV
  cases = [
      event(kinetic_50, (0, 0, 20)),
      event((0.0, 0.0, 330.0), (0, 0, 20)),
      event(kinetic_50, (0, 0, 200)),
      event(kinetic_50, (200, 0, 0))
  ]
  events = events_lib.Events(np.concatenate([p for p, _ in cases]), np.arange(5),
                             np.concatenate([v for _, v in cases]), np.full(4, 50.0, np.float32), 1.0)
  assert images_lib.clean_events(events, np.arange(4), views=("xy",),
                                 spec=SPEC).tolist() == [True, False, True, False]
  assert images_lib.clean_events(events, np.arange(4), views=TWO,
                                 spec=SPEC).tolist() == [True, False, False, False]


def write_file(path, name):
  images, momentum = random_images(3), np.ones((3, 3), np.float32)
  if name == "text.txt":
    path.write_text("hello")
  elif name == "cut.npz":
    np.savez(path, images=images)
    path.write_bytes(path.read_bytes()[:1000])
  elif name == "cut.npy":
    np.save(path, images)
    path.write_bytes(path.read_bytes()[:1000])
  elif name == "empty.npy":
    path.write_bytes(b"")
  elif name == "other.npz":
    np.savez(path, pictures=images)
  elif name == "small.npy":
    np.save(path, images[..., :32])
  elif name == "one_view.npy":
    np.save(path, images[:, :1])
  elif name == "words.npy":
    np.save(path, np.full((3, 2, 64, 64), "a"))
  elif name == "objects.npy":
    np.save(path, np.array([{}], object), allow_pickle=True)
  elif name == "flat_momentum.npz":
    np.savez(path, images=images, momentum=momentum[0])
  elif name == "momentum.npz":
    np.savez(path, images=images, momentum=momentum[:2])
  elif name == "nan_momentum.npz":
    np.savez(path, images=images, momentum=momentum * np.nan)
  elif name == "no_momentum_events.npz":
    np.savez(path, voxel=np.zeros((1, 3), np.int16), offsets=np.array([0, 1]))
  elif name == "good.npy":
    np.save(path, images)


@pytest.mark.parametrize("name,message", [
    ("text.txt", "must be an npz or npy"), ("cut.npz", "truncated"),
    ("cut.npy", "not a readable file of images"),
    ("empty.npy", "not a readable file"), ("other.npz", r"needs `images`.*pictures"),
    ("small.npy", r"shape \(n, p, p\), \(n, views, p, p\) or.*got \(3, 2, 64, 32\)"),
    ("one_view.npy", "1 views of each event, but 2"),
    ("words.npy", "must be numbers"), ("objects.npy", "not a readable"),
    ("momentum.npz", r"momentum must have shape \(3, 3\)"),
    ("flat_momentum.npz", r"momentum must have shape \(3, 3\); got float32 of shape \(3,\)"),
    ("nan_momentum.npz", "momentum holds NaN"), ("no_momentum_events.npz", "lacks")])
def test_bad_files_are_named(tmp_path, name, message):
  write_file(tmp_path / name, name)
  with pytest.raises(ValueError, match=message) as error:
    images_lib.open_images(tmp_path / name, views=TWO, spec=SPEC)
  assert name in str(error.value)


def test_missing_files_and_events(tmp_path):
  with pytest.raises(FileNotFoundError, match="nothing.npz"):
    images_lib.open_images(tmp_path / "nothing.npz", views=TWO, spec=SPEC)
  write_file(tmp_path / "good.npy", "good.npy")
  for start, num in ((0, 4), (3, None), (2, 2)):
    with pytest.raises(ValueError, match="holds 3 events.*--num_events"):
      images_lib.open_images(tmp_path / "good.npy", views=TWO, spec=SPEC, first=start, num=num)


def test_views():
  assert images_lib.check_views(["xz", "xy"]) == ("xz", "xy")
  with pytest.raises(ValueError, match="Unknown view 'xq'"):
    images_lib.check_views(["xq"])
  for views in ([], ["xy", "xy"]):
    with pytest.raises(ValueError, match="at least one view, each once"):
      images_lib.check_views(views)


def test_a_momentum_of_zero_is_no_truth(tmp_path):
  """Converted files write zeros where their source knows no momentum."""
  events = events_lib.select_events(open_events("sample"), np.arange(3))
  events.momentum_mev[1] = 0.0
  events_lib.save_events(tmp_path / "e.npz", events)
  found = images_lib.open_images(tmp_path / "e.npz", views=("xy",), spec=SPEC)
  assert found.momentum_mev is None and len(found.images) == 3
  assert images_lib.open_images(tmp_path / "e.npz", views=("xy",), spec=SPEC, num=1).momentum_mev is not None
  image_files.save_images(tmp_path / "i.npz", found.images, events.momentum_mev)  # so do files of images
  assert images_lib.open_images(tmp_path / "i.npz", views=("xy",), spec=SPEC).momentum_mev is None
  assert images_lib.open_images(tmp_path / "i.npz", views=("xy",), spec=SPEC, num=1).momentum_mev is not None


LAYOUTS = {"no axis": lambda x: x[:, 0], "last": lambda x: np.moveaxis(x, 1, -1), "first": lambda x: x}


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("layout,views", [("no axis", 1), ("last", 1), ("first", 1), ("last", 2),
                                          ("first", 2)])
def test_every_layout_of_images_is_taken(tmp_path, layout, views, suffix):
  images, path = random_images(3, views), tmp_path / f"a{suffix}"
  stored = LAYOUTS[layout](images)
  if suffix == ".npy":
    np.save(path, stored)
  else:
    np.savez(path, images=stored)
  np.testing.assert_array_equal(images_lib.open_images(path, views=TWO[:views], spec=SPEC).images, images)
  opened = open_data(path)
  np.testing.assert_array_equal(opened.read(np.arange(3))["image"], images)
  # views are examples
  np.testing.assert_array_equal(first(image_pool(opened, {}))["image"], images.reshape(-1, 64, 64))


def test_units(tmp_path):
  images = random_images(3, 1)
  np.savez(tmp_path / "a.npz", images=images, unit="grey level")
  np.save(tmp_path / "b.npy", images)
  np.save(tmp_path / "b_unit.npy", "ADC count")
  for name, unit in (("a.npz", "grey level"), ("b.npy", "ADC count")):
    with pytest.raises(
        ValueError, match=f"{name}: holds images in {unit}s, not in MeV; set data.scale_mev, the MeV of one "
        f"{unit}, or convert them with --scale_mev"):
      images_lib.open_images(tmp_path / name, views=("xy",), spec=SPEC)
    np.testing.assert_allclose(
        open_data(tmp_path / name, scale_mev=2.0).read(np.arange(3))["image"], 2 * images)


def test_momenta_that_are_not_those_of_protons_are_remarked(tmp_path, caplog):
  events = events_lib.select_events(open_events("sample"), np.arange(3))
  fields = dict(momentum=events.momentum_mev, offsets=events.offsets, voxel=events.voxel,
                edep=events.edep_mev, voxel_mm=1.0)
  remark = "momenta are those 2 of muon \\(PDG code 13\\); the models of the package are of single protons"
  np.savez(tmp_path / "e.npz", **fields, pdg=[13, 2212, 13])
  images = images_lib.open_images(tmp_path / "e.npz", views=("xy",), spec=SPEC).images
  np.savez(tmp_path / "i.npz", images=images, momentum=events.momentum_mev, pdg=[13, 2212, 13])
  images_lib.open_images(tmp_path / "i.npz", views=("xy",), spec=SPEC)
  rotated_pool(open_events(tmp_path / "e.npz"), lambda *deposits: None, {"momentum_mev": ()})
  assert [bool(re.search(remark, record.getMessage())) for record in caplog.records] == [True] * 3
  images_lib.open_images(tmp_path / "e.npz", views=("xy",), spec=SPEC, first=1, num=1)  # a proton
  assert len(caplog.records) == 3
  muon = events_lib.Events(
      np.array([[100.0, 0, 0]], np.float32),
      np.array([0, 1]),
      np.zeros((1, 3), np.int16),
      # its kinetic energy, PDG masses
      np.array([39.7726], np.float32),
      1.0,
      pdg=np.array([13]))
  assert images_lib.clean_events(muon, np.arange(1), views=("xy",), spec=SPEC).tolist() == [True]


def test_momenta_in_gev_are_refused(tmp_path):
  events = events_lib.select_events(open_events("sample"), np.arange(4))
  images = pictures.images_of(events, np.arange(4), views=TWO, spec=SPEC)
  image_files.save_images(tmp_path / "a.npz", images, events.momentum_mev / 1000)
  with pytest.raises(ValueError, match="a.npz: field 'momentum' must be in MeV/c.*GeV/c"):
    images_lib.open_images(tmp_path / "a.npz", views=TWO, spec=SPEC)


def test_files_of_other_programs_are_told_how_to_be_converted(repo):
  path = repo / "tests" / "data" / "edepsim.root"
  command = "python -m launch.convert --input=.*edepsim.root --out=edepsim.npz --format=edepsim_root"
  with pytest.raises(ValueError, match=f"It looks like an edep-sim file; convert it first: {command}"):
    images_lib.open_images(path, views=TWO, spec=SPEC)
