"""Fields of npz files, with errors that name file and field: the one place where the package opens an npz to
read it."""
import os
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError)


def field_names(path: str | os.PathLike, *, kind: str = "input file") -> list[str]:
  """Names of the fields, from the directory of the archive alone.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: naming it, if it is no npz.
  """
  if not os.path.isfile(path):
    raise FileNotFoundError(f"No {kind} at {os.fspath(path)!r}.")
  try:
    with zipfile.ZipFile(path) as archive:
      return [name.removesuffix(".npy") for name in archive.namelist()]
  except (zipfile.BadZipFile, OSError) as error:
    raise ValueError(f"{path}: not a readable npz file (truncated?): {error}") from error


def read_fields(path: str | os.PathLike, required: Sequence[str], optional: Sequence[str] = (), *,
                kind: str = "input file") -> dict[str, np.ndarray]:
  """The required fields, and those of the optional ones that are there.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: naming it, if it is no npz, lacks a field, or a field is damaged or pickled.
  """
  present = field_names(path, kind=kind)
  missing = [name for name in required if name not in present]
  if missing:
    raise ValueError(f"{path}: {kind} lacks {missing}; it holds {sorted(present)}.")
  fields, name = {}, None
  try:
    with np.load(path, allow_pickle=False) as npz:
      for name in (*required, *(name for name in optional if name in present)):
        fields[name] = npz[name]
  except DAMAGE as error:
    where = f"field {name!r} is not readable" if name else "not a readable npz file"
    raise ValueError(f"{path}: {where} (truncated?): {error}") from error
  return fields
