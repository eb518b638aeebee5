"""Simulates events with Geant4 in worker processes and writes one file of sparse events; the same call again resumes.

Layout of the file: that of `data.events` (`momentum` [n 3] MeV/c, summed over the primaries of the event, `offsets`,
`voxel`, `edep`, `voxel_mm`) and

- `vlabel` [m] uint8: 1 track, 2 shower, 3 delta ray, 4 Michel electron (see `geant4_voxels.particle_class`);
- `primaries` [k 6] float32: event, PDG code, kinetic energy in MeV, direction;
- `settings`: JSON text of what determines the events.

While a run lasts, FILE.shards/ holds what is done (`events_FIRST_LAST.npz`) and Geant4's own output (`log.txt`).
"""
import contextlib
import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

import lartpc_jax
from lartpc_jax.files import atomic_write
from lartpc_jax.simulation import geant4_data, geant4_pool
from lartpc_jax.simulation.geant4 import PARTICLES, Settings
from lartpc_jax.simulation.geant4_pool import Shard
from lartpc_jax.simulation.geant4_voxels import check_voxels

LOG_LINES = 12  # of Geant4's output that an error shows
MAX_SHARD = 20_000


def check_settings(settings: Settings) -> None:
  """Raises ValueError naming the field and its value if a setting is out of range."""
  geant4_data.check_physics(settings.physics)
  unknown = [name for name in settings.particles if name not in PARTICLES]
  if unknown or not settings.particles:
    raise ValueError(f"Unknown particles {unknown or 'none'}; choose from {sorted(PARTICLES)}.")
  if len(settings.kinetic_mev) not in (1, len(settings.particles)):
    raise ValueError(f"kinetic_mev needs one range, or one for each of {len(settings.particles)} particles; "
                     f"got {len(settings.kinetic_mev)}.")
  for low, high in settings.kinetic_mev:
    if not 0.0 < low <= high < float("inf"):
      raise ValueError(f"kinetic_mev needs 0 < low <= high; got {low}, {high}.")
  if settings.multiplicity is not None and not 1 <= settings.multiplicity[0] <= settings.multiplicity[1]:
    raise ValueError(f"multiplicity needs 1 <= low <= high; got {settings.multiplicity}.")
  if settings.num_events < 1:
    raise ValueError(f"num_events must be at least 1; got {settings.num_events}.")
  if settings.seed < 0:
    raise ValueError(f"seed must not be negative; got {settings.seed}.")
  if not 1 <= settings.events_per_shard <= MAX_SHARD:
    raise ValueError(f"events_per_shard must be in 1 ... {MAX_SHARD}; got {settings.events_per_shard}.")
  for name in ("step_mm", "cut_mm"):
    if not getattr(settings, name) > 0:
      raise ValueError(f"{name} must be positive; got {getattr(settings, name)}.")
  check_voxels(settings.voxel_mm, settings.half_width_mm)


def shards_of(settings: Settings) -> list[Shard]:
  """The run in pieces of `events_per_shard` events; the last may be shorter."""
  size, total = settings.events_per_shard, settings.num_events
  ranges = [(first, min(first + size, total) - 1) for first in range(0, total, size)]
  return [Shard(f"events_{first:09d}_{last:09d}", first, last) for first, last in ranges]


def simulate(settings: Settings, out: str | os.PathLike, *, workers: int | None = None,
             data: str | os.PathLike | None = None, retries: int = 2, stall_s: float = 600.0,
             update: Callable[[int], None] = lambda done: None, say: Callable[[str], None] = print) -> Path:
  """Writes `out` (npz, see the module). A killed run goes on where it was; the file is then the same, byte for byte.

  Args:
    settings: what determines the events. `physics` is a name in geant4_data.PHYSICS; `particles` share the vertex, which
      is the corner of voxel (0, 0, 0); `kinetic_mev` are ranges (low, high), uniform; `multiplicity` see
      `geant4.draw_primaries`; energy beyond +-half_width_mm is lost; `step_mm` limits steps; `cut_mm` is the production
      cut. Neither the number of workers nor an interruption changes the events.
    out: file to write; its directory is made.
    workers: processes; default one for each core this process may use.
    data: folder of Geant4's data sets; see `geant4_data.find_data`.
    retries: how often a crashed shard is tried again.
    stall_s: seconds without a finished event after which a shard counts as crashed.
    update: called with the number of finished events.
    say: called with lines for the user.
  Returns:
    The path of the file.
  Raises:
    ValueError: naming a bad setting; missing data sets; or if `out` or its shards were made with other settings.
    ModuleNotFoundError: without geant4_pybind.
    OSError: if another process writes `out`; ChildProcessError if Geant4 does not start, or naming shards that crashed
      every time. What is finished is kept.
  """
  check_settings(settings)
  workers = len(_usable_cores()) if workers is None else workers
  if workers < 1:
    raise ValueError(f"workers must be at least 1; got {workers}.")
  if retries < 0 or not stall_s > 0:
    raise ValueError(f"Need retries >= 0 and stall_s > 0; got {retries=}, {stall_s=}.")
  out = Path(out)
  if out.suffix != ".npz":
    raise ValueError(f"out must end in .npz; got {str(out)!r}.")
  if importlib.util.find_spec("geant4_pybind") is None:
    raise ModuleNotFoundError("The Geant4 backend needs geant4_pybind: pip install 'lartpc_jax[geant4]'.")
  variables = geant4_data.find_data(settings.physics, data)
  identity = _identity(settings, variables)
  if out.exists():
    _check_finished(out, identity)
    say(f"{out} is already complete.")
    update(settings.num_events)
    return out
  folder = out.with_name(out.name + ".shards")
  folder.mkdir(parents=True, exist_ok=True)
  with _locked(folder / "lock", out):
    _check_or_write(folder / "settings.json", identity)
    for leftover in folder.glob(".*.tmp"):
      leftover.unlink()
    shards = shards_of(settings)
    missing = [shard for shard in shards if not (folder / f"{shard.name}.npz").exists()]
    done = settings.num_events - sum(s.last - s.first + 1 for s in missing)
    if len(missing) < len(shards):
      say(f"Resuming: {done} of {settings.num_events} events are there.")
    if missing:
      update(done)
      spec = dict(settings=settings._asdict(), folder=str(folder.resolve()), shards=missing, workers=workers,
                  retries=retries, stall_s=stall_s)
      _run_server(spec, folder, _environment(variables, folder), done, update, say)
    _merge(shards, folder, out, settings, identity)
  shutil.rmtree(folder)
  update(settings.num_events)
  return out


def _usable_cores() -> set[int]:
  return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _identity(settings: Settings, variables: dict[str, str]) -> dict:
  """What must agree for two runs to make the same events."""
  sets = {name: Path(path).name for name, path in variables.items() if name in geant4_data.PHYSICS[settings.physics]}
  identity = dict(settings._asdict(), geant4_pybind=metadata.version("geant4-pybind"), data=sets)
  return json.loads(json.dumps(identity))  # tuples become lists, as in the files


def _environment(variables: dict[str, str], folder: Path) -> dict[str, str]:
  """For the server. A variable that is not set, or GEANT4_DATA_DIR unset, stops geant4_pybind at its import."""
  empty = folder / "empty"
  empty.mkdir(exist_ok=True)
  root = str(Path(lartpc_jax.__file__).resolve().parent.parent)
  path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
  data = {name: value or str(empty.resolve()) for name, value in variables.items()}
  return {**os.environ, **data, "GEANT4_DATA_DIR": str(empty.resolve()), "PYTHONPATH": path}


@contextlib.contextmanager
def _locked(path: Path, out: Path) -> Iterator[None]:
  with open(path, "w") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise OSError(f"Another process is writing {out}.") from error
    yield


def _differences(there: dict, here: dict) -> str:
  names = sorted(name for name in {*there, *here} if there.get(name) != here.get(name))
  return "; ".join(f"{name}: {there.get(name)} -> {here.get(name)}" for name in names)


def _check_or_write(path: Path, identity: dict) -> None:
  if not path.exists():
    with atomic_write(path) as file:
      file.write(json.dumps(identity, indent=2) + "\n")
    return
  there = json.loads(path.read_text(encoding="utf-8"))
  if there != identity:
    raise ValueError(f"{path.parent} was begun with other settings ({_differences(there, identity)}): give another file, or "
                     "remove it.")


def _check_finished(out: Path, identity: dict) -> None:
  try:
    with np.load(out, allow_pickle=False) as npz:
      there = json.loads(str(npz["settings"]))
  except (OSError, ValueError, KeyError) as error:
    raise ValueError(f"{out} exists and is no file of this command ({error}): give another file.") from error
  if there != identity:
    raise ValueError(f"{out} exists and has other settings ({_differences(there, identity)}): give another file.")


def _run_server(spec: dict, folder: Path, environment: dict[str, str], done: int, update, say) -> None:
  """Starts the process that forks the workers, passes its messages on; raises ChildProcessError if events are missing."""
  spec_path, log_path = folder / "spec.json", folder / "log.txt"
  spec_path.write_text(json.dumps(spec), encoding="utf-8")
  sizes = {shard.name: shard.last - shard.first + 1 for shard in spec["shards"]}
  ranges = {shard.name: f"{shard.name} (events {shard.first}..{shard.last})" for shard in spec["shards"]}
  read_fd, write_fd = os.pipe()
  failed, finished, ready, started = [], set(), False, time.monotonic()
  with open(log_path, "ab") as log, open(read_fd, encoding="utf-8") as messages:
    server = subprocess.Popen([sys.executable, "-m", "lartpc_jax.simulation.geant4", str(spec_path), str(write_fd)],
                              stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, pass_fds=(write_fd,))
    os.close(write_fd)
    try:
      for line in messages:
        message = json.loads(line)
        if message["kind"] == "ready":
          ready = True
          say(f"Geant4 is ready after {time.monotonic() - started:.0f} s; {spec['workers']} workers.")
        elif message["kind"] == "progress":
          update(done + message["done"])
        elif message["kind"] == "finished":
          finished.add(message["shard"])
        else:
          text = (f"{ranges[message['shard']]} ended by {message['why']} at event {message['event']}, attempt "
                  f"{message['attempt']} of {spec['retries'] + 1}")
          say(f"{text}; log: {log_path}")
          if message["kind"] == "failed":
            failed.append(text)
      code = server.wait()
    finally:
      server.kill()  # its workers die with it
      server.wait()
  lost = sum(size for name, size in sizes.items() if name not in finished)
  if failed:
    raise ChildProcessError(f"{len(failed)} of {len(sizes)} shards failed: {'; '.join(sorted(failed))}. The others are "
                            f"kept, and the same command tries these again.\n{_tail(log_path)}")
  if code or lost:
    what = "stopped" if ready else "did not start"
    raise ChildProcessError(f"Geant4 {what} ({geant4_pool.describe_exit(code)}), {lost} events are missing; the same "
                            f"command goes on.\n{_tail(log_path)}")


def _tail(path: Path) -> str:
  lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
  return "\n".join([f"The end of {path}:", *lines[-LOG_LINES:]])


def _merge(shards: list[Shard], folder: Path, out: Path, settings: Settings, identity: dict) -> None:
  """One file from those of the shards. A shard that cannot be read is removed, so that the same command redoes it."""
  parts = []
  for shard in shards:
    path = folder / f"{shard.name}.npz"
    try:
      with np.load(path, allow_pickle=False) as npz:
        part = dict(npz)
    except Exception as error:  # zipfile, zlib, numpy: whatever a damaged file raises
      path.unlink()
      raise OSError(f"{path} was damaged ({error}) and is removed; the same command simulates it again.") from error
    parts.append(part)
  joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
  offsets = np.concatenate([[0], np.cumsum(joined["count"])]).astype(np.int64)
  with atomic_write(out, "wb") as file:  # npz entries carry no time: equal arrays are equal bytes
    np.savez_compressed(file, momentum=joined["momentum"], offsets=offsets, voxel=joined["voxel"], edep=joined["edep"],
                        voxel_mm=np.float32(settings.voxel_mm), vlabel=joined["vlabel"],
                        primaries=joined["primaries"].astype(np.float32),
                        settings=np.array(json.dumps(identity, sort_keys=True)))
