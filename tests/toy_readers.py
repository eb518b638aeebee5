"""Writes small files in the layouts of other programs, from arrays that tests know."""
import h5py
import numpy as np

SEGMENT = np.dtype([(n, t) for n, t in [
    ("event_id", "u4"), ("vertex_id", "u8"), ("segment_id", "u4"), ("z_end", "f4"), ("traj_id", "u4"), ("tran_diff", "f4"),
    ("z_start", "f4"), ("x_end", "f4"), ("y_end", "f4"), ("n_electrons", "u4"), ("pdg_id", "i4"), ("x_start", "f4"),
    ("y_start", "f4"), ("t_start", "f4"), ("t0_start", "f8"), ("t0_end", "f8"), ("t0", "f8"), ("dx", "f4"),
    ("long_diff", "f4"),
    ("pixel_plane", "i4"), ("t_end", "f4"), ("dEdx", "f4"), ("dE", "f4"), ("t", "f4"), ("y", "f4"), ("x", "f4"), ("z", "f4"),
    ("n_photons", "f4")]], align=True)
TRAJECTORY = np.dtype([("event_id", "u4"), ("vertex_id", "u8"), ("traj_id", "u4"), ("parent_id", "i4"),
                       ("pxyz_start", "f4", (3,)), ("xyz_start", "f4", (3,)), ("pdg_id", "i4")], align=True)
VERTEX = np.dtype([("event_id", "u4"), ("vertex_id", "u8"), ("x_vert", "f4"), ("y_vert", "f4"), ("z_vert", "f4")],
                  align=True)
OLD_NAMES = {"event_id": "eventID", "vertex_id": "vertexID", "traj_id": "trackID", "parent_id": "parentID",
             "pdg_id": "pdgId"}


def table(dtype, num, **columns):
  rows = np.zeros(num, dtype)
  for name, values in columns.items():
    rows[name] = values
  return rows


def segment_rows(number, start_mm, stop_mm, edep_mev):
  """Rows of `segments`: cm and MeV."""
  ends = {f"{x}_{end}": position[:, i] / 10 for end, position in (("start", start_mm), ("stop", stop_mm))
          for i, x in enumerate("xyz")}
  ends = {name.replace("stop", "end"): values for name, values in ends.items()}
  return table(SEGMENT, len(edep_mev), event_id=number, dE=edep_mev, **ends)


def write_segments(path, segments, vertices=None, trajectories=None, *, old=False):
  """An HDF5 file as dumpTree makes it; `old` spells the columns as before 2023."""
  tables = {"segments": segments, "vertices": vertices, "trajectories": trajectories}
  with h5py.File(path, "w") as file:
    for name, rows in tables.items():
      if rows is not None:
        if old:
          rows = rows.view(np.dtype({"names": [OLD_NAMES.get(n, n) for n in rows.dtype.names],
                                     "formats": [rows.dtype[n] for n in rows.dtype.names],
                                     "offsets": [rows.dtype.fields[n][1] for n in rows.dtype.names],
                                     "itemsize": rows.dtype.itemsize}))
        file.create_dataset(name, data=rows, maxshape=(None,))


def segments_of(events, vertex_mm):
  """(segments, vertices, trajectories) that hold the voxels of sparse events as points around `vertex_mm` [n 3]."""
  segments, trajectories = [], []
  for i in range(len(events)):
    rows = slice(events.offsets[i], events.offsets[i + 1])
    position = (events.voxel[rows] + 0.5) * events.voxel_mm + vertex_mm[i]
    segments.append(segment_rows(100 + i, position, position, events.edep_mev[rows]))
    trajectories.append(table(TRAJECTORY, 2, event_id=100 + i, traj_id=[0, 1], parent_id=[-1, 0],
                              pxyz_start=[events.momentum_mev[i], [1, 2, 3]]))
  x, y, z = vertex_mm.T / 10
  vertices = table(VERTEX, len(events), event_id=100 + np.arange(len(events)), x_vert=x, y_vert=y, z_vert=z)
  return np.concatenate(segments), vertices, np.concatenate(trajectories)


def write_pilarnet(path, rows, *, version=2):
  """rows: (points [n 8], clusters [c 6], extras [c 5]) of each event; version 1 has neither PID nor extras."""
  kinds = {"point": 0, "cluster": 1, "cluster_extra": 2}
  if version == 1:
    del kinds["cluster_extra"]
  with h5py.File(path, "w") as file:
    for name, k in kinds.items():
      data = file.create_dataset(name, (len(rows),), h5py.vlen_dtype(np.float32))
      for i, row in enumerate(rows):
        array = np.asarray(row[k], np.float32)
        data[i] = (array[:, :5] if version == 1 and name == "cluster" else array).reshape(-1)


def pilarnet_event(rng, sizes, interactions, semantic, momenta, vertices):
  """An event of clusters of points at random voxels."""
  num = sum(sizes)
  points = np.zeros((num, 8))
  points[:, :3] = rng.permuted(np.arange(200, 200 + 3 * num)).reshape(num, 3)
  points[:, 3] = rng.uniform(0.1, 2, num)
  points[:, 4] = 2 * points[:, 3]
  numbers = np.arange(len(sizes))
  clusters = np.stack([sizes, numbers, numbers, interactions, semantic, np.full(len(sizes), 4)], 1)
  return points, clusters, np.column_stack([np.full(len(sizes), 938.0), momenta, vertices])
