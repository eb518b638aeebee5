"""Where the rows of each event lie in a table of segments: in one place, in several, or of runs laid end to
end."""
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.readers.hdf5 import blocks, column_names, read_rows

TRACK, PIECE = ("traj_id", "trackID"), ("segment_id",)


class Groups(NamedTuple):
  """The events in the order in which they first appear. A key is (run, event number, interaction number or
  0)."""
  keys: list[tuple[int, int, int]]
  pieces: list[np.ndarray]    # of each event, [k 2]: rows start ... stop - 1, k places
  num_runs: int               # whose event numbers repeat
  contiguous: bool            # every event lies in one place, one after the other


class _Pieces(NamedTuple):
  """Places in a table where one event's rows lie together."""
  event: np.ndarray   # [k]
  vertex: np.ndarray  # [k]
  start: np.ndarray   # [k]
  stop: np.ndarray    # [k]


def find_groups(tables, block_bytes: int) -> Groups:
  """Groups the rows of `tables.segments` (see `segments.Tables`) by event.

  That a number comes again elsewhere in the file need not be the same event: files of several runs that were
  laid end to end repeat their numbers. The trajectories tell (their number comes twice in an event then),
  without them the numbers of segments. Such a file is divided where the event numbers fall.

  Raises:
    ValueError: if numbers repeat and that does not divide the file.
  """
  pieces = _pieces(tables, block_bytes)
  num_runs = _num_runs(tables, pieces, block_bytes)
  run = np.zeros(len(pieces.start), np.int64)
  if num_runs > 1:
    run[1:] = np.cumsum(np.diff(pieces.event) < 0)
    if run[-1] + 1 != num_runs:
      raise ValueError(
          _repeats(tables, f"its segments fall back {run[-1]} times, its other tables {num_runs - 1}"))
  by_key: dict[tuple[int, int, int], list[int]] = {}
  for i, key in enumerate(zip(run.tolist(), pieces.event.tolist(), pieces.vertex.tolist())):
    by_key.setdefault(key, []).append(i)
  place = np.stack([pieces.start, pieces.stop], axis=1)
  return Groups(list(by_key), [place[i] for i in by_key.values()], num_runs, len(by_key) == len(place))


def _repeats(tables, why: str) -> str:
  return (
      f"{tables.segments.file.filename}: the event numbers repeat (several runs in one file?), and the runs "
      f"cannot be told apart: {why}. Convert each run from a file of its own.")


def _pieces(tables, block_bytes: int) -> _Pieces:
  columns = {name: tables.columns[name] for name in ("event", "vertex") if name in tables.columns}
  found, before, at = [], None, 0
  for block in blocks(tables.segments, columns, block_bytes):
    rows = np.stack([
        block["event"].astype(np.int64),
        block.get("vertex", np.zeros(len(block["event"]))).astype(np.int64)
    ])
    new = np.append(before is None or bool(np.any(rows[:, 0] != before)), np.any(np.diff(rows) != 0, axis=0))
    first = np.flatnonzero(new)
    found.append(np.concatenate([rows[:, first], (at + first)[None]]))
    before, at = rows[:, -1], at + rows.shape[1]
  event, vertex, start = np.concatenate(found, axis=1)
  return _Pieces(event, vertex, start, np.append(start[1:], at))


def _num_runs(tables, pieces: _Pieces, block_bytes: int) -> int:
  """Number of runs whose event numbers repeat: 1 if each number is one event."""
  if tables.trajectories is not None:
    columns = _identity(tables, tables.trajectories, TRACK)
    if "number" in columns:
      rows = _all_rows(tables.trajectories, columns, block_bytes)
      run = np.cumsum(np.diff(rows[0], prepend=rows[0, :1]) < 0)
      if not _comes_again(rows) or run[-1] == 0:  # old files of spills number the trajectories of each vertex
        return 1
      if _comes_again(np.concatenate([run[None], rows])):
        raise ValueError(_repeats(tables, "a trajectory comes twice in an event"))
      return 1 + int(run[-1])
  if len(np.unique(np.stack([pieces.event, pieces.vertex]), axis=1).T) == len(pieces.event):
    return 1
  columns = _identity(tables, tables.segments, PIECE)
  if "number" not in columns:
    return 1
  rows = _all_rows(tables.segments, columns, block_bytes)
  within = np.repeat(np.arange(len(pieces.start)), pieces.stop - pieces.start)
  if not _comes_again(rows) or _comes_again(np.concatenate([[within], rows])):
    return 1  # each segment once; or numbers that are none, being the same for segments side by side
  return 1 + int(np.sum(np.diff(pieces.event) < 0))


def _identity(tables, table, number: tuple[str, ...]) -> dict[str, str]:
  """Columns that together name a row: event, interaction where the table has it, and its own number."""
  vertex = ("vertex_id", "vertexID")
  return column_names(table, table.file.filename, {"event": tables.event, "vertex": vertex, "number": number},
                      ("vertex", "number"))


def _all_rows(table, columns: dict, block_bytes: int) -> np.ndarray:
  """[columns, rows] of integers."""
  parts = [
      np.stack([block[name].astype(np.int64)
                for name in columns])
      for block in blocks(table, columns, block_bytes)
  ]
  return np.concatenate([np.zeros((len(columns), 0), np.int64), *parts], axis=1)


def _comes_again(rows: np.ndarray) -> bool:
  """Whether two columns of [k, rows] are equal."""
  ordered = rows[:, np.lexsort(rows)]
  return bool(np.any(np.all(np.diff(ordered) == 0, axis=0)))


def read_groups(table, columns: dict[str, str], groups: Groups,
                block_bytes: int) -> Iterator[dict[str, np.ndarray]]:
  """The rows of each group, as arrays of the wanted columns.

  A table with every event in one place is read in blocks. Of another one the wanted columns are held in
  memory, about 40 bytes a row: thousands of small pieces are slow to read one by one (2 ms each, measured).
  """
  if not groups.contiguous:
    parts = list(blocks(table, columns, block_bytes))
    whole = {name: np.concatenate([part[name] for part in parts]) for name in columns}
    for places in groups.pieces:
      rows = np.concatenate([np.arange(start, stop) for start, stop in places.tolist()])
      yield {name: values[rows] for name, values in whole.items()}
    return
  size = max(1, block_bytes // table.dtype.itemsize)
  block, first, last = None, 0, 0
  for places in groups.pieces:
    start, stop = places[0].tolist()
    if not first <= start <= stop <= last:
      first, last = start, max(stop, start + size)
      block = read_rows(table, columns, first, last)
    yield {name: values[start - first:stop - first] for name, values in block.items()}
