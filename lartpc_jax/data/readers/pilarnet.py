"""PILArNet-M HDF5 (Young et al. 2025, arXiv:2502.02558): a variable-length row of numbers for each event.

`point` holds x, y, z (voxel numbers, 768 of 3 mm along an axis), voxel value, dE (MeV), t, n_e, dx for every
point, points ordered by cluster. `cluster` holds number of points, fragment, group, interaction, semantic
class (and, from version 2, PID) for every cluster. `cluster_extra` (from version 2) holds mass (MeV),
|momentum| (GeV/c) and the vertex in voxel numbers, in version 3 also a flag of primaries; some files of
version 3 pack the momentum (px, py, pz in GeV/c) behind them, with or without two more columns, others have
it in `cluster_extra_2` and the vertices in `interaction_extra` (interaction, x, y, z). -1 in all of a vertex
or momentum says that there is none; vertices outside the volume are left out. Semantic classes: 0 shower, 1
track, 2 Michel, 3 delta, 4 low-energy scatter; PIDs: see `PDG`. The vertex of `cluster_extra` is that of the
cluster's particle, so of an interaction we take that of the cluster with the largest momentum.
"""
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.readers.api import LABELS, EventSource, RawEvent, check_values, existing
from lartpc_jax.data.readers.hdf5 import BLOCK_BYTES, dataset, open_hdf5

VOXEL_MM = 3.0
SIDE = 768     # voxels along an axis
LOOKED = 50    # events, to see what a file has
POINT_COLUMNS = 8
CLUSTER_COLUMNS = (6, 5)  # version 2 and 3 with a PID, version 1 without
EXTRA_COLUMNS = (5, 6, 9, 11)  # version 2; version 3 alone, with momenta, with momenta and two more
MOMENTUM_COLUMNS = (5, 3)      # of cluster_extra_2; the momentum comes first
INTERACTION_COLUMNS = 4
PRIMARY, MOMENTUM = 5, slice(6, 9)  # columns of cluster_extra
GEV = 1000.0                   # MeV
ENERGY = {"value": 3, "dE": 4}
SEMANTIC = np.array([LABELS[name] for name in ("shower", "track", "michel", "delta", "low_energy")], np.uint8)
PDG = np.array([22, 11, 13, 211, 2212, 321])  # by PID; charges are not told
OPTIONAL = ("cluster_extra", "cluster_extra_2", "interaction_extra")
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
    raise ValueError(
        f"unit must be one of {list(UNITS)} and energy one of {list(ENERGY)}; got {unit!r} and {energy!r}.")
  path = existing(path)
  if not path.is_file():
    raise ValueError(f"{path}: must be an HDF5 file, not a directory.")
  with open_hdf5(path) as file:
    num = len(dataset(file, "point"))
    there = [name for name in OPTIONAL if name in file]
    for name in ("point", "cluster", *there):
      data = dataset(file, name)
      if data.dtype != object or len(data) != num:
        raise ValueError(
            f"{path}: field {name!r} must hold a row of variable length for each of {num} events; got "
            f"{len(data)} rows of {data.dtype}.")
    if not num:
      raise ValueError(f"{path}: field 'point' holds no events.")
    notes, in_voxels = _look(file, there)
  num = num if unit == "event" else None
  iterate = lambda: _iterate(str(path), unit, energy, in_voxels, block_bytes)
  return EventSource(num, VOXEL_MM, iterate, "; ".join(notes))


def _look(file, there: list[str]) -> tuple[list[str], bool]:
  """What is to be said of the file, and whether its vertices are voxel numbers, from its first events.

  The rows of the public mini set have vertices such as (-987, -424), which are those of a detector and not of
  the volume.
  """
  if "cluster_extra" not in there:
    return [], True
  oriented = "cluster_extra_2" in there
  outside = 0
  for i in range(min(LOOKED, len(file["point"]))):
    source = f"{file.filename}: event {i}"
    points = _table(source, "point", file["point"][i], (POINT_COLUMNS,))
    clusters = _clusters(source, file["cluster"][i], len(points))
    particles = _particles(source, {name: file[name][i] for name in there}, clusters)
    oriented = oriented or bool(np.isfinite(particles.momentum_gev).any())
    outside += int(np.sum(np.any((particles.vertex < 0) | (particles.vertex > SIDE), axis=1)))
  notes = [] if oriented else ["momenta have no direction in the file, so none are written"]
  if outside:
    notes.append(
        f"vertices lie outside the {SIDE} voxels ({outside} in the first {i + 1} events), so they are no "
        "voxel numbers and are left out")
  return notes, not outside


def _iterate(path: str, unit: str, energy: str, in_voxels: bool, block_bytes: int) -> Iterator[RawEvent]:
  with open_hdf5(path) as file:
    point = dataset(file, "point")
    others = {name: dataset(file, name) for name in ("cluster", *OPTIONAL) if name in file}
    start, step = 0, 1
    while start < len(point):
      stop = min(start + step, len(point))
      points = point[start:stop]
      rows = {name: data[start:stop] for name, data in others.items()}
      for i, own in enumerate(points):
        truth = {name: values[i] for name, values in rows.items()}
        yield from _events(f"{path}: event {start + i}", start + i, own, truth, unit, energy, in_voxels)
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
    raise ValueError(
        f"{source}, field {field!r}: {row.size} numbers do not make rows of {' or '.join(map(str, columns))}"
        + (f" for {num_rows} clusters." if num_rows is not None else "."))
  return check_values(row.reshape(-1, fitting[0]).astype(np.float64), source, field)


def _clusters(source: str, row, num_points: int) -> np.ndarray:
  for columns in CLUSTER_COLUMNS:
    if np.size(row) % columns == 0:
      table = _table(source, "cluster", row, (columns,))
      if table[:, 0].sum() == num_points and np.isin(table[:, 4], np.arange(len(SEMANTIC))).all():
        return table
  raise ValueError(
      f"{source}, field 'cluster': {np.size(row)} numbers do not make clusters of 5 or 6 columns whose "
      f"points add up to the {num_points} of field 'point' and whose semantic class is 0 to 4.")


def _events(source, number, point, truth, unit, energy, in_voxels) -> Iterator[RawEvent]:
  points = _table(source, "point", point, (POINT_COLUMNS,))
  clusters = _clusters(source, truth["cluster"], len(points))
  particles = _particles(source, truth, clusters)
  position_mm = (points[:, :3] + 0.5) * VOXEL_MM  # voxel numbers name low corners
  edep_mev = check_values(points[:, ENERGY[energy]], source, f"point.{energy}", minimum=0.0)
  sizes = clusters[:, 0].astype(np.int64)
  label = np.repeat(SEMANTIC[clusters[:, 4].astype(np.int64)], sizes)
  interactions = clusters[:, 3].astype(np.int64)
  vertices = _vertices(source, truth.get("interaction_extra"), particles, interactions) if in_voxels else {}
  groups = [(np.ones(len(clusters), bool), list(vertices))] if unit == "event" else [
      (interactions == i, [i]) for i in np.unique(interactions[interactions >= 0])]
  for members, chosen in groups:
    rows = np.repeat(members, sizes)
    at = np.array([vertices[i] for i in chosen if i in vertices]).reshape(-1, 3) * VOXEL_MM
    mine = _primaries(particles, clusters, members)
    yield RawEvent(number, position_mm[rows], position_mm[rows], edep_mev[rows], at, mine[0], label[rows],
                   time=points[rows, 5], pdg=mine[1], kinetic_mev=mine[2])


class _Particles(NamedTuple):
  """Of each cluster; NaN or False where the file does not tell."""
  mass_mev: np.ndarray      # [c]
  size_gev: np.ndarray      # [c] |p|
  vertex: np.ndarray        # [c 3] in voxel numbers
  momentum_gev: np.ndarray  # [c 3]
  primary: np.ndarray       # [c] bool


def _particles(source: str, truth: dict, clusters: np.ndarray) -> _Particles | None:
  if "cluster_extra" not in truth:
    return None
  num = len(clusters)
  extra = _table(source, "cluster_extra", truth["cluster_extra"], EXTRA_COLUMNS, num)
  momentum = np.full((num, 3), np.nan)
  if extra.shape[1] > PRIMARY + 1:
    momentum = _without_sentinels(extra[:, MOMENTUM])
  elif "cluster_extra_2" in truth:
    momentum = _without_sentinels(
        _table(source, "cluster_extra_2", truth["cluster_extra_2"], MOMENTUM_COLUMNS, num)[:, :3])
  known = lambda values: np.where(values == -1, np.nan, values)
  primary = extra[:, PRIMARY] == 1 if extra.shape[1] > PRIMARY else np.zeros(num, bool)
  return _Particles(known(extra[:, 0]), known(extra[:, 1]), _without_sentinels(extra[:, 2:5]), momentum,
                    primary)


def _without_sentinels(vectors: np.ndarray) -> np.ndarray:
  """The vectors [c 3], NaN where all three are -1."""
  return np.where(np.all(vectors == -1, axis=1, keepdims=True), np.nan, vectors)


def _vertices(source: str, row, particles: _Particles | None,
              interactions: np.ndarray) -> dict[int, np.ndarray]:
  """Interaction number -> vertex [3] in voxel numbers, of those that have one."""
  found = {}
  if row is not None and np.size(row):
    table = _table(source, "interaction_extra", row, (INTERACTION_COLUMNS,))
    found = dict(zip(table[:, 0].astype(int).tolist(), _without_sentinels(table[:, 1:])))
  elif particles is not None:
    for i in np.unique(interactions[interactions >= 0]):
      members = np.flatnonzero((interactions == i) & np.isfinite(particles.vertex[:, 0]))
      if len(members):
        found[int(i)] = particles.vertex[members[np.argmax(np.nan_to_num(particles.size_gev[members]))]]
  inside = lambda vertex: bool(np.all((vertex >= 0) & (vertex <= SIDE)))  # false for NaN
  return {i: vertex for i, vertex in found.items() if inside(vertex)}


def _primaries(particles: _Particles | None, clusters: np.ndarray, members: np.ndarray
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """(momenta [j 3] in MeV/c, PDG codes [j], kinetic energies [j] in MeV) of the primaries among the clusters.

  A particle may have several clusters (fragments of a shower): those of one group count once.
  """
  chosen = np.flatnonzero(members & particles.primary) if particles is not None else np.zeros(0, np.int64)
  _, first = np.unique(clusters[chosen, 2], return_index=True)
  chosen = chosen[np.sort(first)]
  if not len(chosen):
    return np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros(0)
  pid = clusters[chosen, 5].astype(np.int64) if clusters.shape[1] > 5 else np.full(len(chosen), -1)
  pdg = np.where((pid >= 0) & (pid < len(PDG)), PDG[np.clip(pid, 0, len(PDG) - 1)], 0)
  momentum = particles.momentum_gev[chosen] * GEV
  size = np.where(np.isfinite(momentum[:, 0]), np.linalg.norm(momentum, axis=1),
                  particles.size_gev[chosen] * GEV)
  from lartpc_jax.units import masses_mev  # needs jax, for which --help should not wait
  mass = np.where(np.isfinite(particles.mass_mev[chosen]), particles.mass_mev[chosen], masses_mev(pdg))
  return momentum, pdg, np.hypot(size, mass) - mass
