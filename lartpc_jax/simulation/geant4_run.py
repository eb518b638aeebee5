"""Simulates shards of events with Geant4 in worker processes, which may crash without losing what is done.

A shard is an npz in the layout of `data.events` (`momentum` [n 3] MeV/c, summed over the primaries of the
event, `offsets`, `voxel`, `edep`, `voxel_mm`) and

- `vlabel` [m] uint8: 1 track, 2 shower, 3 delta ray, 4 Michel electron (see `geant4_voxels.particle_class`);
- `primaries` [k 6] float32: event, PDG code, kinetic energy in MeV, direction;
- `settings`: the text that the caller gives.

`runs.simulate` plans the shards and joins them. Beside them lies what Geant4 itself says (`log.txt`).
"""
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import lartpc_jax
from lartpc_jax.simulation import geant4_data, geant4_pool
from lartpc_jax.simulation.geant4 import PARTICLES, Settings
from lartpc_jax.simulation.geant4_pool import Shard
from lartpc_jax.simulation.geant4_voxels import check_voxels
from lartpc_jax.simulation.primaries import check_energies

LOG_LINES = 12  # of Geant4's output that an error shows
MAX_SHARD = 20_000


def check_settings(settings: Settings) -> None:
  """Raises ValueError naming the field and its value if a setting is out of range."""
  geant4_data.check_physics(settings.physics)
  unknown = [name for name in settings.particles if name not in PARTICLES]
  if unknown or not settings.particles:
    raise ValueError(f"Unknown particles {unknown or 'none'}; choose from {sorted(PARTICLES)}.")
  check_energies(settings.particles, settings.kinetic_mev)
  if settings.multiplicity is not None and not 1 <= settings.multiplicity[0] <= settings.multiplicity[1]:
    raise ValueError(f"multiplicity needs 1 <= low <= high; got {settings.multiplicity}.")
  if settings.seed < 0:
    raise ValueError(f"seed must not be negative; got {settings.seed}.")
  for name in ("step_mm", "cut_mm"):
    if not getattr(settings, name) > 0:
      raise ValueError(f"{name} must be positive; got {getattr(settings, name)}.")
  check_voxels(settings.voxel_mm, settings.half_width_mm)


def check_shard_events(shard_events: int) -> None:
  """Raises ValueError if a shard would have too few or too many events."""
  if not 1 <= shard_events <= MAX_SHARD:
    raise ValueError(f"shard_events must be in 1 ... {MAX_SHARD}; got {shard_events}.")


def find_geant4(settings: Settings, data: str | os.PathLike | None = None) -> dict[str, str]:
  """Environment variables of Geant4's data sets; see `geant4_data.find_data`.

  Raises:
    ValueError: without geant4_pybind, or naming missing data sets and how to get them.
    FileNotFoundError: if there is no folder `data`.
  """
  if importlib.util.find_spec("geant4_pybind") is None:
    raise ValueError("The Geant4 backend needs geant4_pybind: pip install 'lartpc_jax[geant4]'.")
  return geant4_data.find_data(settings.physics, data)


def identity(settings: Settings, variables: dict[str, str]) -> dict:
  """What must agree for two runs to make the same events, as JSON gives it back."""
  sets = {
      name: Path(path).name
      for name, path in variables.items()
      if name in geant4_data.PHYSICS[settings.physics]
  }
  return json.loads(
      json.dumps(dict(settings._asdict(), geant4_pybind=metadata.version("geant4-pybind"), data=sets)))


def run_shards(settings: Settings, shards: Sequence[Shard], folder: str | os.PathLike, *,
               variables: dict[str, str], note: str, label: str = "", workers: int | None = None,
               retries: int = 2, stall_s: float = 600.0, stop: Callable[[], int | None] = lambda: None,
               update: Callable[[int], None] = lambda done: None,
               say: Callable[[str], None] = print) -> int | None:
  """Writes FOLDER/NAME.npz for every shard, whole or not at all. Neither workers nor crashes change the
  events.

  Args:
    settings: what determines the events, checked. `physics` is a name in geant4_data.PHYSICS; `particles`
      share the vertex, which is the corner of voxel (0, 0, 0); `kinetic_mev` are ranges (low, high), uniform;
      `multiplicity` see `geant4.draw_primaries`; energy beyond +-half_width_mm is lost; `step_mm` limits
      steps; `cut_mm` is the production cut.
    shards: what to simulate.
    folder: exists.
    variables: from `find_geant4`.
    note: text that becomes the field `settings` of the shards.
    label: of the names of the log and of the specification, where several processes share a folder.
    workers: processes; default one for each core this process may use.
    retries: how often a crashed shard is tried again.
    stall_s: seconds without a finished event after which a shard counts as crashed.
    stop: asked twice a second; anything but None ends the run, at the cost of the shards that are being made.
    update: called with the number of finished events.
    say: called with lines for the user.
  Returns:
    What `stop` said, None if all is done.
  Raises:
    ValueError: naming a bad argument.
    ChildProcessError: if Geant4 does not start, or naming shards that crashed every time. What is finished is
      kept.
  """
  workers = len(_usable_cores()) if workers is None else workers
  if workers < 1:
    raise ValueError(f"workers must be at least 1; got {workers}.")
  if retries < 0 or not stall_s > 0:
    raise ValueError(f"Need retries >= 0 and stall_s > 0; got {retries=}, {stall_s=}.")
  folder = Path(folder)
  spec = dict(settings=settings._asdict(), folder=str(folder.resolve()), shards=list(shards), workers=workers,
              retries=retries, stall_s=stall_s, note=note)
  return _run_server(spec, folder, label, _environment(variables, folder), stop, update, say)


def _usable_cores() -> set[int]:
  return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _environment(variables: dict[str, str], folder: Path) -> dict[str, str]:
  """For the server. A variable that is not set, or GEANT4_DATA_DIR unset, stops geant4_pybind at its
  import."""
  empty = folder / "empty"
  empty.mkdir(exist_ok=True)
  root = str(Path(lartpc_jax.__file__).resolve().parent.parent)
  path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
  data = {name: value or str(empty.resolve()) for name, value in variables.items()}
  return {**os.environ, **data, "GEANT4_DATA_DIR": str(empty.resolve()), "PYTHONPATH": path}


def _run_server(spec: dict, folder: Path, label: str, environment: dict[str, str], stop, update,
                say) -> int | None:
  """Starts the process that forks the workers, passes its messages on; raises ChildProcessError if events are
  missing."""
  spec_path, log_path = folder / f"spec{label}.json", folder / f"log{label}.txt"
  spec_path.write_text(json.dumps(spec), encoding="utf-8")
  sizes = {shard.name: shard.last - shard.first + 1 for shard in spec["shards"]}
  ranges = {shard.name: f"{shard.name} (events {shard.first}..{shard.last})" for shard in spec["shards"]}
  read_fd, write_fd = os.pipe()
  failed, finished, ready, started = [], set(), False, time.monotonic()
  with open(log_path, "ab") as log, open(read_fd, encoding="utf-8") as messages:
    server = subprocess.Popen(
        [sys.executable, "-m", "lartpc_jax.simulation.geant4",
         str(spec_path), str(write_fd)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
        pass_fds=(write_fd,))
    os.close(write_fd)
    try:
      for line in messages:
        message = json.loads(line)
        if message["kind"] == "ready":
          ready = True
          say(f"Geant4 is ready after {time.monotonic() - started:.0f} s; {spec['workers']} workers.")
        elif message["kind"] == "progress":
          update(message["done"])
          if (stopped := stop()) is not None:
            return stopped
        elif message["kind"] == "finished":
          finished.add(message["shard"])
        else:
          text = (
              f"{ranges[message['shard']]} ended by {message['why']} at event {message['event']}, attempt "
              f"{message['attempt']} of {spec['retries'] + 1}")
          say(f"{text}; log: {log_path}")
          if message["kind"] == "failed":
            failed.append(text)
      code = server.wait()
    finally:
      server.kill()  # its workers die with it
      server.wait()
  lost = sum(size for name, size in sizes.items() if name not in finished)
  if lost and (stopped := stop()) is not None:  # Ctrl-C reaches the server too
    return stopped
  if failed:
    raise ChildProcessError(
        f"{len(failed)} of {len(sizes)} shards failed: {'; '.join(sorted(failed))}. The others are "
        f"kept, and the same command tries these again.\n{_tail(log_path)}")
  if code or lost:
    what = "stopped" if ready else "did not start"
    raise ChildProcessError(
        f"Geant4 {what} ({geant4_pool.describe_exit(code)}), {lost} events are missing; the same "
        f"command goes on.\n{_tail(log_path)}")
  update(sum(sizes.values()))
  return None


def _tail(path: Path) -> str:
  lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
  return "\n".join([f"The end of {path}:", *lines[-LOG_LINES:]])
