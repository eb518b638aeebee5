"""One meaning of a path: every kind of file and directory, the labels that it holds, and what is wrong with
others."""
import numpy as np
import pytest

from lartpc_jax.data import open as lib
from lartpc_jax.data.batches import first, image_pool
from lartpc_jax.data.convert import convert
from lartpc_jax.data.events import Events, load_events, save_events, select_events
from lartpc_jax.data.image_source import Images
from tests.toy_sources import VIEWS, write_sources

MOMENTA = np.arange(12, dtype=np.float32).reshape(4, 3) + 100


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
  return write_sources(tmp_path_factory.mktemp("sources"))


def all_images(path, **kwargs):
  """[n n n] in MeV."""
  return first(image_pool(lib.open_data(path, **kwargs), {}))["image"]


def save_crops(path, **changes):
  fields = dict(image=np.zeros((3, 8, 8), np.uint16), event=np.arange(3), unit_mev=np.float32(0.004))
  np.savez(path, **{name: value for name, value in {**fields, **changes}.items() if value is not None})
  return path


def test_what_ships_with_the_package():
  """"sample" is protons in 3D, or their pictures where images are needed; "sample_crops" are labelled
  crops."""
  protons, crops = lib.open_data("sample"), lib.open_data("sample_crops")
  assert isinstance(protons, Events) and len(protons) == 500
  pictures = lib.open_pictures("sample")
  charge = pictures.read(np.arange(500))["image"].sum((1, 2, 3))
  assert pictures.num_pixels == 64 and 40 < np.median(charge) < 100  # protons of 50 to 100 MeV
  np.testing.assert_array_equal(pictures.read([7], ("momentum_mev",))["momentum_mev"],
                                protons.momentum_mev[[7]])
  assert isinstance(crops, Images) and "label" in crops.labels and crops.classes[:3] == (
      "background", "track", "shower")
  assert lib.open_pictures("sample_crops").num == crops.num and 1 < len(set(crops.event)) < crops.num


@pytest.mark.parametrize("kind", ["images", "batches", "dataset"])
def test_images_with_momenta(toy, kind):
  rows = lib.open_data(toy[0][kind])
  assert rows.views == VIEWS and rows.num_pixels == 64 and rows.labels == ("momentum_mev",)
  assert rows.num == {"images": 44, "batches": 44}.get(kind, rows.num)
  batch, sliced = (rows.read(numbers, ("momentum_mev",)) for numbers in (np.arange(2, 5), slice(2, 5)))
  for name in ("image", "momentum_mev"):
    np.testing.assert_array_equal(batch[name], sliced[name])


def test_events_are_read(toy):
  np.testing.assert_array_equal(lib.open_events(toy[0]["npz"]).edep_mev, toy[1].edep_mev)
  with pytest.raises(ValueError, match="names batches of batches/, in detector pixels; this needs sparse "
                                       "events"):
    lib.open_events(toy[0]["batches"])


def test_a_single_batch_has_its_momenta(toy):
  """The path of one batch_{i}.npy: as its directory, with what lies beside it."""
  one = lib.open_data(toy[0]["batches"] / "batch_1.npy")
  assert one.num == 16 and one.views == VIEWS and one.labels == ("momentum_mev",)
  np.testing.assert_allclose(one.read([3], ("momentum_mev",))["momentum_mev"], toy[1].momentum_mev[[19]])


def test_crops_come_back_in_mev_with_their_labels(tmp_path):
  rng = np.random.default_rng(0)
  image, label = rng.integers(0, 900, (3, 8, 8)).astype(np.uint16), rng.integers(0, 5,
                                                                                 (3, 8, 8)).astype(np.uint8)
  primaries = np.array([[7, 13, 100.0, 0, 0, 1], [7, 11, 20.0, 0, 0, 1], [9, 2212, 50.0, 0, 0, 1]])
  got = lib.open_data(save_crops(tmp_path / "a.npz", image=image, event=np.array([7, 7, 9]), label=label,
                                 primaries=primaries))
  batch = got.read(np.array([2, 1]), ("label", "kinetic_mev"))
  np.testing.assert_allclose(batch["image"][:, 0], image[[2, 1]] * 0.004, rtol=1e-6)
  np.testing.assert_array_equal(batch["label"][:, 0], label[[2, 1]])
  np.testing.assert_allclose(batch["kinetic_mev"], [50.0, 120.0])
  np.testing.assert_array_equal(got.event, [7, 7, 9])


def test_the_simulated_crops(shared_data):
  got = lib.open_data(shared_data / "lartpc_crops_geant4.npz")
  assert (got.num, got.num_pixels) == (62151, 64)
  images = got.read(slice(56_000, None))["image"][:, 0]
  assert (np.sum(images >= 0.1, axis=(1, 2)) >= 40).all()  # how they were chosen


def test_floats_are_kept(tmp_path):
  """MeV with their digits, and images in 0 to 1: nothing is cast to integers."""
  rng = np.random.default_rng(3)
  images = np.where(rng.random((5, 16, 16)) < 0.2, rng.exponential(2.0, (5, 16, 16)), 0).astype(np.float32)
  for scale, name in ((1.0, "larcv_png_64_train_tracks.npy"), (0.0, "mev.npy")):
    np.save(tmp_path / name, images)
    np.testing.assert_array_equal(all_images(tmp_path / name, scale_mev=scale), images)
  np.save(tmp_path / "unit.npy", images / images.max())
  np.testing.assert_array_equal(all_images(tmp_path / "unit.npy"), images / images.max())
  save_crops(tmp_path / "crops.npz", image=images, event=np.arange(5), unit_mev=2.0)
  np.testing.assert_array_equal(all_images(tmp_path / "crops.npz"), 2 * images)
  np.save(tmp_path / "bright.npy", np.full((1, 4, 4), 70_000.0))
  assert all_images(tmp_path / "bright.npy").max() == 70_000
  for bad in (np.nan, -1.0):
    with pytest.raises(ValueError, match="bad.npz: field 'image' must be finite and not negative"):
      lib.open_data(save_crops(tmp_path / "bad.npz", image=np.full((3, 8, 8), bad, np.float32)))


def test_grey_levels_are_no_mev(tmp_path):
  grey = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype(np.uint8)
  np.save(tmp_path / "larcv_png_64_train_tracks.npy", grey)
  np.save(tmp_path / "other.npy", grey)
  convert("larcv_npy", tmp_path / "larcv_png_64_train_tracks.npy", tmp_path / "converted.npz")
  convert("larcv_npy", tmp_path / "larcv_png_64_train_tracks.npy", tmp_path / "converted.npy")
  for name in ("larcv_png_64_train_tracks.npy", "other.npy", "converted.npz", "converted.npy"):
    with pytest.raises(ValueError, match=f"{name}: holds images in .*, not in MeV; set data.scale_mev"):
      lib.open_data(tmp_path / name)
    np.testing.assert_allclose(all_images(tmp_path / name, scale_mev=0.02), grey * np.float32(0.02))
  for bad in (np.inf, -1.0):
    with pytest.raises(ValueError, match=f"data.scale_mev must be positive and finite .*got {bad}"):
      lib.open_data(tmp_path / "other.npy", scale_mev=bad)
  convert("larcv_npy", tmp_path / "larcv_png_64_train_tracks.npy", tmp_path / "mev.npz",
          options={"scale_mev": 0.02})
  np.testing.assert_allclose(all_images(tmp_path / "mev.npz", scale_mev=7.0), grey * np.float32(0.02),
                             rtol=1e-6)  # says MeV


def test_folders_of_grey_crops(tmp_path):
  """Tracks and showers: their share of track is in the names of the files; PNGs in the order of their
  numbers."""
  for kind, level in (("showers", 3), ("tracks", 7)):
    np.save(tmp_path / f"larcv_png_64_train_{kind}.npy", np.full((2, 64, 64), level, np.uint8))
  rows = lib.open_data(tmp_path, scale_mev=0.5)
  assert rows.views == ("xy",) and rows.num == 4 and rows.kind.startswith("larcv_npy")
  batch = first(image_pool(rows, {"track_share": ()}))
  np.testing.assert_allclose(batch["image"][:, 0, 0], [3.5, 3.5, 1.5, 1.5])
  np.testing.assert_array_equal(batch["track_share"], [1, 1, 0, 0])
  image, grey = pytest.importorskip("PIL.Image"), np.random.default_rng(1).integers(0, 256,
                                                                                    (64, 64)).astype(np.uint8)
  (tmp_path / "png").mkdir()
  image.fromarray(grey).save(tmp_path / "png" / "larcv_64_0.png")
  np.testing.assert_allclose(all_images(tmp_path / "png", scale_mev=0.1)[0], grey * np.float32(0.1))


def test_files_of_arrays(tmp_path):
  """An npy is mapped; momenta that are not all known are no label, but can be read."""
  np.save(tmp_path / "images.npy", np.ones((4, 32, 32), np.float32))
  rows = lib.open_data(tmp_path / "images.npy")
  assert rows.num_pixels == 32 and rows.read(np.array([1]))["image"].shape == (1, 1, 32, 32)
  assert isinstance(rows.read(slice(None))["image"].base, np.memmap)
  np.save(tmp_path / "images_momentum.npy", MOMENTA)
  assert lib.open_data(tmp_path / "images.npy").labels == ("momentum_mev",)
  some = MOMENTA * np.array([[1], [1], [0], [1]], np.float32)
  np.savez(tmp_path / "images.npz", images=np.ones((4, 32, 32), np.float32), momentum=some,
           pdg=[13, 13, 2212, 13])
  rows = lib.open_data(tmp_path / "images.npz")
  assert rows.labels == ("particle",) and rows.partly == ("momentum_mev",)
  np.testing.assert_array_equal(rows.read(slice(1, 3), ("momentum_mev",))["momentum_mev"], some[1:3])
  batch = first(image_pool(rows, {"particle": ("proton", "muon")}))
  np.testing.assert_array_equal(batch["particle"], [1, 1, 0, 1])


def test_a_dataset_is_found_in_its_versions_the_newest_first(tmp_path):
  for version in ("1.0.0", "1.10.0", "1.9.0"):
    (tmp_path / "data" / version).mkdir(parents=True)
    (tmp_path / "data" / version / "dataset_info.json").write_text("{")
  assert lib.find_dataset(tmp_path / "data").name == "1.10.0"
  with pytest.raises(ValueError, match="1.10.0: not a readable dataset"):
    lib.open_data(tmp_path / "data")


def test_a_dataset_of_labelled_crops(tmp_path):
  from lartpc_jax.data.datasets import builders
  label = np.tile(np.arange(4, dtype=np.uint8), 16)[None, :, None] * np.ones((20, 1, 64), np.uint8)
  save_crops(tmp_path / "lartpc_crops_geant4.npz", image=label.astype(np.uint16) * 100, event=np.arange(20),
             label=label)
  builders.build("lartpc_crops", tmp_path, tmp_path / "data")
  rows = lib.open_data(tmp_path / "data" / "lartpc_crops")
  assert rows.labels == ("label",) and rows.num == 16 and rows.holdout.num == 2
  batch = rows.read(np.arange(3), ("label",))
  np.testing.assert_allclose(batch["image"], 0.4 * batch["label"], rtol=1e-6)
  assert batch["label"].shape == (3, 1, 64, 64)


@pytest.mark.parametrize("changes,match", [
    (dict(event=None), "lacks .*event"), (dict(image=np.zeros((3, 8, 8), "i4")), "'image' must be uint16"),
    (dict(image=np.zeros((3, 8, 9), np.uint16)), "'image' must be uint16"),
    (dict(event=np.arange(2)), "one 'event' a crop"),
    (dict(unit_mev=np.float32(0)), "positive 'unit_mev'; got .* and 0.0"),
    (dict(label=np.full((3, 8, 8), 7, np.uint8)), "each below 5; got uint8 .*, largest 7"),
    (dict(label=np.ones((3, 4, 4), np.uint8)), r"must be uint8 \(3, 8, 8\)"),
    (dict(primaries=np.zeros((2, 5))), "'primaries' must have rows of 6 numbers"),
    (dict(primaries=np.zeros((2, 6))), "'primaries' tells none of event 1")])
def test_bad_crops_are_named(tmp_path, changes, match):
  with pytest.raises(ValueError, match=f"a.npz.*{match}"):
    lib.open_data(save_crops(tmp_path / "a.npz", **changes))


def test_mistakes_are_named(tmp_path):
  with pytest.raises(ValueError, match="data.path is not set.*'sample' for the protons.*'sample_crops' for "
                                       "its crops"):
    lib.open_data("")
  with pytest.raises(FileNotFoundError, match="No file or directory of data at .*nothing"):
    lib.open_data(tmp_path / "nothing")
  with pytest.raises(ValueError,
                     match="holds no training data; looked for dataset_info.json; directory of batch_"):
    lib.open_data(tmp_path)
  np.save(tmp_path / "four.npy", np.ones((2, 4, 8, 8), np.float32))
  with pytest.raises(ValueError, match="has 4 views of each event; at most 3 are known"):
    lib.open_data(tmp_path / "four.npy")
  np.save(tmp_path / "flat.npy", np.ones((2, 8, 4), np.float32))
  with pytest.raises(ValueError, match=r"flat.npy.*must have shape .*got \(2, 8, 4\)"):
    lib.open_data(tmp_path / "flat.npy")
  np.save(tmp_path / "none.npy", np.ones((0, 8, 8), np.float32))
  with pytest.raises(ValueError, match=r"images of none.npy must be at least one; got shape \(0, 1, 8, 8\)"):
    lib.open_data(tmp_path / "none.npy")
  (tmp_path / "events.h5").write_text("")
  with pytest.raises(ValueError, match="must be an npz or npy file"):
    lib.open_data(tmp_path / "events.h5")
  (tmp_path / "b.npz").write_bytes(b"PK")
  with pytest.raises(ValueError, match="b.npz: not a readable npz file"):
    lib.open_data(tmp_path / "b.npz")
  events = select_events(lib.open_events("sample"), np.arange(40))
  save_events(tmp_path / "e.npz", events)
  assert len(load_events(str(tmp_path / "e.npz"))) == 40


def test_a_dataset_without_images_is_named(tmp_path):
  import tensorflow_datasets as tfds

  class Toy(tfds.core.GeneratorBasedBuilder):
    """Numbers."""
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
      return tfds.core.DatasetInfo(builder=self,
                                   features=tfds.features.FeaturesDict({"x": tfds.features.Scalar(np.int64)}))

    def _split_generators(self, dl_manager):
      return {"train": self._generate_examples()}

    def _generate_examples(self):
      yield 0, {"x": 1}
  builder = Toy(data_dir=str(tmp_path), file_format="array_record")
  builder.download_and_prepare()
  with pytest.raises(ValueError, match=r"needs a split 'train' and a feature 'image'; it has \['train'\] and "
                                       r"\['x'\]"):
    lib.open_data(builder.data_dir)


def test_what_a_reader_of_images_knows_needs_no_conversion(tmp_path):
  """A simpledet file, whose format only its content tells: the same images as those of its reader."""
  from lartpc_jax.data.readers.formats import open_source
  from tests.toy_readers import write_simpledet
  images = np.random.default_rng(0).random((12, 1, 32, 32)).astype(np.float32)
  write_simpledet(tmp_path / "a.h5", images[:, 0], np.arange(12) % 3, first=95)
  rows = lib.open_data(tmp_path / "a.h5")
  np.testing.assert_array_equal(
      rows.read([7, 2])["image"],
      open_source("simpledet", tmp_path / "a.h5").read(0, 12)[[7, 2]])
  assert rows.num == 12 and rows.num_pixels == 32
