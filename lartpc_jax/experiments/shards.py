"""Large event files made in shards that survive a kill, joined into one file when all are there.

FILE.npz.shards/ holds `settings.json`, which says what determines the events, and a sparse-event npz for each
shard with the same settings inside. Several processes may fill it, each its part of the shards; one joins
them.
"""
import concurrent.futures
import contextlib
import functools
import json
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.events import FIELDS, Events
from lartpc_jax.data.streams import read_header, write_header
from lartpc_jax.experiments.chunks import run_pieces
from lartpc_jax.files import atomic_write, hold_lock
from lartpc_jax.tables import write_json

EXTRA_FIELDS = ("vlabel", "primaries")  # a file has them if its shards do; rows are laid end to end


class Shard(NamedTuple):
  """Events first ... first + count - 1 of a run."""
  first: int
  count: int


class Plan(NamedTuple):
  """A file of events, and the shards that it is made in."""
  path: Path
  num_events: int
  shard_events: int  # in each shard; the last one may be shorter
  settings: dict     # what determines the events, as JSON has it

  @property
  def folder(self) -> Path:
    return shard_folder(self.path)

  @property
  def shards(self) -> list[Shard]:
    return [Shard(first, min(self.shard_events, self.num_events - first))
            for first in range(0, self.num_events, self.shard_events)]

  def file(self, shard: Shard) -> Path:
    return self.folder / f"events_{shard.first:010d}.npz"

  def missing(self, shards: Sequence[Shard]) -> list[Shard]:
    return [shard for shard in shards if not self.file(shard).exists()]


def shard_folder(path: str | Path) -> Path:
  """Where the shards of the file `path` are until it is complete."""
  return Path(f"{path}.shards")


def part_of(shards: Sequence[Shard], part: tuple[int, int] | None) -> list[Shard]:
  """The shards of part (index, number of parts), every one in just one part; all of them for None.

  Raises:
    ValueError: unless 0 <= index < number of parts.
  """
  if part is None:
    return list(shards)
  index, number = part
  if not 0 <= index < number:
    raise ValueError(f"A part is INDEX/NUMBER with 0 <= INDEX < NUMBER; got {index}/{number}.")
  return list(shards[index::number])


def file_settings(path: str | Path) -> dict | None:
  """The settings with which a file was made, None if it does not say. Raises ValueError if it is not
  readable.
  """
  try:
    with np.load(path, allow_pickle=False) as npz:
      return json.loads(str(npz["settings"])) if "settings" in npz.files else None
  except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
    raise ValueError(f"{path}: not a readable event file ({error}).") from error


def check_same_settings(settings: dict, existing: dict | None, source: str) -> None:
  """Raises ValueError naming what differs unless `source` was made with `settings`."""
  if existing is None:
    raise ValueError(f"{source} exists and does not say how it was made; choose another --out.")
  differing = {key: (existing.get(key), settings.get(key)) for key in sorted({*existing, *settings})
               if existing.get(key) != settings.get(key)}
  if differing:
    text = ", ".join(f"{key}={old!r} (now {new!r})" for key, (old, new) in differing.items())
    raise ValueError(f"{source} was made with {text}; choose another --out, or remove it.")


def prepare_shards(plan: Plan) -> None:
  """Makes the folder of shards and notes the settings in it.

  Raises:
    ValueError: if it has shards of other settings.
    OSError: if it cannot be written.
  """
  note = plan.folder / "settings.json"
  if note.exists():
    check_same_settings(plan.settings, _read_note(note), str(plan.folder))
    return
  _make_folder(plan)
  write_json(note, plan.settings)


def _make_folder(plan: Plan) -> None:
  try:
    plan.folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise OSError(f"Cannot write to {plan.folder}: {error.strerror or error}.") from error


def find_plan(path: str | Path) -> Plan:
  """The plan of the shards that wait to become `path`.

  Raises:
    FileNotFoundError: if there are none.
    ValueError: if their settings are not readable.
  """
  note = shard_folder(path) / "settings.json"
  if not note.exists():
    raise FileNotFoundError(f"There are no shards of {path}: no {note}.")
  settings = _read_note(note)
  missing = [name for name in ("num_events", "shard_events") if not isinstance(settings.get(name), int)]
  if missing:
    raise ValueError(f"{note} lacks {missing}; remove {note.parent}.")
  return Plan(Path(path), settings["num_events"], settings["shard_events"], settings)


def _read_note(note: Path) -> dict:
  try:
    return json.loads(note.read_text(encoding="utf-8"))
  except json.JSONDecodeError as error:
    raise ValueError(f"{note} is not readable as JSON ({error}); remove {note.parent}.") from error


@contextlib.contextmanager
def locked(plan: Plan, part: tuple[int, int] | None = None) -> Iterator[None]:
  """Makes the folder of shards and holds it: alone, or a part of it beside holders of other parts.

  Raises:
    OSError: if another process has it, or it cannot be written.
  """
  _make_folder(plan)
  busy = f"Another process is writing {plan.path}."
  with contextlib.ExitStack() as stack:
    stack.enter_context(hold_lock(plan.folder / "lock", busy=busy, shared=part is not None))
    if part is not None:
      stack.enter_context(hold_lock(plan.folder / f"lock_{part[0]}_{part[1]}", busy=busy))
    yield


def make_shards(simulate: Callable, plan: Plan, missing: Sequence[Shard], *, stop: Callable = lambda: None,
                update: Callable = lambda done: None) -> int | None:
  """Simulates the missing shards one by one, each in a file of its own, whole or not at all; a thread writes
  them.

  Args:
    simulate: (first, count, update) -> Events numbered first to first + count; it must depend on nothing
      else.
    plan: of the file.
    missing: what to simulate.
    stop: asked after each shard; anything but None ends the run there and is returned.
    update: called with the number of finished events.
  """
  return run_pieces(missing, lambda shard, report: simulate(*shard, report),
                    lambda shard, events: save_shard(plan, shard, events), size=lambda shard: shard.count,
                    stop=stop, update=update)


def save_shard(plan: Plan, shard: Shard, events: Events) -> None:
  """Writes a shard with the settings of its plan. `join_shards` finds one that a crash of the machine has
  damaged.
  """
  with atomic_write(plan.file(shard), "wb", durable=False) as file:
    np.savez(file, momentum=events.momentum_mev, offsets=events.offsets, voxel=events.voxel,
             edep=events.edep_mev,
             voxel_mm=np.float32(events.voxel_mm), settings=settings_text(plan))


def settings_text(plan: Plan) -> str:
  """The settings as files hold them."""
  return json.dumps(plan.settings)


def join_shards(plan: Plan, *, compress: bool = False, update: Callable = lambda done: None) -> None:
  """Writes the events of all shards into one file with the settings, then removes the shards.

  In memory is a field of two shards at a time.

  Raises:
    ValueError: naming what is missing, or a shard that was made with other settings or has another number of
      events.
    OSError: naming a shard that was not readable and is removed; or if the file cannot be written.
  """
  shards = plan.shards
  if missing := plan.missing(shards):
    raise ValueError(f"{len(missing)} of {len(shards)} shards of {plan.path} are missing, the first is "
                     f"{plan.file(missing[0]).name}; the command that makes them goes on.")
  rows: dict[str, int] = {}
  types = None
  for shard in shards:
    counts, own_types, voxel_mm = _look_at(plan, shard)
    if types is not None and types != own_types:
      raise ValueError(f"{plan.file(shard)} has fields {list(own_types)}, others have {list(types)} (or of "
                       "other types); remove it and run again.")
    types = own_types
    rows = {name: rows.get(name, 0) + counts[name] for name in types}
  rows["offsets"] = plan.num_events + 1
  update(plan.num_events // 2)
  kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
  with atomic_write(plan.path, "wb") as file, zipfile.ZipFile(file, "w", kind, compresslevel=6) as archive:
    for name, (shape, dtype) in types.items():
      with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
        write_header(entry, (rows[name], *shape), dtype)
        before = 0
        for shard, data in zip(shards, _read_ahead(functools.partial(_field_bytes, plan, name=name), shards),
                               strict=True):
          if name == "offsets":
            offsets = np.frombuffer(data, dtype)
            entry.write((offsets + before)[0 if shard.first == 0 else 1:].tobytes())
            before += offsets[-1]
          else:
            entry.write(data)
    for name, value in (("voxel_mm", voxel_mm), ("settings", np.array(settings_text(plan)))):
      with archive.open(f"{name}.npy", "w") as entry:
        np.lib.format.write_array(entry, np.asarray(value))
  update(plan.num_events)
  remove_shards(plan.path)


def _read_ahead(read: Callable, items: Sequence) -> Iterator:
  """read(item) of each, the next one in a thread while the caller is busy with one."""
  with concurrent.futures.ThreadPoolExecutor(1) as reader:
    ahead = None
    for item in items:
      coming = reader.submit(read, item)
      if ahead is not None:
        yield ahead.result()
      ahead = coming
    if ahead is not None:
      yield ahead.result()


def _field_bytes(plan: Plan, shard: Shard, *, name: str) -> bytes:
  """The data of a field of a shard; zipfile checks the sum of its bytes."""
  with (_readable(plan, shard), zipfile.ZipFile(plan.file(shard)) as source,
        source.open(f"{name}.npy") as part):
    _npy_header(part)
    return part.read()


@contextlib.contextmanager
def _readable(plan: Plan, shard: Shard) -> Iterator[None]:
  """Removes the file of a shard if reading it fails in the block, and says so."""
  path = plan.file(shard)
  try:
    yield
  except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as error:
    path.unlink()
    raise OSError(f"{path} was damaged ({error}) and is removed; the same command simulates it again."
                  ) from error


def _look_at(plan: Plan, shard: Shard) -> tuple[dict, dict, np.ndarray]:
  """(rows, (shape of a row, dtype) of each field, edge of a voxel) of a shard, without its large arrays."""
  path = plan.file(shard)
  with _readable(plan, shard):
    settings = file_settings(path)
    with zipfile.ZipFile(path) as source:
      headers = {}
      for name in (*FIELDS, *(name for name in EXTRA_FIELDS if f"{name}.npy" in source.namelist())):
        with source.open(f"{name}.npy") as part:
          headers[name] = _npy_header(part)
      with source.open("voxel_mm.npy") as part:
        voxel_mm = np.lib.format.read_array(part, allow_pickle=False)
      with source.open("offsets.npy") as part:
        offsets = np.lib.format.read_array(part, allow_pickle=False)
    del headers["voxel_mm"]
    counts = {name: shape[0] for name, (shape, _) in headers.items()}
    wrong = [name for name in ("voxel", "edep") if counts[name] != offsets[-1]]
    if wrong or counts["momentum"] != len(offsets) - 1 or np.any(np.diff(offsets) < 0):
      raise ValueError(f"its offsets do not fit {wrong or 'the events'}")
  check_same_settings(plan.settings, settings, str(path))
  if len(offsets) - 1 != shard.count:
    raise ValueError(f"{path} has {len(offsets) - 1} events instead of {shard.count}; remove it and run "
                     "again.")
  return counts, {name: (shape[1:], dtype) for name, (shape, dtype) in headers.items()}, voxel_mm


def _npy_header(file) -> tuple[tuple[int, ...], np.dtype]:
  """Shape and dtype of an npy file, which is then at its data."""
  shape, fortran_order, dtype = read_header(file)
  if fortran_order and len(shape) > 1:
    raise ValueError("an array is in Fortran order")
  return shape, dtype


def remove_shards(path: str | Path) -> None:
  """Removes the folder of shards."""
  if (shard_folder(path) / "settings.json").exists():
    shutil.rmtree(shard_folder(path))
