"""Training tasks, from config to weights: losses fall, evaluation is right, exported weights load."""
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import protons64_autoencoder, protons64_ldm
from lartpc_jax.build import data as data_lib, generators as generators_lib, models, tasks as config_lib
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.generators.generator import make_generate, prior_noise
from lartpc_jax.train.state import init_train_state
from lartpc_jax.train.step import make_train_step
from tests.toy_weights import save_toy_weights

pytestmark = pytest.mark.third_party  # optax promotes in its own arithmetic


@pytest.fixture(scope="module", autouse=True)
def cheap_evaluation():
  """A distance that needs no transport problem."""
  with pytest.MonkeyPatch.context() as patch:
    for module in (config_lib, generators_lib):
      patch.setattr(module, "build_emd_batch", lambda: lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).sum(
          (1, 2)))
    yield


def autoencoder_config():
  config = protons64_autoencoder.get_config("tiny").to_dict()
  config["network"].update(features=8, num_encoder_blocks=1, num_decoder_blocks=1, latent_channels=4)
  config["data"].update(batch_size=4, num_evaluation=4)
  return config


def diffusion_config(weights):
  config = protons64_ldm.get_config("tiny").to_dict()
  config["network"].update(features=8, multipliers=(1,), num_blocks=1, attention_levels=(), num_heads=1,
                           num_groups=4)
  config["data"].update(batch_size=4, num_evaluation=4)
  config["sampler"].update(num_steps=3)
  config["codec"]["weights"] = str(weights)
  return config


def train(task, num_steps, learning_rate):
  """Steps on fresh batches; returns the state."""
  tx = optax.adam(learning_rate)
  state = init_train_state(jax.jit(task.init)(jax.random.key(0)), tx)
  step = jax.jit(make_train_step(task.loss_fn, tx, ema_decay=0.5))
  key = jax.random.key(1)
  for i in range(num_steps):
    state, _ = step(state, task.batch_fn(i), key)
  return state


@pytest.fixture(scope="module")
def autoencoder():
  task = config_lib.build_task(autoencoder_config())
  return task, jax.jit(task.init)(jax.random.key(0)), train(task, 40, 3e-3)


@pytest.fixture(scope="module")
def autoencoder_weights(autoencoder, tmp_path_factory):
  directory = tmp_path_factory.mktemp("autoencoder")
  task, _, state = autoencoder
  task.export(state.ema_params, directory, {"step": int(state.step), "config": None})
  return directory


def test_training_lowers_the_autoencoder_loss_on_unseen_images(autoencoder):
  task, before, state = autoencoder
  loss_fn, batch = jax.jit(task.loss_fn), task.batch_fn(10_000)
  start, metrics = loss_fn(before, batch, jax.random.key(2))
  end, _ = loss_fn(state.ema_params, batch, jax.random.key(2))
  assert end < 0.7 * start, (start, end)
  # the loss is the stated sum; metrics["charge"] is an rms, so squared again
  weights = autoencoder_config()["loss"]
  total = (metrics["reconstruction"] + weights["kl_weight"] * metrics["kl"] +
           weights["charge_weight"] * metrics["charge"] ** 2)
  np.testing.assert_allclose(start, total, rtol=1e-4)


def test_batches_of_a_task_follow_the_step_and_never_the_holdout(autoencoder):
  task = autoencoder[0]
  np.testing.assert_array_equal(task.batch_fn(3)["image"], task.batch_fn(3)["image"])
  assert np.abs(np.asarray(task.batch_fn(3)["image"]) - np.asarray(task.batch_fn(4)["image"])).max() > 0.1


def test_autoencoder_evaluation_equals_the_exported_latent_space(autoencoder, autoencoder_weights):
  """Encode and decode with the released file (float16) reproduces what evaluate reports of the live
  parameters."""
  task, _, state = autoencoder
  metrics = task.evaluate(state.ema_params, jax.random.key(0))
  config = autoencoder_config()
  spec, frame = models.build_geometry(config)
  images = data_lib.build_data(config["data"], spec=spec, frame=frame,
                               seed=config["seed"]).evaluation()["image"]
  space, trained = models.build_autoencoder_codec(autoencoder_weights)
  z = jax.jit(space.encode)(jnp.asarray(images))
  assert space.state_shape == z.shape[1:] == (8, 4, 4) and trained.info["step"] == 40
  np.testing.assert_allclose(z.mean((0, 1, 2)), 0.0, atol=0.02)  # the scale was measured on the holdout
  np.testing.assert_allclose(z.std((0, 1, 2)), 1.0, atol=0.02)
  decoded = np.asarray(jax.jit(space.decode)(z))
  ratio = decoded.sum((1, 2)) / images.sum((1, 2))
  np.testing.assert_allclose(metrics["eval/charge_bias"], ratio.mean() - 1, atol=0.02)
  np.testing.assert_allclose(metrics["eval/charge_std"], ratio.std(), atol=0.02)
  np.testing.assert_allclose(metrics["eval/emd"], np.median(np.abs(decoded - images).sum((1, 2))), rtol=0.02)


@pytest.mark.slow
def test_autoencoder_of_images_in_detector_pixels(tmp_path):
  """The weights know their pixels, and the generator in the track frame refuses them."""
  rng = np.random.default_rng(0)
  np.save(tmp_path / "batch_0.npy", rng.exponential(1.0, (24, 64, 64)).astype(np.float32))
  config = autoencoder_config()
  config["data"].update(path=str(tmp_path), num_holdout=8)
  task = config_lib.build_task(config)
  state = train(task, 2, 1e-3)
  assert task.batch_fn(0)["image"].shape == (4, 64, 64)
  assert all(np.isfinite(value) for value in task.evaluate(state.ema_params, jax.random.key(0)).values())
  weights = tmp_path / "weights"
  weights.mkdir()
  task.export(state.ema_params, weights, {"step": 2, "config": None})
  space, trained = models.build_autoencoder_codec(weights)
  assert space.state_shape == (8, 8, 4) and trained.info["frame"] is None
  assert space.decode(jnp.zeros((1, *space.state_shape))).shape == (1, 64, 64)
  with pytest.raises(ValueError, match=r"was trained on ImageSpec\(.*; the config says TrackFrame"):
    config_lib.build_task(diffusion_config(weights))


@pytest.fixture(scope="module")
def diffusion(autoencoder_weights):
  task = config_lib.build_task(diffusion_config(autoencoder_weights))
  return task, jax.jit(task.init)(jax.random.key(0)), train(task, 30, 3e-3)


def test_training_lowers_the_denoising_loss(diffusion):
  task, before, state = diffusion
  loss_fn, batch = jax.jit(task.loss_fn), task.batch_fn(10_000)
  assert batch["state"].shape == (4, 8, 4, 5) and batch["momentum"].shape == (4, 3)
  norms = np.linalg.norm(batch["momentum"], axis=1) * 500.0
  assert (norms > 305).all() and (norms < 450).all()  # 50 to 100 MeV protons: 310 to 445 MeV/c
  losses = [np.mean([float(loss_fn(params, batch, jax.random.key(k))[0]) for k in range(8)])
            for params in (before, state.ema_params)]
  assert losses[1] < 0.95 * losses[0], losses


def test_diffusion_evaluates_draws_and_exports_a_generator(diffusion, tmp_path):
  task, _, state = diffusion
  metrics = task.evaluate(state.ema_params, jax.random.key(3))
  assert {"eval/loss", "eval/mse_at_1", "eval/emd", "eval/emd_median",
          "eval/charge_ratio_median"} <= set(metrics)
  assert all(np.isfinite(value) for value in metrics.values()), metrics
  assert task.evaluate(state.ema_params, jax.random.key(3)) == metrics  # the same key, the same numbers
  assert len(task.draw(state.ema_params, jax.random.key(3)).axes) >= 8
  task.export(state.ema_params, tmp_path, {"step": 30, "config": None})
  assert sorted(p.name for p in tmp_path.iterdir()) == [
      "autoencoder.json", "autoencoder.npz", "generator.json", "generator.npz"
  ]
  built, info, digests = generators_lib.build_generator(tmp_path)
  assert info["step"] == 30 and set(digests) == {"generator", "autoencoder"}
  for stored, live in zip(jax.tree.leaves(built.denoiser.params), jax.tree.leaves(state.ema_params)):
    np.testing.assert_allclose(stored, live, rtol=1e-3, atol=1e-6)
  generate = jax.jit(make_generate(built, models.build_sampler(built.denoiser.sde, num_steps=3)))
  images = generate(prior_noise(built, jax.random.key(0), 4), {"momentum_mev": jnp.full((4, 3), 200.0)})
  assert images.shape == (4, 64, 64) and np.isfinite(images).all()


def test_an_export_replaces_an_older_one_whole(tmp_path):
  save_toy_weights(tmp_path, seed=0)
  old = weight_files.load_weights(tmp_path, "diffusion")[1]["sha256"]
  save_toy_weights(tmp_path, seed=1)
  assert weight_files.load_weights(tmp_path, "diffusion")[1]["sha256"] != old
