"""edep-sim ROOT files: the tree `EDepSimEvents` of TG4Event, read with uproot and without edep-sim or ROOT.

Read: `EventId`, `SegmentDetectors` (start, stop, energy of every hit segment), the positions of `Primaries`,
and the PDG codes and initial momenta of those `Trajectories` without parent, which are the primary particles.
Lengths are mm, energies MeV. uproot reads all of them but the segments, which ROOT streams inside a map of
vectors; `edepsim_segments` decodes them, by the streamer info of the file. Not read: `Primaries.Particles`,
points of trajectories, photon hits and the geometry.
"""
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.readers import edepsim_segments as segments_lib
from lartpc_jax.data.readers.api import EventSource, RawEvent, check_values
from lartpc_jax.data.readers.root import first_line, lorentz_vectors, open_tree, root_file

TREE = "EDepSimEvents"
NAMES, VECTORS, UNSPLIT = "SegmentDetectors.first", "SegmentDetectors.second", "SegmentDetectors"
BRANCHES = ("EventId", "SegmentDetectors", "Primaries.Position", "Trajectories.ParentId",
            "Trajectories.PDGCode", "Trajectories.InitialMomentum")
BLOCK_BYTES = 4 << 20  # of segments, whose events are read together


def open_edepsim_root(path: str | os.PathLike, *, detectors: tuple[str, ...] = ()) -> EventSource:
  """Events of an edep-sim file, some MB at a time. Needs uproot.

  Args:
    path: ROOT file.
    detectors: names of the sensitive detectors whose segments are taken; empty: all.
  Raises FileNotFoundError or ValueError naming file and field.
  """
  path = root_file(path)
  tree, _ = open_tree(path, TREE, BRANCHES)
  if not tree.num_entries:
    raise ValueError(f"{path}: tree {TREE!r} holds no events.")
  num = tree.num_entries
  tree.file.close()
  return EventSource(num, 1.0, lambda: _iterate(path, tuple(detectors)))


def _iterate(path: str, detectors: tuple[str, ...]) -> Iterator[RawEvent]:
  tree, branches = open_tree(path, TREE, BRANCHES)
  members = _members(path, tree)
  split = VECTORS in branches
  segments = branches[VECTORS if split else UNSPLIT]
  known: set[str] = set()
  with tree.file:
    for baskets in _blocks(segments):
      try:
        truth = _read_truth(branches, int(segments.basket_entry_start_stop(baskets[0])[0]),
                            int(segments.basket_entry_start_stop(baskets[-1])[1]))
      except Exception as error:
        raise _damaged(path, baskets[0], error) from error
      at = 0
      for i in baskets:
        try:
          basket = segments.basket(i)
          data, offsets = np.asarray(basket.data), np.asarray(basket.byte_offsets)
        except Exception as error:
          raise _damaged(path, i, error) from error
        for first, last in zip(offsets[:-1], offsets[1:]):
          source = f"{path}: event {truth.numbers[at]}"
          if split:
            pieces = dict(
                zip(truth.names[at],
                    segments_lib.decode_split(source, data[first:last], len(truth.names[at]), members)))
          else:
            pieces = segments_lib.decode_unsplit(source, data[first:last], members)
          known |= set(pieces)
          yield _event(source, truth, at,
                       [p for name, p in pieces.items() if not detectors or name in detectors])
          at += 1
  unknown = set(detectors) - known
  if unknown:
    raise ValueError(
        f"{path}: no event has segments in the detectors {sorted(unknown)}; there are {sorted(known)}.")


def _event(source: str, truth: "_Truth", at: int, pieces: list[segments_lib.Segments]) -> RawEvent:
  start, stop, edep, time = segments_lib.concatenate(pieces)
  check_values(start, source, "SegmentDetectors.Start")
  check_values(stop, source, "SegmentDetectors.Stop")
  check_values(edep, source, "SegmentDetectors.EnergyDeposit", minimum=0.0)
  momentum = truth.momenta_mev[at]
  square = np.sum(momentum[:, :3]**2, axis=1)
  mass = np.sqrt(np.maximum(momentum[:, 3]**2 - square, 0.0))  # photons: zero but for rounding
  return RawEvent(int(truth.numbers[at]), start, stop, edep, truth.vertices_mm[at], momentum[:, :3],
                  time=time, pdg=truth.pdg[at], kinetic_mev=momentum[:, 3] - mass)


def _damaged(path: str, basket: int, error: Exception) -> ValueError:
  return ValueError(
      f"{path}: tree {TREE!r}, basket {basket} of SegmentDetectors and its events are not readable "
      f"(truncated or damaged?): {first_line(error)}.")


def _blocks(branch) -> Iterator[list[int]]:
  """Numbers of baskets that together hold about BLOCK_BYTES: their events' other branches are read at
  once."""
  block, size = [], 0
  for i in range(branch.num_baskets):
    block.append(i)
    size += branch.basket_uncompressed_bytes(i)
    if size >= BLOCK_BYTES:
      yield block
      block, size = [], 0
  if block:
    yield block


class _Truth(NamedTuple):
  """Of some events, one entry each."""
  numbers: np.ndarray
  # of the detectors; empty for the unsplit form, which holds them with the segments
  names: list[list[str]]
  vertices_mm: list[np.ndarray]   # [k 3]
  momenta_mev: list[np.ndarray]   # [j 4] of the primaries, energy last
  pdg: list[np.ndarray]           # [j]


def _read_truth(branches: dict, first: int, last: int) -> _Truth:
  read = lambda name, library: branches[name].array(entry_start=first, entry_stop=last, library=library)
  names = [[str(name) for name in row] for row in read(NAMES, "np")] if NAMES in branches else []
  primary = [np.asarray(parent) == -1 for parent in read("Trajectories.ParentId", "np")]
  momenta = [
      p[chosen]
      for p, chosen in zip(lorentz_vectors(read("Trajectories.InitialMomentum", "ak")), primary, strict=True)
  ]
  pdg = [
      np.asarray(codes, np.int64)[chosen]
      for codes, chosen in zip(read("Trajectories.PDGCode", "np"), primary, strict=True)
  ]
  vertices = [position[:, :3] for position in lorentz_vectors(read("Primaries.Position", "ak"))]
  return _Truth(read("EventId", "np"), names, vertices, momenta, pdg)


def _members(path: str, tree) -> list[tuple[str, str]]:
  """(name, type) of what TG4HitSegment stores, in order."""
  try:
    streamer = tree.file.streamer_named("TG4HitSegment")
  except Exception as error:  # they lie at the end of the file
    raise ValueError(
        f"{path}: its streamer infos are not readable (truncated?): {first_line(error)}.") from error
  return segments_lib.check_members(path, streamer)
