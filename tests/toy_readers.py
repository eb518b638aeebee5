"""Writes small files in the layouts of other programs, from arrays that tests know."""
import struct

import h5py
import numpy as np

SEGMENT = np.dtype(
    [(n, t)
     for n, t in [("event_id", "u4"), ("vertex_id", "u8"), ("segment_id", "u4"), (
         "z_end", "f4"), ("traj_id", "u4"), ("tran_diff", "f4"), ("z_start", "f4"), (
             "x_end", "f4"), ("y_end", "f4"), ("n_electrons", "u4"), ("pdg_id", "i4"), (
                 "x_start", "f4"), ("y_start", "f4"), ("t_start", "f4"), ("t0_start", "f8"), (
                     "t0_end", "f8"), ("t0", "f8"), ("dx", "f4"), ("long_diff", "f4"), (
                         "pixel_plane", "i4"), ("t_end", "f4"), ("dEdx", "f4"), ("dE", "f4"), (
                             "t", "f4"), ("y", "f4"), ("x", "f4"), ("z", "f4"), ("n_photons", "f4")]],
    align=True)
TRAJECTORY = np.dtype([("event_id", "u4"), ("vertex_id", "u8"), ("traj_id", "u4"), ("parent_id", "i4"),
                       ("pxyz_start", "f4", (3,)), ("xyz_start", "f4", (3,)), ("pdg_id", "i4"),
                       ("E_start", "f4")], align=True)
VERTEX = np.dtype([("event_id", "u4"), ("vertex_id", "u8"), ("x_vert", "f4"), ("y_vert", "f4"),
                   ("z_vert", "f4")], align=True)
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
  write_tables(
      path,
      {name: rename(rows, OLD_NAMES) if old and rows is not None else rows for name, rows in tables.items()})


def rename(rows, names):
  """The same table with other names of its columns; None leaves a column out."""
  kept = [n for n in rows.dtype.names if names.get(n, n) is not None]
  return rows.view(
      np.dtype({
          "names": [names.get(n, n) for n in kept], "formats": [rows.dtype[n] for n in kept],
          "offsets": [rows.dtype.fields[n][1] for n in kept], "itemsize": rows.dtype.itemsize
      }))


def write_tables(path, tables, **attributes):
  """An HDF5 file of tables by their paths (None is left out); the attributes go to all of them."""
  with h5py.File(path, "w") as file:
    for name, rows in tables.items():
      if rows is not None:
        file.create_dataset(name, data=rows, maxshape=(None,)).attrs.update(attributes)


def segments_of(events, vertex_mm):
  """(segments, vertices, trajectories) that hold the voxels of sparse events as points around `vertex_mm` [n
  3]."""
  segments, trajectories = [], []
  for i in range(len(events)):
    rows = slice(events.offsets[i], events.offsets[i + 1])
    position = (events.voxel[rows] + 0.5) * events.voxel_mm + vertex_mm[i]
    segments.append(segment_rows(100 + i, position, position, events.edep_mev[rows]))
    size = np.linalg.norm(events.momentum_mev[i])
    trajectories.append(
        table(TRAJECTORY, 2, event_id=100 + i, traj_id=[0, 1], parent_id=[-1, 0], pdg_id=[2212, 11],
              pxyz_start=[events.momentum_mev[i],
                          [1, 2, 3]], xyz_start=vertex_mm[i] / 10, E_start=[np.hypot(size, 938.27209), 4]))
  x, y, z = vertex_mm.T / 10
  vertices = table(VERTEX, len(events), event_id=100 + np.arange(len(events)), x_vert=x, y_vert=y, z_vert=z)
  segments = np.concatenate(segments)
  segments["segment_id"] = np.arange(len(segments))
  return segments, vertices, np.concatenate(trajectories)


def write_pilarnet(path, rows, *, version=2, further=None):
  """rows: (points [n 8], clusters [c 6], extras [c 5]) of each event; version 1 has neither PID nor extras.

  further: name -> array for each event, of more datasets.
  """
  kinds = {"point": 0, "cluster": 1, "cluster_extra": 2}
  if version == 1:
    del kinds["cluster_extra"]
  with h5py.File(path, "w") as file:
    for name, k in kinds.items():
      data = file.create_dataset(name, (len(rows),), h5py.vlen_dtype(np.float32))
      for i, row in enumerate(rows):
        array = np.asarray(row[k], np.float32)
        data[i] = (array[:, :5] if version == 1 and name == "cluster" else array).reshape(-1)
    for name, arrays in (further or {}).items():
      data = file.create_dataset(name, (len(rows),), h5py.vlen_dtype(np.float32))
      for i, array in enumerate(arrays):
        data[i] = np.asarray(array, np.float32).reshape(-1)


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


STEP = np.dtype([(n, "f4") for n in ("x", "y", "z", "t", "theta", "phi", "p")] +
                [("pdg", "i4"), ("de", "f4"), ("dx", "f4")])
PRIMARY = np.dtype([(n, "f4") for n in ("px", "py", "pz", "ke")] + [("pdg", "i4"), ("mass", "f4")])
POSITION = np.dtype([(n, "f4") for n in "xyzt"])


def write_jaxtpc(path, events, vertex_mm):
  """Sparse events as JAXTPC has them; `ke` holds |p|, as it does there."""
  with h5py.File(path, "w") as file:
    data = {name: file.create_dataset(name, (len(events),), h5py.vlen_dtype(dtype)) for name, dtype in (
        ("pstep/lar_vol", STEP), ("primary/geant4", PRIMARY), ("vertex/geant4", POSITION))}
    numbers = np.dtype([("run_id", "i4"), ("event_id", "i4")])
    file["event/geant4"] = table(numbers, len(events), event_id=7 + np.arange(len(events)))
    for i in range(len(events)):
      rows = slice(events.offsets[i], events.offsets[i + 1])
      x, y, z = ((events.voxel[rows] + 0.5) * events.voxel_mm + vertex_mm[i]).T
      data["pstep/lar_vol"][i] = table(STEP, len(x), x=x, y=y, z=z, de=events.edep_mev[rows],
                                       t=np.arange(len(x)))
      px, py, pz = events.momentum_mev[i]
      data["primary/geant4"][i] = table(PRIMARY, 1, px=px, py=py, pz=pz, pdg=2212, mass=938.27209,
                                        ke=np.linalg.norm(events.momentum_mev[i]))
      data["vertex/geant4"][i] = table(POSITION, 1, **dict(zip("xyz", vertex_mm[i])))


def write_simpledet(path, images, classes, first=0):
  """Images [n p p] as simpledet has them, with a running index that starts anywhere."""
  with h5py.File(path, "w") as file:
    for i, (image, label) in enumerate(zip(images, classes), start=first):
      file.create_dataset(f"img_{i}", data=image, compression="gzip")
      file[f"class_{i}"], file[f"evis_{i}"], file[f"nparticles_{i}"] = label, image.sum(), 1
      file.create_dataset(f"pdg_{i}", data=np.append(11, np.zeros(49, np.int64)), compression="gzip")


def write_larcv2(path, images, low_cm, pitch_cm, momenta, energies_gev, vertices_cm, pdg=2212):
  """Projections [n 3 p p] (xy, xz, yz) as LArCV2 has them: (x, y), (y, z), (z, x), column by column."""
  import uproot
  num, _, side, _ = images.shape
  turned = np.stack([images[:, 0], images[:, 2], np.swapaxes(images[:, 1], 1, 2)], axis=1)
  high = low_cm + side * pitch_cm
  columns = {"_image_v._img": turned.reshape(num, 3, -1).astype(np.float32)}
  for end, corner in (("_p1", low_cm), ("_p2", high)):
    columns[f"_image_v._meta.{end}.x"], columns[f"_image_v._meta.{end}.y"] = corner, np.roll(
        corner, -1, axis=1)
  for name in ("_col_count", "_row_count"):
    columns[f"_image_v._meta.{name}"] = np.full((num, 3), side)
  truth = {
      "_pdg": np.full(num, pdg, np.int32), "_energy_init": energies_gev, "_trackid": np.zeros(num, np.uint32),
      "_parent_trackid": np.zeros(num, np.uint32), **{f"_p{x}": momenta[:, i] for i, x in enumerate("xyz")},
      **{f"_vtx._{x}": vertices_cm[:, i] for i, x in enumerate("xyz")}
  }
  with uproot.recreate(path) as file:
    for name, arrays in (("image2d_data_tree", columns),
                         ("particle_mctruth_tree",
                          {f"_part_v.{name}": rows[:, None] for name, rows in truth.items()})):
      file.mktree(name, {key: (array.dtype, array.shape[1:]) for key, array in arrays.items()}).extend(arrays)


def unsplit_segments(detectors, *, checksum=False):
  """Bytes of a map of detectors to hit segments, streamed object by object: (start, stop, edep, time,
  contributors) each."""
  counted = lambda body: struct.pack(">I", 0x40000000 | len(body)) + body
  tobject = struct.pack(">HII", 1, 0, 0x02000000)
  vector = lambda xyz: counted(struct.pack(">H", 3) + tobject + struct.pack(">3d", *xyz))
  lorentz = lambda xyz, t: counted(struct.pack(">H", 4) + tobject + vector(xyz) + struct.pack(">d", t))
  body = struct.pack(">HI", 9, len(detectors))
  for name, hits in detectors.items():
    text = name.encode()
    body += (bytes([len(text)]) if len(text) < 255 else b"\xff" + struct.pack(">I", len(text))) + text
    body += struct.pack(">I", len(hits))
    for start, stop, edep, time, contributors in hits:
      body += counted((struct.pack(">HI", 0, 0xABCD) if checksum else struct.pack(">H", 1)) + tobject +
                      counted(struct.pack(f">HI{len(contributors)}i", 9, len(contributors), *contributors)) +
                      struct.pack(">ifff", 0, edep, 0.0, 1.0) + lorentz(start, time) +
                      lorentz(stop, time + 1))
  return np.frombuffer(counted(body), np.uint8)
