"""The dry run: counts that are known by hand, and nothing written."""
import re

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lartpc_jax.config.schema import Optim, Run, Train
from lartpc_jax.train import summary
from lartpc_jax.train.task import Task
from tests import toy_train

pytestmark = pytest.mark.third_party  # optax promotes in its own arithmetic

SETTINGS = Run(Optim(1e-3), Train(1))


def test_parameter_table():
  modules = {"dense": {"kernel": np.zeros((256, 1024), np.float32)}, "b": np.zeros(3)}
  table = summary.parameter_table({"params": modules})  # as flax nests it
  assert [line.split()[:2]
          for line in table.splitlines()] == [["dense", "262,144"], ["b", "3"], ["total", "262,147"]]
  assert "1.00 MiB" in table
  assert "total" in summary.parameter_table([np.zeros(2)])


def test_dry_run(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  said = []
  summary.dry_run(toy_train.make_task(), optax.adam(1e-3), SETTINGS, say=said.append)
  text = "\n".join(said)
  assert "total            48" in text and "images/s" in text and "on 4 device(s)" in text
  assert list(tmp_path.iterdir()) == []
  rate, share, peak = (float(x) for x in re.search(
      r"([\d.e+-]+) GFLOP/s on each device, ([\d.]+)% of .*there, ([\d.e+-]+) GFLOP/s", text).groups())
  assert peak > 0.1 and abs(100.0 * rate / peak - share) < 1.0


def test_flops_of_a_matrix_product():
  """x [b m] @ w [m n] costs 2 b m n forward and as much for the gradient in w, over all devices."""
  b, m, n = 16, 64, 128
  task = Task(init=lambda key: {"w": jnp.ones((m, n))},
              loss_fn=lambda params, batch, key: (jnp.mean((batch @ params["w"])**2), {}),
              batch_fn=lambda step: np.ones((b, m), np.float32))
  said = []
  summary.dry_run(task, optax.sgd(1e-3), SETTINGS, say=said.append)
  found = float(re.search(r"one image: ([\d.e+-]+) MFLOP", "\n".join(said)).group(1)) * 1e6
  # Per image: both products, plus what every device does to its copy of the parameters (a few per parameter).
  assert 4 * m * n <= found <= 4 * m * n + 10 * m * n * 4 / b
