"""The shared helpers of launch scripts, and launch.train itself in processes that get killed."""
import dataclasses
import functools
import importlib
import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
from absl import flags

from lartpc_jax import cli, parallel
from lartpc_jax.experiments import protocol

# compiled programs: all launches of this file train the same tiny model
CACHE = tempfile.TemporaryDirectory()
CONFIG = {"network": {"num_channels": 8}, "train": {"num_steps": 5}}
RUN = ["--config=tests/toy_config.py", "--config.sleep_seconds=0.1"]  # slow enough to be killed in the middle
MISTAKES = [  # arguments, what stderr must say
    (["--config=tests/toy_config.py", "--config.optim.lr=1"], "no key.*lr"),
    (["--config=tests/toy_config.py:huge"], "Unknown variant 'huge'; choose from"),
    (["--config=tests/toy_config.py", "--config.optim.b1=x"], "config.optim.b1=x"),
    (["--config=tests/toy_config.py", "--workdir=x", "--config.optim.schedule=linear"],
     "optim.schedule 'linear'; choose from"),
    (["--config=no_such_file.py"], "no_such_file.py"),
    (["--config=tests/toy_config.py", "--workdri=x"], "Did you mean: workdir"),
    (["--config=tests/toy_config.py"], "--workdir"),
    ([], "--config=configs/NAME.py"),
    (["--config=tests/toy_config.py", "--workdir=x", "surplus"], "surplus"),
]


def command(*arguments, script=("tests/toy_train.py",)):
  return [sys.executable, *script, *arguments]


def environment():
  env = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": CACHE.name,
         "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
  env.pop("LARTPC_DEBUG", None)
  return {**env, "PYTHONPATH": os.pathsep.join([".", *filter(None, [os.environ.get("PYTHONPATH")])])}


def launch(repo, *arguments, script=("tests/toy_train.py",), **env):
  return subprocess.run(command(*arguments, script=script), cwd=repo, env={**environment(), **env},
                        capture_output=True, text=True, timeout=600, check=False)


def wait_for(condition, process, seconds=300.0):
  end = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, "the process ended early"
    assert time.monotonic() < end, "timed out"
    time.sleep(0.02)


def kill_when_step_is_saved(repo, workdir, number, step):
  process = subprocess.Popen(command(*RUN, f"--workdir={workdir}"), cwd=repo, env=environment(), text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
  try:
    wait_for(lambda: (workdir / "checkpoints" / str(step)).is_dir(), process)
    process.send_signal(number)
    return process.communicate(timeout=300), process.returncode
  finally:
    process.kill()


def results(workdir):
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  with np.load(workdir / "weights" / "weights.npz") as weights:
    return [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row], weights["bias"]


@pytest.fixture(scope="module")
def straight(repo, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("straight")
  done = launch(repo, *RUN, f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  return workdir, done


def test_launch_train_fills_the_workdir(straight):
  workdir, done = straight
  names = {
      "config.json", "environment.txt", "metrics.jsonl", "checkpoints", "samples", "loss.png", "tensorboard",
      "lock", "weights"
  }
  assert {p.name for p in workdir.iterdir()} == names
  assert json.loads((workdir / "config.json").read_text())["optim"]["b1"] == 0.9
  text = (workdir / "environment.txt").read_text()
  for wanted in ("command: ", "toy_train.py", "commit: ", "jax: ", "devices: 1 x cpu"):
    assert wanted in text
  assert re.search(r"step 6/12  50%  .*loss [\d.]+.*images/s.*ETA 0:00:0\d", done.stderr)
  assert "orbax" not in done.stderr and "Wrote the weights" in done.stdout


def test_kill_minus_nine_in_the_middle(repo, straight, tmp_path):
  _, code = kill_when_step_is_saved(repo, tmp_path, signal.SIGKILL, 6)
  assert code == -signal.SIGKILL
  with open(tmp_path / "metrics.jsonl", "a") as file:
    file.write('{"step": 9')  # a line cut short
  done = launch(repo, *RUN, f"--workdir={tmp_path}")
  assert done.returncode == 0 and "Resuming" in done.stdout
  (rows, bias), (expected_rows, expected_bias) = results(tmp_path), results(straight[0])
  assert rows == expected_rows
  np.testing.assert_array_equal(bias, expected_bias)


@pytest.mark.slow
def test_sigterm_saves_and_says_how_to_resume(repo, straight, tmp_path):
  (out, _), code = kill_when_step_is_saved(repo, tmp_path, signal.SIGTERM, 3)
  assert code == 128 + signal.SIGTERM
  assert re.search(r"Stopped by SIGTERM at step \d+ of 12 and saved. The same command resumes.", out)
  launch(repo, *RUN, f"--workdir={tmp_path}")
  assert results(tmp_path)[0] == results(straight[0])[0]
  np.testing.assert_array_equal(results(tmp_path)[1], results(straight[0])[1])


def test_complete_and_changed_runs(repo, straight):
  workdir, _ = straight
  again = launch(repo, *RUN, f"--workdir={workdir}")
  assert again.returncode == 0 and "already complete" in again.stdout
  changed = launch(repo, *RUN, f"--workdir={workdir}", "--config.network.num_channels=16")
  assert changed.returncode == 2 and "network.num_channels: 8 -> 16" in changed.stderr
  assert "Traceback" not in changed.stderr


def test_dry_run_writes_nothing(repo, tmp_path):
  done = launch(repo, "--config=tests/toy_config.py", f"--workdir={tmp_path / 'run'}", "--dry_run")
  assert done.returncode == 0, done.stderr
  for wanted in ('"num_channels": 8', "total            48", "FLOPs of one step", "Time of one step",
                 "1 x cpu"):
    assert wanted in done.stdout
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments,message", MISTAKES, ids=[" ".join(a) or "nothing" for a, _ in MISTAKES])
def test_mistakes_are_one_message(repo, arguments, message):
  done = launch(repo, *arguments, script=["-m", "launch.train"])
  assert done.returncode == 2 and "Traceback" not in done.stderr
  assert re.search(message, done.stderr, re.DOTALL), done.stderr


def test_workdir_that_cannot_be_written(repo):
  done = launch(repo, *RUN, "--workdir=setup.cfg/x")
  assert done.returncode == 2 and "Cannot write to the work directory setup.cfg/x" in done.stderr


def test_debug_shows_the_traceback(repo):
  for arguments, env in ((["--debug"], {}), ([], {"LARTPC_DEBUG": "1"})):
    done = launch(repo, *arguments, script=["-m", "launch.train"], **env)
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_help_does_not_wait_for_jax(repo):
  code = ("import sys; import launch.train\n"
          "heavy = {'jax', 'orbax', 'flax', 'optax', 'matplotlib'} & sys.modules.keys()\n"
          "assert not heavy, heavy")
  subprocess.run([sys.executable, "-c", code], cwd=repo, check=True, timeout=300)
  done = subprocess.run([sys.executable, "-m", "launch.train", "--help"], cwd=repo, capture_output=True,
                        text=True, timeout=300, check=False)
  assert "--workdir" in done.stdout and "the same command again resumes" in done.stdout


def test_flags_are_the_fields_of_settings(repo):
  """`cli` reads a class statement alone; the module says the same. Every command is an experiment with a
  run."""
  for path in sorted((repo / "launch").glob("[a-z]*.py")):
    module = importlib.import_module(f"lartpc_jax.experiments.{path.stem}")
    fields = [[(f.name, f.type, f.default, f.metadata["text"]) for f in dataclasses.fields(kind)]
              for kind in (cli.settings_class(path.stem), module.Settings)]
    assert fields[0] == fields[1], path.stem
    names = list(inspect.signature(module.run).parameters)
    assert (names[0], names[-1]) == ("settings", "console"), path.stem


def test_no_settings_wait_for_jax(repo):
  code = (
      "import pathlib, sys; from lartpc_jax import cli\n"
      "for path in pathlib.Path('launch').glob('[a-z]*.py'):\n"
      "  cli.settings_class(path.stem)\n"
      "heavy = {'jax', 'orbax', 'flax', 'optax', 'matplotlib', 'tensorflow_datasets'} & sys.modules.keys()\n"
      "assert not heavy, heavy")
  subprocess.run([sys.executable, "-c", code], cwd=repo, check=True, timeout=300)


@dataclasses.dataclass(frozen=True)
class ToySettings:
  """One field of every kind."""
  name: str | None = protocol.setting(None, "A name.", required=True)
  size: int = protocol.setting(3, "A size.", lower=1)
  kind: str = protocol.setting("a", "A kind.", choices=("a", "b"))
  low_high: tuple[float, float] | None = protocol.parsed(
      "1,2", "A range.", functools.partial(protocol.pair, number=float))
  views: tuple[str, ...] = protocol.setting(("xy",), "Views.")
  changes: tuple[str, ...] = protocol.setting((), "Changes.", flag="change", repeated=True)
  only_b: bool = protocol.setting(False, "Of b.", goes_with="kind=b")


@pytest.mark.parametrize("arguments, expected", [
    (["--name=x"], ToySettings("x")),
    (["--name=x", "--size=5", "--kind=b", "--only_b", "--low_high=3,4", "--views=xz,yz", "--change=a=1,2",
      "--change=b=3"],
     ToySettings("x", 5, "b", (3.0, 4.0), ("xz", "yz"), ("a=1,2", "b=3"), True)),
    ([], "Give --name"), (["--name=x", "--low_high=3"], "Bad --low_high=3: give two numbers, such as 1,5"),
    (["--name=x", "--only_b"], "--only_b goes with --kind=b"), (["--name=x", "--size=0"], "size"),
    (["--name=x", "--kind=c"], "kind")])
def test_settings_of_a_command_line(monkeypatch, arguments, expected):
  values = flags.FlagValues()
  monkeypatch.setattr(cli, "settings_class", lambda experiment: ToySettings)
  monkeypatch.setattr(cli.flags, "FLAGS", values)
  for name in ("string", "enum", "multi_string", "list", "bool", "integer", "float"):
    define = getattr(flags, f"DEFINE_{name}")
    monkeypatch.setattr(cli.flags, f"DEFINE_{name}", functools.partial(define, flag_values=values))
  cli.define_flags("toy")
  if isinstance(expected, str):
    with pytest.raises((ValueError, flags.Error), match=expected):
      values(["toy", *arguments])
      cli.read_flags("toy")
  else:
    values(["toy", *arguments])
    assert ToySettings(**cli.read_flags("toy")) == expected


def setup(workdir, config):
  with cli.hold_workdir(workdir, config) as path:
    return path


def test_workdir_is_made_and_checked(tmp_path):
  workdir = setup(tmp_path / "a" / "b", CONFIG)
  setup(workdir, {"seed": 1})  # no results yet: it may change
  setup(workdir, CONFIG)
  (workdir / "checkpoints" / "3").mkdir(parents=True)
  setup(workdir, {**CONFIG, "train": {"num_steps": 9}})
  assert json.loads((workdir / "config.json").read_text())["train"]["num_steps"] == 9
  assert (workdir / "environment.txt").read_text().count("command: ") == 4
  with pytest.raises(ValueError, match=r"network\.num_channels: 8 -> 9"):
    setup(workdir, {**CONFIG, "network": {"num_channels": 9}})
  (workdir / "checkpoints" / "3").rmdir()
  (workdir / "weights").mkdir()
  with pytest.raises(ValueError, match=r"network\.num_channels: 8 -> \(absent\)"):
    setup(workdir, {})
  (workdir / "config.json").write_text("{")
  with pytest.raises(ValueError, match="not readable as JSON"):
    setup(workdir, CONFIG)
  with pytest.raises(ValueError, match="--workdir"):
    setup("", CONFIG)
  (tmp_path / "file").write_text("")
  with pytest.raises(OSError, match="Cannot write to the work directory"):
    setup(tmp_path / "file" / "run", CONFIG)


@pytest.mark.parametrize("error,message", [
    (KeyError("'num_strts'\nDid you mean \"num_starts\" instead of \"num_strts\"?"),
     "The config has no key 'num_strts' (from a --config.KEY); did you mean 'num_starts'?"),
    (AttributeError("inferenc'\nDid you mean \"inference\" instead of \"inferenc\"?"),
     "The config has no key 'inferenc' (from a --config.KEY); did you mean 'inference'?"),
    (KeyError(repr("'x1'\nnothing is like it")), "The config has no key 'x1' (from a --config.KEY).")])
def test_mistyped_config_keys_are_told_in_words(monkeypatch, error, message):
  def parse(argv):
    raise error
  monkeypatch.setattr(cli.flags, "FLAGS", parse)
  with pytest.raises(ValueError, match=re.escape(message)):
    cli._parse_flags(["x"])


def test_device_summary():
  assert re.fullmatch(r"\d+ x cpu \(cpu\)", parallel.device_summary())


def test_plain_progress(monkeypatch):
  clock = iter(range(0, 1000, 2))
  monkeypatch.setattr(cli.time, "monotonic", lambda: float(next(clock)))
  stream = io.StringIO()
  with cli.progress_bar(10, initial=2, description="train", stream=stream, every_seconds=5.0) as bar:
    bar.write("hello")
    for done in range(3, 11):
      bar.update(done, **({"train/loss": 0.25} if done == 4 else {}))
  lines = stream.getvalue().splitlines()
  assert lines[0] == "hello"
  assert lines[1] == "train step 4/10  40%  loss 0.25  ETA 0:00:12"  # 2 s a step
  assert [line.split()[2] for line in lines[2:]] == ["7/10", "10/10"]
  assert lines[-1].endswith("100%  ETA 0:00:00")


def test_bar_on_a_terminal():
  class Terminal(io.StringIO):
    def isatty(self):
      return True
  stream = Terminal()
  with cli.progress_bar(4, stream=stream) as bar:
    bar.update(1)
    bar.update(4, **{"train/loss": 0.5, "images_per_second": 1234.0})
    bar.write("a line")
  assert "4/4" in stream.getvalue() and "loss 0.5, images/s 1234" in stream.getvalue(
  ) and "a line" in stream.getvalue()
