"""The fast transport against Geant4 with a Python recorder: protons a second, both measured in one run."""
import dataclasses
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from lartpc_jax.experiments import simulate
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.parallel import device_summary
from lartpc_jax.tables import markdown_table, write_json

HEAD = ("simulation", "events", "wall s", "CPU s", "events/s", "events per CPU second", "without start",
        "load")
FEW = 16  # events of a run that measures the start


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to simulate."""
  num_events: int = setting(200_000, "Events of the fast transport.", lower=1)
  geant4_events: int = setting(4_000, "Events of Geant4.", lower=0)
  kinetic_mev: float = setting(100.0, "Kinetic energy.", lower=1.0)
  geant4_data: str | None = setting(None, "Folder of Geant4's data sets; see launch.simulate.")
  out: str | None = setting(None, "Directory of the files and of results.json; existing files are refused.",
                            required=True)


def run(settings: Settings, console: Console) -> None:
  """Simulates with both, and writes what it took."""
  out = Path(settings.out)
  out.mkdir(parents=True, exist_ok=True)
  results, energy = {}, ((settings.kinetic_mev, settings.kinetic_mev),)
  if settings.geant4_events:
    results["Geant4, Python recorder"] = _measure(simulate.Settings(
        out=str(out / "geant4.npz"), num_events=settings.geant4_events, backend="geant4", physics="em",
        kinetic_mev=energy, geant4_data=settings.geant4_data))
  results["fast transport"] = _measure(simulate.Settings(
      out=str(out / "fast.npz"), num_events=settings.num_events, nuclear=False, kinetic_mev=energy))
  table = markdown_table(HEAD, [
      (name, r["events"], f"{r['wall_s']:.1f}", f"{r['cpu_s']:.1f}", f"{r['events_per_s']:.0f}",
       f"{r['events_per_cpu_s']:.0f}", f"{r['without_start_per_cpu_s']:.0f}", f"{r['load']:.1f}")
      for name, r in results.items()])
  if len(results) == 2:
    slow, fast = results.values()
    table += (f"\n\nThe fast transport is {fast['events_per_s'] / slow['events_per_s']:.0f} times as fast, "
              f"{fast['events_per_cpu_s'] / slow['events_per_cpu_s']:.0f} times per CPU second, without the "
              f"start {fast['without_start_per_cpu_s'] / slow['without_start_per_cpu_s']:.0f} times.")
  console.say(f"{os.cpu_count()} cores; {device_summary()}\n{table}")
  write_json(out / "results.json", {"environment": console.environment(), "results": results})


def _measure(wanted: simulate.Settings) -> dict:
  """Wall and CPU time of a simulation from start to file and of one of a few events, and the rates that
  follow.
  """
  few = _execute(dataclasses.replace(wanted, num_events=FEW, out=wanted.out.replace(".npz", "_few.npz")))
  load = os.getloadavg()[0]
  many = _execute(wanted)
  num = wanted.num_events
  return {"events": num, "load": load, "wall_s": many[0], "cpu_s": many[1], "events_per_s": num / many[0],
          "events_per_cpu_s": num / many[1],
          "without_start_per_cpu_s": (num - FEW) / max(many[1] - few[1], 1e-9)}


def _cpu_seconds() -> float:
  """Of this process and of those it has waited for, and theirs."""
  return sum(usage.ru_utime + usage.ru_stime
             for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def _execute(wanted: simulate.Settings) -> tuple[float, float]:
  """Wall and CPU seconds of the command that makes a file. Raises ValueError if it exists or the command
  fails.
  """
  if Path(wanted.out).exists():
    raise ValueError(f"{wanted.out} exists; choose another --out.")
  low, high = wanted.kinetic_mev[0]
  arguments = [f"--out={wanted.out}", f"--num_events={wanted.num_events}", f"--kinetic_mev={low},{high}",
               f"--backend={wanted.backend}"]
  if wanted.backend == "geant4":
    arguments += ["--physics=em", *([f"--geant4_data={wanted.geant4_data}"] if wanted.geant4_data else [])]
  else:
    arguments.append("--nuclear=false")
  cpu, wall = _cpu_seconds(), time.perf_counter()
  done = subprocess.run([sys.executable, "-m", "lartpc_jax", "simulate", *arguments], capture_output=True,
                        text=True, check=False)
  if done.returncode:
    raise ValueError(f"launch.simulate failed ({done.returncode}): {done.stderr.strip()[-500:]}")
  return time.perf_counter() - wall, _cpu_seconds() - cpu
