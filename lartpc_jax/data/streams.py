"""npz and npy files written piece by piece, whole or not at all, so that what is written need not fit into
memory."""
import contextlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lartpc_jax.files import atomic_write

COPY_BYTES = 1 << 20


def write_header(file, shape: tuple[int, ...], dtype) -> None:
  """The header of an npy file in C order."""
  header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
  np.lib.format.write_array_header_1_0(file, header)


def read_header(file) -> tuple[tuple[int, ...], bool, np.dtype]:
  """Shape, Fortran order and dtype of an npy file, which is then at its data. Raises ValueError if it is
  none."""
  version = np.lib.format.read_magic(file)
  read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
  return read(file)


@contextlib.contextmanager
def stream_fields(path: str | os.PathLike, fields: dict[str, tuple[tuple[int, ...], type]],
                  whole: dict[str, np.ndarray | np.generic]) -> Iterator[Callable]:
  """Collects rows of fields whose number is not known and writes them as an npz at the end of the block.

  Args:
    path: the npz; it appears only when the block ends without an error.
    fields: name -> (shape of a row, dtype).
    whole: further arrays or scalars of the npz, as they are.
  Yields:
    append(name=rows [b ...], ...); it takes any of the fields. Rows wait in a hidden directory beside `path`.
  """
  path = Path(path)
  counts = dict.fromkeys(fields, 0)
  scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
  try:
    with contextlib.ExitStack() as stack:
      files = {name: stack.enter_context(open(scratch / name, "wb")) for name in fields}

      def append(**rows) -> None:
        for name, values in rows.items():
          shape, dtype = fields[name]
          values = np.ascontiguousarray(values, dtype)
          if values.shape[1:] != shape:
            raise ValueError(
                f"{path}: rows of field {name!r} must have shape {shape}; got {values.shape[1:]}.")
          files[name].write(values.tobytes())
          counts[name] += len(values)

      yield append
    with atomic_write(path, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
      for name, (shape, dtype) in fields.items():
        with (open(scratch / name, "rb") as source,
              archive.open(f"{name}.npy", "w", force_zip64=True) as member):
          write_header(member, (counts[name], *shape), dtype)
          shutil.copyfileobj(source, member, COPY_BYTES)
        (scratch / name).unlink()
      for name, value in whole.items():
        with archive.open(f"{name}.npy", "w") as member:
          np.lib.format.write_array(member, np.asarray(value), allow_pickle=False)
  finally:
    shutil.rmtree(scratch, ignore_errors=True)


def write_rows(file, chunks: Iterator[np.ndarray], shape: tuple[int, ...], dtype) -> None:
  """Writes an npy of a known shape from chunks of its rows. Raises ValueError if they do not add up to it."""
  write_header(file, shape, dtype)
  written = 0
  for chunk in chunks:
    if chunk.shape[1:] != shape[1:]:
      raise ValueError(f"Rows must have shape {shape[1:]}; got {chunk.shape[1:]}.")
    written += len(chunk)
    file.write(np.ascontiguousarray(chunk, dtype).tobytes())
  if written != shape[0]:
    raise ValueError(f"Got {written} rows for an array of shape {shape}.")
