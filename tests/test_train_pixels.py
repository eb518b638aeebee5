"""The pixel task, from config to draws: loss falls, exported weights load, launch scripts run."""
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import crops64_score
from lartpc_jax.build import models as config_models, tasks as lib
from lartpc_jax.build.generators import build_generator
from lartpc_jax.experiments import pixels as runs
from lartpc_jax.generators.generator import denoise_fn, make_draw, replace_params
from tests.brief_training import train_briefly
from tests.toy_weights import random_params


def tiny():
  config = crops64_score.get_config("tiny").to_dict()
  config["sampler"]["num_steps"] = 3
  return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """Task, first and last parameters, directory of weights after 30 steps."""
  task = lib.build_task(tiny())
  before, state = train_briefly(task, num_steps=30, learning_rate=3e-3)
  directory = tmp_path_factory.mktemp("weights")
  task.export(state.ema_params, directory, {"step": 30, "config": None})
  return task, before, state.ema_params, directory


def test_a_run_may_start_from_weights(tmp_path):
  task = lib.build_task(tiny())
  params = random_params(lambda: task.init(jax.random.key(0)), np.random.default_rng(0))
  task.export(params, tmp_path, {"step": 7, "config": None})
  config = tiny() | {"init_from": str(tmp_path)}
  first = lib.build_task(config).init(jax.random.key(1))
  # stored as float16
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4), first, params)
  wider = tiny() | {"init_from": str(tmp_path)}
  wider["network"] = {**wider["network"], "features": 16}
  with pytest.raises(ValueError, match="init_from = .* has network .*'features': 8"):
    lib.build_task(wider)
  path = tmp_path / "generator.json"
  path.write_text(path.read_text().replace('"scale": {', '"scale": {"shift": 1.0, "scale": 1.0}, "old": {',
                                           1))
  with pytest.raises(ValueError, match="was trained on other states: its codec.scale is"):
    lib.build_task(config)


@pytest.mark.slow  # `make tiny` trains one too
@pytest.mark.third_party  # optax
def test_training_lowers_the_loss(trained):
  task, before, after, _ = trained
  loss = jax.jit(lambda params, key: task.loss_fn(params, task.batch_fn(10_000), key)[0])
  losses = [np.mean([float(loss(params, jax.random.key(k))) for k in range(8)]) for params in (before, after)]
  assert losses[1] < 0.9 * losses[0], losses


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_evaluation_and_pictures(trained):
  task, _, after, _ = trained
  metrics = task.evaluate(after, jax.random.key(3))
  assert {"eval/loss", "eval/mse_at_1", "eval/active_ratio", "eval/charge_ratio"} <= set(metrics)
  assert all(np.isfinite(value) for value in metrics.values())
  assert metrics["eval/mse_at_0.1"] < metrics["eval/mse_at_10"]  # less noise, better denoised
  assert len(task.draw(after, jax.random.key(3)).axes) == 3  # two mosaics and a colour bar


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_exported_weights_draw_the_same_images(trained):
  task, _, after, directory = trained
  generator, info, _ = build_generator(directory)
  assert info["step"] == 30 and info["data"]["num_holdout"] == 16
  images = np.abs(np.random.default_rng(0).normal(size=(2, 64, 64))).astype(np.float32)
  state = generator.codec.encode(jnp.asarray(images))
  np.testing.assert_allclose(generator.codec.decode(state), np.where(images >= 0.1, images, 0.0), atol=1e-4)
  sampler = config_models.build_sampler(generator.denoiser.sde, name="ancestral", num_evaluations=4)
  a, b = (jax.jit(lambda key, g=g: make_draw(g, sampler)(key, 2))(jax.random.key(0))
          for g in (replace_params(generator, after), generator))
  assert a.shape == (2, 64, 64) and np.all((a == 0) | (a >= 0.1))
  np.testing.assert_allclose(a, b, atol=0.05)  # stored as float16


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_one_by_one_steps_equal_the_whole_program(trained):
  generator = build_generator(trained[3]).generator
  knobs = dict(name="heun", num_evaluations=7, seed=5, chunk_size=2)
  whole, seconds = runs.draw_images(generator, 3, **knobs)
  steps, _ = runs.draw_images(runs.compile_network(generator, 2), 3, one_by_one=True, **knobs)
  assert whole.shape == (3, 64, 64) and seconds > 0
  np.testing.assert_allclose(steps, whole, atol=1e-3)


@pytest.mark.slow
@pytest.mark.third_party  # optax
@pytest.mark.parametrize("name,prediction", [("prediction", "v"), ("score", "eps"), ("likelihood", "eps")])
def test_other_objectives_build_and_are_finite(name, prediction):
  config = tiny()
  config["loss"]["name"], config["prediction"]["name"] = name, prediction
  task = lib.build_task(config)
  params = jax.jit(task.init)(jax.random.key(0))
  assert np.isfinite(float(jax.jit(task.loss_fn)(params, task.batch_fn(0), jax.random.key(0))[0]))


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_a_fresh_edm_network_denoises_by_its_skip(trained):
  fresh = build_generator(trained[3]).generator.denoiser._replace(params=trained[1])
  x = jnp.ones((1, 64, 64, 1))
  np.testing.assert_allclose(denoise_fn(fresh)(x, jnp.array([2.0])), 0.2 * x, rtol=1e-5)  # 1 / (1 + 4)


@pytest.mark.parametrize("key,value,match", [
    ("loss.name", "none", r"Unknown loss.name 'none'; choose from \['edm'"),
    ("prediction.name", "none", r"Unknown config value prediction.name = 'none'; allowed: \['edm'"),
    ("prediction.name", "eps", "loss.name = 'edm' needs prediction.name = 'edm'; got 'eps'"),
    ("network.depth", 3, r"Unknown config key network.depth = 3; allowed: \['attention_sizes'"),
    ("data.path", "", "data.path is not set"),
    ("condition.energy_mev", {"kind": "scalar", "mean": 0.0, "scale": 1.0},
     "The label 'energy_mev' is not known of")])
def test_bad_config_values_are_named(key, value, match):
  config = tiny()
  block, name = key.split(".")
  config[block][name] = value
  with pytest.raises(ValueError, match=match):
    lib.build_task(config)


def test_bad_sampler_options_are_named():
  sde = config_models.build_sde({"name": "vp"})
  with pytest.raises(ValueError, match="Sampler 'ddim' takes no option 'snr'"):
    config_models.build_sampler(sde, name="ddim", snr=0.1)
  with pytest.raises(ValueError, match="Unknown sampler 'none'"):
    config_models.build_sampler(sde, name="none")
  with pytest.raises(ValueError, match="2 evaluations are no step of sampler 'heun'"):
    config_models.build_sampler(sde, name="heun", num_evaluations=2)


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_launch_scripts(trained, tmp_path):
  directory = str(trained[3])
  for script, *options in [("sample", f"--weights={directory}", "--data=sample", "--num=4",
                            "--num_evaluations=4"),
                           ("benchmark_samplers", f"--weights={directory}", "--data=sample", "--num=4",
                            "--num_published=0", "--evaluations=5", "--samplers=ddim,heun")]:
    command = [sys.executable, "-m", f"launch.{script}", f"--out={tmp_path / script}", *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
  assert np.load(tmp_path / "sample" / "images.npz")["images"].shape == (4, 1, 64, 64)
  assert "training" in (tmp_path / "sample" / "sample.md").read_text()
  rows = json.loads((tmp_path / "benchmark_samplers" / "rows.json").read_text())["rows"]
  assert [row["key"] for row in rows] == ["real 4", "ddim 5", "heun 5"]
