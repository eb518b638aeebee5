"""Events a second of the inference against their number and the number of devices, as a Markdown table."""
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import numpy as np

from lartpc_jax.build.inference import count_inference
from lartpc_jax.experiments import infer
from lartpc_jax.experiments.protocol import STARTS, Console, setting, settings_as
from lartpc_jax.inference.evaluations import PUBLISHED
from lartpc_jax.parallel import device_summary
from lartpc_jax.tables import markdown_table, write_json, write_text

HEAD = ("start", "events", "devices", "chunk", "s to compile", "s", "events/s",
        "evaluations an event with gradient",
        "without", "published over ours")


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to measure."""
  views: tuple[str, ...] = setting(("xy", "xz"), "Views.")
  events: tuple[str, ...] = setting(("1", "8", "64"), "Numbers of events.")
  devices: tuple[str, ...] = setting(("1",), "Numbers of devices.")
  start: str = setting("random", "Where the descent starts.", choices=STARTS)
  chunk_size: int = setting(8, "Events a device works on at once.", lower=1)
  weights: str | None = setting(None, "Directory of weights; default: those of the package.")
  out: str | None = setting(None, "Directory of the table.")
  child: bool = setting(False, "Measure here, with the devices that there are; for the process itself.")


def run(settings: Settings, config: Mapping, console: Console) -> None:
  """Measures what rows.json of an earlier run lacks, each number of devices in a process of its own."""
  if settings.child:
    for row in measure_events(settings, config):
      console.say(json.dumps(row))
    return
  if not settings.out:
    raise ValueError("Give --out; --help says what it may be.")
  cache = Path(settings.out) / "rows.json"
  cache.parent.mkdir(parents=True, exist_ok=True)
  saved = json.loads(cache.read_text(encoding="utf-8")) if cache.exists() else []
  what = {"config": config, "views": list(settings.views), "start": settings.start,
          "chunk_size": settings.chunk_size,
          "weights": settings.weights}
  for devices in map(int, settings.devices):
    there = {entry["row"]["events"] for entry in saved
             if (entry["what"], entry["row"]["devices"]) == (what, devices)}
    wanted = [num for num in map(int, settings.events) if num not in there]
    for row in _run_child(devices, wanted) if wanted else ():
      saved.append({"what": what, "row": row})
      write_json(cache, saved)
  table = markdown_table(HEAD, [entry["row"].values() for entry in saved])
  write_text(Path(settings.out) / "speed.md", table)
  console.say(f"{device_summary()}, {os.cpu_count()} cores\n\n{table}\nWrote {settings.out}/speed.md")


def measure_events(settings: Settings, config: Mapping) -> Iterator[dict]:
  """Yields a row for each number of events; one program serves all that have the same chunks."""
  jobs, devices = {}, len(jax.devices())
  count = count_inference(config, len(settings.views), settings.start)
  for num in map(int, settings.events):
    chunk, compiled = min(settings.chunk_size, max(num // devices, 1)), 0.0
    if chunk not in jobs:
      job = infer.prepare(settings_as(infer.Settings, settings, input="sample", chunk_size=chunk), config)
      begin = time.perf_counter()
      job.compute(job.events[:1])
      jobs[chunk], compiled = job, time.perf_counter() - begin
    job, begin = jobs[chunk], time.perf_counter()
    job.compute(np.resize(job.events, num))
    seconds = time.perf_counter() - begin
    yield {"start": settings.start, "events": num, "devices": devices, "chunk": chunk,
           "compile_s": round(compiled),
           "s": round(seconds, 2), "events/s": round(num / seconds, 3), "with_gradient": count.descent,
           "without": round(count.report + count.candidates / num),
           "gain": round(PUBLISHED * len(settings.views) / count.descent, 1)}


def _run_child(devices: int, numbers: list[int]) -> Iterator[dict]:
  """Yields the rows of this command in a process with so many devices.

  Raises:
    ValueError: if it fails, with what it said.
  """
  xla_flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
  events = ",".join(map(str, numbers))
  command = [sys.executable, "-m", "lartpc_jax", "benchmark_infer", *sys.argv[1:], "--child",
             f"--events={events}"]
  with subprocess.Popen(command, env={**os.environ, "XLA_FLAGS": xla_flags}, stdout=subprocess.PIPE,
                        text=True) as process:
    for text in process.stdout:
      yield json.loads(text)
  if process.returncode:
    raise ValueError(f"{' '.join(command)} failed with exit code {process.returncode}; its message is above.")
