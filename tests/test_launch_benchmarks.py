"""The benchmarks of data and simulation run, count and say what they measured."""
import json
import os
import subprocess
import sys

import pytest

from tests.toy_weights import save_toy_weights


def launch(repo, *arguments):
  env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(repo)}
  return subprocess.run([sys.executable, "-m", *arguments], cwd=repo, env=env, capture_output=True, text=True,
                        timeout=600, check=False)


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_simulation(repo, tmp_path):
  arguments = ("launch.benchmark_simulation", "--num_events=20", "--geant4_events=0", f"--out={tmp_path}")
  done = launch(repo, *arguments)
  assert done.returncode == 0 and "| fast transport | 20 |" in done.stdout, done.stderr
  row = json.loads((tmp_path / "results.json").read_text())["results"]["fast transport"]
  assert row["events_per_s"] == pytest.approx(20 / row["wall_s"]) and row["cpu_s"] > 0
  done = launch(repo, *arguments)
  assert done.returncode == 2 and "fast_few.npz exists; choose another --out" in done.stderr


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_input(repo, tmp_path):
  done = launch(repo, "launch.benchmark_input", "--config=configs/protons64_autoencoder.py:tiny",
                "--seconds=0.2", f"--out={tmp_path}")
  assert done.returncode == 0, done.stderr
  results = json.loads((tmp_path / "results.json").read_text())["results"]
  assert len(results) == 3 and all(min(row.values()) > 0 for row in results.values())
  assert all(name in done.stdout for name in results)


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_infer(repo, tmp_path):
  """Rows of one device and of two; what is there is not measured again, unless with other flags."""
  weights = save_toy_weights(tmp_path / "weights")
  arguments = ("launch.benchmark_infer", "--config=configs/protons64_infer.py:tiny", "--start=classical",
               "--events=1,3", f"--weights={weights}", "--views=xy", f"--out={tmp_path}")
  for flags, counts in ((["--devices=1"], [1, 1]), (["--devices=1,2"], [1, 1, 2, 2]),
                        (["--devices=1", "--chunk_size=2"], [1, 1, 2, 2, 1, 1])):
    done = launch(repo, *arguments, *flags)
    assert done.returncode == 0, done.stderr
    rows = [entry["row"] for entry in json.loads((tmp_path / "rows.json").read_text())]
    assert [row["devices"]
            for row in rows] == counts and [row["events"] for row in rows] == [1, 3] * (len(counts) // 2)
  # 3 steps of 2 draws of 4 evaluations; the report draws twice
  assert all(row["events/s"] > 0 and row["with_gradient"] == 24 and row["without"] == 16 for row in rows)
  assert (tmp_path / "speed.md").read_text() in done.stdout
