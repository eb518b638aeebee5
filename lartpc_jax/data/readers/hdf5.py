"""HDF5 files, opened by h5py with errors that name file and field."""
import contextlib
import os
from collections.abc import Iterator

import numpy as np

from lartpc_jax.data.readers.api import existing, load_extra

BLOCK_BYTES = 16 << 20  # read at once


@contextlib.contextmanager
def open_hdf5(path: str | os.PathLike) -> Iterator:
  """The open file. Raises ValueError naming it if it is not HDF5, or is found truncated later inside the
  block."""
  h5py, path = load_extra("h5py"), existing(path)
  try:
    with h5py.File(path, "r") as file:
      yield file
  except (OSError, RuntimeError) as error:
    raise ValueError(f"{path}: is not a readable HDF5 file (truncated?): {error}.") from error


def dataset(file, name: str):
  """The dataset called `name` (a path, if it lies in groups). Raises ValueError naming file and field."""
  if name not in file:
    raise ValueError(f"{file.filename}: lacks field {name!r}; it holds {sorted(file)}.")
  if not hasattr(file[name], "dtype") or file[name].ndim != 1:
    raise ValueError(f"{file.filename}: field {name!r} must be a dataset of one axis.")
  return file[name]


def column_names(data, file_name: str, choices: dict[str, tuple[str, ...]], optional: tuple[str, ...] = ()
                 ) -> dict[str, str]:
  """For every wanted column the name that a compound dataset has for it, of several that are in use.

  Raises ValueError naming file, field and column, if one is missing that is not `optional`, or holds no
  numbers.
  """
  fields = data.dtype.names
  if not fields:
    raise ValueError(
        f"{file_name}: field {data.name.strip('/')!r} must be a table with named columns; got {data.dtype}.")
  found = {}
  for wanted, names in choices.items():
    present = [name for name in names if name in fields]
    if not present and wanted in optional:
      continue
    if not present:
      raise ValueError(
          f"{file_name}: field {data.name.strip('/')!r} lacks the column {' or '.join(map(repr, names))}; "
          f"it has {sorted(fields)}.")
    if data.dtype[present[0]].base.kind not in "iuf":
      raise ValueError(
          f"{file_name}: column {present[0]!r} of field {data.name.strip('/')!r} must hold numbers; got "
          f"{data.dtype[present[0]]}.")
    found[wanted] = present[0]
  return found


def read_rows(data, columns: dict[str, str], start: int, stop: int) -> dict[str, np.ndarray]:
  """Rows start ... stop - 1 of a compound dataset as arrays of the wanted columns."""
  block = data[start:stop]
  return {wanted: np.array(block[name]) for wanted, name in columns.items()}


def blocks(data, columns: dict[str, str], block_bytes: int = BLOCK_BYTES) -> Iterator[dict[str, np.ndarray]]:
  """All rows of a compound dataset in blocks of about `block_bytes`, as arrays of the wanted columns."""
  rows = max(1, block_bytes // data.dtype.itemsize)
  for start in range(0, len(data), rows):
    yield read_rows(data, columns, start, start + rows)


def vlen_tables(file, wanted: dict[str, tuple[str, ...]]) -> dict:
  """Datasets with a table of variable length for each event, all of the same number of events, checked for
  their columns.

  Raises ValueError naming file and field.
  """
  h5py, tables = load_extra("h5py"), {name: dataset(file, name) for name in wanted}
  num = len(next(iter(tables.values())))
  for name, columns in wanted.items():
    fields = getattr(h5py.check_vlen_dtype(tables[name].dtype), "names", None)
    missing = [column for column in columns if column not in (fields or ())]
    if missing or len(tables[name]) != num:
      raise ValueError(
          f"{file.filename}: field {name!r} must hold a table with the columns {list(columns)} for each of "
          f"{num} events; got {len(tables[name])} rows of {fields or tables[name].dtype}.")
  return tables
