"""Results of many events in files of one chunk each: what is there need not be computed again.

Each file says what its numbers depend on (`identity`), so that those of another run are never taken for this one's.
"""
import json
import os
import time
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from lartpc_jax.config.compare import config_differences, plain
from lartpc_jax.files import atomic_write, hold_lock


def finished_events(directory: str | os.PathLike, identity: dict) -> dict[int, tuple[Path, int]]:
  """Event number -> (file, row in it) of every event in the chunk files of `directory`, which need not exist.

  Raises:
    ValueError: naming a file that is not readable, or was made with another identity (and what differs).
  """
  found = {}
  for path in sorted(Path(directory).glob("chunk_*.npz")):
    content = _read(path, ["event", "identity"])
    if differences := config_differences(json.loads(str(content["identity"])), identity, ignore=()):
      raise ValueError(f"{path} is of another run (its own -> this one's): {'; '.join(differences)}. Choose another "
                       "directory, or remove it.")
    for row, event in enumerate(content["event"]):
      found[int(event)] = (path, row)
  return found


def run_chunks(compute: Callable, events: np.ndarray, *, directory: str | os.PathLike, stride: int, identity: dict,
               stop: Callable = lambda: None, update: Callable = lambda done: None) -> int | None:
  """Computes what is missing of `events`, chunk by chunk, each in a file of its own, whole or not at all.

  Args:
    compute: event numbers [c], c <= stride -> dict of arrays [c ...]. It must not depend on how events are chunked.
    events: event numbers [n], each once.
    directory: of the chunk files; made with the first one. `lock` beside it is held meanwhile.
    stride: events a chunk.
    identity: what the results depend on, as JSON has it; it goes into every file.
    stop: asked after each chunk; anything but None ends the run there and is returned.
    update: called with the number of finished events after each chunk.
  Raises:
    OSError: if another process is writing `directory`.
    ValueError: as `finished_events`.
  """
  directory = Path(directory)
  directory.parent.mkdir(parents=True, exist_ok=True)
  with hold_lock(directory.parent / "lock", busy=f"Another process is writing {directory}."):
    return _run_missing(compute, events, directory, stride, identity, stop, update)


def _run_missing(compute: Callable, events: np.ndarray, directory: Path, stride: int, identity: dict, stop: Callable,
                 update: Callable) -> int | None:
  there, text = finished_events(directory, identity), json.dumps(plain(identity))
  missing = np.array([event for event in events if int(event) not in there], int)
  for start in range(0, len(missing), stride):
    chunk = missing[start:start + stride]
    begin = time.perf_counter()
    arrays = compute(chunk)
    seconds = np.full(len(chunk), (time.perf_counter() - begin) / len(chunk))
    directory.mkdir(exist_ok=True)
    with atomic_write(directory / f"chunk_{chunk[0]:07d}_{chunk[-1]:07d}.npz", "wb") as file:
      np.savez_compressed(file, event=chunk, identity=np.array(text), seconds=seconds,
                          cold=np.full(len(chunk), start == 0), **arrays)
    update(len(events) - len(missing) + start + len(chunk))
    if (stopped := stop()) is not None and start + stride < len(missing):
      return stopped
  return None


def load_fields(directory: str | os.PathLike, events: np.ndarray, fields: Collection[str], *, identity: dict
                ) -> dict[str, np.ndarray]:
  """Arrays [n ...] of the given fields for `events`, in their order.

  Raises:
    ValueError: if an event is missing, or as `finished_events`.
  """
  there = finished_events(directory, identity)
  missing = [int(event) for event in events if int(event) not in there]
  if missing:
    raise ValueError(f"{directory}: no result of events {missing[:8]} ({len(missing)} in all).")
  places = [there[int(event)] for event in events]
  files = {path: _read(path, fields) for path in sorted({path for path, _ in places})}
  return {name: np.stack([files[path][name][row] for path, row in places]) for name in fields}


def _read(path: Path, fields: Collection[str]) -> dict[str, np.ndarray]:
  try:
    with np.load(path, allow_pickle=False) as npz:
      return {name: npz[name] for name in fields}
  except (zipfile.BadZipFile, KeyError, EOFError, OSError, ValueError) as error:
    raise ValueError(f"{path}: not a readable chunk of results ({error}); remove it and run again.") from error
