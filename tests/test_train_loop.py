"""The loop against a hand-written one, and through crashes, signals, NaN and mismatched configs."""
import concurrent.futures
import contextlib
import json
import os
import signal

import jax
import numpy as np
import optax
import pytest

from lartpc_jax.config.schema import Optim, Run, Train
from lartpc_jax.plotting.training import loss_curve
from lartpc_jax.train import interrupt, loop, optimizer, step as step_lib
from lartpc_jax.train.state import init_train_state
from tests import toy_train

pytestmark = pytest.mark.third_party  # optax promotes in its own arithmetic

OPTIM = Optim(1e-2, warmup_steps=2, weight_decay=1e-2, ema_decay=0.9)
TRAIN = dict(num_steps=12, log_every_steps=2, checkpoint_every_steps=3, eval_every_steps=4,
             draw_every_steps=0, keep_checkpoints=2)
TIMING = ("wall_seconds", "images_per_second")


class Crash(Exception):
  """Stands for a killed process."""


def run(workdir, task=None, **changes):
  """A run of the toy; `changes` are fields of the schema's Train, or arguments of loop.train."""
  steps = {name: changes.pop(name) for name in list(changes) if name in TRAIN}
  arguments = dict(config={"network": {"num_channels": 8}, "train": {}}, say=lambda text: None)
  settings = Run(OPTIM, Train(**{**TRAIN, **steps}))
  tx = optimizer.make_optimizer(OPTIM, 12)
  return loop.train(task or toy_train.make_task(), tx, settings, workdir=workdir, **{**arguments, **changes})


def rows(workdir):
  lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  return [{name: value for name, value in row.items() if name not in TIMING} for row in lines]


def failing_at(step, action):
  """The toy task, whose batch function calls `action` before it makes the batch of `step`, once."""
  done = []

  def batch_fn(s):
    if s == step and not done:
      done.append(s)
      action()
    return toy_train.make_batch(s)
  return toy_train.make_task(batch_fn=batch_fn)


def crash():
  raise Crash


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  """A run that nothing disturbs: its directory and result."""
  workdir = tmp_path_factory.mktemp("straight")
  return workdir, run(workdir)


def test_equals_a_hand_written_loop_on_one_device(straight):
  task, keys = toy_train.make_task(), loop.run_keys(0)
  tx = optimizer.make_optimizer(OPTIM, 12)
  state = init_train_state(task.init(keys.init), tx)
  train_step, losses = jax.jit(step_lib.make_train_step(task.loss_fn, tx, ema_decay=0.9)), []
  for step in range(12):
    state, metrics = train_step(state, task.batch_fn(step), keys.train)
    losses.append(float(metrics["loss"]))
  workdir, result = straight
  assert result.completed and int(result.state.step) == 12
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), result.state, state)
  logged = [row["train/loss"] for row in rows(workdir)]
  np.testing.assert_allclose(logged, np.reshape(losses, (-1, 2)).mean(1), rtol=1e-5)


def test_metrics_file(straight):
  workdir, _ = straight
  assert [row["step"] for row in rows(workdir)] == [2, 4, 6, 8, 10, 12]
  assert [row["step"] for row in rows(workdir) if "eval/norm" in row] == [4, 8, 12]
  # one key for all evaluations
  assert len({row["eval/noise"] for row in rows(workdir) if "eval/noise" in row}) == 1
  last = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
  assert last["images_per_second"] > 0 and last["wall_seconds"] > 0
  assert {"train/loss", "train/abs_error", "train/grad_norm"} < last.keys()
  assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == ["12", "9"]


@pytest.mark.parametrize("step", [3, 7])
def test_a_restart_continues_to_the_same_numbers(straight, tmp_path, step):
  with pytest.raises(Crash):
    run(tmp_path, failing_at(step, crash))
  said = []
  result = run(tmp_path, say=said.append)
  assert any("Resuming" in text for text in said) and result.completed
  assert_same(result.state, straight[1].state)
  assert rows(tmp_path) == rows(straight[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_call_resumes(straight, tmp_path, number):
  said, before = [], signal.getsignal(number)
  result = run(tmp_path, failing_at(4, lambda: os.kill(os.getpid(), number)), say=said.append)
  assert not result.completed and result.stop_signal == number and int(result.state.step) == 5
  assert f"{number.name} at step 5 of 12" in said[-1] and "same command resumes" in said[-1]
  assert not (tmp_path / "weights").exists() and signal.getsignal(number) is before
  assert_same(run(tmp_path).state, straight[1].state)
  assert rows(tmp_path) == rows(straight[0])  # step 5 is no log step: its metrics are in the checkpoint


def test_a_second_signal_interrupts_at_once():
  with interrupt.stop_requests() as requested:
    assert requested() is None
    os.kill(os.getpid(), signal.SIGTERM)
    assert requested() == signal.SIGTERM
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)


def test_signals_are_left_alone_in_other_threads():
  def enter():
    with interrupt.stop_requests() as requested:
      return requested()
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    assert pool.submit(enter).result() is None


def test_a_complete_run_says_so_and_exports(tmp_path):
  first, said = run(tmp_path), []
  (tmp_path / "weights" / "weights.npz").unlink()
  again = run(tmp_path, say=said.append)
  assert "already complete: 12 steps" in said[0]
  assert_same(again.state, first.state)
  with np.load(tmp_path / "weights" / "weights.npz") as weights:
    assert weights["step"] == 12
    np.testing.assert_array_equal(weights["bias"], again.state.ema_params["dense"]["bias"])


def test_a_longer_run_continues(tmp_path):
  run(tmp_path, num_steps=6, config={"train": {"num_steps": 6}})
  result = run(tmp_path, num_steps=8, log_every_steps=1, config={"train": {"num_steps": 8}})
  assert int(result.state.step) == 8
  assert [row["step"] for row in rows(tmp_path)] == [2, 4, 6, 7, 8]


def test_two_runs_in_one_directory_are_refused(tmp_path):
  def again():
    with concurrent.futures.ThreadPoolExecutor(1) as other, pytest.raises(
        OSError, match="Another process is training"):
      other.submit(run, tmp_path).result()
  assert int(run(tmp_path, failing_at(4, again)).state.step) == 12


def test_another_config_is_refused_by_name(straight):
  with pytest.raises(ValueError, match=r"network\.num_channels: 8 -> 16"):
    run(straight[0], toy_train.make_task(16), config={"network": {"num_channels": 16}, "train": {}})


def test_nan_stops_at_its_step(tmp_path):
  def batch_fn(step):
    batch = toy_train.make_batch(step)
    return {**batch, "y": batch["y"] * np.float32(np.nan if step >= 4 else 1.0)}

  with pytest.raises(FloatingPointError,
                     match=r"diverged at step 5: loss nan.*last good checkpoint.*checkpoints/3"):
    run(tmp_path, toy_train.make_task(batch_fn=batch_fn))
  assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["3"]


def test_nan_before_any_checkpoint(tmp_path):
  task = toy_train.make_task(
      loss_fn=lambda params, batch, key: (jax.numpy.inf * params["dense"]["bias"].sum(), {}))
  with pytest.raises(FloatingPointError, match="step 1.*no checkpoint yet"):
    run(tmp_path, task)


def test_pictures(tmp_path):
  run(tmp_path, num_steps=5, draw_every_steps=2, plot_loss=loss_curve)
  names = [f"step_{step:08d}.png" for step in (2, 4, 5)]
  assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == names
  for path in (tmp_path / "loss.png", tmp_path / "samples" / names[0]):
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_bar_and_text(tmp_path):
  seen, written = [], []

  @contextlib.contextmanager
  def progress(total, *, initial):
    seen.append((total, initial))
    yield loop._Silent(lambda done, **metrics: seen.append((done, sorted(metrics))), written.append)
  run(tmp_path, num_steps=4, progress=progress)
  assert seen[0] == (4, 0) and [done for done, _ in seen[1:]] == [1, 2, 3, 4]
  assert "train/loss" in seen[2][1] and not seen[1][1]
  assert "compilation" in written[0]


def test_the_loss_is_traced_once(tmp_path):
  traces = []

  def counted(params, batch, key):
    traces.append(1)
    return toy_train.loss_fn(params, batch, key)
  run(tmp_path, toy_train.make_task(loss_fn=counted))
  run(tmp_path, toy_train.make_task(loss_fn=counted), num_steps=15)
  assert len(traces) == 2  # one for each call of train


def test_only_the_loss_is_needed(tmp_path):
  task = toy_train.make_task()._replace(evaluate=None, draw=None, export=None)
  assert run(tmp_path, task, num_steps=4, draw_every_steps=2, config=None).completed
  assert not (tmp_path / "samples").exists() and not (tmp_path / "weights").exists()


@pytest.mark.parametrize("key", ["num_steps", "log_every_steps", "checkpoint_every_steps", "eval_every_steps",
                                 "draw_every_steps", "keep_checkpoints"])
def test_bad_numbers_are_named(tmp_path, key):
  with pytest.raises(ValueError, match=key):
    run(tmp_path, **{key: -1})


def test_the_batch_must_split_over_the_devices(tmp_path):
  task = toy_train.make_task(batch_fn=lambda step: jax.tree.map(lambda x: x[:6], toy_train.make_batch(step)))
  with pytest.raises(ValueError, match="Batch size 6 is not a multiple of the 4 devices"):
    run(tmp_path, task)


def test_optax_is_the_only_rule(tmp_path):
  """Any optax transformation will do: one step of plain gradient descent lowers the loss of its batch."""
  task = toy_train.make_task(batch_fn=lambda step: toy_train.make_batch(0))
  steps = Train(20, log_every_steps=1, eval_every_steps=0, draw_every_steps=0)
  settings = Run(Optim(1e-2, ema_decay=0.0), steps, seed=1)
  loop.train(task, optax.sgd(1e-2), settings, workdir=tmp_path, say=str)
  losses = [row["train/loss"] for row in rows(tmp_path)]
  assert losses[-1] < 0.5 * losses[0]
