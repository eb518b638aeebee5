"""Large event files made in shards that survive a kill, joined into one file when all are there."""
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lartpc_jax.data.events import Events, load_events, save_events
from lartpc_jax.files import atomic_write


def shard_folder(path: str | Path) -> Path:
  """Where the shards of the file `path` are until it is complete."""
  return Path(f"{path}.shards")


def file_settings(path: str | Path) -> dict | None:
  """The settings with which a file was made, None if it does not say. Raises ValueError if it is not readable."""
  try:
    with np.load(path, allow_pickle=False) as npz:
      return json.loads(str(npz["settings"])) if "settings" in npz.files else None
  except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
    raise ValueError(f"{path}: not a readable event file ({error}).") from error


def check_settings(settings: dict, existing: dict | None, source: str) -> None:
  """Raises ValueError naming what differs unless `source` was made with `settings`."""
  if existing is None:
    raise ValueError(f"{source} exists and does not say how it was made; choose another --out.")
  differing = {key: (existing.get(key), settings.get(key)) for key in sorted({*existing, *settings})
               if existing.get(key) != settings.get(key)}
  if differing:
    text = ", ".join(f"{key}={old!r} (now {new!r})" for key, (old, new) in differing.items())
    raise ValueError(f"{source} was made with {text}; choose another --out, or remove it.")


def prepare_shards(path: str | Path, settings: dict) -> None:
  """Makes the folder of shards and notes the settings in it.

  Raises:
    ValueError: if it has shards of other settings.
    OSError: if it cannot be written.
  """
  folder = shard_folder(path)
  note = folder / "settings.json"
  if note.exists():
    try:
      existing = json.loads(note.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
      raise ValueError(f"{note} is not readable as JSON ({error}); remove {folder}.") from error
    check_settings(settings, existing, str(folder))
    return
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(note) as file:
      json.dump(settings, file, indent=2)
  except OSError as error:
    raise OSError(f"Cannot write to {folder}: {error.strerror or error}.") from error


def make_shards(simulate: Callable, num_events: int, shard_events: int, path: str | Path, *,
                stop: Callable = lambda: None, update: Callable = lambda done: None) -> int | None:
  """Simulates what is missing, shard by shard, each in a file of its own, whole or not at all.

  Args:
    simulate: (first, count, update) -> Events numbered first to first + count; it must depend on nothing else.
    num_events: in all.
    shard_events: events a shard; the last one may be shorter.
    path: of the joined file.
    stop: asked after each shard; anything but None ends the run there and is returned.
    update: called with the number of finished events.
  """
  starts = range(0, num_events, shard_events)
  for first in starts:
    count = min(shard_events, num_events - first)
    file = _shard_file(path, first)
    if not file.exists():
      save_events(file, simulate(first, count, lambda done, first=first: update(first + done)), compress=False)
    update(first + count)
    if (stopped := stop()) is not None and first != starts[-1]:
      return stopped
  return None


def finished_events(path: str | Path, num_events: int, shard_events: int) -> int:
  """Events in finished shards."""
  return sum(min(shard_events, num_events - first) for first in range(0, num_events, shard_events)
             if _shard_file(path, first).exists())


def _shard_file(path: str | Path, first: int) -> Path:
  return shard_folder(path) / f"events_{first:010d}.npz"


def join_shards(path: str | Path, num_events: int, shard_events: int, settings: dict, *, compress: bool = False) -> None:
  """Writes the events of all shards into one file with `settings` and removes the shards. One shard at a time in memory.

  Raises:
    ValueError: naming a shard that is not readable or has another number of events.
  """
  starts = range(0, num_events, shard_events)
  voxels = 0
  for first in starts:
    events = _load_shard(path, first, min(shard_events, num_events - first))
    voxels += len(events.edep_mev)
    voxel_mm = events.voxel_mm
  with atomic_write(path, "wb") as file, zipfile.ZipFile(
      file, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED, compresslevel=6) as archive:
    def write(name: str, dtype, shape: Sequence[int], part: Callable):
      with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(entry, header)
        for first in starts:
          count = min(shard_events, num_events - first)
          entry.write(np.ascontiguousarray(part(_load_shard(path, first, count), first), dtype).data.cast("B"))

    before = [0]
    def offsets(events: Events, first: int) -> np.ndarray:
      shifted = events.offsets + before[0]
      before[0] = shifted[-1]
      return shifted if first == 0 else shifted[1:]
    write("momentum", np.float32, (num_events, 3), lambda events, first: events.momentum_mev)
    write("offsets", np.int64, (num_events + 1,), offsets)
    write("voxel", np.int16, (voxels, 3), lambda events, first: events.voxel)
    write("edep", np.float32, (voxels,), lambda events, first: events.edep_mev)
    for name, value in (("voxel_mm", np.float32(voxel_mm)), ("settings", np.array(json.dumps(settings)))):
      with archive.open(f"{name}.npy", "w") as entry:
        np.lib.format.write_array(entry, np.asarray(value))
  remove_shards(path)


def _load_shard(path: str | Path, first: int, count: int) -> Events:
  file = _shard_file(path, first)
  events = load_events(file)
  if len(events) != count:
    raise ValueError(f"{file} has {len(events)} events instead of {count}; remove it and run again.")
  return events


def remove_shards(path: str | Path) -> None:
  """Removes the folder of shards and what this module puts there."""
  folder = shard_folder(path)
  if folder.exists():
    for file in [*folder.glob("events_*.npz*"), *folder.glob("settings.json"), *folder.glob(".settings.json.*.tmp")]:
      file.unlink()
    folder.rmdir()
