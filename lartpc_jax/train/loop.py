"""The training loop: steps, logs, checkpoints, pictures; the same call again resumes.

One jitted step over all devices (batch split, state replicated), driven by a Python loop: inside `lax.scan`
XLA's CPU backend runs gradients of convolutions up to 60 times slower. Numbers come to the host at log,
checkpoint, evaluation and picture steps only.
"""
import contextlib
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax

from lartpc_jax import parallel
from lartpc_jax.config.schema import Optim, Run, Train
from lartpc_jax.files import hold_lock
from lartpc_jax.keys import root_key
from lartpc_jax.train.checkpoint import Checkpoints, open_checkpoints, restore_latest
from lartpc_jax.train.interrupt import stop_requests
from lartpc_jax.train.metric_log import MetricLog, open_metric_log
from lartpc_jax.train.state import TrainState, init_train_state
from lartpc_jax.train.step import make_train_step
from lartpc_jax.train.task import Task

logger = logging.getLogger(__name__)

RUN_AHEAD = 8  # steps (and batches on the device) queued at most


class TrainResult(NamedTuple):
  """How a call of `train` ended."""
  state: TrainState
  completed: bool          # False: stopped by a signal, the same call resumes
  stop_signal: int | None  # the signal, if one stopped it


class RunKeys(NamedTuple):
  """The root keys of a run, all from its seed; evaluations share one, as do pictures, to be comparable."""
  init: jax.Array
  train: jax.Array
  evaluate: jax.Array
  draw: jax.Array


class Due(NamedTuple):
  """Which actions follow a step."""
  log: bool
  checkpoint: bool
  evaluate: bool
  draw: bool


class _Memory(NamedTuple):
  """What the host remembers between log lines; saved, so that a resumed run logs the same numbers."""
  pending: list    # metrics of the steps since the last log line, on the device or as floats
  seconds: float   # wall time of the run before this process
  cpu_seconds: float = 0.0  # the same of all its threads


def run_keys(seed: int) -> RunKeys:
  """Independent keys for initialisation, training noise, evaluation and pictures."""
  return RunKeys(*jax.random.split(root_key(seed), len(RunKeys._fields)))


def train(task: Task, tx: optax.GradientTransformation, settings: Run, *, workdir: str | Path,
          config: dict | None = None, plot_loss: Callable | None = None, progress: Callable | None = None,
          say: Callable = print) -> TrainResult:
  """Trains to train.num_steps, from the newest whole checkpoint in `workdir` if any; exports the weights.

  Args:
    task: the model.
    tx: the optimiser; see `lartpc_jax.train.optimizer`.
    settings: the seed, the length and intervals, and of the optimiser the moving average of the parameters.
    workdir: gets metrics.jsonl, tensorboard/, loss.png, samples/, checkpoints/, weights/ and a file `lock`.
    config: plain dict saved in each checkpoint; one with another config is refused (train.* may change).
    plot_loss: (steps, values) -> Figure, for loss.png.
    progress: (total, initial=...) -> context manager of an object with update(done, **metrics), write(text).
    say: prints a line for the reader.
  Returns:
    The final state, and whether the run is complete.
  Raises:
    ValueError: for bad intervals, another config, or when no checkpoint is usable.
    FloatingPointError: naming the step, if loss or gradient is not finite.
    OSError: if another process is training in `workdir`.
  """
  workdir, mesh, keys = Path(workdir), parallel.make_mesh(), run_keys(settings.seed)
  num_steps = settings.train.num_steps
  _check_numbers(settings.train)
  workdir.mkdir(parents=True, exist_ok=True)
  with hold_lock(workdir / "lock", busy=f"Another process is training in {workdir}."):
    state, memory = resume_or_init(task, tx, keys.init, mesh, workdir, config)
    start, stop_signal = int(state.step), None
    if start < num_steps:
      if start:
        say(f"Resuming {workdir} at step {start} of {num_steps}.")
      step_fn = jit_train_step(task, tx, settings.optim, mesh)
      with contextlib.ExitStack() as stack:
        log = stack.enter_context(open_metric_log(workdir, start_step=start))
        checkpoints = stack.enter_context(open_checkpoints(
            workdir / "checkpoints", max_to_keep=settings.train.keep_checkpoints))
        requested = stack.enter_context(stop_requests())
        bar = stack.enter_context((progress or _no_progress)(num_steps, initial=start))
        run = _Run(task, mesh, keys, workdir, settings.train, config, plot_loss, log, checkpoints, requested,
                   bar)
        state, stop_signal, memory = _run_steps(run, step_fn, state, memory)
    else:
      say(f"{workdir} is already complete: {start} steps done, train.num_steps is {num_steps}.")
    if stop_signal is not None:
      say(f"Stopped by {signal.Signals(stop_signal).name} at step {int(state.step)} of {num_steps} and saved."
          " The same command resumes.")
    elif task.export is not None:
      write_weights(task, state, workdir / "weights", config, cpu_seconds=memory.cpu_seconds)
      say(f"Wrote the weights to {workdir / 'weights'}.")
  return TrainResult(state, stop_signal is None, stop_signal)


def jit_train_step(task: Task, tx: optax.GradientTransformation, optim: Optim, mesh) -> Callable:
  """The compiled step: batch split over the mesh, state replicated and donated."""
  replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  step = make_train_step(task.loss_fn, tx, ema_decay=optim.ema_decay, ema_power=optim.ema_power)
  return jax.jit(step, out_shardings=(replicated, replicated), donate_argnums=0)


def resume_or_init(task: Task, tx: optax.GradientTransformation, key, mesh, workdir: Path,
                   config: dict | None = None) -> tuple[TrainState, _Memory]:
  """The newest whole checkpoint of `workdir`, on any number of devices, or a fresh state."""
  restored = restore_latest(workdir / "checkpoints", abstract_state(task, tx, key, mesh), config=config)
  if restored is None:
    return _jit_init(task, tx, mesh)(key), _Memory([], 0.0)
  return restored.state, _Memory(**restored.info["memory"])


def _jit_init(task: Task, tx: optax.GradientTransformation, mesh) -> Callable:
  replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  return jax.jit(lambda key: init_train_state(task.init(key), tx), out_shardings=replicated)


def abstract_state(task: Task, tx: optax.GradientTransformation, key, mesh) -> TrainState:
  """Shapes, types and shardings of the state, without its numbers: what a checkpoint is read into."""
  replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated),
                      jax.eval_shape(_jit_init(task, tx, mesh), key))


def write_weights(task: Task, state: TrainState, directory: Path, config: dict | None, *,
                  cpu_seconds: float = 0.0) -> None:
  """The averaged parameters of `state` as released weights; `cpu_seconds` is what they took, 0 if not
  known."""
  directory.mkdir(parents=True, exist_ok=True)
  task.export(state.ema_params, directory, {"step": int(state.step), "config": config,
                                            "cpu_seconds": cpu_seconds})


class _Run(NamedTuple):
  """What stays fixed while the steps of one process run."""
  task: Task
  mesh: Any
  keys: RunKeys
  workdir: Path
  train: Train
  config: dict | None
  plot_loss: Callable | None
  log: MetricLog
  checkpoints: Checkpoints
  requested: Callable
  bar: Any


def _run_steps(run: _Run, step_fn: Callable, state: TrainState, memory: _Memory):
  """Runs to the last step or to a stop request; returns the state, the stopping signal or None, and the
  memory."""
  pending, start, began = list(memory.pending), int(state.step), time.monotonic()
  cpu_began, memory_now = time.process_time(), memory
  images, mark = 0, began  # images since `mark`, which skips the time of what is due between steps
  for step in range(start + 1, run.train.num_steps + 1):
    batch = parallel.shard_batch(run.task.batch_fn(step - 1), run.mesh)
    state, metrics = step_fn(state, batch, run.keys.train)
    pending.append(metrics)
    images += parallel.batch_size(batch)
    if step == start + 1:
      jax.block_until_ready(state)
      run.bar.write(f"First step, with compilation: {time.monotonic() - mark:.1f} s.")
      images, mark = 0, time.monotonic()
    if len(pending) > RUN_AHEAD:
      jax.block_until_ready(pending[-RUN_AHEAD - 1])
    stop = run.requested()
    due = _due(run, step, stop is not None)
    if not any(due):
      run.bar.update(step)
      continue
    pending = jax.device_get(pending)
    _check_finite(run, pending, step)
    now = time.monotonic()
    seconds, row = memory.seconds + now - began, {}
    if due.log:
      row, pending = {**_means(pending), "wall_seconds": seconds}, []
      if images:
        row["images_per_second"] = images / (now - mark)
      images, mark = 0, now
    run.bar.update(step, **row)
    if due.evaluate:
      row.update(run.task.evaluate(state.ema_params, jax.random.clone(run.keys.evaluate)))
    if row:
      run.log.write(step, row)
    if due.draw:
      _draw(run, state, step)
    if due.checkpoint:
      pending = [{name: float(value) for name, value in metrics.items()} for metrics in pending]
      memory_now = _Memory(pending, seconds, memory.cpu_seconds + time.process_time() - cpu_began)
      run.checkpoints.save(step, state, {"config": run.config, "memory": memory_now._asdict()})
    mark += time.monotonic() - now
    if stop is not None and step < run.train.num_steps:
      return state, stop, memory_now
  return state, None, memory_now


def _due(run: _Run, step: int, stopping: bool) -> Due:
  """An interval counts the last step as a multiple."""
  last, every = step == run.train.num_steps, run.train
  is_due = lambda interval: interval > 0 and (last or step % interval == 0)
  return Due(log=is_due(every.log_every_steps),
             checkpoint=is_due(every.checkpoint_every_steps) or stopping or last,
             evaluate=is_due(every.eval_every_steps) and run.task.evaluate is not None,
             draw=is_due(every.draw_every_steps))


def _draw(run: _Run, state: TrainState, step: int) -> None:
  if run.plot_loss is not None:
    run.log.picture(step, "loss", run.plot_loss(*run.log.history("train/loss")), run.workdir / "loss.png")
  if run.task.draw is not None:
    figure = run.task.draw(state.ema_params, jax.random.clone(run.keys.draw))
    run.log.picture(step, "samples", figure, run.workdir / "samples" / f"step_{step:08d}.png")


def _means(pending: list[dict]) -> dict[str, float]:
  return {f"train/{name}": math.fsum(float(m[name]) for m in pending) / len(pending) for name in pending[0]}


def _check_finite(run: _Run, pending: list[dict], last: int) -> None:
  """Raises FloatingPointError at the first pending step whose loss or gradient is not finite."""
  for step, metrics in enumerate(pending, start=last - len(pending) + 1):
    loss, norm = float(metrics["loss"]), float(metrics["grad_norm"])
    if not (math.isfinite(loss) and math.isfinite(norm)):
      run.checkpoints.wait()
      good = run.checkpoints.latest_step()
      where = ("there is no checkpoint yet" if good is None else
               f"last good checkpoint: {run.workdir / 'checkpoints' / str(good)}")
      raise FloatingPointError(
          f"Training diverged at step {step}: loss {loss}, gradient norm {norm}; {where}. "
          "Try a lower optim.learning_rate or optim.grad_clip_norm in a new workdir.")


def _check_numbers(train: Train) -> None:
  lowest = {"num_steps": 1, "log_every_steps": 1, "checkpoint_every_steps": 1, "eval_every_steps": 0,
            "draw_every_steps": 0}
  for name, low in lowest.items():
    value, never = getattr(train, name), "" if low else " (0: never)"
    if value < low:
      raise ValueError(f"train.{name} must be at least {low}{never}; got {value}.")


@contextlib.contextmanager
def _no_progress(total: int, *, initial: int = 0) -> Iterator:
  yield _Silent(lambda done, **metrics: None, logger.info)


class _Silent(NamedTuple):
  update: Callable
  write: Callable
