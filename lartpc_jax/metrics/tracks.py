"""Ranges, Bragg curves and scattering of stopping protons from voxels, by rules that treat every simulation
alike. numpy."""
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.events import Events
from lartpc_jax.units import kinetic_energy

# a track's end is found from the last deposits of this energy: several voxels, so finer than one
END_MEV = 20.0


class TrackEnds(NamedTuple):
  """Of n events, from their voxels."""
  kinetic_mev: np.ndarray   # [n] at the vertex, from the momentum
  depth_mm: np.ndarray      # [n] of the centroid of the last END_MEV, along the initial direction
  position_mm: np.ndarray   # [n 3] of that centroid, from the vertex


class VoxelDepths(NamedTuple):
  """Of m voxels, in the order of the file."""
  event: np.ndarray       # [m]
  depth_mm: np.ndarray    # [m] along the initial direction
  lateral2_mm2: np.ndarray  # [m] squared distance from the axis


def voxel_depths(events: Events) -> VoxelDepths:
  """Depth and distance from the axis of every voxel centre."""
  event = np.repeat(np.arange(len(events)), np.diff(events.offsets))
  axis = events.momentum_mev / np.linalg.norm(events.momentum_mev, axis=1, keepdims=True)
  centre = (events.voxel.astype(np.float32) + 0.5) * np.float32(events.voxel_mm)
  depth = np.einsum("mi,mi->m", centre, axis[event])
  return VoxelDepths(event, depth, np.maximum(np.sum(centre**2, axis=1) - depth**2, 0.0))


def track_ends(events: Events, depths: VoxelDepths) -> TrackEnds:
  """Where the last END_MEV of each event are, in order of depth."""
  order = np.lexsort((-depths.depth_mm, depths.event))  # deepest first
  energy = events.edep_mev[order].astype(float)
  before = np.cumsum(energy) - energy
  before = before - before[events.offsets[:-1]][depths.event]  # energy that lies deeper
  share = np.clip(END_MEV - before, 0.0, energy)
  total = np.add.reduceat(share, events.offsets[:-1])
  mean = lambda x: np.add.reduceat(share * x, events.offsets[:-1]) / total
  centre = (events.voxel[order] + 0.5) * events.voxel_mm
  position = np.stack([mean(centre[:, axis]) for axis in range(3)], axis=1)
  return TrackEnds(kinetic_energy(events.momentum_mev), mean(depths.depth_mm[order]), position)


def angle_deg(events: Events, ends: TrackEnds) -> np.ndarray:
  """Angle [n] between the initial direction and the end of the track as seen from the vertex."""
  axis = events.momentum_mev / np.linalg.norm(events.momentum_mev, axis=1, keepdims=True)
  along = np.sum(axis * ends.position_mm, axis=1)
  across = np.linalg.norm(ends.position_mm - along[:, None] * axis, axis=1)
  return np.degrees(np.arctan2(across, along))


def binned_range(ends: TrackEnds, edges_mev: np.ndarray,
                 reference_mm) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Ratio of depth to a reference in bins of energy: mean, its error, and spread, each [bins].

  The spread is the standard deviation within 4 robust sigma: a proton that scatters off a nucleus is no
  straggling.
  Args:
    edges_mev: [bins + 1].
    reference_mm: function of energy.
  """
  ratio = ends.depth_mm / reference_mm(ends.kinetic_mev)
  rows = []
  for low, high in zip(edges_mev[:-1], edges_mev[1:], strict=True):
    chosen = ratio[(ends.kinetic_mev >= low) & (ends.kinetic_mev < high)]
    median = np.median(chosen)
    sigma = 1.4826 * np.median(np.abs(chosen - median))
    core = chosen[np.abs(chosen - median) < 4.0 * sigma]
    rows.append((core.mean(), core.std() / np.sqrt(len(core)), core.std()))
  return tuple(np.array(column) for column in zip(*rows, strict=True))


def residual_curve(events: Events, depths: VoxelDepths, ends: TrackEnds, edges_mm: np.ndarray,
                   end_to_stop_mm: float) -> np.ndarray:
  """Mean dE/dx in MeV/mm [bins] against residual range, over events that reach back so far.

  Args:
    edges_mm: residual range [bins + 1].
    end_to_stop_mm: from the centroid of the last END_MEV to the stopping point.
  """
  stop = ends.depth_mm + end_to_stop_mm
  residual = stop[depths.event] - depths.depth_mm
  curve = []
  for low, high in zip(edges_mm[:-1], edges_mm[1:], strict=True):
    reach = stop > high + 1.0  # away from the vertex, where voxels are cut
    inside = (residual >= low) & (residual < high) & reach[depths.event]
    curve.append(events.edep_mev[inside].sum(dtype=float) / max(reach.sum(), 1) / (high - low))
  return np.array(curve)


def lateral_spread(events: Events, depths: VoxelDepths, chosen: np.ndarray, edges_mm: np.ndarray
                   ) -> tuple[np.ndarray, np.ndarray]:
  """Energy-weighted rms distance from the axis in one projection, mm, and its error, in bins of depth, each
  [bins].

  The spread of voxel centres about what they hold, voxel_mm^2 / 12 an axis, is taken off. Only voxels within
  2 mm plus half the depth count: the keV that an X-ray leaves 100 mm away would outweigh a track.

  Args:
    chosen: which events count, bool [n].
    edges_mm: depth [bins + 1].
  """
  rows = []
  for low, high in zip(edges_mm[:-1], edges_mm[1:], strict=True):
    near = depths.lateral2_mm2 < (2.0 + 0.5 * high)**2
    inside = np.flatnonzero(near & chosen[depths.event] & (depths.depth_mm >= low) & (depths.depth_mm < high))
    weight, square = events.edep_mev[inside].astype(float), 0.5 * depths.lateral2_mm2[inside]
    owner = depths.event[inside]
    total = np.bincount(owner, weight, minlength=len(events))
    moment = np.bincount(owner, weight * square, minlength=len(events))
    mean = moment.sum() / total.sum()
    error = np.sqrt(np.sum((moment - mean * total)**2)) / total.sum()
    variance = mean - events.voxel_mm**2 / 12.0
    rows.append((np.sqrt(max(variance, 0.0)), 0.5 * error / np.sqrt(max(variance, 1e-9))))
  return tuple(np.array(column) for column in zip(*rows, strict=True))
