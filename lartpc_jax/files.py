"""Writing files so that a killed process never leaves half of one, and two processes never write the same."""
import contextlib
import errno
import fcntl
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

_held: set[tuple[str, int]] = set()  # (lock, thread) held alone: code further down may ask for it again

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # some network file systems


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "w", *, durable: bool = True) -> Iterator:
  """Opens a temporary file beside `path` and renames it onto `path` when the block ends without an error.

  Args:
    path: the file to create or replace; its directory must exist.
    mode: "w" (UTF-8 text) or "wb".
    durable: wait for the disk. Without, a crash of the machine (not of the process) soon afterwards may
      damage the file.
  Yields:
    The open file.
  Raises:
    ValueError: for another mode.
  """
  if mode not in ("w", "wb"):
    raise ValueError(f"atomic_write needs mode 'w' or 'wb'; got {mode!r}.")
  path = Path(path)
  handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
  try:
    with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
      yield file
      file.flush()
      if durable:
        os.fsync(file.fileno())
    os.chmod(temporary, 0o666 & ~_umask())  # mkstemp gives 0600; a plain open() would give this
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(FileNotFoundError):
      os.unlink(temporary)
    raise


@contextlib.contextmanager
def hold_lock(path: str | os.PathLike, *, busy: str, shared: bool = False) -> Iterator[None]:
  """Holds the lock file `path`, made if need be, until the block ends or the process dies (flock: also by
  kill -9).

  A file system without locks gets a warning instead: a run there must not fail for that. A lock that this
  thread holds alone already is held on: whoever took it first lets it go.

  Args:
    path: the lock file; its directory must exist.
    busy: message of the error.
    shared: beside other shared holders.
  Raises:
    OSError: `busy`, if another process holds it.
  """
  name = os.path.realpath(path), threading.get_ident()
  if name in _held:
    yield
    return
  with open(path, "w") as file:
    try:
      fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise OSError(busy) from error
    except OSError as error:
      if error.errno not in NO_LOCKS:
        raise
      logger.warning("%s: this file system has no locks (%s); do not write here from two processes.", path,
                     error.strerror)
    if not shared:
      _held.add(name)
    try:
      yield
    finally:
      _held.discard(name)


def _umask() -> int:
  mask = os.umask(0)
  os.umask(mask)
  return mask
