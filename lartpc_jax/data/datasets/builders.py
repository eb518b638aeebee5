"""tensorflow-datasets builders: protons64, lartpc_crops, larcv_png64. Built and read without TensorFlow, as array_record.

Sources are files in `manual_dir`. Generation at scale by Apache Beam (a BeamBasedBuilder over many source files) is a later
step: Beam moves protobuf and pyarrow to older versions, so it needs an environment of its own.
"""
import zipfile
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import tensorflow_datasets as tfds

from lartpc_jax.data import pipeline, rasterize as raster
from lartpc_jax.data.events import load_events, pad_events
from lartpc_jax.data.readers.larcv_png import CLASSES, open_larcv_npy

CHUNK = 256
VIEWS = ("xy", "xz")
PAPER = """@article{imani2024score, title={Score-based diffusion models for generating liquid argon time projection
  chamber images},
  author={Imani, Zeviel and Wongjirad, Taritree and Aeron, Shuchin}, journal={Phys. Rev. D}, volume={109}, pages={072011},
  year={2024}}"""
GEANT4 = """@article{geant4, title={Recent developments in Geant4}, author={Allison, J. and others}, journal={Nucl. Instrum.
  Meth. A}, volume={835}, pages={186--225}, year={2016}}"""


def pixels(dtype, *shape: int):
  """An array feature, compressed; features.Image would need TensorFlow."""
  return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="zlib")


def source_file(dl_manager, name: str) -> Path:
  """A file of the manual directory. Raises FileNotFoundError naming it."""
  path = Path(dl_manager.manual_dir) / name
  if not path.is_file():
    raise FileNotFoundError(f"{path}: this dataset is built from that file; give the directory that holds it as manual_dir.")
  return path


def npz_rows(path: Path, name: str, chunk: int = CHUNK) -> Iterator[np.ndarray]:
  """The rows of a field of an npz, `chunk` at a time, without loading the field whole.

  Raises ValueError naming file and field.
  """
  try:
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
      version = np.lib.format.read_magic(file)
      reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
      shape, _, dtype = reader(file)
      row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
      for start in range(0, shape[0], chunk):
        rows = min(chunk, shape[0] - start)
        yield np.frombuffer(file.read(rows * row_bytes), dtype).reshape(rows, *shape[1:])
  except (zipfile.BadZipFile, KeyError, EOFError, OSError, ValueError) as error:
    raise ValueError(f"{path}: field {name!r} is not readable (truncated?): {error}.") from error


class Protons64(tfds.core.GeneratorBasedBuilder):
  """Single protons as xy and xz images of 64x64 pixels, with their momentum."""
  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "Events without charge outside the xy and xz windows; every eleventh event is validation."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = "manual_dir must hold protons_geant4.npz, sparse events as data.events reads them."
  SOURCE = "protons_geant4.npz"

  def _info(self) -> tfds.core.DatasetInfo:
    spec = raster.ImageSpec()
    return tfds.core.DatasetInfo(
        builder=self, description=self.__doc__, citation=PAPER + "\n" + GEANT4, supervised_keys=None,
        features=tfds.features.FeaturesDict({"image": pixels(np.float32, len(VIEWS), 64, 64),
                                             "momentum_mev": tfds.features.Tensor(shape=(3,), dtype=np.float32),
                                             "event": tfds.features.Scalar(np.int64)}),
        metadata=tfds.core.MetadataDict(views=list(VIEWS), image_unit="MeV", momentum_unit="MeV/c", **spec._asdict()))

  def _split_generators(self, dl_manager):
    events = load_events(source_file(dl_manager, self.SOURCE))
    numbers = np.arange(len(events))
    return {"train": self._generate_examples(events, numbers[numbers % 11 != 10]),  # 10 to 1, as edep_protons64
            "validation": self._generate_examples(events, numbers[numbers % 11 == 10])}

  def _generate_examples(self, events, numbers):
    spec = raster.ImageSpec()
    for start in range(0, len(numbers), CHUNK):
      chunk = numbers[start:start + CHUNK]
      batch = pad_events(events, chunk)
      contained = np.asarray(raster.is_contained(jnp.asarray(batch.position_mm), jnp.asarray(batch.edep_mev), VIEWS, spec))
      chunk = chunk[contained]
      if len(chunk):
        images = pipeline.images_of(events, chunk, views=VIEWS, spec=spec)
        for number, image in zip(chunk, images):
          yield int(number), {"image": image, "momentum_mev": events.momentum_mev[number], "event": int(number)}


class LartpcCrops(tfds.core.GeneratorBasedBuilder):
  """64x64 crops (3 mm) of simulated interactions in liquid argon with a label for every pixel. Split by event."""
  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "Events whose number ends in 8 are validation, in 9 test."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = "manual_dir must hold lartpc_crops_geant4.npz (image, label, event, unit_mev)."
  SOURCE = "lartpc_crops_geant4.npz"

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
        builder=self, description=self.__doc__, citation=GEANT4, supervised_keys=None,
        features=tfds.features.FeaturesDict({"image": pixels(np.float32, 64, 64), "label": pixels(np.uint8, 64, 64),
                                             "event": tfds.features.Scalar(np.int64)}),
        metadata=tfds.core.MetadataDict(labels=["background", "track", "shower", "delta", "michel"], image_unit="MeV"))

  def _split_generators(self, dl_manager):
    path = source_file(dl_manager, self.SOURCE)
    return {"train": self._generate_examples(path, range(8)), "validation": self._generate_examples(path, (8,)),
            "test": self._generate_examples(path, (9,))}

  def _generate_examples(self, path, last_digits):
    with np.load(path) as npz:
      events, unit = npz["event"], np.float32(npz["unit_mev"])
    wanted = np.isin(events % 10, list(last_digits))
    number = 0
    for images, labels in zip(npz_rows(path, "image"), npz_rows(path, "label"), strict=True):
      for image, label in zip(images, labels):
        if wanted[number]:
          yield number, {"image": image.astype(np.float32) * unit, "label": label, "event": int(events[number])}
        number += 1


class LarcvPng64(tfds.core.GeneratorBasedBuilder):
  """larcv_png_64: 8-bit grey crops of PILArNet 2D, tracks and showers (Zenodo record 8300355)."""
  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "The published splits."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = ("manual_dir must hold larcv_png_64_{train,test}_{tracks,showers}.npy of "
                                  "https://zenodo.org/records/8300355.")

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
        builder=self, description=self.__doc__, citation=PAPER, homepage="https://zenodo.org/records/8300355",
        features=tfds.features.FeaturesDict({"image": pixels(np.uint8, 64, 64),
                                             "label": tfds.features.ClassLabel(names=list(CLASSES))}))

  def _split_generators(self, dl_manager):
    splits = {split: [source_file(dl_manager, f"larcv_png_64_{split}_{kind}.npy") for kind in CLASSES]
              for split in ("train", "test")}
    return {split: self._generate_examples(paths) for split, paths in splits.items()}

  def _generate_examples(self, paths):
    for kind, path in zip(CLASSES, paths):
      source = open_larcv_npy(path)
      for start in range(0, source.num, CHUNK):
        for i, image in enumerate(source.read(start, min(start + CHUNK, source.num))):
          yield f"{kind}_{start + i}", {"image": image[0].astype(np.uint8), "label": kind}


BUILDERS = {"protons64": Protons64, "lartpc_crops": LartpcCrops, "larcv_png64": LarcvPng64}


def build(name: str, manual_dir, data_dir, *, num_shards: int | None = None) -> tfds.core.DatasetBuilder:
  """Builds a dataset under `data_dir` from the files in `manual_dir`, or finds it there already built.

  Raises ValueError naming an unknown dataset, FileNotFoundError naming a missing source file.
  """
  if name not in BUILDERS:
    raise ValueError(f"Unknown dataset {name!r}; choose from {sorted(BUILDERS)}.")
  builder = BUILDERS[name](data_dir=str(data_dir), file_format="array_record")
  config = tfds.download.DownloadConfig(manual_dir=str(manual_dir), num_shards=num_shards)
  builder.download_and_prepare(download_config=config)
  return builder
