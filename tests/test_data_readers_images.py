"""Readers of image formats: what other programs write comes back as it was; damage is named."""
import tracemalloc

import numpy as np
import pytest

from lartpc_jax.data import images as images_lib, pictures
from lartpc_jax.data.convert import convert
from lartpc_jax.data.open import open_data, open_events
from lartpc_jax.data.readers import formats
from lartpc_jax.data.readers.npy import open_npy, read_rows
from lartpc_jax.geometry.rasterize import ImageSpec

VIEWS = ("xy", "xz")


@pytest.fixture(scope="module")
def sample():
  """Images [7 2 64 64] and momenta [7 3] of sample events."""
  events = open_events("sample")
  return pictures.images_of(events, np.arange(7), views=VIEWS, spec=ImageSpec()), events.momentum_mev[:7]


def write_batches(directory, images, momentum, *, xz=True, stem="batch", numbers=(2, 10)):
  """Two files, whose numbers sort differently as text."""
  directory.mkdir()
  for number, rows in zip(numbers, (slice(0, 4), slice(4, 7))):
    np.save(directory / f"{stem}_{number}.npy", images[rows, 0])
    if momentum is not None:
      np.save(directory / f"{stem}_mom_{number}.npy", momentum[rows])
    if xz:
      np.save(directory / f"{stem}_xz_{number}.npy", images[rows, 1])
  return directory


@pytest.mark.parametrize("stem,xz", [("batch", True), ("batch", False), ("protons64", False)])
@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_batches_round_trip(sample, tmp_path, stem, xz, suffix):
  images, momentum = sample
  done = []
  summary = convert("batches", write_batches(tmp_path / "in", images, momentum, xz=xz, stem=stem),
                    tmp_path / f"a{suffix}", update=done.append)
  found = images_lib.open_images(tmp_path / f"a{suffix}", views=VIEWS[:1 + xz], spec=ImageSpec())
  np.testing.assert_array_equal(found.images, images[:, :1 + xz])
  if suffix == ".npz":
    np.testing.assert_array_equal(found.momentum_mev, momentum)
  else:
    np.testing.assert_array_equal(np.load(tmp_path / "a_momentum.npy"), momentum)
  assert summary.num == 7 and done == [7] and len(list(tmp_path.iterdir())) == (2 if suffix == ".npz" else 3)


def test_one_batch_and_the_first_events(sample, tmp_path):
  images, momentum = sample
  directory = write_batches(tmp_path / "in", images, momentum)
  source = formats.open_source("batches", directory / "batch_10.npy")
  np.testing.assert_array_equal(source.read(1, 3), images[5:7])
  assert convert("batches", directory, tmp_path / "a.npz", num=5).num == 5
  np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["momentum"], momentum[:5])
  source = formats.open_source("batches", directory)
  for start, stop in [(0, 7), (3, 5), (4, 7), (6, 7), (0, 1)]:
    np.testing.assert_array_equal(source.read(start, stop), images[start:stop])
    np.testing.assert_array_equal(source.extra["momentum"](start, stop), momentum[start:stop])


def test_tracks(tmp_path):
  rng = np.random.default_rng(0)
  images, momentum = rng.uniform(size=(5, 3, 64,
                                       64)).astype(np.float32), rng.normal(size=(5, 3, 3)).astype(np.float32)
  np.save(tmp_path / "batch_0.npy", images)
  np.save(tmp_path / "batch_mom_0.npy", momentum)
  each = formats.open_source("batches", tmp_path)
  assert each.num == 15
  for start, stop in [(0, 15), (2, 4), (5, 13), (14, 15)]:
    np.testing.assert_array_equal(each.read(start, stop)[:, 0], images.reshape(15, 64, 64)[start:stop])
    np.testing.assert_array_equal(each.extra["momentum"](start, stop), momentum.reshape(15, 3)[start:stop])
  together = formats.open_source("batches", tmp_path, tracks="sum")
  assert together.num == 5 and "momentum" not in together.extra
  np.testing.assert_allclose(together.read(1, 4)[:, 0], images[1:4].sum(1), rtol=1e-6)
  np.testing.assert_array_equal(together.extra["track_momenta"](1, 4), momentum[1:4])


def test_an_axis_of_one_channel_is_no_axis_of_tracks(sample, tmp_path):
  images, momentum = sample
  np.save(tmp_path / "batch_0.npy", images[:, :1])
  np.save(tmp_path / "batch_mom_0.npy", momentum)
  source = formats.open_source("batches", tmp_path)
  np.testing.assert_array_equal(source.read(0, 7), images[:, :1])


@pytest.mark.parametrize("side,layout", [(64, "last"), (48, "none"), (80, "first")])
def test_batches_of_any_size_and_layout(tmp_path, side, layout):
  images = np.random.default_rng(0).uniform(size=(4, side, side)).astype(np.float32)
  np.save(tmp_path / "batch_0.npy", {"last": images[..., None], "first": images[:, None],
                                     "none": images}[layout])
  np.save(tmp_path / "batch_mom_0.npy", np.full((4, 3), 300.0))
  np.testing.assert_array_equal(formats.open_source("batches", tmp_path).read(1, 4), images[1:, None])
  np.save(tmp_path / "batch_1.npy", np.ones((2, 32, 32), np.float32))
  np.save(tmp_path / "batch_mom_1.npy", np.full((2, 3), 300.0))
  with pytest.raises(ValueError,
                     match=f"batch_1.npy: field 'xy' has 32 pixels a side, but .*batch_0.npy has {side}"):
    formats.open_source("batches", tmp_path)


def test_events_with_nan_are_left_out_where_that_is_asked_for(sample, tmp_path):
  images, momentum = sample
  broken = images.copy()
  broken[[0, 4, 5], [0, 1, 0], 3, 3] = np.nan
  directory = write_batches(tmp_path / "in", broken, momentum)
  with pytest.raises(
      ValueError, match="batch_2.npy: field 'xy' holds NaN or infinity .--nan=skip leaves such events out"):
    convert("batches", directory, tmp_path / "a.npz")
  summary = convert("batches", directory, tmp_path / "a.npz", options={"nan": "skip"})
  assert summary.num == 4 and "3 events with NaN left out: [0, 4, 5]" in summary.text
  found, kept = np.load(tmp_path / "a.npz"), [1, 2, 3, 6]
  np.testing.assert_array_equal(found["images"], images[kept])
  np.testing.assert_array_equal(found["momentum"], momentum[kept])
  source = formats.open_source("batches", directory, nan="skip")
  np.testing.assert_array_equal(source.read(2, 4), images[[3, 6]])
  directory = write_batches(tmp_path / "all", images * np.nan, momentum)
  with pytest.raises(ValueError, match="holds NaN or infinity in every event"):
    formats.open_source("batches", directory, nan="skip")


@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 64, 64, 1), (3, 1, 64, 64)])
def test_larcv_npy_of_every_layout(tmp_path, shape):
  grey = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype(np.uint8)
  np.save(tmp_path / "larcv_png_64_train_tracks.npy", grey.reshape(shape))
  source = formats.open_source("larcv_npy", tmp_path)
  np.testing.assert_array_equal(source.read(0, 3)[:, 0], grey)
  assert source.unit == "grey level" and formats.open_source(
      "larcv_npy", tmp_path, scale_mev=1.0).unit == "MeV"


def test_larcv_npy_round_trip(tmp_path):
  rng = np.random.default_rng(1)
  tracks, showers = (rng.integers(0, 256, (n, 64, 64)).astype(np.uint8) for n in (3, 2))
  np.save(tmp_path / "larcv_png_64_train_tracks.npy", tracks[..., None])
  np.save(tmp_path / "larcv_png_64_train_showers.npy", showers.astype(np.float64))
  summary = convert("larcv_npy", tmp_path, tmp_path / "a.npz", options={"scale_mev": 0.5})
  found = np.load(tmp_path / "a.npz")
  np.testing.assert_array_equal(found["images"][:, 0], 0.5 * np.concatenate([tracks, showers]))
  np.testing.assert_array_equal(found["label"], [1, 1, 1, 2, 2])
  assert "grey levels" not in summary.text
  summary = convert("larcv_npy", tmp_path / "larcv_png_64_train_showers.npy", tmp_path / "b.npy")
  np.testing.assert_array_equal(np.load(tmp_path / "b.npy")[:, 0], showers)
  np.testing.assert_array_equal(np.load(tmp_path / "b_label.npy"), [2, 2])
  assert "grey levels" in summary.text


def test_pngs_round_trip(tmp_path):
  from PIL import Image
  images = np.random.default_rng(2).integers(0, 256, (12, 64, 64)).astype(np.uint8)
  (tmp_path / "in").mkdir()
  for i, image in enumerate(images):
    Image.fromarray(image).save(tmp_path / "in" / f"larcv_64_{i}.png")
  (tmp_path / "in" / "notes.txt").write_text("not an image")
  convert("larcv_pngs", tmp_path / "in", tmp_path / "a.npz", options={"scale_mev": 1.0})
  found = images_lib.open_images(tmp_path / "a.npz", views=("xy",), spec=ImageSpec())
  np.testing.assert_array_equal(found.images[:, 0], images)  # in the order of the numbers, not of the names
  np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["number"], np.arange(12))


def test_memory_does_not_grow_with_the_file(tmp_path):
  """164 MB of images in 10 MB of memory."""
  with open(tmp_path / "batch_0.npy", "wb") as file:  # a sparse file: zeros that take no room on the disk
    np.lib.format.write_array_header_1_0(file,
                                         {"descr": "<f4", "fortran_order": False, "shape": (10_000, 64, 64)})
    file.truncate(file.tell() + 10_000 * 64 * 64 * 4)
  tracemalloc.start()
  summary = convert("batches", tmp_path, tmp_path / "a.npz")
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert summary.num == 10_000 and peak < 20e6, f"{peak / 1e6:.1f} MB"


def broken_batches(directory, name, images, momentum):
  write_batches(directory, images, momentum, xz=name != "no_images")
  path = directory / "batch_2.npy"
  if name == "cut":
    path.write_bytes(path.read_bytes()[:5000])
  elif name == "empty":
    path.write_bytes(b"")
  elif name == "text":
    path.write_text("hello")
  elif name == "words":
    np.save(path, np.full((4, 64, 64), "a"))
  elif name == "complex":
    np.save(path, images[:4, 0].astype(complex))
  elif name == "small":
    np.save(path, images[:4, 0, :32])
  elif name == "fortran":
    np.save(path, np.asfortranarray(images[:4, 0]))
  elif name == "no_rows":
    np.save(path, images[:0, 0])
  elif name == "nan":
    np.save(path, np.where(images[:4, 0] > 0, np.nan, 0))
  elif name == "negative":
    np.save(path, -images[:4, 0])
  elif name == "momentum":
    np.save(directory / "batch_mom_2.npy", momentum[:3])
  elif name == "nan_momentum":
    np.save(directory / "batch_mom_2.npy", momentum[:4] * np.nan)
  elif name == "xz":
    np.save(directory / "batch_xz_2.npy", images[:3, 1])
  elif name == "some_momenta":
    (directory / "batch_mom_10.npy").unlink()
  elif name == "no_images":
    path.unlink()
  elif name == "both":
    np.save(directory / "protons64_0.npy", images[:, 0])
  elif name == "tracks":
    np.save(path, np.stack([images[:4, 0]] * 2, 1))
    np.save(directory / "batch_mom_2.npy", np.stack([momentum[:4]] * 2, 1))
    (directory / "batch_xz_2.npy").unlink()
    (directory / "batch_xz_10.npy").unlink()
  elif name == "nothing":
    for file in directory.iterdir():
      file.unlink()


@pytest.mark.parametrize("name,message", [
    ("cut", r"batch_2.npy: field 'xy' is truncated: 5000 bytes.*needs 65664"),
    ("empty", r"batch_2.npy: is empty"),
    ("text", "batch_2.npy: field 'xy' is no readable npy"),
    ("words", "field 'xy' must hold numbers; got dtype <U1"),
    ("complex", "must hold numbers; got dtype complex128"),
    ("small", r"field 'xy' must have shape.*got \(4, 32, 64\)"),
    ("fortran", "field 'xy' is in Fortran order"),
    ("no_rows", r"field 'xy' holds no rows \(shape \(0, 64, 64\)\)"),
    ("nan", "batch_2.npy: field 'xy' holds NaN"),
    ("negative", "field 'xy' must not be below 0; smallest is -"),
    ("momentum", r"batch_mom_2.npy: field 'momentum' must have shape \(4, 3\); got \(3, 3\)"),
    ("nan_momentum", "batch_mom_2.npy: field 'momentum' holds NaN"),
    ("xz", r"batch_xz_2.npy: field 'xz' must have the shape of the xy images, \(4, 64, 64\); got \(3"),
    ("some_momenta", "field 'momentum' is there for some batches only: batch_2.npy and batch_10.npy"),
    ("no_images", r"batch_mom_2.npy: has no images beside it"), ("both", "holds both batch_"),
    ("tracks", "batch_10.npy: field 'xy' has no axis of tracks, but .*batch_2.npy has 2"),
    ("nothing", "holds no batch_NUMBER.npy")])
def test_broken_batches(sample, tmp_path, name, message):
  broken_batches(tmp_path / "in", name, *sample)
  with pytest.raises(ValueError, match=message):
    convert("batches", tmp_path / "in", tmp_path / "a.npz")
  with pytest.raises(ValueError):
    convert("batches", tmp_path / "in", tmp_path / "a.npy")
  assert [p.name for p in tmp_path.iterdir()] == ["in"]  # nothing half-written


def broken_larcv(directory, name):
  from PIL import Image
  image = np.zeros((64, 64), np.uint8)
  png = directory / "larcv_64_0.png"
  if name == "cut.png":
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)).save(png)
    png.write_bytes(png.read_bytes()[:600])
  elif name == "text.png":
    png.write_text("hello")
  elif name == "colour.png":
    Image.fromarray(np.stack([image] * 3, -1)).save(png)
  elif name == "small.png":
    Image.fromarray(image[:32]).save(png)
  elif name == "bright.npy":
    np.save(directory / "larcv_png_64_test_tracks.npy", np.full((1, 64, 64), 256.0))
  elif name == "small.npy":
    np.save(directory / "larcv_png_64_test_tracks.npy", image[None, :32])


@pytest.mark.parametrize("name,message", [
    ("cut.png", "larcv_64_0.png: is no readable PNG"), ("text.png", "larcv_64_0.png: is no readable PNG"),
    ("colour.png", "must be an 8-bit grey image.*got mode 'RGB'"), ("small.png", r"size \(64, 32\)"),
    ("none.png", "holds no larcv_64_NUMBER.png"), ("bright.npy", "must not be above 255; largest is 256"),
    ("small.npy", r"field 'images' must have shape.*got \(1, 32, 64\)"),
    ("none.npy", "holds no larcv_png_64_test_tracks.npy")])
def test_broken_larcv(tmp_path, name, message):
  (tmp_path / "in").mkdir()
  broken_larcv(tmp_path / "in", name)
  kind, options = ("larcv_pngs", {}) if name.endswith("png") else ("larcv_npy", {"split": "test"})
  with pytest.raises(ValueError, match=message):
    convert(kind, tmp_path / "in", tmp_path / "a.npz", options=options)
  assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_wrong_paths_and_options(sample, tmp_path):
  directory = write_batches(tmp_path / "in", *sample)
  with pytest.raises(ValueError, match="larcv_64.*must be a directory|must be a directory of larcv_64"):
    formats.open_source("larcv_pngs", directory / "batch_2.npy")
  with pytest.raises(ValueError, match="batch_xz_2.npy: must be called batch_NUMBER.npy"):
    formats.open_source("batches", directory / "batch_xz_2.npy")
  with pytest.raises(FileNotFoundError, match="No input at"):
    formats.open_source("batches", tmp_path / "nothing")
  with pytest.raises(ValueError, match="tracks must be one of .*got 'all' and 'refuse'"):
    formats.open_source("batches", directory, tracks="all")
  with pytest.raises(ValueError, match="Unknown split 'holdout'"):
    formats.open_source("larcv_npy", directory, split="holdout")
  with pytest.raises(ValueError, match="scale_mev must be positive; got -1.0"):
    formats.open_source("larcv_pngs", directory, scale_mev=-1.0)
  with pytest.raises(ValueError, match="Unknown format 'jpeg'; choose from .*batches"):
    formats.open_source("jpeg", directory)
  with pytest.raises(ValueError, match=r"takes no option 'split'; it takes \['tracks', 'nan'\]"):
    formats.open_source("batches", directory, split="train")
  with pytest.raises(ValueError, match="converts to .npz or .npy"):
    convert("batches", directory, tmp_path / "a.h5")
  with pytest.raises(ValueError, match="neither --origin nor --voxel_mm"):
    convert("batches", directory, tmp_path / "a.npz", voxel_mm=3.0)
  with pytest.raises(ValueError, match="holds 7 events; asked for 8"):
    convert("batches", directory, tmp_path / "a.npz", num=8)
  with pytest.raises(ValueError, match="num_events must be at least 1; got 0"):
    convert("batches", directory, tmp_path / "a.npz", num=0)
  with pytest.raises(FileNotFoundError, match="There is no directory"):
    convert("batches", directory, tmp_path / "no" / "a.npz")


def test_only_the_rows_asked_for_are_read(tmp_path):
  np.save(tmp_path / "a.npy", np.arange(24.0).reshape(8, 3))
  np.testing.assert_array_equal(read_rows(open_npy(tmp_path / "a.npy", "a"), 2, 4), [[6, 7, 8], [9, 10, 11]])


def test_a_missing_package_names_its_extra(sample, tmp_path, monkeypatch):
  import sys
  monkeypatch.setitem(sys.modules, "PIL.Image", None)
  (tmp_path / "larcv_64_0.png").write_text("")
  with pytest.raises(ValueError, match=r"needs PIL, which is not installed.*pip install 'lartpc_jax\[io\]'"):
    formats.open_source("larcv_pngs", tmp_path)


def test_momenta_of_images_that_are_read_in_place(sample, tmp_path):
  """(0, 0, 0) means unknown, so such a source has momenta of some events alone; momenta in GeV/c are
  refused."""
  images, momentum = sample
  for name, values in (("zero", np.where(np.arange(7)[:, None] == 3, 0, momentum)), ("gev", momentum / 1e3)):
    write_batches(tmp_path / name, images, values)
    np.savez(tmp_path / f"{name}.npz", images=images, momentum=values)
  for path in (tmp_path / "zero", tmp_path / "zero.npz"):
    opened = open_data(path)
    assert "momentum_mev" not in opened.labels and "momentum_mev" in opened.partly
  for path in (tmp_path / "gev", tmp_path / "gev.npz"):
    with pytest.raises(ValueError, match="'momentum' must be in MeV/c.*GeV/c"):
      open_data(path)
