r"""Input pipeline against training step: images a second that each kind of training data gives, and that a step takes.

python -m launch.benchmark_input                                       (the events of the package, as every kind of data)
python -m launch.benchmark_input --config=configs/protons64_autoencoder.py \
    --paths=protons_geant4.npz,batches,datasets/protons64
"""
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from lartpc_jax import cli
from lartpc_jax.files import write_json

DEFAULT_CONFIG = "configs/protons64_autoencoder.py"
config_flags.DEFINE_config_file("config", None, f"Training config; default {DEFAULT_CONFIG}.", lock_config=True)
flags.DEFINE_list("paths", None, "Values of config.data.path; default: the sample events as npz, batches and dataset.")
flags.DEFINE_float("seconds", 5.0, "Time for each measurement.", lower_bound=0.1)
flags.DEFINE_string("out", None, "Directory for results.json; default: none.")


def write_samples(folder: Path) -> dict[str, str]:
  """The events of the package as every kind of training data: name -> path."""
  import numpy as np

  from lartpc_jax.data import events as events_lib, pipeline
  from lartpc_jax.data.datasets.builders import build
  from lartpc_jax.geometry.rasterize import ImageSpec
  events = pipeline.open_events(pipeline.SAMPLE)
  events_lib.save_events(folder / "protons_geant4.npz", events)
  batches = folder / "batches"
  batches.mkdir()
  images = pipeline.images_of(events, np.arange(len(events)), views=("xy", "xz"), spec=ImageSpec())
  for i, first in enumerate(range(0, len(events), 128)):  # the group's files have 128 events
    rows = slice(first, first + 128)
    for name, array in (("batch", images[rows, 0]), ("batch_xz", images[rows, 1]), ("batch_mom", events.momentum_mev[rows])):
      np.save(batches / f"{name}_{i}.npy", array)
  build("protons64", folder, folder / "datasets")
  return {"npz (sparse events)": str(folder / "protons_geant4.npz"), "batch_{i}.npy": str(batches),
          "tfds protons64": str(folder / "datasets" / "protons64")}


def rate(step, batch_size: int, seconds: float) -> float:
  """Images a second of step(i) after two calls of warming up, for about `seconds` and at least three calls."""
  for i in range(2):
    step(i)
  begin = time.perf_counter()
  for i in itertools.count(1):
    step(i + 1)
    passed = time.perf_counter() - begin
    if i >= 3 and passed >= seconds:
      return i * batch_size / passed


def measure(config: dict, seconds: float) -> tuple[float, float]:
  """Images a second that the pipeline of a config gives by itself, and that its training step takes by itself."""
  import jax

  from lartpc_jax import parallel
  from lartpc_jax.build import tasks as config_lib
  from lartpc_jax.train import loop, optimizer
  from lartpc_jax.train.settings import settings
  from lartpc_jax.train.state import init_train_state
  optim, train = settings(config)
  task, tx, mesh = config_lib.build_task(config), optimizer.make_optimizer(**optim), parallel.make_mesh()
  size = config["data"]["batch_size"]
  given = rate(lambda i: jax.block_until_ready(task.batch_fn(i)), size, seconds)
  keys = loop.run_keys(train["seed"])
  state = [parallel.replicate(jax.jit(lambda key: init_train_state(task.init(key), tx))(keys.init), mesh)]
  step_fn = loop.jit_train_step(task, tx, train["ema_decay"], mesh)
  batch = parallel.shard_batch(task.batch_fn(0), mesh)

  def step(i):
    del i
    state[0], _ = jax.block_until_ready(step_fn(state[0], batch, keys.train))
  return given, rate(step, size, seconds)


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  config = values.config.to_dict()
  print(f"Devices: {cli.device_summary()}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.", flush=True)
  lines = ["| data.path | images/s of the pipeline | images/s of the training step | ratio |", "| --- " * 4 + "|"]
  results = {}
  with tempfile.TemporaryDirectory() as folder:
    paths = {path: path for path in values.paths} if values.paths else write_samples(Path(folder))
    for name, path in paths.items():
      # Without prefetch: what a batch costs, not how much of it hides behind a step.
      config["data"].update(path=path, prefetch_batches=0, num_holdout=min(config["data"]["num_holdout"], 100))
      given, taken = measure(config, values.seconds)
      results[name] = {"pipeline_images_per_s": given, "step_images_per_s": taken}
      lines.append(f"| {name} | {given:.0f} | {taken:.0f} | {given / taken:.1f} |")
      print(lines[-1], flush=True)
  print("\n".join(lines))
  if values.out:
    Path(values.out).mkdir(parents=True, exist_ok=True)
    write_json(Path(values.out) / "results.json", {"environment": cli.environment_text(), "results": results})
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main, default_config=DEFAULT_CONFIG))
