r"""Events a second of the inference against their number and the number of devices, as a Markdown table.

python -m launch.benchmark_infer --config=configs/protons64_infer.py:amortised --start=amortised --events=1,8,64,512 \
    --devices=1,2,4 --out=runs/speed

Each number of devices is a process of its own; on CPU they are virtual ones that share the cores. Compilation is told apart;
then all events are inferred once, with the host's part of it. Chunks are --chunk_size events a device, or fewer where there
are fewer events. Sample events are repeated where there are not enough. Rows that --out has already, of the same config and
flags, are not measured again; one --out may hold several configs and starts.
"""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from lartpc_jax import cli
from lartpc_jax.files import write_json

CONFIG = "configs/protons64_infer.py"
config_flags.DEFINE_config_file("config", None, f"The config file, with :variant if wanted; default: {CONFIG}.",
                                lock_config=True)
flags.DEFINE_list("views", ["xy", "xz"], "Views.")
flags.DEFINE_list("events", ["1", "8", "64"], "Numbers of events.")
flags.DEFINE_list("devices", ["1"], "Numbers of devices.")
flags.DEFINE_enum("start", "random", ["random", "classical", "amortised"], "Where the descent starts.")
flags.DEFINE_integer("chunk_size", 8, "Events a device works on at once.", lower_bound=1)
flags.DEFINE_string("weights", None, "Directory of weights; default: those of the package.")
flags.DEFINE_string("out", None, "Directory of the table.")
flags.DEFINE_bool("child", False, "Measure here, with the devices that there are; for the process itself.")
HEAD = ("| start | events | devices | chunk | s to compile | s | events/s | evaluations an event with gradient | without "
        "| published over ours |")


def measure(numbers: list[int], devices: int):
  """Yields a row for each number of events; one program serves all that have the same chunks."""
  import numpy as np

  from lartpc_jax.build.inference import count_inference
  from lartpc_jax.experiments import infer
  from lartpc_jax.inference.evaluations import PUBLISHED
  f, jobs = flags.FLAGS, {}
  count = count_inference(f.config, len(f.views), f.start)
  for num in numbers:
    chunk, compiled = min(f.chunk_size, max(num // devices, 1)), 0.0
    if chunk not in jobs:
      request = infer.Request("sample", tuple(f.views), weights=f.weights, start=f.start, chunk_size=chunk)
      job = infer.prepare(request, f.config)
      begin = time.perf_counter()
      job.compute(job.events[:1])
      jobs[chunk], compiled = job, time.perf_counter() - begin
    job, begin = jobs[chunk], time.perf_counter()
    job.compute(np.resize(job.events, num))
    seconds = time.perf_counter() - begin
    yield {"start": f.start, "events": num, "devices": devices, "chunk": chunk, "compile_s": round(compiled),
           "s": round(seconds, 2), "events/s": round(num / seconds, 3), "with_gradient": count.descent,
           "without": round(count.report + count.candidates / num),
           "gain": round(PUBLISHED * len(f.views) / count.descent, 1)}


def run_child(devices: int, numbers: list[int]):
  """Yields the rows of a process with so many devices.

  Raises:
    ValueError: if it fails, with what it said.
  """
  xla_flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
  events = ",".join(map(str, numbers))
  command = [sys.executable, "-m", "launch.benchmark_infer", *sys.argv[1:], "--child", f"--events={events}"]
  with subprocess.Popen(command, env={**os.environ, "XLA_FLAGS": xla_flags}, stdout=subprocess.PIPE, text=True) as process:
    for text in process.stdout:
      yield json.loads(text)
  if process.returncode:
    raise ValueError(f"{' '.join(command)} failed with exit code {process.returncode}; its message is above.")


def main(argv) -> int:
  del argv
  f = flags.FLAGS
  if f.child:
    import jax
    for row in measure([int(num) for num in f.events], len(jax.devices())):
      print(json.dumps(row), flush=True)
    return 0
  if not f.out:
    raise ValueError("Give --out; --help says what it may be.")
  cache = Path(f.out) / "rows.json"
  cache.parent.mkdir(parents=True, exist_ok=True)
  saved = json.loads(cache.read_text()) if cache.exists() else []
  what = {"config": f.config.to_dict(), "views": f.views, "start": f.start, "chunk_size": f.chunk_size, "weights": f.weights}
  for devices in map(int, f.devices):
    there = {entry["row"]["events"] for entry in saved if (entry["what"], entry["row"]["devices"]) == (what, devices)}
    wanted = [num for num in map(int, f.events) if num not in there]
    for row in run_child(devices, wanted) if wanted else ():
      saved.append({"what": what, "row": row})
      write_json(cache, saved)
  lines = ["| " + " | ".join(str(cell) for cell in entry["row"].values()) + " |" for entry in saved]
  text = "\n".join([HEAD, "|" + " --- |" * (HEAD.count("|") - 1), *lines])
  with cli.atomic_write(Path(f.out) / "speed.md") as file:
    file.write(text + "\n")
  print(f"{cli.device_summary()}, {os.cpu_count()} cores\n\n{text}\nWrote {f.out}/speed.md")
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main, default_config=CONFIG))
