"""Weights of any checkpoint: those that a run stopped at that step would have written."""
import importlib
import json

import numpy as np
import pytest

from lartpc_jax.build import models, tasks as config_lib
from lartpc_jax.build.generators import build_generator
from lartpc_jax.build.segmentation import build_segmenter
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.train import export as lib, loop, optimizer
from lartpc_jax.train.settings import settings
from tests import toy_config, toy_train

pytestmark = pytest.mark.third_party  # optax promotes in its own arithmetic

LOADERS = {"protons64_autoencoder": lambda directory: models.load_autoencoder(directory).info,
           "protons64_ldm": lambda directory: build_generator(directory).info,
           "crops64_score": lambda directory: build_generator(directory).info,
           "crops64_ssnet": lambda directory: build_segmenter(directory)[1]}


def toy(num_steps=8):
  config = toy_config.get_config().to_dict()
  config["optim"].update(schedule="constant")  # a shorter run takes the same steps
  config["train"].update(num_steps=num_steps, checkpoint_every_steps=2, keep_checkpoints=3,
                         eval_every_steps=0, draw_every_steps=0)
  return config


def run(config, workdir, task):
  training = settings(config)
  tx = optimizer.make_optimizer(training.optim, training.train.num_steps)
  workdir.mkdir()
  (workdir / "config.json").write_text(json.dumps(config, default=str))
  loop.train(task, tx, training, workdir=workdir, config=config, say=lambda text: None)
  return workdir


def toy_export(workdir, out, **options):
  return lib.export_checkpoint(lambda config: toy_train.make_task(), workdir, out, **options)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
  return run(toy(), tmp_path_factory.mktemp("export") / "long", toy_train.make_task())


@pytest.mark.parametrize("step", [4, None])
def test_equals_the_weights_of_a_run_that_ended_there(long, tmp_path, step):
  before = sorted(p.name for p in (long / "checkpoints").iterdir())
  done = toy_export(long, tmp_path / "out", step=step)
  short = run(toy(step), tmp_path / "short", toy_train.make_task()) if step else long
  found, want = (np.load(d / "weights.npz") for d in (tmp_path / "out", short / "weights"))
  assert done == found["step"] == want["step"] == (step or 8)
  np.testing.assert_array_equal(found["bias"], want["bias"])
  assert np.abs(found["bias"]).max() > 0
  assert sorted(p.name for p in (long / "checkpoints").iterdir()) == before


def test_mistakes_are_named(long, tmp_path):
  with pytest.raises(ValueError,
                     match=r"no checkpoint of step 5 in .*long/checkpoints; there are \[4, 6, 8\]"):
    toy_export(long, tmp_path / "out", step=5)
  with pytest.raises(ValueError, match="no directory of a training run"):
    toy_export(tmp_path, tmp_path / "out")
  (tmp_path / "config.json").write_text("{")
  with pytest.raises(ValueError, match=r"config\.json: not valid JSON"):
    toy_export(tmp_path, tmp_path / "out")
  (tmp_path / "config.json").write_text((long / "config.json").read_text())
  with pytest.raises(ValueError, match="There are no checkpoints in"):
    toy_export(tmp_path, tmp_path / "out")
  other = toy()
  other["network"]["num_channels"] = 16
  with pytest.raises(ValueError, match=r"network\.num_channels: 8 -> 16"):
    toy_export(long, tmp_path / "out", config=other)
  with pytest.raises(ValueError, match="has no weights to export"):
    lib.export_checkpoint(lambda config: toy_train.make_task()._replace(export=None), long, tmp_path / "out")
  assert not (tmp_path / "out").exists()


def test_a_damaged_checkpoint_is_refused_and_left_alone(tmp_path):
  workdir = run(toy(4), tmp_path / "run", toy_train.make_task())
  path = workdir / "checkpoints" / "2" / "info" / "metadata"
  path.write_text(json.dumps({**json.loads(path.read_text()), "digest": "0" * 64}))
  with pytest.raises(ValueError, match="Checkpoint 2 in .* is not usable: ValueError: sha256"):
    toy_export(workdir, tmp_path / "out", step=2)
  assert (workdir / "checkpoints" / "2").is_dir() and toy_export(workdir, tmp_path / "out", step=4) == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LOADERS))
def test_every_task(name, tmp_path):
  config = importlib.import_module(f"configs.{name}").get_config("tiny").to_dict()
  config["train"].update(num_steps=2, checkpoint_every_steps=1, eval_every_steps=0, draw_every_steps=0,
                         keep_checkpoints=2)
  config["optim"].update(warmup_steps=0)
  config["data"].update({"num_holdout": 8} if "num_holdout" in config["data"] else {})
  workdir = run(config, tmp_path / "run", config_lib.build_task(config))
  assert lib.export_checkpoint(config_lib.build_task, workdir, tmp_path / "out", step=1) == 1
  info = LOADERS[name](tmp_path / "out")
  assert info["step"] == 1
  stored = next(p.stem
                for p in (workdir / "weights").glob("*.npz")
                if (p.stem, name) != ("autoencoder", "protons64_ldm"))
  last, first = (
      weight_files.load_weights(d, stored)[1]["sha256"] for d in (workdir / "weights", tmp_path / "out"))
  assert last != first
