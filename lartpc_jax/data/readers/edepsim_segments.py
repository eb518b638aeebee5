"""The bytes of edep-sim's map of detectors to hit segments, in both forms in which ROOT streams it.

Split (what edep-sim's own build writes today): the names are a branch of their own, and of the vectors the
members lie one after the other, each of all segments. Unsplit (every file that ROOT 6.12 wrote): names and
segments are streamed object by object, in one branch. Lengths are mm, energies MeV, times ns.
"""
import struct
from typing import NamedTuple

import numpy as np

MEMBERWISE, BYTE_COUNT, REFERENCED = 0x4000, 0x40000000, 1 << 4  # of TBuffer and TObject
BASIC = {"int": ">i4", "Int_t": ">i4", "float": ">f4", "Float_t": ">f4", "double": ">f8", "Double_t": ">f8"}
TOBJECT = np.dtype([("version", ">u2"), ("unique", ">u4"), ("bits", ">u4")])
LORENTZ = np.dtype([("bytes", ">u4"), ("version", ">u2"), ("object", TOBJECT), ("vector_bytes", ">u4"),
                    ("vector_version", ">u2"), ("vector_object", TOBJECT), ("xyz", ">f8", 3), ("t", ">f8")])
# (name, type) of what TG4HitSegment stores in every edep-sim; a file without segments does not describe them.
MEMBERS = (("TObject", "BASE"), ("Contrib", "vector<int>"), ("PrimaryId", "int"), ("EnergyDeposit", "float"),
           ("SecondaryDeposit", "float"), ("TrackLength",
                                           "float"), ("Start", "TLorentzVector"), ("Stop", "TLorentzVector"))
GATHERED = 20_000  # unsplit segments decoded at once


class Segments(NamedTuple):
  """m segments."""
  start_mm: np.ndarray  # [m 3]
  stop_mm: np.ndarray   # [m 3]
  edep_mev: np.ndarray  # [m]
  time_ns: np.ndarray   # [m] at the start


NONE = Segments(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros(0))


def concatenate(pieces: list[Segments]) -> Segments:
  """All segments of several detectors, in their order."""
  return Segments(*(np.concatenate(arrays) for arrays in zip(NONE, *pieces)))


def check_members(path: str, streamer) -> list[tuple[str, str]]:
  """(name, type) of what the TG4HitSegment of a file stores, from its streamer info; None stands for
  `MEMBERS`."""
  members = list(MEMBERS) if streamer is None else [
      (element.name, element.typename) for element in streamer.elements
  ]
  allowed = {"BASE", "TLorentzVector", "vector<int>", *BASIC}
  unknown = [
      f"{name} ({kind})" for name, kind in members
      if kind not in allowed or (kind == "BASE" and name != "TObject")
  ]
  lacking = {"EnergyDeposit", "Start", "Stop"} - {name for name, _ in members}
  if unknown or lacking:
    raise ValueError(
        f"{path}: class 'TG4HitSegment' of this file is not understood: members {unknown or 'without'} "
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


def _start(source: str, data: np.ndarray) -> tuple[_Cursor, bool]:
  """A place behind byte count and version of the whole, and whether it is streamed member by member."""
  cursor = _Cursor(source, data)
  size = int(cursor.take(">u4")[0])
  if size != (BYTE_COUNT | (len(data) - 4)):
    cursor.fail(f"has a byte count of {size & ~BYTE_COUNT} for {len(data) - 4} bytes")
  return cursor, bool(cursor.take(">u2")[0] & MEMBERWISE)


def _end(cursor: _Cursor) -> None:
  if cursor.at != len(cursor.data):
    cursor.fail(f"leaves {len(cursor.data) - cursor.at} bytes over")


def decode_split(source: str, data: np.ndarray, num_vectors: int, members) -> list[Segments]:
  """The segments of each of an event's detectors, streamed member by member.

  Layout (ROOT I/O, TStreamerInfo::ReadBuffer of an STL collection): byte count, version with the member-wise
  bit, class version (0: a checksum follows); then for each vector its size and, member by member, the values
  of all its elements.
  """
  if not num_vectors:
    return []
  cursor, memberwise = _start(source, data)
  if not memberwise:
    cursor.fail("is not streamed member by member, as a split branch must be")
  if not cursor.take(">u2")[0]:
    cursor.take(">u4")  # checksum of a class without ClassDef
  pieces = []
  for _ in range(num_vectors):
    count = int(cursor.take(">u4")[0])
    columns = {name: _column(cursor, kind, count) for name, kind in members}
    pieces.append(_segments(columns) if count else NONE)
  _end(cursor)
  return pieces


def _segments(columns: dict | np.ndarray) -> Segments:
  start, stop = columns["Start"], columns["Stop"]
  return Segments(start["xyz"].astype(np.float64), stop["xyz"].astype(np.float64),
                  columns["EnergyDeposit"].astype(np.float64), start["t"].astype(np.float64))


def _column(cursor: _Cursor, kind: str, count: int) -> np.ndarray:
  """Values of one member of `count` segments."""
  if not count:
    return np.zeros(0)
  if kind in BASIC:
    return cursor.take(BASIC[kind], count)
  if kind == "BASE":
    objects = cursor.take(TOBJECT, count)
    if np.any(objects["bits"] & REFERENCED):
      cursor.fail("holds referenced objects, which are not understood")
    return objects
  if kind == "TLorentzVector":
    vectors = cursor.take(LORENTZ, count)
    _check_lorentz(cursor, vectors)
    return vectors
  # of all the vectors<int> together; their values are not needed
  size = int(cursor.take(">u4")[0]) & ~BYTE_COUNT
  return cursor.take(np.uint8, size)


def _check_lorentz(cursor: _Cursor, vectors: np.ndarray) -> None:
  if np.any(vectors["bytes"] != (BYTE_COUNT | (LORENTZ.itemsize - 4))):
    cursor.fail("holds a TLorentzVector of another layout")


def decode_unsplit(source: str, data: np.ndarray, members) -> dict[str, Segments]:
  """The segments of each of an event's detectors by its name, streamed object by object.

  Layout (big-endian): byte count, version, number of detectors; for each its name, the number of segments,
  and each segment as an object: byte count, version (0: a checksum follows), and its members in order. Only
  one member, the vector `Contrib`, is of variable length, and what is wanted comes behind it, so a segment is
  read from its end.
  """
  cursor, memberwise = _start(source, data)
  if memberwise:
    cursor.fail("is streamed member by member, as an unsplit branch is not")
  kinds = [kind for _, kind in members]
  if kinds[:2] != ["BASE", "vector<int>"] or kinds.count("vector<int>") > 1:
    cursor.fail(f"has segments of the unknown members {members}")
  tail = np.dtype([
      (name, {**BASIC, "TLorentzVector": LORENTZ, "BASE": TOBJECT}[kind]) for name, kind in members[2:]
  ])
  found: dict[str, Segments] = {}
  for _ in range(int(cursor.take(">u4")[0])):
    length = int(cursor.take(">u1")[0])
    length = int(cursor.take(">u4")[0]) if length == 255 else length
    name = cursor.take(np.uint8, length).tobytes().decode("utf-8", "replace")
    found[name] = _objects(cursor, int(cursor.take(">u4")[0]), tail)
  _end(cursor)
  return found


def _objects(cursor: _Cursor, count: int, tail: np.dtype) -> Segments:
  """`count` segments at the cursor, each with its own byte count."""
  starts, content = np.zeros(count, np.int64), cursor.data.tobytes()
  at = cursor.at
  for i in range(count):
    starts[i] = at
    if at + 4 > len(content):
      cursor.fail("is truncated or of another layout")
    size = struct.unpack_from(">I", content, at)[0]
    if not size & BYTE_COUNT:
      cursor.fail("holds a segment without a byte count")
    at += 4 + (size & ~BYTE_COUNT)
  if at > len(content):
    cursor.fail("is truncated or of another layout")
  cursor.at = at
  ends = np.append(starts[1:], at)
  if count and (ends - starts).min() < 6 + TOBJECT.itemsize + 4 + tail.itemsize:
    cursor.fail("holds a segment that is too short")
  return concatenate([_objects_block(cursor, starts[i:i + GATHERED], ends[i:i + GATHERED], tail)
                      for i in range(0, count, GATHERED)])


def _objects_block(cursor: _Cursor, starts: np.ndarray, ends: np.ndarray, tail: np.dtype) -> Segments:

  def gather(at, dtype):
    return cursor.data[at[:, None] + np.arange(np.dtype(dtype).itemsize)].copy().view(dtype)[:, 0]

  # behind byte count, version, perhaps a checksum
  head = starts + 6 + np.where(gather(starts + 4, ">u2") == 0, 4, 0)
  if np.any(gather(head, TOBJECT)["bits"] & REFERENCED):
    cursor.fail("holds referenced objects, which are not understood")
  vector = head + TOBJECT.itemsize
  if np.any(vector + 4 + (gather(vector, ">u4").astype(np.int64) & ~BYTE_COUNT) + tail.itemsize != ends):
    cursor.fail("holds segments of another layout")
  rows = gather(ends - tail.itemsize, tail)
  for name in ("Start", "Stop"):
    _check_lorentz(cursor, rows[name])
  return _segments(rows)
