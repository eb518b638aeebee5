"""Work in pieces, each in a file of its own: what is there need not be computed again.

`run_pieces` runs all such work; here are also the pieces that hold the results of a few events, see `shards`
for others. Each file says what its numbers depend on (`identity`), so that those of another run are never
taken for this one's.
"""
import concurrent.futures
import json
import os
import time
import zipfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lartpc_jax.config.compare import config_differences, plain
from lartpc_jax.files import atomic_write, hold_lock


def run_pieces(pieces: Sequence, compute: Callable, write: Callable, *, size: Callable = len,
               stop: Callable = lambda: None, update: Callable = lambda done: None) -> int | None:
  """Computes pieces of work one by one; a thread writes each while the next one is computed.

  Args:
    pieces: what is missing.
    compute: (piece, report) -> result, which may depend on nothing else; report(done) tells of progress in
      it.
    write: (piece, result) -> None; whole or not at all.
    size: piece -> number of its units.
    stop: asked after each piece; anything but None ends the run there and is returned.
    update: called with the number of finished units.
  """
  done, written = 0, None
  with concurrent.futures.ThreadPoolExecutor(1) as writer:
    for piece in pieces:
      result = compute(piece, lambda count, done=done: update(done + count))
      if written is not None:
        written.result()
      written = writer.submit(write, piece, result)
      done += size(piece)
      update(done)
      if (stopped := stop()) is not None and piece is not pieces[-1]:
        written.result()
        return stopped
    if written is not None:
      written.result()
  return None


def finished_events(directory: str | os.PathLike, identity: dict) -> dict[int, tuple[Path, int]]:
  """Event number -> (file, row in it) of every event in the chunk files of `directory`, which need not exist.

  Raises:
    ValueError: naming a file that is not readable, or was made with another identity (and what differs).
  """
  found = {}
  for path in sorted(Path(directory).glob("chunk_*.npz")):
    content = _read(path, ["event", "identity"])
    if differences := config_differences(json.loads(str(content["identity"])), identity, ignore=()):
      raise ValueError(f"{path} is of another run (its own -> this one's): {'; '.join(differences)}. Choose "
                       "another directory, or remove it.")
    for row, event in enumerate(content["event"]):
      found[int(event)] = (path, row)
  return found


def run_chunks(compute: Callable, events: np.ndarray, *, directory: str | os.PathLike, stride: int,
               identity: dict,
               stop: Callable = lambda: None, update: Callable = lambda done: None) -> int | None:
  """Computes what is missing of `events`, chunk by chunk, each in a file of its own, whole or not at all.

  Args:
    compute: event numbers [c], c <= stride -> dict of arrays [c ...]. It must not depend on how events are
      chunked.
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


def run_with_progress(console: Any, description: str, compute: Callable, events: np.ndarray, *,
                      directory: str | os.PathLike, stride: int, identity: dict,
                      unit: str = "event") -> int | None:
  """`run_chunks` under a progress bar that begins with what is there; a signal to `console` stops it.

  Args:
    console: see `protocol.Console`.
    description: of the bar.
    unit: what an event is called there.
    compute, events, directory, stride, identity: see `run_chunks`, as what is raised and returned.
  """
  there = finished_events(directory, identity)
  with (console.progress(len(events), initial=sum(int(event) in there for event in events),
                         description=description, unit=unit) as bar, console.stopping() as stop):
    return run_chunks(compute, events, directory=directory, stride=stride, identity=identity, stop=stop,
                      update=bar.update)


def _run_missing(compute: Callable, events: np.ndarray, directory: Path, stride: int, identity: dict,
                 stop: Callable,
                 update: Callable) -> int | None:
  there, text = finished_events(directory, identity), np.array(json.dumps(plain(identity)))
  missing = np.array([event for event in events if int(event) not in there], int)
  pieces = [missing[start:start + stride] for start in range(0, len(missing), stride)]

  def timed(chunk: np.ndarray, report: Callable) -> dict[str, np.ndarray]:
    del report
    begin = time.perf_counter()
    arrays = compute(chunk)
    seconds = np.full(len(chunk), (time.perf_counter() - begin) / len(chunk))
    return {"event": chunk, "seconds": seconds, "cold": np.full(len(chunk), chunk is pieces[0]), **arrays}

  def write(chunk: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
    directory.mkdir(exist_ok=True)
    with atomic_write(directory / f"chunk_{chunk[0]:07d}_{chunk[-1]:07d}.npz", "wb") as file:
      np.savez_compressed(file, identity=text, **arrays)
  there = len(events) - len(missing)
  return run_pieces(pieces, timed, write, stop=stop, update=lambda done: update(there + done))


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
    raise ValueError(f"{path}: not a readable chunk of results ({error}); remove it and run again."
                     ) from error
