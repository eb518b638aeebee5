"""From straight segments to energy in voxels, exactly: where a track crosses a voxel's face, one voxel ends.

Two parts: `find_crossings` is jax and belongs inside the jitted transport; `sum_voxels` is numpy, as picking
the crossings that there are and sorting is much faster there than in XLA on a CPU.
"""
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.simulation.fast import Track

AXIS_BITS = 10
MAX_VOXELS = 2**(AXIS_BITS - 1) - 1  # from the vertex along each axis
SHIFTS = (2 * AXIS_BITS, AXIS_BITS, 0)
NOTHING = 2**32 - 1                  # code of no crossing: larger than any other
SLOT_BITS = 14                       # of a number that counts the crossings of an event


class Crossings(NamedTuple):
  """Where tracks of m segments leave voxels: up to three times in a segment, in the order of the track, and
  at its end."""
  code: tuple[Array, Array, Array]           # uint32 [*e m] of the voxel left (see `decode`), or NOTHING
  deposited_mev: tuple[Array, Array, Array]  # [*e m] from the vertex to there
  end_code: Array                            # uint32 [*e] of the voxel in which the track ends
  end_mev: Array                             # [*e] deposited by the whole track


def events_first(track: Track) -> tuple[Float[Array, "*e 3 p"], Float[Array, "*e p"]]:
  """Positions in mm and energy deposited at the p points of tracks, with events as the first axis:
  `find_crossings` takes that and numpy goes through it. A program of its own for each of the two is faster:
  XLA would transpose again and again.
  """
  return jnp.moveaxis(track.position_mm, (0, 1), (-1, -2)), jnp.moveaxis(track.deposited_mev, 0, -1)


def find_crossings(position_mm: Float[Array, "*e 3 p"], deposited_mev: Float[Array, "*e p"],
                   voxel_mm: float) -> Crossings:
  """The crossings of tracks as `events_first` gives them.

  Args:
    position_mm: segments between them should not be longer than a voxel: of two faces crossed along one axis
      one counts.
    deposited_mev: up to each point.
    voxel_mm: static.
  """
  points, deposited = jnp.moveaxis(position_mm, -2, 0) / voxel_mm, deposited_mev
  index = jnp.floor(points)
  place = (jnp.clip(index, -MAX_VOXELS - 1, MAX_VOXELS).astype(jnp.int32) + (MAX_VOXELS + 1)).astype(
      jnp.uint32)
  place = [part << np.uint32(shift) for part, shift in zip(place, SHIFTS, strict=True)]
  cuts = []
  for a, b, low, high in zip(points[..., :-1], points[..., 1:], index[..., :-1], index[..., 1:], strict=True):
    share = (jnp.maximum(low, high) - a) / (b - a)
    # 2: no face is crossed along this axis
    cuts.append(jnp.where(low != high, jnp.clip(share, 0.0, 1.0), 2.0))
  least, most = jnp.minimum(cuts[0], cuts[1]), jnp.maximum(cuts[0], cuts[1])
  order = (jnp.minimum(least, cuts[2]), jnp.maximum(least, jnp.minimum(most, cuts[2])),
           jnp.maximum(most, cuts[2]))
  start, energy = deposited[..., :-1], deposited[..., 1:] - deposited[..., :-1]
  codes, energies = [], []
  for at in order:
    x, y, z = (jnp.where(cut >= at, p[..., :-1], p[..., 1:]) for cut, p in zip(cuts, place, strict=True))
    codes.append(jnp.where(at <= 1.0, x | y | z, np.uint32(NOTHING)))
    energies.append(start + energy * jnp.minimum(at, 1.0))
  return Crossings(tuple(codes), tuple(energies), place[0][..., -1] | place[1][..., -1] | place[2][..., -1],
                   deposited[..., -1])


def decode(code: np.ndarray) -> np.ndarray:
  """Voxel indices [m 3], int16, of codes [m]."""
  mask = np.uint32(2**AXIS_BITS - 1)
  voxel = np.empty((len(code), 3), np.int16)
  for axis, shift in enumerate(SHIFTS):
    voxel[:, axis] = (code >> np.uint32(shift)) & mask
  voxel -= np.int16(MAX_VOXELS + 1)
  return voxel


def sum_voxels(crossings: Crossings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Energy in each voxel, event by event, of crossings of e events as numpy arrays.

  Returns:
    Voxels an event [e], voxel indices int16 [m 3], energies float32 [m]; each voxel of an event once, none
    without energy, in the order of the track, or sorted where it may have come back.
  """
  slots = _interleave(crossings.code, crossings.end_code)
  used = slots != NOTHING
  places = np.flatnonzero(used)
  starts = np.concatenate([[0], np.cumsum(np.count_nonzero(used, axis=1))])
  code = slots.ravel()[places]
  deposited = _interleave(crossings.deposited_mev, crossings.end_mev).ravel()[places]
  energy = np.empty_like(deposited)
  np.subtract(deposited[1:], deposited[:-1], out=energy[1:])
  energy[starts[:-1]] = deposited[starts[:-1]]
  # One that never turns back crosses as many faces as its ends are apart; the others may come to a voxel
  # again.
  apart = np.abs(decode(code[starts[:-1]]) - decode(crossings.end_code)).sum(axis=1)
  if len(events := np.flatnonzero(np.diff(starts) - 1 != apart)):
    _merge_returns(code, energy, starts, events)
  some = np.flatnonzero(energy > 0)
  return np.diff(np.searchsorted(some, starts)), decode(code[some]), energy[some]


def _interleave(parts, end: np.ndarray) -> np.ndarray:
  """[e 3 m + 1]: in the order of the track."""
  num, segments = parts[0].shape
  slots = np.empty((num, 3 * segments + 1), end.dtype)
  for i, part in enumerate(parts):
    slots[:, i:-1:3] = part
  slots[:, -1] = end
  return slots


def _merge_returns(code: np.ndarray, energy: np.ndarray, starts: np.ndarray, events: np.ndarray) -> None:
  """Sorts the voxels of `events` by code, in place, and moves the energy of equal ones to the first of
  them."""
  counts = starts[events + 1] - starts[events]
  owner = np.repeat(np.arange(len(events)), counts)
  slot = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
  rows = np.repeat(starts[events], counts) + slot
  # Event, code and number share one 64-bit integer: a plain sort of it is several times faster than an
  # argsort.
  keys = (owner.astype(np.uint64) << np.uint64(3 * AXIS_BITS + SLOT_BITS)) | slot.astype(np.uint64)
  keys |= code[rows].astype(np.uint64) << np.uint64(SLOT_BITS)
  keys.sort()
  slot = (keys & np.uint64(2**SLOT_BITS - 1)).astype(np.int64)
  voxel = keys >> np.uint64(SLOT_BITS)
  first = np.flatnonzero(np.concatenate([[True], voxel[1:] != voxel[:-1]]))
  sums = np.add.reduceat(energy[np.repeat(starts[events], counts) + slot], first)
  code[rows] = (voxel & np.uint64(2**(3 * AXIS_BITS) - 1)).astype(np.uint32)
  energy[rows] = 0.0
  energy[rows[first]] = sums
