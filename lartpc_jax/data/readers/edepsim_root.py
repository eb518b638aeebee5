"""edep-sim ROOT files: the tree `EDepSimEvents` of TG4Event, read with uproot and without edep-sim or ROOT.

Read: `EventId`, `SegmentDetectors` (start, stop, energy of every hit segment), the positions of `Primaries`, and the initial
momenta of those `Trajectories` without parent. Lengths are mm, energies MeV. uproot reads all of them but the segments,
which ROOT streams member by member inside a map of vectors; their bytes are decoded here, by the streamer info of the file.
Not read: `Primaries.Particles`, points of trajectories, photon hits and the geometry; nor files whose segments are streamed
object by object (none of edep-sim's own): convert those with larnd-sim's dumpTree and read them as `segments`.
"""
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.readers.api import EventSource, RawEvent, check_values, existing, load_extra

TREE = "EDepSimEvents"
BRANCHES = ("EventId", "SegmentDetectors.first", "SegmentDetectors.second", "Primaries.Position", "Trajectories.ParentId",
            "Trajectories.InitialMomentum")
MEMBERWISE, BYTE_COUNT, REFERENCED = 0x4000, 0x40000000, 1 << 4  # of TBuffer and TObject
BLOCK_BYTES = 4 << 20  # of segments, whose events are read together
BASIC = {"int": ">i4", "Int_t": ">i4", "float": ">f4", "Float_t": ">f4", "double": ">f8", "Double_t": ">f8"}
TOBJECT = np.dtype([("version", ">u2"), ("unique", ">u4"), ("bits", ">u4")])
LORENTZ = np.dtype([("bytes", ">u4"), ("version", ">u2"), ("object", TOBJECT), ("vector_bytes", ">u4"),
                    ("vector_version", ">u2"), ("vector_object", TOBJECT), ("xyz", ">f8", 3), ("t", ">f8")])


def open_edepsim_root(path: str | os.PathLike, *, detectors: tuple[str, ...] = ()) -> EventSource:
  """Events of an edep-sim file, some MB at a time. Needs uproot.

  Args:
    path: ROOT file.
    detectors: names of the sensitive detectors whose segments are taken; empty: all.
  Raises FileNotFoundError or ValueError naming file and field.
  """
  load_extra("uproot")
  path = existing(path)
  if not path.is_file():
    raise ValueError(f"{path}: must be a ROOT file, not a directory.")
  tree, branches = _open(str(path))
  if not tree.num_entries:
    raise ValueError(f"{path}: tree {TREE!r} holds no events.")
  num = tree.num_entries
  tree.file.close()
  return EventSource(num, 1.0, lambda: _iterate(str(path), tuple(detectors)))


def _open(path: str):
  import uproot
  try:
    file = uproot.open(path)
    keys = file.keys(cycle=False)
    tree = file[TREE] if TREE in keys else None
    branches = {} if tree is None else {branch.name: branch for _, branch in tree.iteritems()}
  except Exception as error:  # uproot raises many kinds for damaged files
    raise ValueError(f"{path}: is not a readable ROOT file (truncated?): {_short(error)}.") from error
  if tree is None:
    raise ValueError(f"{path}: lacks the tree {TREE!r}; it holds {sorted(keys)}.")
  missing = [name for name in BRANCHES if name not in branches]
  if missing:
    raise ValueError(f"{path}: tree {TREE!r} lacks the branches {missing}; it has {sorted(branches)}.")
  return tree, branches


def _short(error: Exception) -> str:
  return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


def _iterate(path: str, detectors: tuple[str, ...]) -> Iterator[RawEvent]:
  tree, branches = _open(path)
  members = _members(path, tree)
  segments = branches["SegmentDetectors.second"]
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
          names = truth.names[at]
          known |= set(names)
          start, stop, edep = _segments(f"{path}: event {truth.numbers[at]}", data[first:last], names, detectors, members)
          yield RawEvent(int(truth.numbers[at]), start, stop, edep, truth.vertices_mm[at], truth.momenta_mev[at])
          at += 1
  unknown = set(detectors) - known
  if unknown:
    raise ValueError(f"{path}: no event has segments in the detectors {sorted(unknown)}; there are {sorted(known)}.")


def _damaged(path: str, basket: int, error: Exception) -> ValueError:
  return ValueError(f"{path}: tree {TREE!r}, basket {basket} of the segments and its events are not readable (truncated or "
                    f"damaged?): {_short(error)}.")


def _blocks(branch) -> Iterator[list[int]]:
  """Numbers of baskets that together hold about BLOCK_BYTES: their events' other branches are read at once."""
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
  names: list[list[str]]          # of the detectors
  vertices_mm: list[np.ndarray]   # [k 3]
  momenta_mev: list[np.ndarray]   # [j 3]


def _read_truth(branches: dict, first: int, last: int) -> _Truth:
  read = lambda name, library: branches[name].array(entry_start=first, entry_stop=last, library=library)
  names = [[str(name) for name in row] for row in read("SegmentDetectors.first", "np")]
  momenta = [p[np.asarray(parent) == -1] for p, parent in zip(_vectors(read("Trajectories.InitialMomentum", "ak")),
                                                             read("Trajectories.ParentId", "np"), strict=True)]
  return _Truth(read("EventId", "np"), names, _vectors(read("Primaries.Position", "ak")), momenta)


def _segments(source: str, data: np.ndarray, names: list[str], detectors: tuple[str, ...], members):
  """(start [m 3], stop [m 3], energy [m]) of the chosen detectors of an event, checked."""
  pieces = _decode(source, data, len(names), members)
  chosen = [piece for name, piece in zip(names, pieces) if not detectors or name in detectors]
  nothing = (np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
  start, stop, edep = (np.concatenate(parts) for parts in zip(nothing, *chosen))
  check_values(start, source, "SegmentDetectors.Start")
  check_values(stop, source, "SegmentDetectors.Stop")
  return start, stop, check_values(edep, source, "SegmentDetectors.EnergyDeposit", minimum=0.0)


def _vectors(lorentz) -> list[np.ndarray]:
  """[k 3] of each event, from an awkward array of TLorentzVector."""
  awkward = load_extra("awkward")  # uproot brings it
  counts, flat = np.asarray(awkward.num(lorentz, axis=1)), awkward.flatten(lorentz)
  xyz = np.stack([np.asarray(flat["fP", f"f{x}"], np.float64) for x in "XYZ"], axis=-1)
  return np.split(xyz, np.cumsum(counts)[:-1])


def _members(path: str, tree) -> list[tuple[str, str]]:
  """(name, type) of what TG4HitSegment stores, in order."""
  try:
    streamer = tree.file.streamer_named("TG4HitSegment")
  except Exception as error:  # they lie at the end of the file
    raise ValueError(f"{path}: its streamer infos are not readable (truncated?): {_short(error)}.") from error
  if streamer is None:
    raise ValueError(f"{path}: has no streamer info of 'TG4HitSegment', of which field 'SegmentDetectors' is made.")
  members = [(element.name, element.typename) for element in streamer.elements]
  allowed = {"BASE", "TLorentzVector", "vector<int>", *BASIC}
  unknown = [f"{name} ({kind})" for name, kind in members if kind not in allowed or (kind == "BASE" and name != "TObject")]
  lacking = {"EnergyDeposit", "Start", "Stop"} - {name for name, _ in members}
  if unknown or lacking:
    raise ValueError(f"{path}: class 'TG4HitSegment' of this file is not understood: members {unknown or 'without'} "
                     f"{sorted(lacking) if lacking else ''}.")
  return members


class _Cursor:
  """A place in the bytes of an event; reading past their end is an error."""

  def __init__(self, source: str, data: np.ndarray):
    self.source, self.data, self.at = source, data, 0

  def take(self, dtype, count: int = 1) -> np.ndarray:
    dtype = np.dtype(dtype)
    stop = self.at + count * dtype.itemsize
    if stop > len(self.data):
      raise ValueError(f"{self.source}, field 'SegmentDetectors': is truncated or of another layout.")
    values = np.frombuffer(self.data[self.at:stop].tobytes(), dtype)
    self.at = stop
    return values

  def fail(self, text: str):
    raise ValueError(f"{self.source}, field 'SegmentDetectors': {text} at byte {self.at}.")


def _decode(source: str, data: np.ndarray, num_vectors: int, members) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """(start [m 3], stop [m 3], energy [m]) of each of an event's detectors.

  Layout (ROOT I/O, TStreamerInfo::ReadBuffer of an STL collection streamed member by member): byte count, version with
  the member-wise bit, class version (0: a checksum follows); then for each vector its size and, member by member, the values
  of all its elements.
  """
  if not num_vectors:
    return []
  cursor = _Cursor(source, data)
  size = int(cursor.take(">u4")[0])
  if size != (BYTE_COUNT | (len(data) - 4)):
    cursor.fail(f"has a byte count of {size & ~BYTE_COUNT} for {len(data) - 4} bytes")
  if not cursor.take(">u2")[0] & MEMBERWISE:
    cursor.fail("is not streamed member by member (see the reader's docstring for a way out)")
  if not cursor.take(">u2")[0]:
    cursor.take(">u4")  # checksum of a class without ClassDef
  pieces = []
  for _ in range(num_vectors):
    count = int(cursor.take(">u4")[0])
    columns = {name: _column(cursor, kind, count) for name, kind in members} if count else {}
    pieces.append((columns.get("Start", np.zeros((0, 3))), columns.get("Stop", np.zeros((0, 3))),
                   columns.get("EnergyDeposit", np.zeros(0)).astype(np.float64)))
  if cursor.at != len(data):
    cursor.fail(f"leaves {len(data) - cursor.at} bytes over")
  return pieces


def _column(cursor: _Cursor, kind: str, count: int) -> np.ndarray:
  """Values of one member of `count` segments."""
  if kind in BASIC:
    return cursor.take(BASIC[kind], count)
  if kind == "BASE":
    objects = cursor.take(TOBJECT, count)
    if np.any(objects["bits"] & REFERENCED):
      cursor.fail("holds referenced objects, which are not understood")
    return objects
  if kind == "TLorentzVector":
    vectors = cursor.take(LORENTZ, count)
    if np.any(vectors["bytes"] != (BYTE_COUNT | (LORENTZ.itemsize - 4))):
      cursor.fail("holds a TLorentzVector of another layout")
    return vectors["xyz"].astype(np.float64)
  size = int(cursor.take(">u4")[0]) & ~BYTE_COUNT  # of all the vectors<int> together; their values are not needed
  return cursor.take(np.uint8, size)
