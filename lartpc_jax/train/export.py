"""Released weights from any checkpoint of a training run, also one that is still going on."""
import json
from collections.abc import Callable
from pathlib import Path

from lartpc_jax import parallel
from lartpc_jax.train import loop, optimizer
from lartpc_jax.train.checkpoint import restore_step
from lartpc_jax.train.settings import settings


def read_config(workdir: str | Path) -> dict:
  """The config of the run in `workdir`.

  Raises:
    ValueError: if the directory is not one of a run.
  """
  path = Path(workdir) / "config.json"
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError as error:
    raise ValueError(f"{workdir} is no directory of a training run: it has no config.json.") from error
  except json.JSONDecodeError as error:
    raise ValueError(f"{path}: not valid JSON (truncated?): {error}") from error


def export_checkpoint(build_task: Callable, workdir: str | Path, out: str | Path, *, step: int | None = None,
                      config: dict | None = None) -> int:
  """Writes the averaged parameters of one checkpoint as weights; returns its step.

  Args:
    build_task: config -> Task.
    workdir: directory of the run; only read.
    out: directory of the weights.
    step: which checkpoint; None for the newest.
    config: of the run; default: the one in `workdir`.
  Raises:
    ValueError: naming the missing step and those there are, or what is wrong with the run.
  """
  config = read_config(workdir) if config is None else config
  run = settings(config)
  task, tx = build_task(config), optimizer.make_optimizer(run.optim, run.train.num_steps)
  if task.export is None:
    raise ValueError(f"Task {config.get('task')!r} of {workdir} has no weights to export.")
  mesh = parallel.make_mesh()
  abstract = loop.abstract_state(task, tx, loop.run_keys(run.seed).init, mesh)
  state, info = restore_step(Path(workdir) / "checkpoints", step, abstract, config=config)
  loop.write_weights(task, state, Path(out), config, cpu_seconds=info["memory"].get("cpu_seconds", 0.0))
  return int(state.step)
