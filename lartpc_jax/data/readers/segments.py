"""`segments` tables of edep-sim and larnd-sim HDF5 files, of every version since 2020, and of ndlar_flow.

Each row is a step from (x_start, y_start, z_start) to (x_end, y_end, z_end) in cm with dE in MeV (the column
dx of some versions is no length and is not used). Tables of vertices (x_vert, y_vert, z_vert in cm) and
`trajectories` (pxyz_start in MeV/c; parent -1 marks a primary) are used where they are there. The rows of an
event may lie in several places, as larnd-sim appends them module by module; `segment_rows` finds them. What
differs between the writers:

| writer | tables | event column | axes |
| --- | --- | --- | --- |
| larnd-sim's dumpTree, to 2022 | segments, vertices, trajectories | eventID | those of edep-sim |
| dumpTree of April 2023 | the same | vertexID alone | those of edep-sim |
| dumpTree today, 2x2, ND | the same, and mc_hdr | event_id, several vertex_id in a spill | of edep-sim |
| larnd-sim output, to April 2023 | tracks, ... | eventID | x and z exchanged, unless zbeam is true |
| larnd-sim output today | segments, ... | event_id | those of edep-sim (zbeam is true) |
| ndlar_flow | mc_truth/{segments,trajectories,interactions}/data | event_id | those of edep-sim |
"""
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.readers.api import EventSource, RawEvent, check_values, existing
from lartpc_jax.data.readers.hdf5 import BLOCK_BYTES, column_names, dataset, open_hdf5
from lartpc_jax.data.readers.segment_rows import Groups, find_groups, read_groups
from lartpc_jax.data.readers.segment_truth import CM, Truth, closeness, read_truth

SEGMENTS = ("segments", "tracks", "mc_truth/segments/data", "mc_truth/tracks/data")
VERTICES = ("vertices", "mc_hdr", "mc_truth/interactions/data")
TRAJECTORIES = ("trajectories", "mc_truth/trajectories/data")
EVENT, VERTEX = ("event_id", "eventID"), ("vertex_id", "vertexID")
STEP = {"dE": ("dE",), **{f"{x}_{end}": (f"{x}_{end}",) for end in ("start", "end") for x in "xyz"},
        "time": ("t0_start", "t_start")}
UNITS = ("event", "interaction")
AXES = ("auto", "file", "exchanged")
COMPARED = 50  # events whose segments are compared with their truth, to find out the axes


class Tables(NamedTuple):
  """The tables of an open file and the columns that are used of them."""
  segments: object
  columns: dict[str, str]              # of segments
  vertices: object | None
  trajectories: object | None
  event: tuple[str, ...]               # names of the column that tells events apart
  vertex: tuple[str, ...] | None       # and interactions within an event; None: events are not divided


def open_segments(path: str | os.PathLike, *, unit: str = "event", axes: str = "auto",
                  block_bytes: int = BLOCK_BYTES) -> EventSource:
  """Events of an HDF5 file with a table of segments, read in blocks of about `block_bytes`. Needs h5py.

  Of vertices and trajectories only the primaries' rows are kept in memory (about 100 bytes an event), and of
  segments where each event's rows lie.

  Args:
    path: HDF5 file.
    unit: "event" keeps all interactions of a spill together, "interaction" makes an event of each (by
      `vertex_id`).
    axes: "file" takes coordinates as they are, "exchanged" exchanges x and z of segments, "auto" decides by
      the table, its attribute `zbeam` and the truth, and says so.
    block_bytes: bound on what is read at once.
  Raises FileNotFoundError or ValueError naming file and field.
  """
  if unit not in UNITS or axes not in AXES:
    raise ValueError(
        f"unit must be one of {list(UNITS)} and axes one of {list(AXES)}; got {unit!r} and {axes!r}.")
  path = existing(path)
  if not path.is_file():
    raise ValueError(f"{path}: must be an HDF5 file, not a directory.")
  notes = []
  with open_hdf5(path) as file:
    tables = _tables(file, unit)
    if not len(tables.segments):
      raise ValueError(f"{path}: field {_name(tables.segments)!r} holds no rows.")
    if tables.trajectories is None:
      notes.append("the file has no trajectories, so no momenta")
    if tables.event == VERTEX:
      notes.append(f"events are told apart by {tables.columns['event']!r}, the only number the file has")
    groups = find_groups(tables, block_bytes)
    if groups.num_runs > 1:
      notes.append(f"event numbers repeat: {groups.num_runs} runs laid end to end are taken for that")
    truth = read_truth(tables, groups, block_bytes)
    exchanged, why = _axes(tables, groups, truth, axes)
    notes += [why] if why else []
  note = "; ".join(notes)
  return EventSource(len(groups.keys), 1.0,
                     lambda: _iterate(str(path), unit, exchanged, groups, truth, block_bytes), note)


def _tables(file, unit: str) -> Tables:
  path = file.filename
  name = next((name for name in SEGMENTS if name in file), "segments")
  segments = dataset(file, name)
  fields = segments.dtype.names or ()
  event = EVENT if any(
      name in fields for name in EVENT) or not any(name in fields for name in VERTEX) else VERTEX
  vertex = None
  if unit == "interaction":
    if event == VERTEX or not any(name in fields for name in VERTEX):
      raise ValueError(
          f"{path}: field {name!r} has no column 'vertex_id' beside the event's number, so its events are "
          "not divided into interactions; choose --unit=event.")
    vertex = VERTEX
  columns = column_names(segments, path, {"event": event, **({"vertex": vertex} if vertex else {}), **STEP},
                         ("time",))
  find = lambda names: next((dataset(file, name) for name in names if name in file), None)
  return Tables(segments, columns, find(VERTICES), find(TRAJECTORIES), event, vertex)


def _name(table) -> str:
  return table.name.strip("/")


def _axes(tables: Tables, groups: Groups, truth: Truth, axes: str) -> tuple[bool, str]:
  """Whether x and z of segments are to be exchanged, and what to say of it."""
  told = tables.segments.attrs.get("zbeam")
  if axes != "auto":
    return axes == "exchanged", f"x and z {'exchanged' if axes == 'exchanged' else 'as in the file'} (--axes)"
  if told is not None:
    return not told, "" if told else "x and z exchanged, as the attribute zbeam = false asks"
  if not _name(tables.segments).endswith("tracks"):
    return False, ""
  some = Groups(groups.keys[:COMPARED], groups.pieces[:COMPARED], groups.num_runs, groups.contiguous)
  distance = {True: 0.0, False: 0.0}
  for key, rows in zip(some.keys, read_groups(tables.segments, tables.columns, some, BLOCK_BYTES)):
    for choice in distance:
      distance[choice] += closeness(truth, key, *_ends(rows, choice))
  if distance[True] == distance[False]:
    return True, (
        "x and z exchanged: a table 'tracks' has them so, and there is no truth to compare with (--axes=file "
        "leaves them)")
  exchanged = distance[True] < distance[False]
  return exchanged, (
      f"x and z {'exchanged' if exchanged else 'as in the file'}: so the deposits start at the vertices "
      "(--axes overrides)")


def _ends(rows: dict, exchanged: bool) -> tuple[np.ndarray, np.ndarray]:
  """Starts and stops [m 3] in mm."""
  order = "zyx" if exchanged else "xyz"
  return tuple(
      np.stack([rows[f"{x}_{end}"]
                for x in order], axis=1).astype(np.float64) * CM
      for end in ("start", "end"))


def _iterate(path: str, unit: str, exchanged: bool, groups: Groups, truth: Truth,
             block_bytes: int) -> Iterator[RawEvent]:
  with open_hdf5(path) as file:
    tables = _tables(file, unit)
    for key, rows in zip(groups.keys, read_groups(tables.segments, tables.columns, groups, block_bytes)):
      for name in STEP.keys() - {"time"}:
        check_values(rows[name], path, f"{_name(tables.segments)}.{tables.columns[name]}",
                     minimum=0.0 if name == "dE" else None)
      start, stop = _ends(rows, exchanged)
      primaries = truth.primaries.get(key)
      yield RawEvent(int(key[1]), start, stop, rows["dE"].astype(np.float64),
                     truth.vertices.get(key, np.zeros((0, 3))),
                     np.zeros((0, 3)) if primaries is None else primaries.momenta_mev, time=rows.get("time"),
                     pdg=None if primaries is None else primaries.pdg,
                     kinetic_mev=None if primaries is None else primaries.kinetic_mev)
