"""Latent diffusion of whole interactions, from configs to pictures: losses fall, weights load, tiles equal
the whole."""
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import events512_autoencoder, events512_ldm
from lartpc_jax.build import models as config_models, tasks as lib
from lartpc_jax.build.generators import NUM_SCALE_LATENTS, build_generator
from lartpc_jax.data.open import open_events
from lartpc_jax.data.pictures import voxel_images
from lartpc_jax.experiments.pixels import load_real
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.generators.generator import make_draw, replace_params
from lartpc_jax.geometry.rasterize import ImageSpec
from tests.brief_training import train_briefly
from tests.toy_weights import random_params


def tiny_autoencoder():
  config = events512_autoencoder.get_config("tiny").to_dict()
  config["image"]["num_pixels"] = 64
  return config


def tiny_ldm(weights):
  config = events512_ldm.get_config("tiny").to_dict()
  config["image"]["num_pixels"], config["codec"]["weights"] = 64, str(weights)
  config["sampler"]["num_steps"] = 2
  return config


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
  """Task, first and last parameters, directory of weights after 40 steps."""
  task = lib.build_task(tiny_autoencoder())
  before, state = train_briefly(task, num_steps=40, learning_rate=5e-3)
  directory = tmp_path_factory.mktemp("autoencoder")
  task.export(state.ema_params, directory, {"step": 40, "config": None})
  return task, before, state.ema_params, directory


@pytest.fixture(scope="module")
def trained(autoencoder, tmp_path_factory):
  """The same of the diffusion, after 20 steps."""
  task = lib.build_task(tiny_ldm(autoencoder[3]))
  before, state = train_briefly(task, num_steps=20, learning_rate=5e-3)
  directory = tmp_path_factory.mktemp("interactions")
  task.export(state.ema_params, directory, {"step": 20, "config": None})
  return task, before, state.ema_params, directory


def save_toy_autoencoder(directory):
  """Random weights of the tiny autoencoder."""
  config = tiny_autoencoder()
  network = config_models.build_autoencoder(config["network"])
  params = random_params(lambda: network.init(jax.random.key(0), (64, 64)), np.random.default_rng(0))
  weight_files.save_weights(directory, "autoencoder", params, {
      **{name: config[name] for name in ("network", "charge", "image")}, "frame": None,
      "latent": {"shift": [0.0] * 8, "scale": [1.0] * 8}})
  return directory


def mean_loss(task, params):
  loss, batch = jax.jit(lambda params, batch, key: task.loss_fn(params, batch, key)[0]), task.batch_fn(10_000)
  return np.mean([float(loss(params, batch, jax.random.key(k))) for k in range(8)])


@pytest.mark.slow
@pytest.mark.third_party  # optax
@pytest.mark.parametrize("name", ["autoencoder", "trained"])
def test_training_lowers_the_loss(name, request):
  task, before, after, _ = request.getfixturevalue(name)
  assert mean_loss(task, after) < 0.9 * mean_loss(task, before)


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_exported_weights_draw_the_same_images_whole_and_in_tiles(trained):
  _, _, after, directory = trained
  generator, info, _ = build_generator(directory)
  assert info["step"] == 20 and info["data"]["num_holdout"] == 100 and generator.codec.state_shape == (
      8, 8, 4)
  sampler = config_models.build_sampler(generator.denoiser.sde, name="ddim", num_evaluations=4)
  draw = lambda generator: np.asarray(
      jax.jit(lambda key: make_draw(generator, sampler)(key, 2))(jax.random.key(0)))
  images = draw(generator)
  assert images.shape == (2, 64, 64) and np.all((images == 0) | (images >= 0.1))
  np.testing.assert_allclose(draw(replace_params(generator, after)), images, atol=0.1)  # stored as float16
  tiled = build_generator(directory, tile=4).generator
  np.testing.assert_allclose(draw(tiled), images, atol=1e-3)


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_latents_of_whole_images_are_normalised(trained):
  """The scale is that of whole images, which are emptier than the crops that the autoencoder saw."""
  generator, info, _ = build_generator(trained[3])
  events = open_events("sample")
  whole = voxel_images(events, np.arange(NUM_SCALE_LATENTS), spec=ImageSpec(**info["image"]))
  z = np.asarray(generator.codec.encode(jnp.asarray(whole)))
  np.testing.assert_allclose(np.median(z.reshape(-1, z.shape[-1]), axis=0), 0.0, atol=0.02)  # an empty pixel
  np.testing.assert_allclose((z**2).mean((0, 1, 2)), 1.0, rtol=0.02)


def test_real_images_are_the_held_out_ones():
  info = {"image": ImageSpec(64, 3.0, 0.0, 0.1)._asdict(), "data": {"num_holdout": 6}}
  real = load_real("sample", info, 1_000_000)
  events = open_events("sample")
  assert real.holdout.shape == real.training.shape == (6, 64, 64)
  np.testing.assert_array_equal(
      real.holdout, voxel_images(events, np.arange(494, 500), spec=ImageSpec(**info["image"])))
  assert not {x.tobytes() for x in real.training} & {x.tobytes() for x in real.holdout}


@pytest.mark.parametrize("key,value,match", [
    ("image.num_pixels", 60, r"network.stem = 8 must divide .* \(32, 32\) in training and \(60, 60\) by the "
                             r"config"),
    ("image.sigma_mm", 1.0, "data.crop_px = 32 does not apply to sparse events that are rotated"),
    ("data.crop_px", 72, "data.crop_px must lie between 0 .none. and image.num_pixels = 64; got 72"),
    ("data.window", 3, r"Unknown config key data.window = 3; allowed: \['batch_size'"),
    ("sde", {}, "Unknown config key sde = {} of task 'autoencoder'")])
def test_bad_autoencoder_configs_are_named(key, value, match):
  config = tiny_autoencoder()
  *blocks, name = key.split(".")
  (config[blocks[0]] if blocks else config)[name] = value
  with pytest.raises(ValueError, match=match):
    lib.build_task(config)


def test_bad_diffusion_configs_are_named(tmp_path):
  config = tiny_ldm(save_toy_autoencoder(tmp_path / "autoencoder"))
  with pytest.raises(ValueError, match="The config needs codec.weights"):
    lib.build_task({**config, "codec": {"name": "autoencoder", "weights": ""}})
  with pytest.raises(ValueError,
                     match=r"was trained on ImageSpec\(.*threshold_mev=0.1\) .*; the config says .*=0.2"):
    lib.build_task({**config, "image": {**config["image"], "threshold_mev": 0.2}})
  for prediction, got in (({"name": "v"}, "'v' and 1.0"), ({"name": "edm",
                                                            "sigma_data": 0.5}, "'edm' and 0.5")):
    with pytest.raises(ValueError,
                       match=f"network.gated_skip needs prediction.name = 'edm' and .* = 1; got {got}"):
      lib.build_task({**config, "prediction": prediction})
  with pytest.raises(FileNotFoundError, match="generator.json does not exist"):
    build_generator(tmp_path)
  with pytest.raises(ValueError, match="tile = 4 is for latent models"):
    build_generator("crops64", tile=4)


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_evaluation_pictures_and_launch_sample(trained, tmp_path):
  task, _, after, directory = trained
  metrics = task.evaluate(after, jax.random.key(3))
  assert np.isfinite(metrics["eval/loss"]) and len(task.draw(after, jax.random.key(3)).axes) == 3
  command = [
      sys.executable, "-m", "launch.sample", f"--weights={directory}", "--data=sample", "--num=4", "--grid=4",
      "--num_evaluations=4", "--tile=4", f"--out={tmp_path}"
  ]
  result = subprocess.run(command, capture_output=True, text=True, check=False)
  assert result.returncode == 0, result.stderr[-2000:]
  assert np.load(tmp_path / "images.npz")["images"].shape == (4, 1, 64, 64)
  assert "| held-out | 100 |" in (tmp_path / "sample.md").read_text()
  assert json.loads((directory / "generator.json").read_text())["data"]["num_holdout"] == 100
