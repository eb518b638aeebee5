"""From energy deposits along segments to the voxels of a sparse event."""
from typing import NamedTuple

import numpy as np

# a segment's energy is put into points this many to a voxel edge; whole steps would alias
PIECES_PER_VOXEL = 4
ORIGINS = ("vertex", "first", "entry", "centroid")


class Voxels(NamedTuple):
  """One event; voxels are unique and sorted."""
  voxel: np.ndarray           # [m 3] int16, floor((position - origin) / voxel_mm)
  edep_mev: np.ndarray        # [m] float32
  label: np.ndarray | None    # [m] uint8: of the deposit with the most energy in the voxel


def choose_origin(origin: str, vertices_mm: np.ndarray, start_mm: np.ndarray, stop_mm: np.ndarray,
                  edep_mev: np.ndarray, time: np.ndarray | None = None, source: str = "event") -> np.ndarray:
  """The point [3] in mm that becomes the vertex of the sparse event.

  Args:
    origin: "vertex" (there must be just one), "first" (the first vertex of several), "entry" (where the first
      deposit starts: of particles that come in from outside), "centroid" (of the energy), or "x,y,z" in mm.
    vertices_mm: [k 3].
    start_mm, stop_mm: [m 3].
    edep_mev: [m].
    time: [m] when deposits begin; None: they are in that order.
    source: for messages.
  Raises ValueError if the event lacks what the origin asks for.
  """
  if origin == "vertex" and len(vertices_mm) > 1 and np.ptp(vertices_mm, axis=0).max() > 0:
    raise ValueError(
        f"{source}: has {len(vertices_mm)} vertices; choose --origin=first, entry, centroid or x,y,z (mm), "
        "or --unit=interaction where the format has it.")
  if origin in ("vertex", "first"):
    if not len(vertices_mm):
      raise ValueError(f"{source}: the file gives no vertex; choose --origin=entry, centroid or x,y,z (mm).")
    return np.asarray(vertices_mm[0], np.float64)
  if origin in ("entry", "centroid") and not edep_mev.sum() > 0:
    raise ValueError(f"{source}: has no energy, so no {origin}.")
  if origin == "entry":
    energetic = np.flatnonzero(edep_mev > 0)
    first = energetic[0 if time is None else np.argmin(np.nan_to_num(time[energetic], nan=np.inf))]
    return np.asarray(start_mm[first], np.float64)
  if origin == "centroid":
    return (edep_mev[:, None] * 0.5 * (start_mm + stop_mm)).sum(axis=0) / edep_mev.sum()
  return parse_origin(origin)


def parse_origin(origin: str) -> np.ndarray:
  """[3] in mm from "x,y,z". Raises ValueError naming what is allowed."""
  try:
    point = np.array([float(x) for x in origin.split(",")])
  except ValueError:
    point = np.zeros(0)
  if point.shape != (3,) or not np.isfinite(point).all():
    raise ValueError(f"Unknown origin {origin!r}; choose from {list(ORIGINS)}, or give x,y,z in mm.")
  return point


def voxelize(start_mm: np.ndarray, stop_mm: np.ndarray, edep_mev: np.ndarray, *, origin_mm: np.ndarray,
             voxel_mm: float, label: np.ndarray | None = None, source: str = "event") -> Voxels:
  """Spreads each deposit evenly from its start to its stop and sums it in voxels; the energy is kept.

  Args:
    start_mm, stop_mm: [m 3].
    edep_mev: [m].
    origin_mm: [3], becomes the corner of voxel (0, 0, 0).
    voxel_mm: edge length.
    label: [m] uint8.
    source: for messages.
  Raises ValueError if a voxel number does not fit int16.
  """
  length = np.linalg.norm(stop_mm - start_mm, axis=1)
  pieces = np.maximum(1, np.ceil(length * (PIECES_PER_VOXEL / voxel_mm))).astype(np.int64)
  segment = np.repeat(np.arange(len(pieces)), pieces)
  number = np.arange(len(segment)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
  fraction = (number + 0.5) / pieces[segment]
  position = start_mm[segment] + fraction[:, None] * (stop_mm - start_mm)[segment]
  voxel = np.floor((position - origin_mm) / voxel_mm)
  limits = np.iinfo(np.int16)
  if voxel.size and not limits.min <= voxel.min() <= voxel.max() <= limits.max:
    raise ValueError(f"{source}: voxels of {voxel_mm:g} mm do not fit int16, they reach {voxel.min():.0f} to "
                     f"{voxel.max():.0f} from the origin {np.round(origin_mm, 1).tolist()} mm.")
  energy = (edep_mev / pieces)[segment]
  keep = energy > 0
  unique, inverse = np.unique(voxel[keep].astype(np.int16), axis=0, return_inverse=True)
  inverse = inverse.reshape(-1)
  summed = np.bincount(inverse, energy[keep], minlength=len(unique)).astype(np.float32)
  if label is None:
    return Voxels(unique, summed, None)
  largest = np.full(len(unique), -1, np.int64)
  order = np.argsort(energy[keep], kind="stable")
  largest[inverse[order]] = order  # the last assignment, so the largest energy, stays
  return Voxels(unique, summed, label[segment[keep][largest]])
