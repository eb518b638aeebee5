"""Crops: reading, splitting by event, orientations, representations, exact zeros."""
import numpy as np
import pytest

from lartpc_jax.data import crops as lib
from lartpc_jax.data.convert import convert


@pytest.fixture
def crops():
  rng = np.random.default_rng(0)
  values = np.where(rng.random((60, 8, 8)) < 0.1, rng.integers(1, 900, (60, 8, 8)), 0).astype(np.uint16)
  return lib.Crops(values, np.sort(rng.integers(0, 20, 60)), 0.004)


def save(path, **changes):
  fields = dict(image=np.zeros((3, 8, 8), np.uint16), event=np.arange(3), unit_mev=np.float32(0.004))
  np.savez(path, **{name: value for name, value in {**fields, **changes}.items() if value is not None})
  return path


def test_a_file_comes_back_in_mev(tmp_path, crops):
  got = lib.open_crops(save(tmp_path / "a.npz", image=crops.values, event=crops.event))
  np.testing.assert_allclose(lib.images_mev(got, np.array([3, 1])), crops.values[[3, 1]] * 0.004, rtol=1e-6)


def test_the_simulated_crops(shared_data):
  got = lib.open_crops(shared_data / "lartpc_crops_geant4.npz")
  assert got.values.shape == (62151, 64, 64)
  holdout = lib.split_crops(got, "holdout", num_holdout_events=2000)
  assert (np.sum(lib.images_mev(holdout) >= 0.1, axis=(1, 2)) >= 40).all()  # how they were chosen


def test_larcv_files_and_the_sample(tmp_path):
  grey = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype(np.uint8)
  np.save(tmp_path / "larcv_png_64_train_tracks.npy", grey)
  got = lib.open_crops(tmp_path, scale_mev=0.02)
  np.testing.assert_allclose(lib.images_mev(got), grey * np.float32(0.02), rtol=1e-6)
  assert len(set(got.event)) == 3
  sample = lib.open_crops("sample")
  images = lib.images_mev(sample)
  assert images.shape == (500, 64, 64) and 40 < np.median(images.sum((1, 2))) < 100  # protons of 50 to 100 MeV


def test_floats_are_kept(tmp_path):
  """MeV with their digits, and images in 0 to 1: what a cast to integers makes 6,954 of 9,354 MeV and zeros and ones."""
  rng = np.random.default_rng(3)
  images = np.where(rng.random((5, 16, 16)) < 0.2, rng.exponential(2.0, (5, 16, 16)), 0).astype(np.float32)
  for scale, name in ((1.0, "larcv_png_64_train_tracks.npy"), (None, "mev.npy")):
    np.save(tmp_path / name, images)
    got = lib.images_mev(lib.open_crops(tmp_path / name, scale_mev=scale))
    np.testing.assert_array_equal(got, images)
  np.save(tmp_path / "unit.npy", images / images.max())
  np.testing.assert_array_equal(lib.images_mev(lib.open_crops(tmp_path / "unit.npy")), images / images.max())
  np.savez(tmp_path / "crops.npz", image=images, event=np.arange(5), unit_mev=2.0)
  np.testing.assert_array_equal(lib.images_mev(lib.open_crops(tmp_path / "crops.npz")), 2 * images)
  np.save(tmp_path / "whole.npy", np.round(images))
  assert lib.open_crops(tmp_path / "whole.npy").values.dtype == np.uint16  # half the memory, nothing lost
  np.save(tmp_path / "bright.npy", np.full((1, 4, 4), 70_000.0))
  assert lib.open_crops(tmp_path / "bright.npy").values.max() == 70_000
  for bad in (np.nan, -1.0):
    np.save(tmp_path / "bad.npy", np.full((1, 4, 4), bad))
    with pytest.raises(ValueError, match="bad.npy: field 'image' must be finite and not negative"):
      lib.open_crops(tmp_path / "bad.npy")


def test_grey_levels_are_no_mev(tmp_path):
  grey = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype(np.uint8)
  np.save(tmp_path / "larcv_png_64_train_tracks.npy", grey)
  np.save(tmp_path / "other.npy", grey)
  convert("larcv_npy", tmp_path / "larcv_png_64_train_tracks.npy", tmp_path / "converted.npz")
  convert("larcv_npy", tmp_path / "larcv_png_64_train_tracks.npy", tmp_path / "converted.npy")
  for name in ("larcv_png_64_train_tracks.npy", "other.npy", "converted.npz", "converted.npy"):
    with pytest.raises(ValueError, match=f"{name}: holds images in an uncalibrated unit .*set data.scale_mev"):
      lib.open_crops(tmp_path / name)
    np.testing.assert_allclose(lib.images_mev(lib.open_crops(tmp_path / name, scale_mev=0.02)), grey * np.float32(0.02))
  with pytest.raises(ValueError, match="data.scale_mev must be positive and finite; got inf"):
    lib.open_crops(tmp_path / "other.npy", scale_mev=np.inf)
  convert("larcv_npy", tmp_path / "larcv_png_64_train_tracks.npy", tmp_path / "mev.npz", options={"scale_mev": 0.02})
  got = lib.open_crops(tmp_path / "mev.npz", scale_mev=7.0)  # the file says MeV
  np.testing.assert_allclose(lib.images_mev(got), grey * np.float32(0.02), rtol=1e-6)


def test_png_folders(tmp_path):
  image = pytest.importorskip("PIL.Image")
  grey = np.random.default_rng(1).integers(0, 256, (64, 64)).astype(np.uint8)
  image.fromarray(grey).save(tmp_path / "larcv_64_0.png")
  np.testing.assert_array_equal(lib.open_crops(tmp_path, scale_mev=0.1).values[0], grey)


def test_no_event_is_on_both_sides(crops):
  train, holdout = (lib.split_crops(crops, split, num_holdout_events=5) for split in ("train", "holdout"))
  assert not set(train.event) & set(holdout.event) and len(set(holdout.event)) == 5
  assert len(train.values) + len(holdout.values) == 60


def test_orientations_are_the_eight_symmetries_of_a_square():
  image = np.arange(9, dtype=np.float32).reshape(3, 3)
  turned = lib.orient(np.repeat(image[None], 8, axis=0), np.arange(8))
  assert len({x.tobytes() for x in turned}) == 8
  np.testing.assert_array_equal(turned[1], np.rot90(image))
  np.testing.assert_array_equal(turned[4], image[::-1])
  assert all(x[1, 1] == 4 and sorted(x.ravel()) == sorted(image.ravel()) for x in turned)


def test_batches_follow_seed_and_step(crops):
  batch_fn = lib.make_crop_batches(crops, batch_size=4, seed=1)
  np.testing.assert_array_equal(batch_fn(3)["image"], batch_fn(3)["image"])
  assert np.abs(batch_fn(3)["image"] - batch_fn(4)["image"]).max() > 0
  assert batch_fn(0)["image"].dtype == np.float32


@pytest.mark.parametrize("changes,match", [
    (dict(event=None), "lacks .*event"), (dict(image=np.zeros((3, 8, 8), "i4")), "'image' must be uint16"),
    (dict(image=np.zeros((3, 8, 9), np.uint16)), "'image' must be uint16"),
    (dict(event=np.arange(2)), "one 'event' a crop"), (dict(unit_mev=np.float32(0)), "positive 'unit_mev'; got .* and 0.0")])
def test_bad_files_are_named(tmp_path, changes, match):
  with pytest.raises(ValueError, match=f"a.npz.*{match}"):
    lib.open_crops(save(tmp_path / "a.npz", **changes))


def test_other_mistakes_are_named(tmp_path, crops):
  with pytest.raises(ValueError, match="data.path is not set"):
    lib.open_crops("")
  with pytest.raises(FileNotFoundError, match="none.npz"):
    lib.open_crops(tmp_path / "none.npz")
  (tmp_path / "b.npz").write_bytes(b"PK")
  with pytest.raises(ValueError, match="b.npz: not a readable npz file"):
    lib.open_crops(tmp_path / "b.npz")
  for num in (0, 20):
    with pytest.raises(ValueError, match=f"num_holdout_events must lie between 1 and 19, .*got {num}"):
      lib.split_crops(crops, "train", num_holdout_events=num)
  with pytest.raises(ValueError, match="Unknown split 'test'"):
    lib.split_crops(crops, "test", num_holdout_events=3)
  with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
    lib.make_crop_batches(crops, batch_size=0, seed=0)
