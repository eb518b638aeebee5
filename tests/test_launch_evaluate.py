"""The report from end to end on the crops of the package, with planted defects; its files and its errors."""
import contextlib
import inspect
import json
import sys
import types

import numpy as np
import pytest

from configs import images64_evaluate
from lartpc_jax.data.image_files import save_images
from lartpc_jax.data.image_source import with_classes
from lartpc_jax.data.labels import pixel_table
from lartpc_jax.data.open import open_data
from lartpc_jax.experiments import evaluate as lib, report as report_lib, rows, samples
from lartpc_jax.metrics.estimate import Estimate
from lartpc_jax.train.segmentation import Segmenter


@contextlib.contextmanager
def silent(total):
  del total
  yield types.SimpleNamespace(update=lambda done: None, write=lambda text: None)


@pytest.fixture(scope="module", autouse=True)
def cheap():
  """Tracks are images of bright pixels, and a classifier by total charge: the parts themselves are tested
  elsewhere."""
  def run(images, progress=lambda share: None):
    progress(1.0)
    brightness = images.sum((1, 2)) / (images > 0).sum((1, 2))
    track = np.where(brightness > np.median(brightness), 0.8, 0.3)[:, None, None] * (images > 0)
    probability = np.stack([1.0 * (images == 0), track, (images > 0) - track], axis=-1)
    pooled = images.reshape(len(images), 8, 8, 8, 8).transpose(0, 1, 3, 2, 4).reshape(len(images), 8, 8, 64)
    return probability, pooled[..., ::8]

  def classifier(**kwargs):
    def fit_predict(x, generated, x_test, fold):
      charge, scale = x.sum((1, 2)), x.sum((1, 2)).std()
      sign = np.sign(charge[generated].mean() - charge[~generated].mean())
      return 1.0 / (1.0 + np.exp(-sign * (x_test.sum((1, 2)) - charge.mean()) / scale))
    return fit_predict

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(lib, "build_segmenter", lambda directory=None, *, orientations=1: (
        Segmenter(run, ("background", "track", "shower")), {}))
    patch.setattr(rows, "build_image_classifier", classifier)
    yield


def tiny(**changes):
  config = images64_evaluate.get_config("tiny").to_dict()
  for key, value in changes.items():
    block, _, name = key.partition("__")
    if name:
      config[block][name] = value
    else:
      config[block] = value
  return config


@pytest.fixture(scope="module")
def report():
  config = tiny(gof__num_permutations=20, gof__transport_batch=60, gof__sinkhorn_batch=40,
                embedding__num_images=40, embedding__num_neighbours=5)
  return lib.evaluate(config, real="sample_crops[0:200]", generated={"others": "sample_crops[260:360]"},
                      training="sample_crops[240:400]", planted=("memorised", "duplicates"), progress=silent)


def test_every_part_has_rows_for_every_column(report):
  assert report.columns == ["real vs real", "others", "memorised", "10 % duplicates"]
  parts = {part for part, _, _ in report.rows}
  assert parts == {"physics", "gof", "frechet", "c2st", "memorisation"}
  for key, found in report.rows.items():
    assert set(found) == set(report.columns), key
  assert report.missing == ["momentum closure: the real images come without momenta"]
  assert set(report.separations.numbers) == {"L2", "EMD", "EMD, centred"}
  # each has itself among the training images
  assert report.neighbours["memorised"][1].distance[:, 0].max() < 1e-6


def test_the_embedding_goes_by_true_labels_where_there_are_any(report):
  found = with_classes(open_data("sample_crops"),
                       *pixel_table(five_classes=False)).read(slice(0, 40), ("label",))
  pixels = [((found["label"] == i) & (found["image"] >= 0.09)).sum((1, 2, 3)) for i in (1, 2)]
  assert report.separations.labels == "truth" and report.separations.num_subsets == 1
  np.testing.assert_array_equal(report.separations.is_track, pixels[0] > pixels[1])


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_separations_of_several_sets_are_means(report):
  truth = report.separations.is_track
  images = samples.load_images("sample_crops[0:40]", threshold_mev=0.09, level_mev=0.02).values
  sample = samples.Sample("", images, None, np.zeros((40, 8, 8, 1)), {}, np.zeros((40, 1)), ["x"])
  embed = lambda **kwargs: lib._embed(reference=sample, truth=truth, pool=4, num_neighbours=3, missing=[],
                                      progress=lambda share: None, **kwargs)
  sets = embed(num_images=20, num_subsets=9)
  assert sets.num_subsets == 2 and sets.maps["EMD"].shape == (20, 2)
  first = embed(num_images=20, num_subsets=1).numbers["L2"].silhouette.value
  other = sample._replace(images=sample.images[20:])
  second = lib._embed(reference=other, truth=truth[20:], pool=4, num_neighbours=3, missing=[], num_images=20,
                      num_subsets=1, progress=lambda share: None).numbers["L2"].silhouette.value
  found = sets.numbers["L2"].silhouette
  np.testing.assert_allclose([found.value, found.error],
                             [(first + second) / 2, abs(first - second) / 2], rtol=1e-9)


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_memorised_and_duplicated_sets_are_seen_by_their_metrics(report):
  copies = report.rows["memorisation", "copies of training images, share", "corrected"]
  assert copies["memorised"].estimate.value > 0.95 and copies["real vs real"].estimate.value < 0.1
  ratio = report.rows["memorisation", "distance ratio, training / (training + held-out)", "corrected"]
  assert ratio["memorised"].estimate.value < 0.4 < ratio["real vs real"].estimate.value
  assert ratio["memorised"].estimate.p_value < 1e-3 < ratio["real vs real"].estimate.p_value
  doubles = report.rows["memorisation", "duplicates, share", "corrected"]
  assert doubles["10 % duplicates"].estimate.value > 0.1 > doubles["real vs real"].estimate.value
  table = {name: (rank, above) for name, rank, above, _ in report_lib.ranking(report)}
  assert table["memorised"][1] >= 2 and set(table) == set(report.columns[1:])


def test_the_files_hold_what_was_found(report, tmp_path):
  paths = report_lib.write_report(report, tmp_path / "out")
  assert [p.name for p in paths] == ["metrics.json", "report.md", "report.html"]
  data = json.loads(paths[0].read_text())
  assert len(data["rows"]) == len(report.rows) and data["images"]["reference"] == 100
  assert data["rows"][0]["values"]["real vs real"].keys() == {
      "value", "error", "p_value", "note", "sigma_above_floor"
  }
  text = paths[1].read_text()
  assert "| metric | definition | real vs real (100) | others (100) |" in text and "Left out:" in text
  page = paths[2].read_text()
  assert page.count("data:image/png;base64") >= 6 and "src=\"http" not in page and "momentum closure" in page


def test_the_floor_may_come_from_elsewhere():
  """All of --real is the reference then, and the first column are the other images."""
  found = lib.evaluate(tiny(parts=["physics"]), real="sample_crops[0:80]", floor="sample_crops[100:170]",
                       generated={}, progress=silent)
  assert found.counts == {"reference": 80, "real vs real": 70}
  assert found.sources == {"reference": "sample_crops[0:80]", "real vs real": "sample_crops[100:170]"}
  images = samples.load_images("sample_crops[100:108]", threshold_mev=0.09, level_mev=0.02).values
  np.testing.assert_array_equal(found.samples["real vs real"], images)
  assert set(found.seconds) == set(found.cpu_seconds) == {"examine", "physics"} and found.cpu_seconds[
      "examine"] > 0
  text = report_lib.markdown(found)
  assert "real vs real: sample_crops[100:170]" in text and "s wall and" in text


def test_excess_over_the_floor_is_the_difference(report):
  w1 = report.rows["gof", "W1 [MeV]", "published"]
  over = report.rows["gof", "W1 [MeV], excess over the floor", "corrected"]
  np.testing.assert_allclose(over["others"].estimate.value,
                             w1["others"].estimate.value - w1["real vs real"].estimate.value)
  assert over["real vs real"].estimate.value == 0.0


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_momentum_closure_where_momenta_are_known(tmp_path):
  config = tiny(parts=["momentum"])
  rng = np.random.default_rng(0)
  data = samples.load_images("sample[0:60]", threshold_mev=0.005, level_mev=0.02)
  save_images(tmp_path / "known.npz", data.values[:, None], data.momentum_mev)
  np.savez(tmp_path / "unknown.npz", images=data.values + 0 * rng.normal())
  found = lib.evaluate(config, real="sample[60:300]", progress=silent, generated={
      "known": str(tmp_path / "known.npz"), "unknown": str(tmp_path / "unknown.npz")})
  assert "momentum closure of unknown: its file tells no momenta" in found.missing
  row = found.rows["momentum", "pull width of |p|", "corrected"]
  assert set(row) == {"real vs real", "known"} and 0.4 < row["known"].estimate.value < 2.5
  assert sum("not in config.parts" in text for text in found.missing) == 6


def test_ranking_puts_the_worst_first():
  row = lambda value, worse=1: rows.Row("gof", "m", "corrected", worse, Estimate(value, 0.1))
  one = {"real vs real": row(0.0), "a": row(1.0), "b": row(0.2)}
  two = {"real vs real": row(1.0, -1), "a": row(0.5, -1), "b": row(0.9, -1)}
  empty = lib.Report(["real vs real", "a", "b"], {("gof", "m", "corrected"): one,
                                                  ("gof", "n", "corrected"): two}, {}, {}, None, {}, [], {},
                     {})
  assert [(name, rank, above) for name, rank, above,
          _ in report_lib.ranking(empty)] == [("a", 1.0, 2), ("b", 2.0, 0)]


def test_degenerate_images_cost_their_rows_and_nothing_else(tmp_path):
  """One-pixel images of one charge: no histogram of a reference has two bins, and the report goes on."""
  images = np.zeros((120, 1, 64, 64), np.float32)
  images[np.arange(120), 0, 30 + np.arange(120) % 5, 30] = 2.0
  np.savez(tmp_path / "dots.npz", images=images)
  config = tiny(parts=["physics", "gof", "frechet", "memorisation", "embedding"], gof__num_permutations=5,
                gof__transport_batch=20, gof__sinkhorn_batch=20)
  found = lib.evaluate(config, real=str(tmp_path / "dots.npz"), generated={"others": "sample_crops[0:60]"},
                       progress=silent)
  row = found.rows["physics", "track pixels: chi2/ndf", "corrected"]["others"]
  assert np.isnan(row.estimate.value) and "no histogram" in row.note
  assert np.isfinite(found.rows["gof", "energy distance [MeV]", "corrected"]["others"].estimate.value)
  assert found.rows["memorisation", "duplicates, share", "corrected"]["real vs real"].estimate.value == 1.0
  assert [p.name for p in report_lib.write_report(found, tmp_path / "out")][2] == "report.html"


def test_a_part_that_fails_is_left_out_and_said(monkeypatch, tmp_path):
  def fails(**kwargs):
    raise np.linalg.LinAlgError("singular")
  fails.__signature__ = inspect.signature(rows.frechet_rows)
  monkeypatch.setitem(lib.PARTS, "frechet", fails)
  found = lib.evaluate(tiny(parts=["frechet", "physics"]), real="sample_crops[0:120]", generated={},
                       progress=silent)
  assert "frechet of real vs real: singular" in found.missing and {part for part, _, _ in found.rows} == {
      "physics"}
  with pytest.raises(ValueError, match="Unknown config key frechet.num = 1; allowed"):
    lib.evaluate(tiny(frechet=dict(num=1)), real="sample_crops[0:120]", generated={}, progress=silent)


def test_the_floor_holds_none_of_the_reference():
  """With distinct images, a column that shares images with the reference would have distances of 0 to it."""
  load = lambda **kwargs: lib._load(real="sample_crops[0:300]", generated={}, training=None, planted=(
      "shift",), threshold_mev=0.09, level_mev=0.02, seed=0, num_training=0, **kwargs)
  for loaded in (load(floor=None, num_images=1000), load(floor=None, num_images=60),
                 load(floor="sample_crops[300:400]", num_images=60)):
    reference, floor = (
        {image.tobytes() for image in images.values} for images in (loaded.real, loaded.columns[lib.FLOOR]))
    assert not reference & floor and len(reference) == len(loaded.real.values)
    assert np.array_equal(loaded.columns["shifted by 1 px"].values[0, 1:],
                          loaded.columns[lib.FLOOR].values[0, :-1])


def test_a_missing_extra_is_named_before_any_work(monkeypatch):
  monkeypatch.setitem(sys.modules, "sklearn", None)
  monkeypatch.setattr(lib, "_load", lambda **kwargs: pytest.fail("images were read"))
  with pytest.raises(ValueError,
                     match=r"The report needs scikit-learn, of the extra \[eval\]: pip install scikit-learn"):
    lib.evaluate(tiny(), real="sample_crops", generated={}, progress=silent)


def test_slices_and_columns():
  assert samples.parse_path("a.npz[3:7]") == ("a.npz", slice(3, 7), None)
  assert samples.parse_path("b[:5]")[1] == slice(None, 5)
  assert samples.parse_path("a@b/c.npy[3:]@0.02") == ("a@b/c.npy", slice(3, None), "0.02")
  assert samples.name_columns(["runs/x.npz", "best=y.npz"]) == {"x": "runs/x.npz", "best": "y.npz"}
  with pytest.raises(ValueError, match="Two files are called 'x'"):
    samples.name_columns(["a/x.npz", "b/x.npz"])


@pytest.mark.parametrize("changes,kwargs,message", [
    (dict(parts=["turing"]), {}, r"Unknown config value parts = 'turing'; allowed: \['c2st', 'embedding'"),
    (dict(extra={}), {}, r"Unknown config key extra = {}; allowed: \['c2st'"),
    (dict(images__pitch=1), {}, "Unknown config key images.pitch = 1; allowed"),
    ({}, dict(real="sample_crops[0:60]"),
     "holds 60 images with charge; at least 50 are needed, and 100 without --floor"),
    ({}, dict(floor="sample_crops[0:9]"), r"real vs real: sample_crops\[0:9\] holds 9 images with charge"),
    ({}, dict(generated={"few": "sample_crops[0:9]"}),
     r"few: sample_crops\[0:9\] holds 9 images with charge"),
    ({}, dict(planted=("memorised",)), r"Unknown defect 'memorised'; choose from .*\(memorised: with "
                                       r"--train\)"),
    (dict(images__threshold_mev=1e9), {}, "no image with charge above 1000000000.0 MeV"),
])
def test_bad_requests_are_named(changes, kwargs, message):
  arguments = {"real": "sample_crops", "generated": {}, "progress": silent, **kwargs}
  with pytest.raises(ValueError, match=message):
    lib.evaluate(tiny(**changes), **arguments)


def test_only_the_chosen_events_are_drawn(monkeypatch):
  asked = []
  draw = samples.open_images
  monkeypatch.setattr(samples, "open_images",
                      lambda *args, **kwargs: asked.append(kwargs) or draw(*args, **kwargs))
  load = lambda path: samples.load_images(path, threshold_mev=0.005, level_mev=0.02)
  some, more = load("sample[20:26]"), load("sample[:30]")
  assert [(k["first"], k["num"]) for k in asked] == [(20, 6), (0, 30)]
  np.testing.assert_array_equal(some.values, more.values[20:26])
  np.testing.assert_array_equal(some.momentum_mev, more.momentum_mev[20:26])
  with pytest.raises(ValueError, match="holds 500 events, numbers 0 to 499; asked for 10 from number 495"):
    load("sample[495:505]")


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_grey_levels_are_told_by_an_option_and_not_by_the_name(tmp_path, kind):
  """The same bytes under two names are the same images, and without a unit they are refused."""
  levels = np.zeros((60, 64, 64), kind)
  levels[:, 20:30, 30] = np.random.default_rng(0).integers(5, 200, (60, 10))
  paths = [str(tmp_path / name) for name in ("gen_epoch50_tracks.npy", "larcv_png_64_gen_epoch50.npy")]
  load = lambda path: samples.load_images(path, threshold_mev=0.05, level_mev=0.02).values
  for path in paths:
    np.save(path, levels)
    for chosen in ("", "[0:20]"):
      with pytest.raises(ValueError,
                         match=r"Say their unit behind the name: .*@levels \(images.level_mev = 0.02 MeV\)"):
        load(path + chosen)
  expected = levels * np.float32(0.02)
  for unit in ("@levels", "@0.02"):
    for path in paths:
      np.testing.assert_allclose(load(path + unit), expected, rtol=1e-6)
  np.testing.assert_allclose(load(paths[0] + "[10:12]@mev"), levels[10:12].astype(np.float32))
  for bad in ("@adc", "@-1", "@nan"):
    with pytest.raises(ValueError, match=f"the unit behind @ must be levels .*; got '{bad[1:]}'"):
      load(paths[0] + bad)


def test_a_unit_is_for_files_that_say_none(tmp_path):
  load = lambda path: samples.load_images(path, threshold_mev=0.05, level_mev=0.02)
  with pytest.raises(ValueError, match="the file says its unit itself; leave @0.1 away"):
    load("sample_crops[0:60]@0.1")
  with pytest.raises(ValueError, match="events are in MeV; leave @levels away"):
    load("sample[0:60]@levels")


def test_images_that_are_not_finite_are_named(tmp_path):
  np.save(tmp_path / "nan.npy", np.full((3, 64, 64), np.inf, np.float32))
  with pytest.raises(ValueError, match="images hold NaN or infinity"):
    samples.load_images(str(tmp_path / "nan.npy"), threshold_mev=0.1, level_mev=0.02)
