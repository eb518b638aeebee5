"""`segments` tables of edep-sim and larnd-sim HDF5 files (larnd-sim's dumpTree, and what its simulation passes on).

Each row of `segments` is a step from (x_start, y_start, z_start) to (x_end, y_end, z_end) in cm with dE in MeV; rows of an
event stand together. `vertices` (or `mc_hdr`, with x_vert, y_vert, z_vert in cm) and `trajectories` (pxyz_start in MeV/c;
parent -1 marks a primary) are used where they are there. Old files spell the event column eventID, new ones event_id.
Coordinates are taken as the file has them: larnd-sim's own outputs of some versions have x and z exchanged.
"""
import os
from collections.abc import Iterator

import numpy as np

from lartpc_jax.data.readers.api import EventSource, RawEvent, check_values, existing
from lartpc_jax.data.readers.hdf5 import BLOCK_BYTES, blocks, column_names, dataset, open_hdf5

CM = 10.0  # mm
EVENT = ("event_id", "eventID")
SEGMENT_COLUMNS = {"event": EVENT, "dE": ("dE",),
                   **{f"{x}_{end}": (f"{x}_{end}",) for end in ("start", "end") for x in "xyz"}}
VERTEX_COLUMNS = {"event": EVENT, "x": ("x_vert",), "y": ("y_vert",), "z": ("z_vert",)}
TRAJECTORY_COLUMNS = {"event": EVENT, "parent": ("parent_id", "parentID"), "momentum": ("pxyz_start",)}
VERTEX_TABLES = ("vertices", "mc_hdr")


def open_segments(path: str | os.PathLike, *, block_bytes: int = BLOCK_BYTES) -> EventSource:
  """Events of an HDF5 file with a `segments` table, streamed in blocks of about `block_bytes`. Needs h5py.

  Of vertices and trajectories only the primaries' rows are kept in memory (about 50 bytes an event).
  Raises FileNotFoundError or ValueError naming file and field.
  """
  path = existing(path)
  if not path.is_file():
    raise ValueError(f"{path}: must be an HDF5 file, not a directory.")
  with open_hdf5(path) as file:
    segments = dataset(file, "segments")
    column_names(segments, str(path), SEGMENT_COLUMNS)
    if not len(segments):
      raise ValueError(f"{path}: field 'segments' holds no rows.")
    has_truth = [name for name in (*VERTEX_TABLES, "trajectories") if name in file]
  note = "" if "trajectories" in has_truth else "the file has no trajectories, so no momenta"
  return EventSource(None, 1.0, lambda: _iterate(str(path), block_bytes), note)


def _iterate(path: str, block_bytes: int) -> Iterator[RawEvent]:
  with open_hdf5(path) as file:
    segments = dataset(file, "segments")
    columns = column_names(segments, path, SEGMENT_COLUMNS)
    vertices = _truth(file, next((t for t in VERTEX_TABLES if t in file), None), VERTEX_COLUMNS, block_bytes)
    primaries = _truth(file, "trajectories" if "trajectories" in file else None, TRAJECTORY_COLUMNS, block_bytes)
    seen: set[int] = set()
    rest = None
    for block in blocks(segments, columns, block_bytes):
      block = block if rest is None else {name: np.concatenate([rest[name], block[name]]) for name in block}
      starts = np.flatnonzero(np.append(True, np.diff(block["event"].astype(np.int64)) != 0))
      for start, stop in zip(starts[:-1], starts[1:]):  # the last event may go on in the next block
        yield _event(path, {name: column[start:stop] for name, column in block.items()}, vertices, primaries, seen)
      rest = {name: column[starts[-1]:] for name, column in block.items()}
    yield _event(path, rest, vertices, primaries, seen)


def _event(path: str, rows: dict, vertices: dict, primaries: dict, seen: set[int]) -> RawEvent:
  number = int(rows["event"][0])
  if number in seen:
    raise ValueError(f"{path}: field 'segments' has the rows of event {number} in more than one place; sort it by event.")
  seen.add(number)
  start, stop = (np.stack([rows[f"{x}_{end}"] for x in "xyz"], axis=1).astype(np.float64) * CM for end in ("start", "end"))
  for name in SEGMENT_COLUMNS:
    check_values(rows[name], path, f"segments.{name}", minimum=0.0 if name == "dE" else None)
  none = np.zeros((0, 3))
  return RawEvent(number, start, stop, rows["dE"].astype(np.float64), vertices.get(number, none),
                  primaries.get(number, none))


def _truth(file, name: str | None, choices: dict, block_bytes: int) -> dict[int, np.ndarray]:
  """Vertices in mm or primary momenta in MeV/c, [k 3] for each event."""
  if name is None:
    return {}
  data = dataset(file, name)
  columns = column_names(data, file.filename, choices)
  if "momentum" in choices and data.dtype[columns["momentum"]].shape != (3,):
    raise ValueError(f"{file.filename}: column 'pxyz_start' of field {name!r} must hold 3 numbers a row.")
  numbers, vectors = [np.zeros(0, np.int64)], [np.zeros((0, 3))]
  for block in blocks(data, columns, block_bytes):
    if "momentum" in choices:
      primary = block["parent"].astype(np.int64) == -1
      vector, number = block["momentum"][primary], block["event"][primary]
    else:
      vector, number = np.stack([block[x] for x in "xyz"], axis=1).astype(np.float64) * CM, block["event"]
    vectors.append(check_values(vector.astype(np.float64), file.filename, name))
    numbers.append(number.astype(np.int64))
  number, vector = np.concatenate(numbers), np.concatenate(vectors)
  order = np.argsort(number, kind="stable")
  number, vector = number[order], vector[order]
  unique, starts = np.unique(number, return_index=True)
  return dict(zip(unique.tolist(), np.split(vector, starts[1:]))) if len(unique) else {}
