"""The border between a model and the training loop."""
from collections.abc import Callable
from typing import Any, NamedTuple


class TaskData(NamedTuple):
  """What a model learns from, and what it is judged on."""
  batch_fn: Callable   # step (int, from 0) -> batch; a pure function of the step
  holdout: Any         # never trained on: a batch, or what the task says


class Drawn(NamedTuple):
  """How a generator draws while it trains, and what is made of its images."""
  draws: Callable     # (params, key) -> images [n h w] MeV, on the host
  compare: Callable   # images -> metrics "eval/..."
  figure: Callable    # images -> Figure
  export: Callable    # (params, directory, info) -> None


class Task(NamedTuple):
  """What the loop needs to know about a model; built from a config by `lartpc_jax.build.tasks.build_task`."""
  init: Callable                    # key -> params
  loss_fn: Callable                 # (params, batch, key) -> (scalar loss, dict of scalar metrics); pure
  batch_fn: Callable                # step (int, from 0) -> batch pytree [b ...]; a pure function of the step
  evaluate: Callable | None = None  # (ema_params, key) -> dict[str, float], e.g. {"eval/emd": ...}
  draw: Callable | None = None      # (ema_params, key) -> matplotlib Figure (sample picture)
  export: Callable | None = None    # (ema_params, directory: Path, info: dict) -> None, writes the weights
