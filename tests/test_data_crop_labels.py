"""Labels of crops: mapping of classes, splits, batches that turn image and label alike."""
import numpy as np
import pytest

from lartpc_jax.data import crop_labels as lib
from lartpc_jax.data.crops import images_mev


@pytest.fixture(scope="module")
def sample():
  return lib.open_labelled_crops("sample")


def save(path, **changes):
  fields = dict(image=np.ones((3, 8, 8), np.uint16), label=np.ones((3, 8, 8), np.uint8), event=np.arange(3),
                unit_mev=np.float32(0.004))
  np.savez(path, **{name: value for name, value in {**fields, **changes}.items() if value is not None})
  return path


def test_every_pixel_with_charge_has_a_class_and_no_other(sample):
  assert sample.classes == ("background", "track", "shower")
  np.testing.assert_array_equal(sample.label > 0, sample.crops.values > 0)


def test_mapping_of_delta_and_michel(sample):
  five = lib.open_labelled_crops("sample", five_classes=True)
  track = lib.open_labelled_crops("sample", delta="track")
  assert five.classes == lib.RAW_LABELS and set(np.unique(five.label)) == {0, 1, 2, 3, 4}
  np.testing.assert_array_equal(sample.label == 2, np.isin(five.label, [2, 3, 4]))
  np.testing.assert_array_equal(track.label == 1, np.isin(five.label, [1, 3]))


def test_no_event_lies_in_both_splits_and_labels_stay_with_their_images(sample):
  parts = [lib.split_labelled(sample, split, num_holdout_events=20) for split in ("train", "holdout")]
  events = [set(part.crops.event) for part in parts]
  assert not events[0] & events[1] and len(events[1]) == 20
  for part in parts:
    np.testing.assert_array_equal(part.label > 0, part.crops.values > 0)


def test_batches_follow_the_step_and_turn_labels_with_images(sample):
  batch_fn = lib.make_labelled_batches(sample, batch_size=16, seed=0)
  batch, again = batch_fn(5), batch_fn(5)
  np.testing.assert_array_equal(batch["image"], again["image"])
  np.testing.assert_array_equal(batch["label"] > 0, batch["image"] > 0)
  totals = images_mev(sample.crops).sum((1, 2))
  assert all(np.abs(totals - total).min() < 1e-2 for total in batch["image"].sum((1, 2)))
  assert np.abs(batch_fn(6)["image"] - batch["image"]).max() > 0


@pytest.mark.parametrize("kwargs,message", [
    (dict(delta="muon"), r"data.delta must be one of \['track', 'shower'\]; got 'muon'"),
    (dict(michel="background"), "data.michel must be one of"),
])
def test_unknown_classes_are_named(kwargs, message):
  with pytest.raises(ValueError, match=message):
    lib.open_labelled_crops("sample", **kwargs)


@pytest.mark.parametrize("changes,message", [
    (dict(label=None), r"file of labelled crops lacks \['label'\]; it holds"),
    (dict(label=np.full((3, 8, 8), 7, np.uint8)), "each below 5; got uint8 .*, largest 7"),
    (dict(label=np.ones((3, 4, 4), np.uint8)), r"must be uint8 \(3, 8, 8\)"),
])
def test_bad_files_are_named(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    lib.open_labelled_crops(save(tmp_path / "bad.npz", **changes))


def test_an_empty_batch_is_named(sample):
  with pytest.raises(ValueError, match="data.batch_size must be at least 1; got 0"):
    lib.make_labelled_batches(sample, batch_size=0, seed=0)


def test_track_share_counts_pixels_above_the_threshold(sample):
  found = lib.track_share(sample, threshold_mev=0.09, chunk=50)
  images = images_mev(sample.crops)
  for i in range(0, len(found), 17):
    lit = images[i] >= 0.09
    np.testing.assert_allclose(found[i], (sample.label[i][lit] == 1).mean() if lit.any() else 0.0, rtol=1e-6)
  assert found.min() >= 0.0 and found.max() <= 1.0 and found.std() > 0.1
