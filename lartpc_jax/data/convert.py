"""From any format of data.readers to the two that the package works with: files of images and of sparse
events."""
import contextlib
import itertools
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.events import PRIMARY_COLUMNS
from lartpc_jax.data.readers.api import MEV, EventSource, ImageSource, RawEvent
from lartpc_jax.data.readers.formats import AUTO, choose_format, open_source
from lartpc_jax.data.streams import stream_fields, write_rows
from lartpc_jax.data.voxels import ORIGINS, choose_origin, parse_origin, voxelize
from lartpc_jax.files import atomic_write

CHUNK = 256  # images held at once: 4 MB a view


class Summary(NamedTuple):
  """What was written."""
  paths: list[Path]
  num: int
  text: str


def convert(format_name: str, source: str | os.PathLike, out: str | os.PathLike, *, num: int | None = None,
            origin: str = "vertex", voxel_mm: float | None = None, options: dict | None = None,
            update: Callable = lambda done: None) -> Summary:
  """Converts a file or directory, in pieces; `out` appears only when it is complete.

  Image formats become an npz (`images` [N v p p], `unit`, `momentum` [N 3] if the source has it, more
  fields), or an npy of images, with further fields as npy files beside it (the unit, if it is not MeV). 3D
  formats become a sparse-event npz (data.events) with `number` [N] (of the event in its file),
  `momentum_known` [N], `pdg` [N], `primaries` [K 6], `origin_mm` [N 3] (the vertex in the coordinates of the
  source) and, where the source has labels, `vlabel` [M]. An event has a momentum if it has just one primary
  particle whose momentum the file tells; other momenta are written as zeros.

  Args:
    format_name: one of data.readers.formats.FORMATS, or "auto".
    source: file or directory.
    out: npz, or npy for images.
    num: only the first `num` events.
    origin: of 3D events, see data.voxels.choose_origin.
    voxel_mm: of 3D events; None takes what suits the format.
    options: of the reader.
    update: called with the number of finished events.
  Raises:
    FileNotFoundError, ValueError: naming file and field.
  """
  out = Path(out)
  if num is not None and num < 1:
    raise ValueError(f"num_events must be at least 1; got {num}.")
  if not out.parent.is_dir():
    raise FileNotFoundError(f"There is no directory {str(out.parent)!r} for {out.name}.")
  if voxel_mm is not None and not 0 < voxel_mm < np.inf:
    raise ValueError(f"voxel_mm must be positive and finite; got {voxel_mm}.")
  format_name = choose_format(source) if format_name == AUTO else format_name
  opened = open_source(format_name, source, **(options or {}))
  images = isinstance(opened, ImageSource)
  suffixes = (".npz", ".npy") if images else (".npz",)
  if out.suffix not in suffixes:
    raise ValueError(f"{out}: format {format_name!r} converts to {' or '.join(suffixes)}.")
  if images and (origin != "vertex" or voxel_mm is not None):
    raise ValueError(f"Format {format_name!r} holds images: it takes neither --origin nor --voxel_mm.")
  return (_convert_images if images else _convert_events)(opened, os.fspath(source), out, num, update, *(
      () if images else (origin, voxel_mm)))


def _convert_images(source: ImageSource, name: str, out: Path, num: int | None, update: Callable) -> Summary:
  num = source.num if num is None else num
  if num > source.num:
    raise ValueError(f"{name}: holds {source.num} events; asked for {num}.")
  starts = range(0, num, CHUNK)
  first = source.read(0, 1)

  def chunks(read, count=None):
    for start in starts:
      yield read(start, min(start + CHUNK, num))
      if count:
        count(min(start + CHUNK, num))

  arrays = {"images": (lambda: chunks(source.read, update), (num, *first.shape[1:]), np.float32)}
  for field, read in source.extra.items():
    row = read(0, 1)
    arrays[field] = (lambda read=read: chunks(read), (num, *row.shape[1:]), row.dtype)
  if out.suffix == ".npz":
    paths = [out]
    with atomic_write(out, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
      for field, (make, shape, dtype) in arrays.items():
        with archive.open(f"{field}.npy", "w", force_zip64=True) as member:
          write_rows(member, make(), shape, dtype)
      with archive.open("unit.npy", "w") as member:
        np.lib.format.write_array(member, np.asarray(source.unit), allow_pickle=False)
  else:
    paths = [out if field == "images" else out.with_name(f"{out.stem}_{field}.npy") for field in arrays]
    with contextlib.ExitStack() as stack:  # all of them appear, or none
      if source.unit != MEV:
        paths.append(out.with_name(f"{out.stem}_unit.npy"))
        np.save(stack.enter_context(atomic_write(paths[-1], "wb")), np.asarray(source.unit),
                allow_pickle=False)
      for path, (make, shape, dtype) in zip(paths, arrays.values(), strict=False):
        write_rows(stack.enter_context(atomic_write(path, "wb")), make(), shape, dtype)
  text = (
      f"{num} events of {source.num_views} view{'s' * (source.num_views > 1)}; fields {', '.join(arrays)}; "
      f"values in {source.unit}")
  return Summary(paths, num, text + (f"; {source.note}" if source.note else ""))


def _convert_events(source: EventSource, name: str, out: Path, num: int | None, update: Callable, origin: str,
                    voxel_mm: float | None) -> Summary:
  if origin not in ORIGINS:
    parse_origin(origin)
  voxel_mm = source.voxel_mm if voxel_mm is None else voxel_mm
  if source.num is not None and num is not None and num > source.num:
    raise ValueError(f"{name}: holds {source.num} events; asked for {num}.")
  events = source.iterate()
  first = next(events, None)
  if first is None:
    raise ValueError(f"{name}: holds no events.")
  labelled = first.label is not None
  fields = {
      "momentum": ((3,), np.float32), "offsets": ((), np.int64), "voxel": ((3,), np.int16), "edep": (
          (), np.float32), "number": ((), np.int64), "momentum_known": ((), np.bool_), "pdg": ((), np.int64),
      "primaries": ((PRIMARY_COLUMNS,), np.float64), "origin_mm": ((3,), np.float64)
  }
  if labelled:
    fields["vlabel"] = ((), np.uint8)
  done = total = known = empty = 0
  energy = 0.0
  with stream_fields(out, fields, {"voxel_mm": np.float32(voxel_mm)}) as append:
    append(offsets=[0])
    for event in itertools.islice(itertools.chain([first], events), num):
      where = f"{name}: event {event.number}"
      charged = bool(event.edep_mev.sum() > 0)
      origin_mm = _origin(origin, event, where) if charged else np.zeros(3)
      voxels = voxelize(event.start_mm, event.stop_mm, event.edep_mev, origin_mm=origin_mm, voxel_mm=voxel_mm,
                        label=event.label, source=where)
      has_momentum = len(event.momenta_mev) == 1 and bool(np.isfinite(event.momenta_mev).all())
      single = event.pdg is not None and len(event.pdg) == 1
      total += len(voxels.voxel)
      append(momentum=event.momenta_mev if has_momentum else np.zeros((1, 3)), offsets=[total],
             voxel=voxels.voxel, edep=voxels.edep_mev, number=[event.number], momentum_known=[has_momentum],
             pdg=event.pdg if single else [0], primaries=_primaries(done, event), origin_mm=[origin_mm],
             **({"vlabel": voxels.label} if labelled else {}))
      done, known, empty = done + 1, known + has_momentum, empty + (not charged)
      energy += float(event.edep_mev.sum())
      update(done)
    events.close()
    if num is not None and done < num:
      raise ValueError(f"{name}: holds {done} events; asked for {num}.")
  text = (f"{done} events in {total} voxels of {voxel_mm:g} mm, {energy:.6g} MeV; momentum of {known} known"
          f"{', zeros for the others' if known < done else ''}"
          f"{f'; {empty} events hold no deposits' if empty else ''}")
  return Summary([out], done, text + (f"; {source.note}" if source.note else ""))


def _origin(origin: str, event: RawEvent, where: str) -> np.ndarray:
  return choose_origin(origin, event.vertices_mm, event.start_mm, event.stop_mm, event.edep_mev, event.time,
                       where)


def _primaries(number: int, event: RawEvent) -> np.ndarray:
  """Rows [j 6] of `data.events.Events.primaries`."""
  momentum = np.asarray(event.momenta_mev, np.float64)
  rows = np.zeros((len(momentum), PRIMARY_COLUMNS))
  rows[:, 0] = number
  rows[:, 1] = 0 if event.pdg is None else event.pdg
  rows[:, 2] = np.nan if event.kinetic_mev is None else event.kinetic_mev
  size = np.linalg.norm(momentum, axis=1, keepdims=True)
  known = np.isfinite(size) & (size > 0)
  rows[:, 3:] = np.where(known, momentum / np.where(known, size, 1.0), 0.0)
  return rows
