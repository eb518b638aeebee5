"""launch.score_toy: draws the pictures it is asked for, and no others."""
import subprocess
import sys

import numpy as np
import pytest

from lartpc_jax.experiments import score_toy


def run(tmp_path, pictures):
  command = [sys.executable, "-m", "launch.score_toy", f"--out={tmp_path}", f"--pictures={pictures}"]
  return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_draws_what_it_is_asked_for(tmp_path):
  result = run(tmp_path, "langevin")
  assert result.returncode == 0, result.stderr[-2000:]
  assert [path.name for path in tmp_path.iterdir()] == ["langevin.png"]
  shares = dict(part.rsplit(" ", 1) for part in result.stdout.split(": ")[1].split("\n")[0].split(", "))
  # 4 s.e. and a bias
  assert abs(float(shares["annealed Langevin"]) - 0.3) < 4 * (0.3 * 0.7 / 800) ** 0.5 + 0.01
  assert float(shares["plain Langevin"]) < float(shares["annealed Langevin"]) - 0.03


def test_an_unknown_picture_is_named(tmp_path):
  with pytest.raises(ValueError, match=r"Unknown pictures \['none'\]; choose from \['forward'"):
    score_toy.draw_all(tmp_path, np.zeros((1, 8, 8), np.float32), seed=0, names=("none",))
