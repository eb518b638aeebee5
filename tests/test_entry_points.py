"""The command `lartpc`, names of configs, and what a wheel brings: in any directory, without a clone."""
import os
import re
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import lartpc_jax
from lartpc_jax import __main__ as command_line, entry_points

REPO = Path(__file__).resolve().parent.parent
SCRIPTS = {path.stem for path in (REPO / "launch").glob("*.py")} - {"__init__"}


def lartpc(folder, *arguments, package=REPO):
  """A finished `lartpc` in a folder, with the package found at `package`."""
  environment = {**os.environ, "PYTHONPATH": str(package), "JAX_PLATFORMS": "cpu"}
  return subprocess.run([sys.executable, "-m", "lartpc_jax", *arguments], cwd=folder, env=environment,
                        capture_output=True, text=True, timeout=300, check=False)


def test_every_launch_script_is_a_command_with_words():
  found = command_line.commands()
  assert set(found) == SCRIPTS and all(len(text) > 20 for text in found.values())
  text = command_line.help_text()
  assert all(re.search(rf"^  {name} +\w", text, re.M) for name in SCRIPTS)
  assert all(name in text for name in entry_points.config_names())
  assert max(map(len, text.splitlines())) <= 110


def test_help_and_version_are_quick(tmp_path):
  """Nothing heavy is imported. CPU time, the time of a quiet machine: other processes may be at work."""
  spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
  for arguments, wanted in ((["--help"], "usage: lartpc COMMAND"), (["--version"], lartpc_jax.__version__)):
    before = spent()
    done = lartpc(tmp_path, *arguments)
    assert done.returncode == 0 and wanted in done.stdout, done
    assert spent() - before < 0.5


def test_help_of_a_command(tmp_path):
  done = lartpc(tmp_path, "infer", "--help")
  assert done.returncode == 0 and "--num_events" in done.stdout, done
  assert "Infers proton momenta" in done.stdout


@pytest.mark.parametrize("arguments,message", [
    (["ifer"], "no command 'ifer'. Did you mean 'infer'"),
    (["../launch/infer.py"], "no command"),
    (["train", "--config=protons64_autoencode"], "did you mean 'protons64_autoencoder'"),
    (["train", "--config=protons64_autoencoder:huge", "--workdir=w"], "Unknown variant 'huge'"),
    (["train", "--workdri=w"], "workdir"),
], ids=["command", "path", "config", "variant", "flag"])
def test_mistakes_end_with_2_and_one_message(tmp_path, arguments, message):
  done = lartpc(tmp_path, *arguments)
  assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr, done
  assert not list(tmp_path.iterdir())


def test_a_config_by_name_by_place_and_by_path(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  shipped = str(REPO / "configs" / "protons64_infer.py")
  assert entry_points.find_config("protons64_infer") == shipped
  assert entry_points.find_config("protons64_infer:amortised") == f"{shipped}:amortised"
  assert entry_points.find_config("configs/protons64_infer.py:tiny") == f"{shipped}:tiny"
  for other in ("mine/protons64_infer.py:tiny", "configs/mine.py", str(tmp_path / "x.py")):
    assert entry_points.find_config(other) == other
  (tmp_path / "configs").mkdir()
  (tmp_path / "configs" / "protons64_infer.py").write_text("")
  assert entry_points.find_config("configs/protons64_infer.py") == "configs/protons64_infer.py"
  with pytest.raises(ValueError, match="no config 'proton64_infer'; did you mean 'protons64_infer'"):
    entry_points.find_config("proton64_infer:tiny")


def test_configs_load_by_name():
  assert entry_points.load_config("protons64_tracks").inference.screening.num_candidates == 2048
  assert entry_points.load_config("protons64_tracks:tiny").inference.screening.num_candidates == 32


def test_arguments_are_expanded(monkeypatch):
  monkeypatch.setenv("HOME", "/there")
  given = ["--out=~/x.npz", "--a=b~c", "--config", "protons64_ldm:tiny", "-config=~/c.py"]
  found = entry_points.expand(given)
  assert found[:3] == ["--out=/there/x.npz", "--a=b~c", "--config"]
  assert found[3].endswith("configs/protons64_ldm.py:tiny") and found[4] == "-config=/there/c.py"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  """A wheel of this tree, unpacked as pip lays it: the folder that would be site-packages."""
  pytest.importorskip("setuptools", minversion="77", reason="needs setuptools 77")
  folder = tmp_path_factory.mktemp("wheel")
  source = folder / "source"
  source.mkdir()
  for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "lartpc_jax", "configs",
               "launch"):
    (source / name).symlink_to(REPO / name)
  code = "from setuptools.build_meta import build_wheel; build_wheel('..')"
  done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr[-2000:]
  with zipfile.ZipFile(next(folder.glob("*.whl"))) as file:
    file.extractall(folder / "site")
  return folder / "site"


def test_a_wheel_brings_everything_in_one_folder(wheel):
  top = {path.name for path in wheel.iterdir()}
  assert top == {"lartpc_jax", f"lartpc_jax-{lartpc_jax.__version__}.dist-info"}
  for name in ("configs", "launch"):
    shipped = {path.name for path in (wheel / "lartpc_jax" / "shipped" / name).glob("*.py")}
    assert shipped == {path.name for path in (REPO / name).glob("*.py")}
  ours = {path.relative_to(REPO) for path in (REPO / "lartpc_jax").rglob("*")
          if path.is_file() and "__pycache__" not in path.parts}
  assert {path for path in ours if not (wheel / path).is_file()} == set()
  script = (wheel / f"lartpc_jax-{lartpc_jax.__version__}.dist-info" / "entry_points.txt").read_text()
  assert "lartpc = lartpc_jax.__main__:main" in script


def test_a_wheel_runs_in_an_empty_directory(wheel, tmp_path):
  """--dry_run loads the config by name, with what it imports from `configs`, and builds the model."""
  done = lartpc(tmp_path, "train", "--config=protons64_autoencoder:tiny", "--dry_run", package=wheel)
  assert done.returncode == 0 and "FLOPs of one step" in done.stdout, done
  assert not list(tmp_path.iterdir())
