"""Sparse events: energy deposits in voxels around a vertex, and the particle momentum that made them."""
import os
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

FIELDS = {"momentum": 2, "offsets": 1, "voxel": 2, "edep": 1, "voxel_mm": 0}  # name -> number of axes in the file


class Events(NamedTuple):
  """n events with m voxels in all, on the host (numpy). Event i owns voxels offsets[i]:offsets[i + 1]."""
  momentum_mev: np.ndarray  # [n 3] float32, MeV/c at the vertex
  offsets: np.ndarray       # [n + 1] int64
  voxel: np.ndarray         # [m 3] int16, floor(position / voxel_mm); the vertex is the corner of voxel (0, 0, 0)
  edep_mev: np.ndarray      # [m] float32, deposited energy
  voxel_mm: float           # voxel edge length

  def __len__(self) -> int:  # number of events, not of fields
    return len(self.offsets) - 1


class PaddedEvents(NamedTuple):
  """A batch with a static number of deposits an event; padding has zero energy."""
  momentum_mev: np.ndarray  # [b 3]
  position_mm: np.ndarray   # [b v 3], relative to the vertex
  edep_mev: np.ndarray      # [b v]


def load_events(path: str | os.PathLike) -> Events:
  """Reads a sparse-event npz (`momentum`, `offsets`, `voxel`, `edep`, `voxel_mm`).

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if the file is truncated, lacks a field, or a field has the wrong shape or values; names file and field.
  """
  if not os.path.exists(path):
    raise FileNotFoundError(f"No event file at {os.fspath(path)!r}.")
  if not zipfile.is_zipfile(path):
    raise ValueError(f"{path}: not a readable npz file (truncated?).")
  try:
    opened = np.load(path, allow_pickle=False)
  except (OSError, ValueError, zipfile.BadZipFile) as error:  # its end is that of an npz, its start is not
    raise ValueError(f"{path}: not a readable npz file (damaged?): {error}") from error
  with opened as npz:
    missing = [name for name in FIELDS if name not in npz.files]
    if missing:
      raise ValueError(f"{path}: sparse-event file lacks {missing}; it holds {sorted(npz.files)}.")
    arrays = {name: _read_field(npz, name, str(path)) for name in FIELDS}
  events = Events(momentum_mev=np.asarray(arrays["momentum"], np.float32),
                  offsets=np.asarray(arrays["offsets"], np.int64), voxel=arrays["voxel"],
                  edep_mev=np.asarray(arrays["edep"], np.float32), voxel_mm=float(arrays["voxel_mm"]))
  check_events(events, str(path))
  return events


def _read_field(npz, name: str, source: str) -> np.ndarray:
  try:
    array = npz[name]
  except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
    raise ValueError(f"{source}: field {name!r} is not readable (truncated?): {error}") from error
  if array.ndim != FIELDS[name] or array.dtype.kind not in "iuf":
    raise ValueError(f"{source}: field {name!r} must hold numbers on {FIELDS[name]} axes; got {array.dtype} of shape "
                     f"{array.shape}.")
  return array


def check_events(events: Events, source: str = "events") -> None:
  """Raises ValueError naming `source` and the field if shapes, dtypes or values are not those of `Events`."""
  n, m = len(events), len(events.edep_mev)
  def need(condition, field, text):
    if not condition:
      raise ValueError(f"{source}: field {field!r} {text}.")
  need(events.momentum_mev.shape == (n, 3), "momentum", f"must be ({n}, 3); got {events.momentum_mev.shape}")
  need(events.voxel.shape == (m, 3), "voxel", f"must be ({m}, 3); got {events.voxel.shape}")
  need(np.issubdtype(events.voxel.dtype, np.integer), "voxel", f"must hold integers; got {events.voxel.dtype}")
  need(n >= 1, "offsets", "describes no event")
  need(events.offsets[0] == 0 and events.offsets[-1] == m and bool(np.all(np.diff(events.offsets) >= 0)),
       "offsets", f"must rise from 0 to the number of voxels {m}")
  need(bool(np.all(np.isfinite(events.momentum_mev))), "momentum", "holds NaN or infinity")
  need(bool(np.all(np.isfinite(events.edep_mev))), "edep", "holds NaN or infinity")
  need(bool(np.all(events.edep_mev >= 0)), "edep", f"must not be negative; smallest is {events.edep_mev.min(initial=0)}")
  need(events.voxel_mm > 0, "voxel_mm", f"must be positive; got {events.voxel_mm}")


def save_events(path: str | os.PathLike, events: Events, *, compress: bool = True) -> None:
  """Writes `events` in the layout that `load_events` reads. Overwrites `path` only when complete."""
  check_events(events, str(path))
  limits = np.iinfo(np.int16)
  if events.voxel.size and not limits.min <= events.voxel.min() <= events.voxel.max() <= limits.max:
    raise ValueError(f"{path}: field 'voxel' must fit int16; it spans {events.voxel.min()} to {events.voxel.max()}.")
  temporary = f"{os.fspath(path)}.tmp.npz"
  save = np.savez_compressed if compress else np.savez
  save(temporary, momentum=events.momentum_mev, offsets=events.offsets, voxel=events.voxel.astype(np.int16),
       edep=events.edep_mev, voxel_mm=np.float32(events.voxel_mm))
  os.replace(temporary, path)


def select_events(events: Events, indices: np.ndarray) -> Events:
  """The events numbered `indices` (any order, repeats allowed), as a container of their own."""
  indices = np.asarray(indices)
  starts, counts = events.offsets[:-1][indices], np.diff(events.offsets)[indices]
  offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
  rows = np.repeat(starts - offsets[:-1], counts) + np.arange(offsets[-1])
  return Events(events.momentum_mev[indices], offsets, events.voxel[rows], events.edep_mev[rows], events.voxel_mm)


def pad_events(events: Events, indices: np.ndarray, *, multiple: int = 64) -> PaddedEvents:
  """Gathers events into a dense batch, padded to the longest, rounded up to `multiple` (few shapes: few compilations)."""
  chosen = select_events(events, indices)
  counts = np.diff(chosen.offsets)
  width = max(1, -(-int(counts.max()) // multiple)) * multiple
  filled = np.arange(width) < counts[:, None]
  position_mm = np.zeros((len(chosen), width, 3), np.float32)
  edep_mev = np.zeros((len(chosen), width), np.float32)
  position_mm[filled] = (chosen.voxel.astype(np.float32) + 0.5) * np.float32(chosen.voxel_mm)
  edep_mev[filled] = chosen.edep_mev
  return PaddedEvents(chosen.momentum_mev, position_mm, edep_mev)


def deposited_energy(events: Events) -> np.ndarray:
  """Total deposited energy of each event [n], MeV."""
  cumulative = np.concatenate([[0.0], np.cumsum(events.edep_mev, dtype=np.float64)])
  return (cumulative[events.offsets[1:]] - cumulative[events.offsets[:-1]]).astype(np.float32)
