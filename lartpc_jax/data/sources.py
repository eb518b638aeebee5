"""What a training run can read, told apart by the path alone: sparse events, or images in detector pixels.

| path | what it is |
| --- | --- |
| "sample", FILE.npz with `voxel` | sparse events (data.events) |
| FILE.npz with `images`, FILE.npy | images as launch.convert writes them |
| directory of `batch_{i}.npy`, `larcv_png_64_*.npy` or `larcv_64_{i}.png` | images, read where they are |
| directory with a built tensorflow-datasets dataset (`dataset_info.json`, or a `VERSION/` that has it) | images |

Images stay on disk until a batch needs them, but for an npz, which cannot be mapped.
"""
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.data import images as images_lib, pipeline
from lartpc_jax.data.events import Events
from lartpc_jax.data.readers.api import MEV, ImageSource
from lartpc_jax.data.readers.formats import open_source as open_format
from lartpc_jax.geometry.rasterize import VIEWS, view_axes

FORMATS = {"batches": ("batch_*.npy", "protons64_*.npy"), "larcv_npy": ("larcv_png_64_*.npy",),
           "larcv_pngs": ("larcv_64_*.png",)}  # format of data.readers -> names in a directory that tell it
HOLDOUT_SPLITS = ("validation", "test")        # of a dataset; without one the last events of "train" are held out


class ImageRows(NamedTuple):
  """n events of v views, read by their numbers."""
  num: int
  views: tuple[str, ...]            # names of the views; images of unknown views count as "xy"
  num_pixels: int
  has_momentum: bool                # of every event: one of (0, 0, 0) means unknown
  read: Callable                    # event numbers [b] -> (images [b v n n] float32, momentum_mev [b 3] or None)
  holdout: "ImageRows | None"       # events that the source itself keeps apart
  kind: str                         # for messages


def open_training_source(path: str | os.PathLike, *, scale_mev: float = 0.0) -> Events | ImageRows:
  """Sparse events or images in MeV, whatever the path names.

  Args:
    path: see above.
    scale_mev: MeV of a grey level (or ADC count) of images without calibration; 0: the images are in MeV.
  Raises:
    FileNotFoundError: if there is nothing.
    ValueError: naming the path, if it is not set, is of no known kind, truncated, damaged or of no known unit.
  """
  if not path or path == pipeline.SAMPLE:
    return pipeline.open_events(path)  # says what may be set
  if os.path.isdir(path):
    return _open_directory(Path(path), scale_mev)
  if not os.path.isfile(path):
    raise FileNotFoundError(f"No file or directory of training data at {os.fspath(path)!r} (data.path).")
  if images_lib.holds_events(path):
    return pipeline.open_events(path)
  images, momentum_mev = images_lib.read_images(path)
  scale = _scale(path, images_lib.image_unit(path) or MEV, scale_mev)
  return _of_arrays(images, momentum_mev, f"images of {Path(path).name}", scale)


def _scale(path, unit: str, scale_mev: float) -> np.float32:
  """MeV of value 1. Raises ValueError if the unit is not MeV and there is no scale."""
  if unit == MEV:
    return np.float32(1.0)
  if not 0 < scale_mev < np.inf:
    raise ValueError(f"{path}: holds images in {unit}s, not in MeV; set data.scale_mev, the MeV of one {unit}; got "
                     f"{scale_mev}.")
  return np.float32(scale_mev)


def _open_directory(path: Path, scale_mev: float) -> ImageRows:
  if (dataset := _find_dataset(path)) is not None:
    return _open_dataset(dataset)
  for name, patterns in FORMATS.items():
    if any(next(path.glob(pattern), None) for pattern in patterns):
      source = open_format(name, path)
      return _of_source(source, f"{name} of {path.name}/", _scale(path, source.unit, scale_mev))
  expected = [pattern for patterns in FORMATS.values() for pattern in patterns]
  raise ValueError(f"{path}: holds no training data; looked for dataset_info.json, {', '.join(expected)}.")


def _view_names(num: int, source: str) -> tuple[str, ...]:
  if num > len(VIEWS):
    raise ValueError(f"{source}: has {num} views of each event; at most {len(VIEWS)} are known, {', '.join(VIEWS)}.")
  return tuple(VIEWS)[:num]


def _of_arrays(images: np.ndarray, momentum_mev: np.ndarray | None, kind: str, scale: np.float32) -> ImageRows:
  if not len(images):
    raise ValueError(f"The {kind} must be at least one; got shape {images.shape}.")
  momentum_mev = None if momentum_mev is None else images_lib.known_momenta(momentum_mev)

  def read(numbers):
    chosen = np.asarray(images[numbers], np.float32) * scale
    return chosen, None if momentum_mev is None else momentum_mev[numbers]
  return ImageRows(len(images), _view_names(images.shape[1], kind), images.shape[-1], momentum_mev is not None, read, None,
                   kind)


def _of_source(source: ImageSource, kind: str, scale: np.float32) -> ImageRows:
  rows = lambda read, numbers: np.concatenate([read(int(i), int(i) + 1) for i in numbers])
  momentum = source.extra.get("momentum")
  if momentum is not None:
    some = min(source.num, images_lib.CHECKED_IMAGES)
    images_lib.check_image_momenta(source.read(0, some)[:, 0] * scale, momentum(0, some), kind)
    if images_lib.known_momenta(momentum(0, source.num)) is None:
      momentum = None

  def read(numbers):
    return rows(source.read, numbers) * scale, None if momentum is None else rows(momentum, numbers)
  return ImageRows(source.num, _view_names(source.num_views, kind), source.read(0, 1).shape[-1], momentum is not None, read,
                   None, kind)


def _find_dataset(path: Path) -> Path | None:
  """The directory with dataset_info.json: `path` itself, or its newest version."""
  if (path / "dataset_info.json").is_file():
    return path
  versions = [p.parent for p in path.glob("*/dataset_info.json") if p.parent.name.replace(".", "").isdigit()]
  return max(versions, key=lambda p: tuple(map(int, p.name.split("."))), default=None)


def _open_dataset(path: Path) -> ImageRows:
  from lartpc_jax.data.datasets.loader import open_info, open_split
  info = open_info(path)
  if "train" not in info.splits or "image" not in info.features:
    raise ValueError(f"{path}: needs a split 'train' and a feature 'image'; it has {sorted(info.splits)} and "
                     f"{sorted(info.features)}.")
  kept = next((name for name in HOLDOUT_SPLITS if name in info.splits and info.splits[name].num_examples), None)
  views = tuple((info.metadata or {}).get("views", ("xy",)))

  def rows(split: str, holdout: ImageRows | None) -> ImageRows:
    source = open_split(path, split)
    has_momentum = "momentum_mev" in info.features

    def read(numbers):
      examples = source.__getitems__([int(i) for i in numbers])
      images = np.stack([example["image"] for example in examples]).astype(np.float32)
      momentum = np.stack([example["momentum_mev"] for example in examples]) if has_momentum else None
      return images.reshape(len(images), -1, *images.shape[-2:]), momentum
    return ImageRows(len(source), views, info.features["image"].shape[-1], has_momentum, read, holdout,
                     f"the dataset {info.full_name}")
  return rows("train", None if kept is None else rows(kept, None))


def split_rows(rows: ImageRows, *, num_holdout: int) -> tuple[ImageRows, ImageRows]:
  """Training and held-out events: what the source keeps apart, else its last `num_holdout`.

  Raises:
    ValueError: if num_holdout is out of range.
  """
  if rows.holdout is not None:
    return rows, rows.holdout
  if not 0 < num_holdout < rows.num:
    raise ValueError(f"data.num_holdout must lie between 1 and {rows.num - 1}, the number of events less one; got "
                     f"{num_holdout}.")
  num_train = rows.num - num_holdout
  held = rows._replace(num=num_holdout, read=lambda numbers: rows.read(np.asarray(numbers) + num_train))
  return rows._replace(num=num_train), held


def apply_symmetries(images: np.ndarray, momentum_mev: np.ndarray | None, code: np.ndarray
                     ) -> tuple[np.ndarray, np.ndarray | None]:
  """Images [b n n] and momenta [b 3] under the symmetries of argon that map pixels onto pixels.

  Bits of `code` [b], 0 to 15: 1 mirrors the first image axis, 2 the second, 4 exchanges them (together: all flips and
  rotations by 90 degrees about the vertex, which is the corner shared by the four central pixels), 8 mirrors along the line
  of sight, which changes the sign of the third momentum component alone.
  """
  images = images.copy()
  momentum_mev = None if momentum_mev is None else momentum_mev.copy()
  for axis in (0, 1):
    chosen = code & (1 << axis) != 0
    images[chosen] = np.flip(images[chosen], axis + 1)
    if momentum_mev is not None:
      momentum_mev[chosen, axis] *= -1
  chosen = code & 4 != 0
  images[chosen] = np.swapaxes(images[chosen], 1, 2)
  if momentum_mev is not None:
    momentum_mev[chosen] = momentum_mev[chosen][:, [1, 0, 2]]
    momentum_mev[code & 8 != 0, 2] *= -1
  return images, momentum_mev


def make_image_batches(rows: ImageRows, *, batch_size: int, seed: int, symmetries: bool = True) -> Callable:
  """Builds batch_fn(step) -> dict(image [b n n], momentum_mev [b 3] if known, its components in the order of the view).

  Every epoch is another permutation (grain) of all views of all events. A batch is a function of (seed, step) alone, so a
  resumed run goes on with the same ones.

  Args:
    rows: the images.
    batch_size: images a batch.
    seed: of order and symmetries.
    symmetries: whether each image gets a random one of `apply_symmetries`. Rotations by any angle, as events get them in 3D,
      are not possible: they would need what lies along the line of sight.
  Raises:
    ValueError: if batch_size is out of range.
  """
  import grain
  num_views = len(rows.views)
  if not 1 <= batch_size <= rows.num * num_views:
    raise ValueError(f"data.batch_size must lie between 1 and {rows.num * num_views}, the number of images of "
                     f"{rows.kind}; got {batch_size}.")
  order = grain.MapDataset.range(rows.num * num_views).seed(seed).shuffle().repeat(None).batch(batch_size,
                                                                                               drop_remainder=True)

  def batch_fn(step: int) -> dict:
    numbers = np.asarray(order[step])
    batch = read_images(rows, numbers)
    if symmetries:
      code = np.random.default_rng((seed, step)).integers(16, size=batch_size)
      image, momentum_mev = apply_symmetries(batch["image"], batch.get("momentum_mev"), code)
      batch = _batch(image, momentum_mev)
    return batch
  return batch_fn


def read_images(rows: ImageRows, numbers: np.ndarray | Sequence[int]) -> dict:
  """Images numbered `numbers`, view by view of each event, as `make_image_batches` hands them over, without symmetries."""
  event, view = np.divmod(np.asarray(numbers), len(rows.views))
  images, momentum_mev = rows.read(event)
  if momentum_mev is not None:
    axes = np.array([view_axes(name) for name in rows.views])[view]
    momentum_mev = np.take_along_axis(np.asarray(momentum_mev, np.float32), axes, axis=1)
  return _batch(images[np.arange(len(event)), view], momentum_mev)


def _batch(image: np.ndarray, momentum_mev: np.ndarray | None) -> dict:
  return {"image": image} if momentum_mev is None else {"image": image, "momentum_mev": momentum_mev}
