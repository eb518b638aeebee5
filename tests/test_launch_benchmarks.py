"""The benchmarks of data and simulation run, count and say what they measured."""
import json
import os
import subprocess
import sys

import pytest


def launch(repo, *arguments):
  env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(repo)}
  return subprocess.run([sys.executable, "-m", *arguments], cwd=repo, env=env, capture_output=True, text=True, timeout=600,
                        check=False)


def test_simulation(repo, tmp_path):
  arguments = ("launch.benchmark_simulation", "--num_events=20", "--geant4_events=0", f"--out={tmp_path}")
  done = launch(repo, *arguments)
  assert done.returncode == 0 and "| fast transport | 20 |" in done.stdout, done.stderr
  row = json.loads((tmp_path / "results.json").read_text())["results"]["fast transport"]
  assert row["events_per_s"] == pytest.approx(20 / row["wall_s"]) and row["cpu_s"] > 0
  done = launch(repo, *arguments)
  assert done.returncode == 2 and "fast_few.npz exists; choose another --out" in done.stderr


@pytest.mark.slow
def test_input(repo, tmp_path):
  done = launch(repo, "launch.benchmark_input", "--config=configs/protons64_autoencoder.py:tiny", "--seconds=0.2",
                f"--out={tmp_path}")
  assert done.returncode == 0, done.stderr
  results = json.loads((tmp_path / "results.json").read_text())["results"]
  assert len(results) == 3 and all(min(row.values()) > 0 for row in results.values())
  assert all(name in done.stdout for name in results)
