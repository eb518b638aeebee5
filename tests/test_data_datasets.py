"""Builders and loader: built from source files without TensorFlow, read in an order that the seed fixes,
resumed."""
import sys

import numpy as np
import pytest

from lartpc_jax.data import events as events_lib, pictures
from lartpc_jax.data.datasets import builders, loader
from lartpc_jax.data.open import open_events
from lartpc_jax.geometry.rasterize import ImageSpec


@pytest.fixture(scope="module")
def larcv(tmp_path_factory):
  """(directory of the built dataset, images of the source by split and kind)."""
  source, rng = tmp_path_factory.mktemp("zenodo"), np.random.default_rng(0)
  images = {(split, kind): rng.integers(0, 256, (n, 64, 64)).astype(np.uint8)
            for split, n in (("train", 20), ("test", 5)) for kind in ("tracks", "showers")}
  for (split, kind), array in images.items():
    np.save(source / f"larcv_png_64_{split}_{kind}.npy", array)
  built = builders.build("larcv_png64", source, tmp_path_factory.mktemp("data"), num_shards=2)
  return built.data_dir, images


def test_larcv_png64(larcv):
  directory, images = larcv
  for split, n in (("train", 20), ("test", 5)):
    source = loader.open_split(directory, split)
    assert len(source) == 2 * n
    for label, kind in enumerate(("tracks", "showers")):
      found = sorted(row["image"].tobytes() for row in source if row["label"] == label)
      assert found == sorted(image.tobytes() for image in images[split, kind])
  info = builders.tfds.builder_from_directory(str(directory)).info
  assert str(info.version) == "1.0.0" and "072011" in info.citation and "8300355" in info.homepage
  assert "tensorflow" not in sys.modules


def test_protons64(tmp_path):
  events = events_lib.select_events(open_events("sample"), np.arange(44))
  events_lib.save_events(tmp_path / "protons_geant4.npz", events)
  directory = builders.build("protons64", tmp_path, tmp_path / "data").data_dir
  images = pictures.images_of(events, np.arange(44), views=("xy", "xz"), spec=ImageSpec())
  seen = []
  for split in ("train", "validation"):
    for row in loader.open_split(directory, split):
      number = int(row["event"])
      assert (number % 11 == 10) == (split == "validation")
      np.testing.assert_allclose(row["image"], images[number], atol=1e-5)
      np.testing.assert_array_equal(row["momentum_mev"], events.momentum_mev[number])
      seen.append(number)
  assert len(set(seen)) == len(seen) >= 35


def write_crops(path, num=60):
  rng = np.random.default_rng(0)
  event = np.sort(rng.integers(0, 20, num))
  arrays = dict(image=rng.integers(0, 999, (num, 64, 64)).astype(np.uint16), event=event,
                label=rng.integers(0, 5, (num, 64, 64)).astype(np.uint8), unit_mev=np.float64(0.004))
  np.savez_compressed(path, **arrays)
  return arrays


def test_lartpc_crops_are_split_by_event(tmp_path):
  arrays = write_crops(tmp_path / "lartpc_crops_geant4.npz")
  directory = builders.build("lartpc_crops", tmp_path, tmp_path / "data").data_dir
  events, total = {}, 0
  for split in ("train", "validation", "test"):
    rows = list(loader.open_split(directory, split))
    total += len(rows)
    events[split] = {int(row["event"]) for row in rows}
    want = np.isin(arrays["event"], list(events[split]))
    np.testing.assert_allclose(sum(row["image"].sum(dtype=np.float64) for row in rows),
                               0.004 * arrays["image"][want].sum(), rtol=1e-5)
    assert sum(int((row["label"] == 3).sum()) for row in rows) == (arrays["label"][want] == 3).sum()
  assert total == 60 and not events["train"] & (events["validation"] | events["test"])


def test_mistakes_are_named(tmp_path):
  with pytest.raises(ValueError, match="Unknown dataset 'mnist'; choose from .*protons64"):
    builders.build("mnist", tmp_path, tmp_path / "data")
  with pytest.raises(FileNotFoundError, match=r"protons_\*.npz: this dataset is built from that file"):
    builders.build("protons64", tmp_path, tmp_path / "data")
  write_crops(tmp_path / "a.npz")
  with pytest.raises(ValueError, match="a.npz: field 'pictures' is not readable"):
    next(builders.npz_rows(tmp_path / "a.npz", "pictures"))
  assert builders.npz_length(tmp_path / "a.npz", "label") == 60
  with pytest.raises(ValueError, match="a.npz: field 'pictures' is not readable"):
    builders.npz_length(tmp_path / "a.npz", "pictures")
