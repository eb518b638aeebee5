"""The group's batches: `batch_{i}.npy` with `batch_mom_{i}.npy` and perhaps `batch_xz_{i}.npy`, and their
older names. Labels that launch.render adds lie beside them: `batch_pdg_{i}.npy`, `batch_kin_{i}.npy`.

Images are (n, p, p) in MeV (p is 64 in the published ones; an axis of one channel may stand before or behind
them), momenta (n, 3) in MeV/c, axis 0 of an image is the first momentum component. The older names are
`protons64_{i}.npy` and `protons64_mom_{i}.npy`. Multi-track batches hold an image and a momentum for every
track: (n, T, p, p) and (n, T, 3).
"""
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.readers.api import ImageSource, check_values, existing, image_layout, views_first
from lartpc_jax.data.readers.npy import NpyFile, open_npy, read_across, read_rows

# By the ending of the name.
FIELDS = {"": "xy", "_xz": "xz", "_mom": "momentum", "_pdg": "pdg", "_kin": "kinetic"}
LABELS = {"momentum": ((3,), np.float32), "pdg": ((), np.int64), "kinetic": ((), np.float32)}  # row, dtype
PATTERN = re.compile(r"(batch|protons64)(_mom|_xz|_pdg|_kin)?_(\d+)\.npy")
TRACKS = ("each", "sum")
NAN = ("refuse", "skip")
CHUNK = 256  # images looked at together
LISTED = 20  # events left out that are named


class Batch(NamedTuple):
  """The files of one number."""
  xy: NpyFile
  xz: NpyFile | None
  labels: dict[str, NpyFile]  # by the names of LABELS
  num_tracks: int | None  # None: images have no axis of tracks


def open_batches(path: str | os.PathLike, *, tracks: str = "each", nan: str = "refuse") -> ImageSource:
  """Images of a directory of batches, or of one of them (the path of its `batch_{i}.npy`).

  Args:
    path: directory, or the images of one batch.
    tracks: of multi-track batches, "each" makes an event of every track, "sum" adds the tracks up and puts
      their momenta into the extra field `track_momenta` [n T 3].
    nan: "refuse" makes images with NaN or infinity an error, "skip" leaves such events out (the makers write
      them where a detector was overexposed), for which all images are read once.
  Raises:
    FileNotFoundError, ValueError: naming the file and field.
  """
  if tracks not in TRACKS or nan not in NAN:
    raise ValueError(
        f"tracks must be one of {list(TRACKS)} and nan one of {list(NAN)}; got {tracks!r} and {nan!r}.")
  batches = _find(existing(path))
  first = batches[0]
  for batch in batches[1:]:
    for field in ("xz", *LABELS):
      if _has(batch, field) != _has(first, field):
        raise ValueError(f"{Path(batch.xy.path).parent}: field {field!r} is there for some batches only: "
                         f"{Path(first.xy.path).name} and {Path(batch.xy.path).name} differ.")
    pixels = [image_layout(b.xy.shape, b.xy.path, "xy").num_pixels for b in (batch, first)]
    if pixels[0] != pixels[1]:
      raise ValueError(
          f"{batch.xy.path}: field 'xy' has {pixels[0]} pixels a side, but {first.xy.path} has {pixels[1]}.")
    if batch.num_tracks != first.num_tracks:
      raise ValueError(
          f"{batch.xy.path}: field 'xy' has {batch.num_tracks or 'no axis of'} tracks, but {first.xy.path} "
          f"has {first.num_tracks or 'none'}.")
  multi = first.num_tracks is not None
  each = multi and tracks == "each"
  counts = np.array([len(b.xy) * (b.num_tracks if each else 1) for b in batches])
  views = ["xy"] + ["xz"] * (first.xz is not None)

  def read_batch(i, start, stop):
    images = [_images(getattr(batches[i], view), start, stop, first.num_tracks, tracks) for view in views]
    for view, values in zip(views, images):
      bad = np.flatnonzero(~np.isfinite(values).all(axis=(1, 2)))
      if nan == "refuse" and len(bad):
        raise ValueError(
            f"{getattr(batches[i], view).path}: field {view!r} holds NaN or infinity (--nan=skip leaves such "
            f"events out; a training, data.nan=skip) in event {start + bad[0]}.")
    return np.stack(images, axis=1)

  def read_labels(field):
    read_one = lambda i, start, stop: _rows(batches[i].labels[field], start, stop,
                                            first.num_tracks if each else None)
    return lambda start, stop: read_across(counts, read_one, start, stop)

  name = {"momentum": "track_momenta", "pdg": "track_pdg", "kinetic": "track_kinetic"}
  extra = {name[field] if multi and not each else field: read_labels(field) for field in first.labels}
  read = lambda start, stop: read_across(counts, read_batch, start, stop)
  source = ImageSource(int(counts.sum()), len(views), read, extra)
  return source if nan == "refuse" else _without_nan(source, str(path))


def _without_nan(source: ImageSource, path: str) -> ImageSource:
  """The events of a source whose images are finite."""
  starts = range(0, source.num, CHUNK)
  finite = np.concatenate([np.isfinite(source.read(start, min(start + CHUNK, source.num))).all(axis=(1, 2, 3))
                           for start in starts])
  kept, left = np.flatnonzero(finite), np.flatnonzero(~finite)
  if not len(kept):
    raise ValueError(f"{path}: field 'xy' or 'xz' holds NaN or infinity in every event.")

  def chosen(read):
    def rows(start, stop):
      numbers = kept[start:stop]
      return read(int(numbers[0]), int(numbers[-1]) + 1)[numbers - numbers[0]]
    return rows

  more = " ..." if len(left) > LISTED else ""
  note = f"{len(left)} events with NaN left out: {left[:LISTED].tolist()}{more}"
  return ImageSource(len(kept), source.num_views, chosen(source.read),
                     {name: chosen(read) for name, read in source.extra.items()}, note if len(left) else "")


def _find(path: Path) -> list[Batch]:
  """The batches in the order of their numbers."""
  directory = path if path.is_dir() else path.parent
  found: dict[tuple[str, int], dict[str, Path]] = {}
  for entry in sorted(directory.iterdir()):
    match = PATTERN.fullmatch(entry.name)
    if match:
      stem, number = match[1], int(match[3])
      found.setdefault((stem, number), {})[FIELDS[match[2] or ""]] = entry
  if path.is_file():
    match = PATTERN.fullmatch(path.name)
    if not match or match[2]:
      raise ValueError(
          f"{path}: must be called batch_NUMBER.npy or protons64_NUMBER.npy, or give the directory.")
    found = {key: files for key, files in found.items() if key == (match[1], int(match[3]))}
  if not found:
    raise ValueError(f"{directory}: holds no batch_NUMBER.npy and no protons64_NUMBER.npy.")
  if len({stem for stem, _ in found}) > 1:
    raise ValueError(
        f"{directory}: holds both batch_*.npy and protons64_*.npy; convert them from directories of their "
        "own."
    )
  lonely = [files for files in found.values() if "xy" not in files]
  if lonely:
    raise ValueError(f"{next(iter(lonely[0].values()))}: has no images beside it (field 'xy').")
  return [_open(found[key]) for key in sorted(found)]


def _has(batch: Batch, field: str) -> bool:
  return field in batch.labels if field in LABELS else getattr(batch, field) is not None


def _open(files: dict[str, Path]) -> Batch:
  opened = {field: open_npy(existing(file), field) for field, file in files.items()}
  xy, xz = opened["xy"], opened.get("xz")
  labels = {field: opened[field] for field in LABELS if field in opened}
  layout = image_layout(xy.shape, xy.path, "xy")
  num_tracks = layout.num_views if len(xy.shape) == 4 and not layout.views_last else None
  if num_tracks == 1 and all(len(file.shape) == 1 + len(LABELS[field][0]) for field, file in labels.items()):
    num_tracks = None  # an axis of one channel
  if num_tracks == 0 or layout.views_last and layout.num_views != 1:
    raise ValueError(f"{xy.path}: field 'xy' must have shape (n, p, p) or (n, tracks, p, p); got {xy.shape}.")
  if xz is not None and xz.shape != xy.shape:
    raise ValueError(
        f"{xz.path}: field 'xz' must have the shape of the xy images, {xy.shape}; got {xz.shape}.")
  for field, file in labels.items():
    want = (len(xy), *(() if num_tracks is None else (num_tracks,)), *LABELS[field][0])
    if file.shape != want:
      short = f": event {len(file)} of {Path(xy.path).name} has none" if len(file) < len(xy) else ""
      raise ValueError(f"{file.path}: field {field!r} must have shape {want}; got {file.shape}{short}.")
  return Batch(xy, xz, labels, num_tracks)


def _images(file: NpyFile, start: int, stop: int, num_tracks: int | None, tracks: str) -> np.ndarray:
  """[b p p] of rows start ... stop - 1, where a row is a track for tracks="each"."""
  if num_tracks is not None and tracks == "each":
    first, last = start // num_tracks, -(-stop // num_tracks)
    images = read_rows(file, first, last)
    images = images.reshape(-1, *images.shape[2:])
    images = images[start - first * num_tracks:stop - first * num_tracks]
  elif num_tracks is not None:
    images = read_rows(file, start, stop).sum(axis=1)
  else:
    images = views_first(read_rows(file, start, stop), file.path)[:, 0]
  if np.nanmin(images, initial=0.0) < 0:
    check_values(images[np.isfinite(images)], file.path, file.field, minimum=0.0)
  return images


def _rows(file: NpyFile, start: int, stop: int, num_tracks: int | None) -> np.ndarray:
  """Labels of rows start ... stop - 1; with `num_tracks`, of so many tracks an event laid end to end."""
  shape, dtype = LABELS[file.field]
  if num_tracks is None:
    return check_values(read_rows(file, start, stop, dtype), file.path, file.field)
  first, last = start // num_tracks, -(-stop // num_tracks)
  rows = read_rows(file, first, last, dtype).reshape(-1, *shape)
  return check_values(rows[start - first * num_tracks:stop - first * num_tracks], file.path, file.field)
