"""tensorflow-datasets builders, built and read without TensorFlow, as array_record.

Sources are files in `manual_dir`. A builder says which pieces of work there are and what examples a piece
gives; the pieces are done one after the other, or by the workers of an Apache Beam pipeline (extra `beam`).
"""
import abc
import functools
import itertools
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import tensorflow_datasets as tfds

from lartpc_jax.data import pictures
from lartpc_jax.data.events import load_events, pad_events
from lartpc_jax.data.readers.api import load_extra
from lartpc_jax.data.readers.larcv_png import CLASSES, open_larcv_npy
from lartpc_jax.data.streams import read_header
from lartpc_jax.geometry import rasterize as raster

CHUNK = 256
VIEWS = ("xy", "xz")
LABELS = ["background", "track", "shower", "delta", "michel"]
PAPER = """@article{imani2024score, title={Score-based diffusion models for generating liquid argon time
  projection chamber images}, author={Imani, Zeviel and Wongjirad, Taritree and Aeron, Shuchin},
  journal={Phys. Rev. D}, volume={109}, pages={072011}, year={2024}}"""
GEANT4 = """@article{geant4, title={Recent developments in Geant4}, author={Allison, J. and others},
  journal={Nucl. Instrum. Meth. A}, volume={835}, pages={186--225}, year={2016}}"""


def pixels(dtype, *shape: int):
  """An array feature, compressed; features.Image would need TensorFlow."""
  return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="zlib")


def source_files(dl_manager, pattern: str) -> list[Path]:
  """The files of the manual directory that match, sorted by name. Raises FileNotFoundError naming it if there
  are none."""
  folder = Path(dl_manager.manual_dir)
  paths = sorted(folder.glob(pattern))
  if not paths:
    raise FileNotFoundError(
        f"{folder / pattern}: this dataset is built from that file; give the directory that holds it as "
        "manual_dir.")
  return paths


def npz_length(path: Path, name: str) -> int:
  """Number of rows of a field of an npz, from its header alone. Raises ValueError naming file and field."""
  try:
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
      return read_header(file)[0][0]
  except (zipfile.BadZipFile, KeyError, IndexError, EOFError, OSError, ValueError) as error:
    raise ValueError(f"{path}: field {name!r} is not readable (truncated?): {error}.") from error


def npz_rows(path: Path, name: str, chunk: int = CHUNK) -> Iterator[np.ndarray]:
  """The rows of a field of an npz, `chunk` at a time, without loading the field whole.

  Raises ValueError naming file and field.
  """
  try:
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
      shape, _, dtype = read_header(file)
      row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
      for start in range(0, shape[0], chunk):
        rows = min(chunk, shape[0] - start)
        yield np.frombuffer(file.read(rows * row_bytes), dtype).reshape(rows, *shape[1:])
  except (zipfile.BadZipFile, KeyError, EOFError, OSError, ValueError) as error:
    raise ValueError(f"{path}: field {name!r} is not readable (truncated?): {error}.") from error


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """What all builders share. A subclass has the constants below, `features()` and `pieces(dl_manager)`."""
  VERSION = tfds.core.Version("1.0.0")
  CITATION = GEANT4
  HOMEPAGE = ""
  METADATA: dict = {}
  use_beam = False  # set by `build`

  @abc.abstractmethod
  def features(self) -> dict:
    """Name -> feature."""

  @abc.abstractmethod
  def pieces(self, dl_manager) -> dict[str, Sequence[Callable]]:
    """Split -> pieces of work that can be pickled, each () -> iterator of (key, example)."""

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(builder=self, description=self.__doc__, citation=self.CITATION,
                                 homepage=self.HOMEPAGE, features=tfds.features.FeaturesDict(self.features()),
                                 metadata=tfds.core.MetadataDict(**self.METADATA))

  def _split_generators(self, dl_manager):
    return {split: self._generate_examples(pieces) for split, pieces in self.pieces(dl_manager).items()}

  def _generate_examples(self, pieces):
    if self.use_beam:
      import apache_beam as beam
      return beam.Create(pieces) | beam.Reshuffle() | beam.FlatMap(lambda piece: piece())
    return itertools.chain.from_iterable(piece() for piece in pieces)


@functools.lru_cache(maxsize=1)
def _events(path: Path):
  return load_events(path)


def proton_examples(path: Path, before: int, numbers: tuple[int, ...], spec: raster.ImageSpec) -> Iterator:
  """Examples of the events `numbers` of a file that `before` events of other files precede; those contained
  alone."""
  events, chunk = _events(path), np.array(numbers)
  batch = pad_events(events, chunk)
  contained = np.asarray(
      raster.is_contained(jnp.asarray(batch.position_mm), jnp.asarray(batch.edep_mev), VIEWS, spec))
  chunk = chunk[contained]
  if len(chunk):
    for number, image in zip(chunk, pictures.images_of(events, chunk, views=VIEWS, spec=spec)):
      key = before + int(number)
      yield key, {"image": image, "momentum_mev": events.momentum_mev[number], "event": key}


class Protons64(_Builder):
  """Single protons as xy and xz images of 64x64 pixels, with their momentum."""
  RELEASE_NOTES = {
      "1.0.0": "Events without charge outside the xy and xz windows; every eleventh event is validation."
  }
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
      "manual_dir must hold protons_*.npz, sparse events as data.events reads them; several "
      "files count as one, in the order of their names.")
  CITATION = PAPER + "\n" + GEANT4
  SPEC = raster.PROTONS64
  METADATA = dict(views=list(VIEWS), image_unit="MeV", momentum_unit="MeV/c", **raster.PROTONS64._asdict())

  def features(self):
    return {
        "image": pixels(np.float32, len(VIEWS),
                        *self.SPEC.shape), "momentum_mev": tfds.features.Tensor(shape=(3,), dtype=np.float32),
        "event": tfds.features.Scalar(np.int64)
    }

  def pieces(self, dl_manager):
    before, splits = 0, {"train": [], "validation": []}
    for path in source_files(dl_manager, "protons_*.npz"):
      numbers = np.arange(npz_length(path, "momentum"))
      held = (before + numbers) % 11 == 10  # 10 to 1, as edep_protons64
      for split, chosen in (("train", numbers[~held]), ("validation", numbers[held])):
        splits[split] += [
            functools.partial(proton_examples, path, before, tuple(chosen[i:i + CHUNK].tolist()), self.SPEC)
            for i in range(0, len(chosen), CHUNK)
        ]
      before += len(numbers)
    return splits


class Protons512(Protons64):
  """Single protons as xy and xz images of 512x512 pixels of 3 mm, with their momentum: for energies beyond 64
  pixels."""
  SPEC = raster.PROTONS512
  METADATA = {**Protons64.METADATA, **raster.PROTONS512._asdict()}


def last_digit_splits(files: Sequence[Path], examples: Callable) -> dict[str, list]:
  """Pieces examples(path, last digits): events whose number ends in 8 are validation, in 9 test."""
  return {split: [functools.partial(examples, path, digits) for path in files]
          for split, digits in (("train", tuple(range(8))), ("validation", (8,)), ("test", (9,)))}


def crop_examples(path: Path, last_digits: tuple[int, ...]) -> Iterator:
  """Examples of the crops of events whose number ends in one of `last_digits`."""
  with np.load(path) as npz:
    events, unit = npz["event"], np.float32(npz["unit_mev"])
  wanted = np.isin(events % 10, last_digits)
  number = 0
  for images, labels in zip(npz_rows(path, "image"), npz_rows(path, "label"), strict=True):
    for image, label in zip(images, labels):
      if wanted[number]:
        yield number, {"image": image.astype(np.float32) * unit, "label": label, "event": int(events[number])}
      number += 1


class LartpcCrops(_Builder):
  """64x64 crops (3 mm) of simulated interactions in liquid argon with a label for every pixel. Split by
  event."""
  RELEASE_NOTES = {"1.0.0": "Events whose number ends in 8 are validation, in 9 test."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = ("manual_dir must hold lartpc_crops_geant4.npz (image, label, event, "
                                  "unit_mev).")
  METADATA = dict(labels=LABELS, image_unit="MeV")

  def features(self):
    return {
        "image": pixels(np.float32, 64, 64), "label": pixels(np.uint8, 64, 64),
        "event": tfds.features.Scalar(np.int64)
    }

  def pieces(self, dl_manager):
    return last_digit_splits(source_files(dl_manager, "lartpc_crops_geant4.npz"), crop_examples)


def interaction_examples(path: Path, last_digits: tuple[int, ...]) -> Iterator:
  """Examples of the events whose number ends in one of `last_digits`, in all views."""
  events = load_events(path)
  for number in range(len(events)):
    if number % 10 in last_digits:
      drawn = [pictures.voxel_image(events, number, view=view) for view in raster.VIEWS]
      image, label = (np.stack(arrays) for arrays in zip(*drawn))
      yield number, {"image": image, "label": label, "event": number}


class LartpcEvents512(_Builder):
  """Whole interactions as xy, xz and yz images of 512x512 pixels (3 mm), labelled, with the vertex in the
  middle."""
  RELEASE_NOTES = {"1.0.0": "Events whose number ends in 8 are validation, in 9 test."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
      "manual_dir must hold lartpc_events_geant4.npz (offsets, voxel, vlabel, edep, voxel_mm), "
      "as launch.simulate --backend=geant4 writes it.")
  METADATA = dict(views=list(raster.VIEWS), labels=LABELS, image_unit="MeV", **raster.PROTONS512._asdict())

  def features(self):
    shape = (len(raster.VIEWS), *raster.PROTONS512.shape)
    return {
        "image": pixels(np.float32, *shape), "label": pixels(np.uint8, *shape),
        "event": tfds.features.Scalar(np.int64)
    }

  def pieces(self, dl_manager):
    return last_digit_splits(source_files(dl_manager, "lartpc_events_geant4.npz"), interaction_examples)


def larcv_examples(path: Path, kind: str) -> Iterator:
  """Examples of one of the published files, in chunks."""
  source = open_larcv_npy(path)
  for start in range(0, source.num, CHUNK):
    for i, image in enumerate(source.read(start, min(start + CHUNK, source.num))):
      yield f"{kind}_{start + i}", {"image": image[0].astype(np.uint8), "label": kind}


class LarcvPng64(_Builder):
  """larcv_png_64: 8-bit grey crops of PILArNet 2D, tracks and showers (Zenodo record 8300355)."""
  RELEASE_NOTES = {"1.0.0": "The published splits."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = ("manual_dir must hold larcv_png_64_{train,test}_{tracks,showers}.npy of "
                                  "https://zenodo.org/records/8300355.")
  CITATION, HOMEPAGE = PAPER, "https://zenodo.org/records/8300355"

  def features(self):
    return {"image": pixels(np.uint8, 64, 64), "label": tfds.features.ClassLabel(names=list(CLASSES))}

  def pieces(self, dl_manager):
    return {
        split: [
            functools.partial(larcv_examples, path, kind)
            for kind in CLASSES
            for path in source_files(dl_manager, f"larcv_png_64_{split}_{kind}.npy")
        ] for split in ("train", "test")
    }


BUILDERS = {"protons64": Protons64, "protons512": Protons512, "lartpc_crops": LartpcCrops,
            "lartpc_events512": LartpcEvents512, "larcv_png64": LarcvPng64}


def build(name: str, manual_dir, data_dir, *, num_shards: int | None = None,
          beam_options: Sequence[str] | None = None) -> tfds.core.DatasetBuilder:
  """Builds a dataset under `data_dir` from the files in `manual_dir`, or finds it there already built.

  Args:
    name: in BUILDERS.
    manual_dir: directory of the source files.
    data_dir: gets NAME/VERSION.
    num_shards: files of a split; default by size.
    beam_options: command-line options of an Apache Beam pipeline that does the work, such as
      ["--runner=DirectRunner", "--direct_num_workers=4"]; None works without Beam. Runners on other machines
      need both directories there.
  Raises:
    ValueError: naming an unknown dataset, or without apache-beam if it is asked for.
    FileNotFoundError: naming a missing source file.
  """
  if name not in BUILDERS:
    raise ValueError(f"Unknown dataset {name!r}; choose from {sorted(BUILDERS)}.")
  builder = BUILDERS[name](data_dir=str(data_dir), file_format="array_record")
  config = tfds.download.DownloadConfig(manual_dir=str(manual_dir), num_shards=num_shards)
  if beam_options is not None:
    load_extra("apache_beam", "beam")
    from apache_beam.options.pipeline_options import PipelineOptions
    builder.use_beam, config.beam_options = True, PipelineOptions(list(beam_options))
  builder.download_and_prepare(download_config=config)
  return builder
