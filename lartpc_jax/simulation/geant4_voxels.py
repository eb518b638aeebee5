"""From steps of charged particles to sparse voxels, exactly: a step's energy is shared by the length inside
each voxel."""
from typing import NamedTuple

import numpy as np

TRACK, SHOWER, DELTA, MICHEL = 1, 2, 3, 4  # 0 is background, as in the labels of images
NUM_CLASSES = 4
DELTA_MEV = 2.0                            # knock-on electrons below this belong to the track
_IONISATION = ("hIoni", "muIoni", "ionIoni")
_MUON_END = ("Decay", "muMinusCaptureAtRest")
_BITS = 16                                 # of one voxel coordinate in a sorting key
MAX_EVENTS = 1 << (63 - 3 * _BITS)         # events that fit into one call of `voxelize`


class Deposits(NamedTuple):
  """n straight steps; energy is deposited evenly along each."""
  event: np.ndarray     # [n] int, counted from 0, not falling
  start_mm: np.ndarray  # [n 3]
  end_mm: np.ndarray    # [n 3]
  edep_mev: np.ndarray  # [n]
  label: np.ndarray     # [n] int, 1 ... 4


class Voxels(NamedTuple):
  """Voxels in rising order of event, x, y, z."""
  count: np.ndarray     # [events] voxels of each event
  voxel: np.ndarray     # [m 3] int16
  edep_mev: np.ndarray  # [m] float32
  label: np.ndarray     # [m] uint8, the class with the most energy in the voxel


def particle_class(pdg: int, kinetic_mev: float, process: str | None, parent_pdg: int | None,
                   parent_class: int | None) -> int:
  """Class of a particle: 1 track, 2 shower, 3 delta ray, 4 Michel electron.

  Hadrons, muons and nuclei are tracks. Photons and primary electrons are showers, and so are the electrons
  that photons make. Electrons made by electrons have their parent's class. A knock-on electron of a track is
  a delta ray from 2 MeV, and track below; an electron from a muon at its end is a Michel electron (after
  capture: from 2 MeV, as below are Auger electrons, counted as track). Other electrons from tracks (pairs,
  pi0 Dalitz decays) are showers.

  Args:
    pdg: PDG code.
    kinetic_mev: kinetic energy where it is made.
    process: Geant4's name of the process that made it; None for a primary.
    parent_pdg: PDG code of its parent; None for a primary.
    parent_class: class of its parent; None for a primary.
  """
  if abs(pdg) not in (11, 22):
    return TRACK
  if parent_pdg is None or pdg == 22 or parent_pdg == 22:
    return SHOWER
  if abs(parent_pdg) == 11:
    return parent_class
  if abs(parent_pdg) == 13 and process in _MUON_END:
    return MICHEL if process == "Decay" or kinetic_mev >= DELTA_MEV else TRACK
  if process in _IONISATION:
    return DELTA if kinetic_mev >= DELTA_MEV else TRACK
  return SHOWER


def split_steps(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Cuts segments [n 3], in units of the voxel edge, where they cross voxel faces.

  Returns:
    Pieces in order along each segment: number of the segment [k], voxel [k 3] int64, share of its length [k].
  """
  low, high = np.floor(start).astype(np.int64), np.floor(end).astype(np.int64)
  segments, fractions = [np.arange(len(start))] * 2, [np.zeros(len(start)), np.ones(len(start))]
  for axis in range(3):
    steps = high[:, axis] - low[:, axis]
    crossing = np.repeat(np.arange(len(start)), np.abs(steps))
    nth = np.arange(len(crossing)) - np.repeat(np.cumsum(np.abs(steps)) - np.abs(steps), np.abs(steps))
    face = low[crossing, axis] + np.where(steps[crossing] > 0, nth + 1, -nth)
    a, b = start[crossing, axis], end[crossing, axis]
    segments.append(crossing)
    fractions.append(np.clip((face - a) / (b - a), 0.0, 1.0))
  segment, fraction = np.concatenate(segments), np.concatenate(fractions)
  order = np.lexsort((fraction, segment))
  segment, fraction = segment[order], fraction[order]
  inner = segment[1:] == segment[:-1]      # a piece lies between two neighbouring cuts of one segment
  owner, share = segment[1:][inner], np.diff(fraction)[inner]
  middle = 0.5 * (fraction[1:] + fraction[:-1])[inner]
  voxel = np.floor(start[owner] + middle[:, None] * (end - start)[owner]).astype(np.int64)
  return owner, voxel, share


def voxelize(deposits: Deposits, num_events: int, *, voxel_mm: float, half_width_mm: float) -> Voxels:
  """Voxels of `num_events` events; the corner of voxel (0, 0, 0) is the origin. Energy outside
  +-half_width_mm is lost.

  Sums are over the steps in their order, in double precision: an event's voxels do not depend on other
  events.

  Raises:
    ValueError: if coordinates would not fit int16, or there are too many events for one call.
  """
  check_voxels(voxel_mm, half_width_mm)
  if num_events > MAX_EVENTS:
    raise ValueError(f"voxelize takes at most {MAX_EVENTS} events a call; got num_events={num_events}.")
  owner, voxel, share = split_steps(deposits.start_mm / voxel_mm, deposits.end_mm / voxel_mm)
  reach = int(np.ceil(half_width_mm / voxel_mm))
  inside = np.all((voxel >= -reach) & (voxel < reach), axis=1)
  owner, voxel, share = owner[inside], voxel[inside] + (1 << (_BITS - 1)), share[inside]
  key = deposits.event[owner].astype(np.int64)
  for axis in range(3):
    key = (key << _BITS) | voxel[:, axis]
  key, place = np.unique(key, return_inverse=True)
  table = np.bincount(place * NUM_CLASSES + deposits.label[owner] - TRACK, deposits.edep_mev[owner] * share,
                      minlength=NUM_CLASSES * len(key)).reshape(-1, NUM_CLASSES)
  edep_mev = table.sum(axis=1).astype(np.float32)
  kept = edep_mev > 0
  key, table, edep_mev = key[kept], table[kept], edep_mev[kept]
  axes = [((key >> shift) & ((1 << _BITS) - 1)) - (1 << (_BITS - 1)) for shift in (2 * _BITS, _BITS, 0)]
  return Voxels(np.bincount(key >> (3 * _BITS), minlength=num_events),
                np.stack(axes, axis=1).astype(np.int16), edep_mev,
                (np.argmax(table, axis=1) + TRACK).astype(np.uint8))


def check_voxels(voxel_mm: float, half_width_mm: float) -> None:
  """Raises ValueError naming the value unless both are positive and the voxels fit int16."""
  if not voxel_mm > 0:
    raise ValueError(f"voxel_mm must be positive; got {voxel_mm}.")
  if not 0 < half_width_mm / voxel_mm <= (1 << (_BITS - 1)):
    raise ValueError(
        f"half_width_mm must be positive and at most {1 << (_BITS - 1)} voxels of {voxel_mm} mm; "
        f"got {half_width_mm}.")
