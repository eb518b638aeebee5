"""PILArNet-M HDF5 (Young et al. 2025, arXiv:2502.02558): a variable-length row of numbers for each event.

`point` holds x, y, z (voxel numbers, 768 of 3 mm along an axis), voxel value, dE (MeV), t, n_e, dx for every point, points
ordered by cluster. `cluster` holds number of points, fragment, group, interaction, semantic class (and, from version 2, PID)
for every cluster. `cluster_extra` (from version 2) holds mass, |momentum| and the vertex in voxel numbers (version 3: also a
flag of primaries). Semantic classes: 0 shower, 1 track, 2 Michel, 3 delta, 4 low-energy scatter. The vertex of version 2 is
that of the cluster's particle, so of an interaction we take that of the cluster with the largest momentum. Directions of
momenta are not in the files.
"""
import os
from collections.abc import Iterator

import numpy as np

from lartpc_jax.data.readers.api import LABELS, EventSource, RawEvent, check_values, existing
from lartpc_jax.data.readers.hdf5 import BLOCK_BYTES, dataset, open_hdf5

VOXEL_MM = 3.0
POINT_COLUMNS = 8
CLUSTER_COLUMNS = (6, 5)  # version 2 and 3 with a PID, version 1 without
EXTRA_COLUMNS = (5, 6)    # version 2, version 3
ENERGY = {"value": 3, "dE": 4}
SEMANTIC = np.array([LABELS[name] for name in ("shower", "track", "michel", "delta", "low_energy")], np.uint8)
UNITS = ("interaction", "event")


def open_pilarnet(path: str | os.PathLike, *, unit: str = "interaction", energy: str = "value",
                  block_bytes: int = BLOCK_BYTES) -> EventSource:
  """Interactions, each around its vertex, or whole events of a PILArNet-M file, streamed. Needs h5py.

  Args:
    path: HDF5 file.
    unit: "interaction" makes an event of each interaction and leaves out points of none (number -1);
      "event" keeps all points of an event together.
    energy: "value" takes the voxel's value as its energy, "dE" the deposited energy.
    block_bytes: bound on what is read at once, at eight float32 a point; at least one event.
  Raises FileNotFoundError or ValueError naming file and field.
  """
  if unit not in UNITS or energy not in ENERGY:
    raise ValueError(f"unit must be one of {list(UNITS)} and energy one of {list(ENERGY)}; got {unit!r} and {energy!r}.")
  path = existing(path)
  if not path.is_file():
    raise ValueError(f"{path}: must be an HDF5 file, not a directory.")
  with open_hdf5(path) as file:
    num = len(dataset(file, "point"))
    for name in ("point", "cluster", *(["cluster_extra"] if "cluster_extra" in file else [])):
      data = dataset(file, name)
      if data.dtype != object or len(data) != num:
        raise ValueError(f"{path}: field {name!r} must hold a row of variable length for each of {num} events; got "
                         f"{len(data)} rows of {data.dtype}.")
    if not num:
      raise ValueError(f"{path}: field 'point' holds no events.")
  note = "momenta have no direction in the file, so none are written"
  num = num if unit == "event" else None
  return EventSource(num, VOXEL_MM, lambda: _iterate(str(path), unit, energy, block_bytes), note)


def _iterate(path: str, unit: str, energy: str, block_bytes: int) -> Iterator[RawEvent]:
  with open_hdf5(path) as file:
    point, cluster = dataset(file, "point"), dataset(file, "cluster")
    extra = dataset(file, "cluster_extra") if "cluster_extra" in file else None
    start, step = 0, 1
    while start < len(point):
      stop = min(start + step, len(point))
      points, clusters = point[start:stop], cluster[start:stop]
      extras = [None] * len(points) if extra is None else extra[start:stop]
      for i, rows in enumerate(zip(points, clusters, extras)):
        yield from _events(f"{path}: event {start + i}", start + i, *rows, unit, energy)
      # variable-length rows have no size in advance: take as many events as the last ones let expect
      mean = max(sum(row.nbytes for row in points) / len(points), 1.0)
      start, step = stop, int(np.clip(block_bytes / mean / 2, 1, 2 * step))


def _table(source: str, field: str, row, columns: tuple[int, ...], num_rows: int | None = None) -> np.ndarray:
  """A flat row as [rows, columns]; of several possible numbers of columns the one that fits `num_rows`."""
  row = np.asarray(row)
  if row.dtype.kind not in "iuf":
    raise ValueError(f"{source}, field {field!r}: must hold numbers; got {row.dtype}.")
  fitting = [c for c in columns if row.size % c == 0 and (num_rows is None or row.size == c * num_rows)]
  if not fitting:
    raise ValueError(f"{source}, field {field!r}: {row.size} numbers do not make rows of {' or '.join(map(str, columns))}"
                     + (f" for {num_rows} clusters." if num_rows is not None else "."))
  return check_values(row.reshape(-1, fitting[0]).astype(np.float64), source, field)


def _clusters(source: str, row, num_points: int) -> np.ndarray:
  for columns in CLUSTER_COLUMNS:
    if np.size(row) % columns == 0:
      table = _table(source, "cluster", row, (columns,))
      if table[:, 0].sum() == num_points and np.isin(table[:, 4], np.arange(len(SEMANTIC))).all():
        return table
  raise ValueError(f"{source}, field 'cluster': {np.size(row)} numbers do not make clusters of 5 or 6 columns whose points "
                   f"add up to the {num_points} of field 'point' and whose semantic class is 0 to 4.")


def _events(source, number, point, cluster, extra, unit, energy) -> Iterator[RawEvent]:
  points = _table(source, "point", point, (POINT_COLUMNS,))
  clusters = _clusters(source, cluster, len(points))
  truth = None if extra is None else _table(source, "cluster_extra", extra, EXTRA_COLUMNS, len(clusters))
  position_mm = (points[:, :3] + 0.5) * VOXEL_MM  # voxel numbers name low corners
  edep_mev = check_values(points[:, ENERGY[energy]], source, f"point.{energy}", minimum=0.0)
  sizes = clusters[:, 0].astype(np.int64)
  label = np.repeat(SEMANTIC[clusters[:, 4].astype(np.int64)], sizes)
  interactions = clusters[:, 3].astype(np.int64)
  groups = [np.ones(len(clusters), bool)] if unit == "event" else [
      interactions == i for i in np.unique(interactions[interactions >= 0])]
  for members in groups:
    chosen = np.repeat(members, sizes)
    vertices = np.zeros((0, 3))
    if truth is not None:
      vertices = np.stack([_vertex(truth, members & (interactions == i))
                           for i in np.unique(interactions[members & (interactions >= 0)])] or [vertices[:0].reshape(-1)])
      vertices = vertices.reshape(-1, 3)
    yield RawEvent(number, position_mm[chosen], position_mm[chosen], edep_mev[chosen], vertices, np.zeros((0, 3)),
                   label[chosen])


def _vertex(truth: np.ndarray, members: np.ndarray) -> np.ndarray:
  """[3] in mm: of the members' cluster with the largest momentum."""
  rows = truth[members]
  return rows[np.argmax(rows[:, 1]), 2:5] * VOXEL_MM
