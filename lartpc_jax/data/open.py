"""One meaning of a path everywhere: sparse events or images in detector pixels, with the labels that they
have.

| path | what it is |
| --- | --- |
| "sample" | events: the 500 single protons of the package |
| "sample_crops" | images: the labelled crops of interactions of the package |
| FILE.npz with `voxel` | events (data.events) |
| FILE.npz with `image`, `event`, `unit_mev` | images: crops, perhaps with `label` and `primaries` |
| FILE.npz with `images`, FILE.npy | images as launch.convert writes them (data.image_files) |
| what a reader of images knows (data.readers): `batch_{i}.npy`, LArCV ROOT ... | images, not copied |
| directory with `dataset_info.json`, or a `VERSION/` that has it: a tensorflow-datasets dataset | images |

Images stay on disk until a batch needs them, but for an npz, which cannot be mapped.
"""
import logging
import os
from importlib import resources
from pathlib import Path

import numpy as np

from lartpc_jax.data import image_files
from lartpc_jax.data.events import PRIMARY_COLUMNS, Events, load_events
from lartpc_jax.data.image_source import Images, of_arrays, of_events, of_source
from lartpc_jax.data.labels import PIXEL_CLASSES, primary_counts
from lartpc_jax.data.npz import field_names, read_fields
from lartpc_jax.data.readers.api import GREY, MEV, ImageSource
from lartpc_jax.data.readers.formats import FORMATS, open_source as open_format, option_names
from lartpc_jax.data.readers.identify import look_at
from lartpc_jax.geometry.rasterize import ImageSpec

logger = logging.getLogger(__name__)

SAMPLE, SAMPLE_CROPS = "sample", "sample_crops"  # the paths that name what ships with the package
ASSETS = {SAMPLE: "sample_protons.npz", SAMPLE_CROPS: "sample_crops.npz"}
HOLDOUT_SPLITS = ("validation", "test")  # of a dataset; without one the last events of "train" are held out
CROP_FIELDS = ("image", "event", "unit_mev")


class UnitError(ValueError):
  """Images are in no known unit, and nobody said what a value is in MeV."""


def open_data(path: str | os.PathLike, *, scale_mev: float = 0.0, nan: str = "refuse") -> Events | Images:
  """Sparse events or images in MeV, whatever the path names.

  Args:
    path: see above.
    scale_mev: MeV of value 1 of images without calibration: grey levels, ADC counts, integers of no known
      unit; 0: the file is in MeV. Files that say so themselves are left alone.
    nan: of the group's batches: "refuse" makes images with NaN an error, "skip" leaves such events out.
  Raises:
    FileNotFoundError: if there is nothing.
    ValueError: naming the path, if it is not set, is of no known kind, truncated, damaged or of no known
      unit.
  """
  if not path:
    raise ValueError("data.path is not set; give a file or directory of events or images (see "
                     "lartpc_jax.data.open), "
                     f"{SAMPLE!r} for the protons of the package or {SAMPLE_CROPS!r} for its crops.")
  if scale_mev and not 0 < scale_mev < np.inf:
    raise ValueError(f"data.scale_mev must be positive and finite (0: the file is in MeV); got {scale_mev}.")
  kind, path = f"images of {Path(path).name}", asset_path(path)
  if path.is_dir():
    return _open_directory(path, scale_mev, nan)
  if not path.is_file():
    raise FileNotFoundError(f"No file or directory of data at {os.fspath(path)!r}.")
  if (name := _image_format(path)) is not None:
    source = _open_format(name, path, nan)
    return of_source(source, kind, scale_mev=scale_of(path, source.unit, scale_mev))
  if image_files.holds_events(path):
    return load_events(path)
  names = set(field_names(path)) if path.suffix == ".npz" else set()
  if names & set(CROP_FIELDS) and "images" not in names:
    return _open_crops(path, kind)
  images, labels = image_files.read_images(path)
  unit = image_files.image_unit(path)
  if unit is None:
    unit = MEV if images.dtype.kind == "f" and not scale_mev else "number of no known unit"
  return of_arrays(images, labels, kind, scale_mev=scale_of(path, unit, scale_mev))


def open_events(path: str | os.PathLike) -> Events:
  """Sparse events; see `open_data`. Raises ValueError too if the path names images."""
  opened = open_data(path)
  if not isinstance(opened, Events):
    raise ValueError(f"data.path = {os.fspath(path)!r} names {opened.kind}, in detector pixels; this needs "
                     "sparse events (npz with `voxel`), which can be drawn from any side.")
  return opened


def open_pictures(path: str | os.PathLike, *, scale_mev: float = 0.0) -> Images:
  """Images, whatever the path names: of events their xy pictures of 64x64 pixels; see `open_data`."""
  opened = open_data(path, scale_mev=scale_mev)
  return of_events(opened, spec=ImageSpec()) if isinstance(opened, Events) else opened


def asset_path(path: str | os.PathLike) -> Path:
  """The file that a path names, for what ships with the package too."""
  if path in ASSETS:
    return Path(str(resources.files("lartpc_jax"))) / "assets" / ASSETS[path]
  return Path(path)


def scale_of(path: str | os.PathLike, unit: str, scale_mev: float) -> float:
  """MeV of value 1 of images in `unit`. Raises ValueError if that is not MeV and scale_mev is 0."""
  if unit == MEV:
    return 1.0
  if not scale_mev:
    raise UnitError(f"{path}: holds images in {unit}s, not in MeV; set data.scale_mev, the MeV of one "
                    f"{unit}, or convert them "
                     "with --scale_mev. Thresholds and charge.scale_mev are MeV then.")
  return float(scale_mev)


def _open_crops(path: Path, kind: str) -> Images:
  fields = read_fields(path, CROP_FIELDS, ("label", "primaries"), kind="file of crops")
  values, event, unit_mev = (fields[name] for name in CROP_FIELDS)
  if values.ndim != 3 or values.shape[1] != values.shape[2] or values.dtype.kind not in "uf":
    raise ValueError(f"{path}: field 'image' must be uint16 or float32 [n h h]; got {values.dtype} "
                     f"{values.shape}.")
  if values.dtype.kind == "f" and (not np.isfinite(values).all() or values.min(initial=0) < 0):
    raise ValueError(f"{path}: field 'image' must be finite and not negative.")
  if event.shape != (len(values),) or not np.isfinite(unit_mev) or unit_mev <= 0:
    raise ValueError(f"{path}: needs one 'event' a crop and a positive 'unit_mev'; got {event.shape} and "
                     f"{unit_mev}.")
  labels = {}
  if "label" in fields:
    label = fields["label"]
    if label.shape != values.shape or label.dtype != np.uint8 or label.max(initial=0) >= len(PIXEL_CLASSES):
      raise ValueError(f"{path}: field 'label' must be uint8 {values.shape}, each below "
                       f"{len(PIXEL_CLASSES)}; got "
                       f"{label.dtype} {label.shape}, largest {label.max(initial=0)}.")
    labels["label"] = label[:, None]
  if "primaries" in fields:
    labels["kinetic_mev"] = _crop_energies(fields["primaries"], event, path)
    labels |= primary_counts(fields["primaries"], event)
  return of_arrays(values[:, None], labels, kind, scale_mev=float(unit_mev), event=event)


def _crop_energies(primaries: np.ndarray, event: np.ndarray, path: Path) -> np.ndarray:
  """Kinetic energy [n] float32 in MeV of the primaries of the event that each crop was cut from."""
  if primaries.ndim != 2 or primaries.shape[1] != PRIMARY_COLUMNS:
    raise ValueError(f"{path}: field 'primaries' must have rows of {PRIMARY_COLUMNS} numbers; got shape "
                     f"{primaries.shape}.")
  number = primaries[:, 0].astype(np.int64)
  missing = ~np.isin(event, number)
  if missing.any():
    raise ValueError(f"{path}: field 'primaries' tells none of event {event[missing][0]}.")
  energy = np.bincount(number, primaries[:, 2].astype(np.float64), minlength=int(event.max()) + 1)
  return energy[event].astype(np.float32)


def _open_format(name: str, path: Path, nan: str) -> ImageSource:
  """The source of a path; says how many events are left out."""
  source = open_format(name, path, **({"nan": nan} if "nan" in option_names(name) else {}))
  if nan == "skip" and source.note:
    logger.warning("%s: %s.", path, source.note)
  return source


def _open_directory(path: Path, scale_mev: float, nan: str) -> Images:
  if (dataset := find_dataset(path)) is not None:
    return _open_dataset(dataset, scale_mev)
  if (name := _image_format(path)) is not None:
    source = _open_format(name, path, nan)
    return of_source(source, f"{name} of {path.name}/", scale_mev=scale_of(path, source.unit, scale_mev))
  known = "; ".join(known.text for known in FORMATS.values() if known.becomes == "images")
  raise ValueError(f"{path}: holds no training data; looked for dataset_info.json; {known}.")


def _image_format(path: Path) -> str | None:
  """The format of data.readers that reads images from a file or directory as it is; None: not one of them."""
  look = look_at(path)
  return look.format if look.sure and look.format in FORMATS and FORMATS[
      look.format].becomes == "images" else None


def find_dataset(path: Path) -> Path | None:
  """The directory with dataset_info.json: `path` itself, or its newest version."""
  if (path / "dataset_info.json").is_file():
    return path
  versions = [p.parent for p in path.glob("*/dataset_info.json") if p.parent.name.replace(".", "").isdigit()]
  return max(versions, key=lambda p: tuple(map(int, p.name.split("."))), default=None)


def _open_dataset(path: Path, scale_mev: float) -> Images:
  from lartpc_jax.data.datasets.loader import open_info, open_split
  info = open_info(path)
  if "train" not in info.splits or "image" not in info.features:
    raise ValueError(f"{path}: needs a split 'train' and a feature 'image'; it has {sorted(info.splits)} and "
                     f"{sorted(info.features)}.")
  kept = next((name for name in HOLDOUT_SPLITS if name in info.splits and info.splits[name].num_examples),
              None)
  metadata, feature = info.metadata or {}, info.features["image"]
  unit = metadata.get("image_unit", MEV if np.dtype(feature.np_dtype).kind == "f" else GREY)
  scale, num_pixels = np.float32(scale_of(path, unit, scale_mev)), feature.shape[-1]
  labels = [name for name in ("momentum_mev", "label") if name in info.features]
  if "label" in labels and info.features["label"].shape[-2:] != (num_pixels, num_pixels):
    labels.remove("label")  # a class of the whole image

  def rows(split: str, holdout: Images | None) -> Images:
    source = open_split(path, split)

    def read(numbers, names=()):
      numbers = range(*numbers.indices(len(source))) if isinstance(numbers, slice) else numbers
      examples = source.__getitems__([int(i) for i in numbers])
      batch = {name: np.stack([example[name] for example in examples]) for name in ("image", *names)}
      for name in {"image", "label"} & set(batch):
        batch[name] = batch[name].reshape(len(examples), -1, num_pixels, num_pixels)
      return batch | {"image": batch["image"].astype(np.float32) * scale}
    return Images(len(source), tuple(metadata.get("views", ("xy",))), num_pixels, tuple(labels), read,
                  f"the dataset {info.full_name}", holdout=holdout,
                  classes=PIXEL_CLASSES if "label" in labels else ())
  return rows("train", None if kept is None else rows(kept, None))
