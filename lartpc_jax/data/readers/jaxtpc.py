"""HDF5 files of JAXTPC's Geant4 simulation: a row of variable length for each event.

`pstep/lar_vol` holds the steps (x, y, z in mm of their middles, `de` in MeV, `t` in ns), `primary/geant4` the
primary particles (px, py, pz in MeV/c, pdg, mass in MeV), `vertex/geant4` the vertices (x, y, z in mm),
`event/geant4` the numbers. The field `ke` of primaries is not used: in the files it is the momentum.
"""
import os
from collections.abc import Iterator

import numpy as np

from lartpc_jax.data.readers.api import EventSource, RawEvent, check_values, existing
from lartpc_jax.data.readers.hdf5 import open_hdf5, vlen_tables

TABLES = {"pstep/lar_vol": ("x", "y", "z", "t", "de"), "primary/geant4": ("px", "py", "pz", "pdg", "mass"),
          "vertex/geant4": ("x", "y", "z")}


def open_jaxtpc(path: str | os.PathLike) -> EventSource:
  """Events of a file, one at a time. Needs h5py. Raises FileNotFoundError or ValueError naming file and
  field."""
  path = existing(path)
  if not path.is_file():
    raise ValueError(f"{path}: must be an HDF5 file, not a directory.")
  with open_hdf5(path) as file:
    num = len(vlen_tables(file, TABLES)["pstep/lar_vol"])
    if not num:
      raise ValueError(f"{path}: field 'pstep/lar_vol' holds no events.")
  return EventSource(num, 1.0, lambda: _iterate(str(path)))


def _iterate(path: str) -> Iterator[RawEvent]:
  from lartpc_jax.units import kinetic_energy  # needs jax, for which --help should not wait
  with open_hdf5(path) as file:
    steps, primaries, vertices = vlen_tables(file, TABLES).values()
    numbers = file["event/geant4"]["event_id"] if "event/geant4" in file else np.arange(len(steps))
    for i in range(len(steps)):
      source = f"{path}: event {numbers[i]}"
      step, primary, vertex = steps[i], primaries[i], vertices[i]
      position = _columns(step, "xyz")
      check_values(position, source, "pstep/lar_vol.x, y, z")
      edep = check_values(step["de"].astype(np.float64), source, "pstep/lar_vol.de", minimum=0.0)
      momentum = check_values(_columns(primary, ("px", "py", "pz")), source, "primary/geant4.px, py, pz")
      vertices_mm = check_values(_columns(vertex, "xyz"), source, "vertex/geant4.x, y, z")
      yield RawEvent(int(numbers[i]), position, position, edep, vertices_mm, momentum, time=step["t"],
                     pdg=primary["pdg"].astype(np.int64),
                     kinetic_mev=kinetic_energy(momentum, primary["mass"].astype(np.float64)))


def _columns(rows: np.ndarray, names) -> np.ndarray:
  """[m 3]."""
  return np.stack([rows[name] for name in names], axis=1).astype(np.float64)
