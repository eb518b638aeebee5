r"""The fast transport against Geant4 with a Python recorder: protons a second, both measured in one run.

python -m launch.benchmark_simulation --num_events=200000 --geant4_data=FOLDER --out=runs/simulation_speed

Both simulate protons of one energy without nuclear interactions and write a file, each by `python -m launch.simulate` in a
process of its own. The rate per CPU second counts the time of all its processes, whatever else the machine does: once of the
whole command (Python, imports, compilation, tables of Geant4, files) and once less what a run of a few events takes. With
--geant4_events=0 Geant4 is left out.
"""
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from absl import flags

from lartpc_jax import cli
from lartpc_jax.files import write_json

flags.DEFINE_integer("num_events", 200_000, "Events of the fast transport.", lower_bound=1)
flags.DEFINE_integer("geant4_events", 4_000, "Events of Geant4.", lower_bound=0)
flags.DEFINE_float("kinetic_mev", 100.0, "Kinetic energy.", lower_bound=1.0)
flags.DEFINE_string("geant4_data", None, "Folder of Geant4's data sets; see launch.simulate.")
flags.DEFINE_string("out", None, "Directory of the files and of results.json; existing files are refused.")


FEW = 16  # events of a run that measures the start


def cpu_seconds() -> float:
  """Of this process and of those it has waited for, and theirs."""
  return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF,
                                                                                   resource.RUSAGE_CHILDREN)))


def measure(request) -> dict:
  """Wall and CPU time of a simulation from start to file and of one of a few events, and the rates that follow."""
  few = execute(request._replace(num_events=FEW, out=request.out.replace(".npz", "_few.npz")))
  load = os.getloadavg()[0]
  many = execute(request)
  num = request.num_events
  return {"events": num, "load": load, "wall_s": many[0], "cpu_s": many[1], "events_per_s": num / many[0],
          "events_per_cpu_s": num / many[1], "without_start_per_cpu_s": (num - FEW) / max(many[1] - few[1], 1e-9)}


def execute(request) -> tuple[float, float]:
  """Wall and CPU seconds of the command that makes a file. Raises ValueError if it exists or the command fails."""
  if Path(request.out).exists():
    raise ValueError(f"{request.out} exists; choose another --out.")
  low, high = request.kinetic_mev[0]
  arguments = [f"--out={request.out}", f"--num_events={request.num_events}", f"--kinetic_mev={low},{high}",
               f"--backend={request.backend}"]
  if request.backend == "geant4":
    arguments += ["--physics=em", *([f"--geant4_data={request.geant4_data}"] if request.geant4_data else [])]
  else:
    arguments.append("--nuclear=false")
  cpu, wall = cpu_seconds(), time.perf_counter()
  done = subprocess.run([sys.executable, "-m", "launch.simulate", *arguments], capture_output=True, text=True, check=False)
  if done.returncode:
    raise ValueError(f"launch.simulate failed ({done.returncode}): {done.stderr.strip()[-500:]}")
  return time.perf_counter() - wall, cpu_seconds() - cpu


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  if not values.out:
    raise ValueError("Give --out; --help says what it may be.")
  from lartpc_jax.experiments.simulate import Request
  out = Path(values.out)
  out.mkdir(parents=True, exist_ok=True)
  results, energy = {}, ((values.kinetic_mev, values.kinetic_mev),)
  if values.geant4_events:
    results["Geant4, Python recorder"] = measure(Request(
        out=str(out / "geant4.npz"), num_events=values.geant4_events, backend="geant4", physics="em",
        kinetic_mev=energy, geant4_data=values.geant4_data))
  results["fast transport"] = measure(Request(out=str(out / "fast.npz"), num_events=values.num_events, nuclear=False,
                                              kinetic_mev=energy))
  lines = ["| simulation | events | wall s | CPU s | events/s | events per CPU second | without start | load |",
           "| --- " * 8 + "|"]
  lines += [f"| {name} | {r['events']} | {r['wall_s']:.1f} | {r['cpu_s']:.1f} | {r['events_per_s']:.0f} | "
            f"{r['events_per_cpu_s']:.0f} | {r['without_start_per_cpu_s']:.0f} | {r['load']:.1f} |"
            for name, r in results.items()]
  if len(results) == 2:
    slow, fast = results.values()
    lines.append(f"\nThe fast transport is {fast['events_per_s'] / slow['events_per_s']:.0f} times as fast, "
                 f"{fast['events_per_cpu_s'] / slow['events_per_cpu_s']:.0f} times per CPU second, without the start "
                 f"{fast['without_start_per_cpu_s'] / slow['without_start_per_cpu_s']:.0f} times.")
  print(f"{os.cpu_count()} cores; {cli.device_summary()}")
  print("\n".join(lines))
  write_json(out / "results.json", {"environment": cli.environment_text(), "results": results})
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
