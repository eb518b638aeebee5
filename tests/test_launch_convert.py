"""launch.convert: from the command line to a file that the package reads; mistakes are one message."""
import os
import subprocess
import sys

import pytest

from lartpc_jax.data.images import open_images
from lartpc_jax.geometry.rasterize import ImageSpec


def run(repo, *arguments):
  return subprocess.run([sys.executable, "-m", "launch.convert", *arguments], cwd=repo,
                        env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True, timeout=120,
                        check=False)


def test_root_to_images(repo, tmp_path):
  done = run(repo, "--format=edepsim_root", "--input=tests/data/edepsim.root", f"--out={tmp_path}/a.npz",
             "--num_events=4")
  assert done.returncode == 0, done.stderr
  assert "4 events in" in done.stdout and "momentum of 4 known" in done.stdout
  found = open_images(tmp_path / "a.npz", views=("xy", "xz"), spec=ImageSpec())
  assert found.images.shape == (4, 2, 64, 64) and found.momentum_mev[3].tolist() == [303.0, -30.0, 5.0]


def test_the_list_the_format_that_is_not_named_and_the_home_directory(repo, tmp_path, monkeypatch):
  done = run(repo, "--list")
  assert done.returncode == 0 and "| jaxtpc |" in done.stdout and "--scale_mev" in done.stdout
  monkeypatch.setenv("HOME", str(tmp_path))
  done = run(repo, "--input=tests/data/edepsim.root", "--out=~/a.npz", "--origin=entry", "--voxel_mm=2")
  assert done.returncode == 0, done.stderr
  assert "as edepsim_root" in done.stdout and "5 events in" in done.stdout
  assert [p.name for p in tmp_path.iterdir()] == ["a.npz"] and not (repo / "~").exists()


@pytest.mark.parametrize("arguments,message", [
    (["--format=pilarnet"], "Give --input"),
    (["--input=tests/data/edepsim.root", "--out=OUT", "--voxel_mm=inf"],
     "voxel_mm must be positive and finite; got inf"),
    (["--input=tests/data/TG4.cxx", "--out=OUT"],
     "looks like a text, which is not read here; no format comes near"),
    (["--format=segments", "--input=tests/data/edepsim.root", "--out=OUT"],
     "like an edep-sim file; try --format=edepsim_root"), (["--format=jpeg"], "jpeg"),
    (["--format=pilarnet", "--input=tests/data/edepsim.root", "--out=OUT"],
     "edepsim.root: is not a readable HDF5 file"),
    (["--format=pilarnet", "--input=x", "--out=OUT", "--split=train"],
     "--split does not go with --format=pilarnet")])
def test_mistakes_are_one_message(repo, tmp_path, arguments, message):
  done = run(repo, *(a.replace("OUT", str(tmp_path / "a.npz")) for a in arguments))
  assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
  assert not list(tmp_path.iterdir())
