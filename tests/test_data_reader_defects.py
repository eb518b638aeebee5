"""Every reader against every defect of a file: empty, truncated, corrupt, of another type.

Errors name the file and, where one is at fault, the field; nothing half-written is left behind.
"""
from pathlib import Path

import numpy as np
import pytest

from lartpc_jax.data import events as events_lib, images as images_lib
from lartpc_jax.data.batches import first, image_pool
from lartpc_jax.data.convert import convert
from lartpc_jax.data.open import open_data, open_events
from lartpc_jax.geometry.rasterize import ImageSpec
from tests import toy_readers as toy

ROOT_FILE = Path(__file__).parent / "data" / "edepsim.root"
WORDS = np.full((3, 64, 64), "a")


@pytest.fixture(scope="module")
def events():
  return events_lib.select_events(open_events("sample"), np.arange(4))


def write_npy(name, shape=(3, 64, 64)):
  def write(path, events, wrong_type):
    del events
    np.save(path / name,
            WORDS if wrong_type else np.random.default_rng(0).integers(0, 200, shape).astype(np.float32))
  return write


def write_png(path, events, wrong_type):
  from PIL import Image
  image = np.random.default_rng(0).integers(0, 256, (64, 64))
  Image.fromarray(image.astype(np.uint16) * 256 if wrong_type else image.astype(np.uint8)).save(
      path / "larcv_64_0.png")


def write_segments(path, events, wrong_type):
  segments, vertices, trajectories = toy.segments_of(events, np.zeros((len(events), 3)))
  if wrong_type:
    segments = segments.astype([(n, "S8" if n == "dE" else segments.dtype[n]) for n in segments.dtype.names])
  toy.write_segments(path / "a.h5", segments, vertices, trajectories)


def write_pilarnet(path, events, wrong_type):
  import h5py
  event = toy.pilarnet_event(np.random.default_rng(0), [40], [0], [1], [100], np.zeros((1, 3)))
  toy.write_pilarnet(path / "a.h5", [event] * 20)
  if wrong_type:
    with h5py.File(path / "a.h5", "a") as file:
      del file["point"]
      file.create_dataset("point", data=["a"] * 20, dtype=h5py.string_dtype())


def write_root(path, events, wrong_type):
  """What ROOT wrote; or numbers where segments should be."""
  if not wrong_type:
    (path / "a.root").write_bytes(ROOT_FILE.read_bytes())
    return
  import uproot

  from lartpc_jax.data.readers import edepsim_root
  with uproot.recreate(path / "a.root") as file:
    columns = {name: np.arange(3.0) for name in (*edepsim_root.BRANCHES, edepsim_root.VECTORS)}
    file.mktree(edepsim_root.TREE, dict.fromkeys(columns, "f8")).extend(columns)


def write_events(path, events, wrong_type):
  fields = dict(momentum=events.momentum_mev, offsets=events.offsets, voxel=events.voxel,
                edep=events.edep_mev, voxel_mm=events.voxel_mm)
  np.savez(path / "a.npz", **{**fields, "edep": np.full(len(events.edep_mev), "a")} if wrong_type else fields)


def write_images(path, events, wrong_type):
  np.savez(path / "a.npz", images=WORDS if wrong_type else np.ones((3, 64, 64), np.float32))


def write_crops(path, events, wrong_type):
  image = np.ones((3, 8, 8), np.uint16)
  np.savez(path / "a.npz", image=image.astype("U1") if wrong_type else image, event=np.arange(3),
           label=np.ones((3, 8, 8), np.uint8), unit_mev=np.float32(0.004))


def write_labels(path, events, wrong_type):
  np.savez(path / "a.npz", image=np.ones((3, 8, 8), np.uint16), event=np.arange(3),
           unit_mev=np.float32(0.004), label=np.ones((3, 8, 8), np.float32 if wrong_type else np.uint8))


def converted(kind, name="", **kwargs):
  return lambda path, out: convert(kind, path / name if name else path, out / "out.npz", **kwargs)


def drawn(path, out):
  return images_lib.open_images(path / "a.npz", views=("xy",), spec=ImageSpec()).images[:].sum()


# reader: (file, how it is written, how it is read, field of the wrong type)
READERS = {
    "batches": ("batch_0.npy", write_npy("batch_0.npy"), converted("batches"), "xy"), "larcv_npy":
        ("larcv_png_64_train_tracks.npy", write_npy("larcv_png_64_train_tracks.npy"), converted("larcv_npy"),
         "images"), "larcv_pngs": ("larcv_64_0.png", write_png, converted("larcv_pngs"), "mode"),
    "segments": ("a.h5", write_segments, converted("segments", "a.h5"), "segments"), "pilarnet":
        ("a.h5", write_pilarnet, converted("pilarnet", "a.h5"), "point"), "edepsim_root":
            ("a.root", write_root, converted("edepsim_root", "a.root"), "SegmentDetectors"), "sparse events":
                ("a.npz", write_events, lambda path, out: events_lib.load_events(path / "a.npz"), "edep"),
    "images": ("a.npz", write_images, drawn, "images"), "crops":
        ("a.npz", write_crops, lambda path, out: first(image_pool(open_data(path / "a.npz"), {})), "image"),
    "labels": ("a.npz", write_labels, lambda path, out: open_data(path / "a.npz").read([0],
                                                                                       ("label",)), "label"),
}


@pytest.fixture
def folders(tmp_path):
  for name in ("in", "out"):
    (tmp_path / name).mkdir()
  return tmp_path / "in", tmp_path / "out"


@pytest.mark.parametrize("reader", READERS)
def test_a_sound_file_is_read(reader, events, folders):
  _, write, read, _ = READERS[reader]
  write(folders[0], events, False)
  read(*folders)


@pytest.mark.parametrize("defect", ["empty", "truncated to a tenth", "truncated to nine tenths", "corrupt"])
@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_file_is_named(reader, defect, events, folders):
  name, write, read, _ = READERS[reader]
  write(folders[0], events, False)
  file = folders[0] / name
  content = file.read_bytes()
  file.write_bytes({"empty": b"", "truncated to a tenth": content[:len(content) // 10],
                    "truncated to nine tenths": content[:9 * len(content) // 10],
                    "corrupt": b"\xfe" * 64 + content[64:]}[defect])
  with pytest.raises(ValueError, match=name):
    read(*folders)
  assert not list(folders[1].iterdir())


@pytest.mark.parametrize("reader", READERS)
def test_a_field_of_another_type_is_named_with_its_file(reader, events, folders):
  name, write, read, field = READERS[reader]
  write(folders[0], events, True)
  with pytest.raises(ValueError, match=name) as error:
    read(*folders)
  assert field in str(error.value) and not list(folders[1].iterdir())
