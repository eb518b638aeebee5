"""The Slurm scripts with a stand-in for sbatch that runs a job at once, an array's tasks last to first."""
import os
import subprocess
import sys

import numpy as np

from lartpc_jax.data.events import load_events

SBATCH = """#!/usr/bin/env python3
import os, subprocess, sys
options, rest = [], sys.argv[1:]
while rest[0].startswith("--"):
  options.append(rest.pop(0))
with open(os.environ["CALLS"], "a") as file:
  file.write(" ".join(options + rest) + "\\n")
value = lambda name: next((o.split("=", 1)[1] for o in options if o.startswith(name + "=")), None)
env = {**os.environ, **dict(pair.split("=") for pair in (value("--export") or "ALL").split(",")[1:])}
tasks = range(int(value("--array").split("-")[1]), -1, -1) if value("--array") else [None]
for task in tasks:
  extra = {} if task is None else {"SLURM_ARRAY_TASK_ID": str(task)}
  subprocess.run(["bash", *rest], env={**env, **extra}, check=True, stdout=sys.stderr)
print("7;cluster" if value("--array") else "8")
"""


def environment(repo, folder):
  stub = folder / "sbatch"
  stub.write_text(SBATCH)
  stub.chmod(0o755)
  return {
      **os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(folder / "calls"),
      "NUM_PARTS": "2", "PYTHON": sys.executable, "PYTHONPATH": str(repo), "JAX_PLATFORMS": "cpu",
      "SBATCH_ARGS": "--account=physics"
  }


def test_array_and_merge(repo, tmp_path):
  out = tmp_path / "protons.npz"
  arguments = [
      "--num_events=24", "--shard_events=8", "--chunk_size=8", "--kinetic_mev=50,52", "--nuclear=false",
      f"--out={out}", "--compress"
  ]
  done = subprocess.run(["bash", "launch/slurm/submit.sh", *arguments], cwd=repo,
                        env=environment(repo,
                                        tmp_path), capture_output=True, text=True, timeout=300, check=False)
  assert done.returncode == 0, done.stderr
  assert done.stdout == "Array 7 of 2 tasks, then merge 8 if all end well.\n"
  first, second = (tmp_path / "calls").read_text().splitlines()
  assert ("--account=physics --array=0-1 --export=ALL,NUM_PARTS=2 launch/slurm/simulate.sbatch "
          "--num_events=24") in first
  assert f"--dependency=afterok:7 launch/slurm/merge.sbatch --out={out} --compress" in second
  assert "Part 1 of 2 is complete: 8 events" in done.stderr
  assert "Part 0 of 2 is complete: 16 events" in done.stderr
  momentum = load_events(out).momentum_mev
  assert len(np.unique(momentum, axis=0)) == 24 and not (tmp_path / "protons.npz.shards").exists()


def test_mistakes(repo, tmp_path):
  env = environment(repo, tmp_path)
  run = lambda *command, **change: subprocess.run(["bash", *command], cwd=repo, env={**env, **change},
                                                  capture_output=True, text=True, timeout=60, check=False)
  for done, message in ((run("launch/slurm/submit.sh", "--num_events=5"),
                         "Give --out=FILE.npz"), (run("launch/slurm/submit.sh", "--out=x.npz",
                                                      "--part=0/2"), "--part=0/2 is set here"),
                        (run("launch/slurm/submit.sh", "--out=x.npz",
                             NUM_PARTS=""), "set NUM_PARTS"),
                             (run("launch/slurm/simulate.sbatch", "--out=x.npz"), "run me as an array")):
    assert done.returncode and message in done.stderr
  assert not (tmp_path / "calls").exists()
