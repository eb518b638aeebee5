"""Vertices and primary particles of each event, from the tables that lie beside the segments of a file."""
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.readers.api import check_values
from lartpc_jax.data.readers.hdf5 import blocks, column_names
from lartpc_jax.data.readers.segment_rows import Groups

CM = 10.0  # mm
VERTEX_COLUMNS = {"x": ("x_vert",), "y": ("y_vert",), "z": ("z_vert",)}
PARTICLE_COLUMNS = {
    "parent": ("parent_id", "parentID"), "momentum": ("pxyz_start",), "pdg": ("pdg_id", "pdgId"),
    "energy": ("E_start",), "start": ("xyz_start",)
}
OPTIONAL = ("pdg", "energy", "start")


class Primaries(NamedTuple):
  """j primary particles of an event."""
  momenta_mev: np.ndarray         # [j 3]
  pdg: np.ndarray                 # [j], 0 where unknown
  kinetic_mev: np.ndarray         # [j], NaN where unknown
  start_mm: np.ndarray            # [j 3], NaN where unknown


class Truth(NamedTuple):
  """By the key of an event, see `segment_rows.Groups`."""
  vertices: dict[tuple[int, int, int], np.ndarray]   # [k 3] in mm
  primaries: dict[tuple[int, int, int], Primaries]


def read_truth(tables, groups: Groups, block_bytes: int) -> Truth:
  """Vertices and primaries of the tables of a file (see `segments.Tables`), as far as they are there.

  Raises:
    ValueError: naming file, table and column; or if a table has another number of runs than the segments.
  """
  from lartpc_jax.units import kinetic_energy, masses_mev  # needs jax, for which --help should not wait
  vertices, primaries = {}, {}
  if tables.vertices is not None:
    keys, rows = _rows(tables, tables.vertices, VERTEX_COLUMNS, (), groups, block_bytes)
    position = np.stack([rows[x] for x in "xyz"], axis=1).astype(np.float64) * CM
    _check(tables.vertices, position)
    vertices = dict(_by_key(keys, position))
  if tables.trajectories is not None:
    keys, rows = _rows(tables, tables.trajectories, PARTICLE_COLUMNS, OPTIONAL, groups, block_bytes)
    momentum = rows["momentum"].astype(np.float64)
    _check(tables.trajectories, momentum)
    pdg = rows["pdg"].astype(np.int64) if "pdg" in rows else np.zeros(len(momentum), np.int64)
    if "energy" in rows:
      square = np.sum(momentum**2, axis=1)
      energy = rows["energy"].astype(np.float64)
      known = masses_mev(pdg)
      kinetic = energy - np.where(np.isfinite(known), known, np.sqrt(np.maximum(energy**2 - square, 0.0)))
    else:
      kinetic = kinetic_energy(momentum, masses_mev(pdg))
    start = rows["start"].astype(np.float64) * CM if "start" in rows else np.full_like(momentum, np.nan)
    primaries = {key: Primaries(*fields) for key, fields in _by_key(keys, momentum, pdg, kinetic, start)}
  return Truth(vertices, primaries)


def _check(table, values: np.ndarray) -> None:
  check_values(values, table.file.filename, table.name.strip("/"))


def _rows(tables, table, choices: dict, optional: tuple[str, ...], groups: Groups, block_bytes: int):
  """Keys [n 3] and the columns of all rows; of particles, of the primaries alone."""
  keys = {"event": tables.event, **({"vertex": tables.vertex} if tables.vertex else {})}
  columns = column_names(table, table.file.filename, {**keys, **choices}, optional)
  for name in ("momentum", "start"):
    if name in columns and table.dtype[columns[name]].shape != (3,):
      raise ValueError(
          f"{table.file.filename}: column {columns[name]!r} of field {table.name.strip('/')!r} must hold 3 "
          "numbers a row.")
  parts, run, last = [], 0, None
  for block in blocks(table, columns, block_bytes):
    event = block["event"].astype(np.int64)
    steps = np.diff(event, prepend=event[0] if last is None else last) < 0
    runs = run + np.cumsum(steps) if groups.num_runs > 1 else np.zeros(len(event), np.int64)
    run, last = runs[-1], event[-1]
    block["key"] = np.stack([runs, event, block.get("vertex", np.zeros(len(event))).astype(np.int64)], axis=1)
    chosen = block["parent"].astype(np.int64) == -1 if "parent" in block else slice(None)
    parts.append({name: values[chosen] for name, values in block.items()})
  if not parts:
    return np.zeros(
        (0, 3),
        np.int64), {name: np.zeros((0, *table.dtype[column].shape)) for name, column in columns.items()}
  if run + 1 not in (1, groups.num_runs):
    raise ValueError(
        f"{table.file.filename}: field {table.name.strip('/')!r} has event numbers of {run + 1} runs, the "
        f"segments of {groups.num_runs}. Convert each run from a file of its own.")
  rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
  return rows.pop("key"), rows


def _by_key(keys: np.ndarray, *fields: np.ndarray):
  """Pairs of a key and the rows of the fields that have it; of one field the rows themselves."""
  unique, inverse = np.unique(keys, axis=0, return_inverse=True)
  order = np.argsort(inverse.reshape(-1), kind="stable")
  bounds = np.cumsum(np.bincount(inverse.reshape(-1), minlength=len(unique)))[:-1]
  split = [np.split(field[order], bounds) for field in fields]
  for i, key in enumerate(map(tuple, unique.tolist())):
    rows = [parts[i] for parts in split]
    yield key, rows[0] if len(rows) == 1 else rows


def closeness(truth: Truth, key: tuple[int, int, int], start_mm: np.ndarray, stop_mm: np.ndarray) -> float:
  """How near, in mm, the nearest deposit of an event comes to each point where its truth says that something
  starts."""
  points = [truth.vertices.get(key, np.zeros((0, 3)))]
  if key in truth.primaries:
    points.append(truth.primaries[key].start_mm)
  points = np.concatenate(points)
  points = points[np.isfinite(points).all(axis=1)]
  ends = np.concatenate([start_mm, stop_mm])
  return float(sum(np.linalg.norm(ends - point, axis=1).min() for point in points))
