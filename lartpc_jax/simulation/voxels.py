"""From straight segments to energy in voxels, exactly: each segment is cut where it crosses voxel faces.

Two parts: `cut_segments` is jax and belongs inside the jitted transport; `merge_pieces` is numpy, as sorting is ten times
faster there than in XLA on a CPU.
"""
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.simulation.fast import Track

AXIS_BITS = 10
MAX_VOXELS = 2**(AXIS_BITS - 1) - 1  # from the vertex along each axis
NOTHING = 2**32 - 1                  # code of a piece without energy: larger than any other
PIECES = 4                           # a segment no longer than a voxel crosses at most one face along each axis


def cut_segments(track: Track, voxel_mm: float) -> tuple[Array, Array]:
  """Codes and energies of the pieces of a track of n segments, each [4 n].

  Args:
    track: its segments should not be longer than a voxel: of two faces crossed along one axis only the first one cuts.
    voxel_mm: static.
  Returns:
    Voxel code uint32, ten bits an axis (see `decode`), and energy in MeV; pieces of no energy have the code NOTHING.
  """
  points = track.position_mm / voxel_mm
  starts, moves, cuts = [], [], []
  for axis in range(3):
    a, b = points[:-1, axis], points[1:, axis]
    crosses = jnp.floor(a) != jnp.floor(b)
    face = jnp.floor(a) + (b > a).astype(a.dtype)
    cuts.append(jnp.where(crosses, jnp.clip((face - a) / jnp.where(crosses, b - a, 1.0), 0.0, 1.0), 1.0))
    starts.append(a)
    moves.append(b - a)
  low, high = jnp.minimum(cuts[0], cuts[1]), jnp.maximum(cuts[0], cuts[1])
  ends = [jnp.minimum(low, cuts[2]), jnp.maximum(low, jnp.minimum(high, cuts[2])), jnp.maximum(high, cuts[2]),
          jnp.ones_like(low)]
  codes, energies = [], []
  begin = jnp.zeros_like(low)
  for end in ends:
    middle = 0.5 * (begin + end)
    code = jnp.zeros(low.shape, jnp.uint32)
    for a, move in zip(starts, moves, strict=True):
      index = jnp.clip(jnp.floor(a + middle * move).astype(jnp.int32) + MAX_VOXELS + 1, 0, 2 * MAX_VOXELS + 1)
      code = (code << AXIS_BITS) | index.astype(jnp.uint32)
    energy = track.edep_mev * (end - begin)
    codes.append(jnp.where(energy > 0, code, jnp.uint32(NOTHING)))
    energies.append(jnp.maximum(energy, 0.0))
    begin = end
  return jnp.concatenate(codes), jnp.concatenate(energies)


def decode(code: np.ndarray) -> np.ndarray:
  """Voxel indices [m 3], int16, of codes [m]."""
  mask = 2**AXIS_BITS - 1
  axes = [(code >> shift) & mask for shift in (2 * AXIS_BITS, AXIS_BITS, 0)]
  return (np.stack(axes, axis=-1).astype(np.int32) - (MAX_VOXELS + 1)).astype(np.int16)


def merge_pieces(code: np.ndarray, edep_mev: Float[np.ndarray, "e p"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Sums pieces of the same voxel, event by event.

  Args:
    code: uint32 [e p].
    edep_mev: float32 [e p], not negative.
  Returns:
    Voxels an event [e], voxel indices int16 [m 3], energies float32 [m]; each voxel of an event once, in order.
  """
  # Code and energy share one 64-bit number: a plain sort of it is several times faster than an argsort.
  keys = code.astype(np.uint64)
  keys <<= np.uint64(32)
  keys |= np.ascontiguousarray(edep_mev).view(np.uint32)
  keys.sort(axis=1)
  sorted_code = (keys >> np.uint64(32)).astype(np.uint32)
  first = np.empty(sorted_code.shape, bool)
  first[:, 0] = True
  np.not_equal(sorted_code[:, 1:], sorted_code[:, :-1], out=first[:, 1:])
  first &= sorted_code != NOTHING
  places = np.flatnonzero(first)
  energy = keys.astype(np.uint32).view(np.float32).ravel()  # the low half; pieces without a voxel have no energy
  summed = np.add.reduceat(energy, places) if len(places) else np.zeros(0, np.float32)
  return first.sum(axis=1), decode(sorted_code.ravel()[places]), summed
