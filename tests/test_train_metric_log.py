"""metrics.jsonl over restarts, TensorBoard, pictures."""
import json
import logging
import sys

import pytest

from lartpc_jax.plotting.training import loss_curve
from lartpc_jax.train import metric_log


def write(workdir, start, steps):
  with metric_log.open_metric_log(workdir, start_step=start) as log:
    for step in steps:
      log.write(step, {"train/loss": 1.0 / step})
    return log.history("train/loss")


def steps_of(workdir):
  return [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_lines_past_the_restored_step_are_dropped(tmp_path):
  write(tmp_path, 0, [2, 4, 6, 8])
  steps, losses = write(tmp_path, 5, [6, 8])
  assert steps_of(tmp_path) == steps == [2, 4, 6, 8]
  assert losses == [1 / 2, 1 / 4, 1 / 6, 1 / 8]


def test_a_new_run_starts_a_new_file(tmp_path):
  write(tmp_path, 0, [2, 4])
  write(tmp_path, 0, [2])
  assert steps_of(tmp_path) == [2]


def test_a_line_cut_short_is_dropped(tmp_path, caplog):
  write(tmp_path, 0, [2, 4])
  with open(tmp_path / "metrics.jsonl", "a") as file:
    file.write('{"step": 6, "train/lo')
  with caplog.at_level(logging.WARNING):
    write(tmp_path, 6, [8])
  assert steps_of(tmp_path) == [2, 4, 8] and "unreadable line" in caplog.text


def test_lines_are_json_even_without_numbers(tmp_path):
  with metric_log.open_metric_log(tmp_path, start_step=0) as log:
    log.write(1, {"eval/a": float("nan"), "eval/b": float("inf"), "eval/c": 1})
    assert log.history("eval/c") == ([1], [1.0])
  text = (tmp_path / "metrics.jsonl").read_text()
  assert json.loads(text) == {"step": 1, "eval/a": None, "eval/b": None, "eval/c": 1.0}


def test_tensorboard_and_pictures(tmp_path):
  with metric_log.open_metric_log(tmp_path, start_step=0) as log:
    log.write(3, {"train/loss": 0.5})
    log.picture(3, "samples", loss_curve([1, 2], [1.0, 0.5]), tmp_path / "samples" / "a.png")
  events = b"".join(p.read_bytes() for p in (tmp_path / "tensorboard").iterdir())
  assert b"train/loss" in events and b"samples" in events
  assert (tmp_path / "samples" / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_loss_curve():
  axes = loss_curve(range(1, 41), [1.0 / n for n in range(1, 41)]).axes[0]
  assert axes.get_yscale() == "log" and len(axes.lines) == 2
  assert loss_curve([1, 2], [1.0, -1.0]).axes[0].get_yscale() == "linear"
  loss_curve([], [])
  with pytest.raises(ValueError, match="one shape"):
    loss_curve([1, 2], [1.0])


def test_without_tensorboard(tmp_path, monkeypatch, caplog):
  monkeypatch.setitem(sys.modules, "tensorboardX", None)
  with caplog.at_level(logging.WARNING):
    write(tmp_path, 0, [2, 4])
  assert caplog.text.count("tensorboardX is not installed") == 1
  assert steps_of(tmp_path) == [2, 4] and not (tmp_path / "tensorboard").exists()
