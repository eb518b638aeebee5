"""npy files without reading them: headers checked against the file's size, rows mapped on demand."""
import functools
import os
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.streams import read_header


class NpyFile(NamedTuple):
  """A checked npy file whose rows have not been read yet."""
  path: str
  field: str                # for messages
  shape: tuple[int, ...]
  dtype: np.dtype

  def __len__(self) -> int:  # number of rows, not of fields
    return self.shape[0]


def open_npy(path: str | os.PathLike, field: str) -> NpyFile:
  """Reads and checks the header of an npy file of numbers in C order.

  Raises:
    ValueError: naming file and field, if it is no npy file, truncated, without rows, or of another dtype.
  """
  path = os.fspath(path)
  try:
    with open(path, "rb") as file:
      shape, fortran_order, dtype = read_header(file)
      offset = file.tell()
  except ValueError as error:
    raise ValueError(f"{path}: field {field!r} is no readable npy file: {error}.") from error
  if dtype.kind not in "iufb":
    raise ValueError(f"{path}: field {field!r} must hold numbers; got dtype {dtype}.")
  if fortran_order and len(shape) > 1:
    raise ValueError(f"{path}: field {field!r} is in Fortran order; save it with np.ascontiguousarray.")
  if not shape or not shape[0]:
    raise ValueError(f"{path}: field {field!r} holds no rows (shape {shape}).")
  need, found = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize, os.path.getsize(path)
  if found < need:
    raise ValueError(
        f"{path}: field {field!r} is truncated: {found} bytes, but shape {shape} of {dtype} needs {need}.")
  return NpyFile(path, field, tuple(shape), dtype)


def read_rows(file: NpyFile, start: int, stop: int, dtype: type = np.float32) -> np.ndarray:
  """Rows start ... stop - 1 as numbers of `dtype`; only they are read."""
  return np.array(_mapped(file.path, os.stat(file.path).st_mtime_ns)[start:stop], dtype)


@functools.lru_cache(maxsize=1024)
def _mapped(path: str, changed: int) -> np.ndarray:
  """The file mapped, kept open: training reads single rows. A file that was written anew is mapped anew."""
  del changed
  return np.load(path, mmap_mode="r", allow_pickle=False)


def read_across(counts: np.ndarray, read_one, start: int, stop: int) -> np.ndarray:
  """Rows start ... stop - 1 of files laid end to end: `read_one(i, first, last)` reads from file i of
  counts[i] rows."""
  ends = np.cumsum(counts)
  pieces = []
  for i in range(int(np.searchsorted(ends, start, side="right")), len(counts)):
    begin = int(ends[i] - counts[i])
    if begin >= stop:
      break
    pieces.append(read_one(i, max(start - begin, 0), min(stop - begin, int(counts[i]))))
  return np.concatenate(pieces)
