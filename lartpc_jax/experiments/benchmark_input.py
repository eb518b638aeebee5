"""Input pipeline against training step: images a second that each kind of training data gives, and that a
step takes.
"""
import dataclasses
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from lartpc_jax import parallel
from lartpc_jax.build import tasks as config_lib
from lartpc_jax.data import events as events_lib, pictures
from lartpc_jax.data.open import SAMPLE, open_events
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.tables import markdown_table, write_json
from lartpc_jax.train import loop, optimizer
from lartpc_jax.train.settings import settings as training_settings
from lartpc_jax.train.state import init_train_state

HEAD = ("data.path", "images/s of the pipeline", "images/s of the training step", "ratio")


@dataclasses.dataclass(frozen=True)
class Settings:
  """What data to read, and how long."""
  paths: tuple[str, ...] | None = setting(
      None, "Values of config.data.path; default: the sample events as npz, batches and dataset.")
  seconds: float = setting(5.0, "Time for each measurement.", lower=0.1)
  out: str | None = setting(None, "Directory for results.json; default: none.")


def run(settings: Settings, config: Mapping, console: Console) -> None:
  """Measures every path with the pipeline and the training step of the config."""
  console.say(f"Devices: {parallel.device_summary()}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} "
              "cores.")
  rows, results = [], {}
  with tempfile.TemporaryDirectory() as folder:
    paths = {path: path for path in settings.paths} if settings.paths else _write_samples(Path(folder))
    for name, path in paths.items():
      # Without prefetch: what a batch costs, not how much of it hides behind a step.
      data = {**config["data"], "path": path, "prefetch_batches": 0,
              "num_holdout": min(config["data"]["num_holdout"], 100)}
      given, taken = _measure({**config, "data": data}, settings.seconds)
      results[name] = {"pipeline_images_per_s": given, "step_images_per_s": taken}
      rows.append((name, f"{given:.0f}", f"{taken:.0f}", f"{given / taken:.1f}"))
      console.say(" | ".join(rows[-1]))
  console.say(markdown_table(HEAD, rows))
  if settings.out:
    Path(settings.out).mkdir(parents=True, exist_ok=True)
    write_json(Path(settings.out) / "results.json",
               {"environment": console.environment(), "results": results})


def _write_samples(folder: Path) -> dict[str, str]:
  """The events of the package as every kind of training data: name -> path."""
  from lartpc_jax.data.datasets.builders import build  # imports tensorflow-datasets, which takes a second
  events = open_events(SAMPLE)
  events_lib.save_events(folder / "protons_geant4.npz", events)
  batches = folder / "batches"
  batches.mkdir()
  images = pictures.images_of(events, np.arange(len(events)), views=("xy", "xz"), spec=ImageSpec())
  for i, first in enumerate(range(0, len(events), 128)):  # the group's files have 128 events
    rows = slice(first, first + 128)
    for name, array in (("batch", images[rows, 0]), ("batch_xz", images[rows, 1]),
                        ("batch_mom", events.momentum_mev[rows])):
      np.save(batches / f"{name}_{i}.npy", array)
  build("protons64", folder, folder / "datasets")
  return {"npz (sparse events)": str(folder / "protons_geant4.npz"), "batch_{i}.npy": str(batches),
          "tfds protons64": str(folder / "datasets" / "protons64")}


def _rate(step: Callable, batch_size: int, seconds: float) -> float:
  """Images a second of step(i) after two calls of warming up, for about `seconds` and at least three
  calls.
  """
  for i in range(2):
    step(i)
  begin = time.perf_counter()
  for i in itertools.count(1):
    step(i + 1)
    passed = time.perf_counter() - begin
    if i >= 3 and passed >= seconds:
      return i * batch_size / passed


def _measure(config: dict, seconds: float) -> tuple[float, float]:
  """Images a second that the pipeline of a config gives by itself, and that its training step takes by
  itself.
  """
  training, mesh = training_settings(config), parallel.make_mesh()
  task, tx = config_lib.build_task(config), optimizer.make_optimizer(training.optim, training.train.num_steps)
  size = config["data"]["batch_size"]
  given = _rate(lambda i: jax.block_until_ready(task.batch_fn(i)), size, seconds)
  keys = loop.run_keys(training.seed)
  state = [parallel.replicate(jax.jit(lambda key: init_train_state(task.init(key), tx))(keys.init), mesh)]
  step_fn = loop.jit_train_step(task, tx, training.optim, mesh)
  batch = parallel.shard_batch(task.batch_fn(0), mesh)

  def step(i):
    del i
    state[0], _ = jax.block_until_ready(step_fn(state[0], batch, keys.train))
  return given, _rate(step, size, seconds)
