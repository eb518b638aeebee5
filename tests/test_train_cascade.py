"""Stages of a cascade from config to draws: loss against numpy, resumed runs, exported weights, bad
settings."""
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import crops64_coarse, crops64_fine
from lartpc_jax.build import cascade as builders, crops, tasks
from lartpc_jax.config.schema import Train
from lartpc_jax.experiments import cascades
from lartpc_jax.generators import cascade as cascade_lib, condition as condition_lib, weights as weight_files
from lartpc_jax.generators.keyed import image_keys
from lartpc_jax.generators.sparse_state import lit_pixels
from lartpc_jax.train import loop, optimizer, sparse_diffusion
from lartpc_jax.train.settings import settings
from tests.toy_weights import random_params

CONFIGS = {"coarse": crops64_coarse, "fine": crops64_fine}


@pytest.fixture(autouse=True)
def no_key_reuse_check():
  """A scan over the keys of every image under vmap is a false alarm of the check, see conftest."""
  with jax.debug_key_reuse(False):
    yield


def tiny(name, **changes):
  return CONFIGS[name].get_config("tiny").to_dict() | changes


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  """Weights of both stages, random."""
  path = tmp_path_factory.mktemp("cascade")
  for seed, stage in enumerate(CONFIGS):
    task = tasks.build_task(tiny(stage, **({"coarse": str(path)} if stage == "fine" else {})))
    params = random_params(lambda task=task: task.init(jax.random.key(0)), np.random.default_rng(seed))
    task.export(params, path, {"step": 3, "config": None})
  return path


def test_uncertainty_weights_are_least_at_the_logarithm_of_the_loss():
  sigma = jnp.array([0.1, 1.0, 7.0])
  weights = {
      "kernel": jnp.asarray(np.random.default_rng(0).normal(size=17), jnp.float32), "bias": jnp.float32(0.3)
  }
  log_sigma = np.log(np.asarray(sigma, np.float64))
  angles = log_sigma[:, None] * 2.0 ** np.linspace(-1.5, 1.5, 8)
  features = np.concatenate([log_sigma[:, None] / 3.0, np.sin(angles), np.cos(angles)], axis=1)
  np.testing.assert_allclose(sparse_diffusion.uncertainty(weights, sigma),
                             features @ np.asarray(weights["kernel"]) + 0.3, rtol=1e-5, atol=1e-5)
  np.testing.assert_array_equal(sparse_diffusion.uncertainty(sparse_diffusion.initial_uncertainty(), sigma),
                                0.0)
  loss = 0.37
  slope = jax.grad(lambda u: loss * jnp.exp(-u) + u)(jnp.log(loss))
  np.testing.assert_allclose(slope, 0.0, atol=1e-6)


def test_conditions_of_crops_are_counted_on_pixels_above_the_threshold():
  data = crops.build_conditional_crops(tiny("coarse")["data"], threshold_mev=0.09, seed=0)
  batch = data.batch_fn(3)
  found = crops.crop_condition(jnp.asarray(batch["image"]), jnp.asarray(batch["track_share"]), 0.09)
  kept = np.where(batch["image"] >= 0.09, batch["image"], 0.0)
  np.testing.assert_allclose(found["charge_mev"], np.maximum(kept.sum((1, 2)), 0.09), rtol=1e-5)
  np.testing.assert_array_equal(found["lit_pixels"], np.maximum((kept > 0).sum((1, 2)), 1))
  assert {name: len(values) for name, values in data.table.items()} == {
      "track_share": len(data.table["track_share"]), "charge_mev": len(data.table["track_share"]),
      "lit_pixels": len(data.table["track_share"])}


def test_weights_draw_by_condition_and_do_not_depend_on_chunks(directory):
  cascade, info = builders.build_cascade(directory)
  samplers = builders.build_cascade_samplers(cascade, info, coarse=dict(num_evaluations=3),
                                             fine=dict(num_evaluations=3))
  asked = {"track_share": 1.0, "lit_pixels": 90.0}
  images, cond, seconds = cascades.draw_cascade(cascade, samplers, 6, chunk_size=2, asked=asked)
  again, _, _ = cascades.draw_cascade(cascade, samplers, 3, chunk_size=1, asked=asked)
  assert images.shape == (6, 64, 64) and seconds > 0.0
  np.testing.assert_allclose(again, images[:3], rtol=1e-4, atol=1e-5)
  assert set(cond["lit_pixels"]) == {90.0} and len(set(cond["charge_mev"].tolist())) > 1
  lit = images[images > 0.0]
  assert lit.size == 0 or lit.min() >= 0.09 * 0.999
  maps = cascade_lib.draw_maps(cascade, samplers[0], image_keys(jax.random.key(0), 2),
                               {name: jnp.asarray(values[:2]) for name, values in cond.items()})
  counts = np.asarray(lit_pixels(maps, cascade.coarse.blocks))
  assert set(np.unique(counts)) <= set(range(17))


def test_another_sampler_keeps_the_noise_levels_alone(directory):
  cascade, info = builders.build_cascade(directory)
  assert info["coarse"]["sampler"]["eta"] == 0.7
  builders.build_cascade_samplers(cascade, info, coarse=dict(name="dpm_solver_pp_2m"))  # which takes no eta
  with pytest.raises(ValueError, match="Sampler 'dpm_solver_pp_2m' takes no option 'eta'"):
    builders.build_cascade_samplers(cascade, info, coarse=dict(name="dpm_solver_pp_2m", eta=0.5))


@pytest.mark.parametrize("text,wanted", [
    ("ddim", {"name": "ddim"}), ("ddim:12", {"name": "ddim", "num_evaluations": 12}),
    ("sde_dpm_solver_pp_2m:24:0.5", {"name": "sde_dpm_solver_pp_2m", "num_evaluations": 24, "eta": 0.5})])
def test_samplers_from_text(text, wanted):
  assert cascades.parse_sampler(text) == wanted


def test_bad_text_and_bad_conditions_are_named(directory):
  with pytest.raises(ValueError, match="'ddim:many' is not NAME, NAME:EVALUATIONS or NAME:EVALUATIONS:ETA"):
    cascades.parse_sampler("ddim:many")
  cascade, _ = builders.build_cascade(directory)
  keys = image_keys(jax.random.key(0), 2)
  with pytest.raises(ValueError, match="Unknown condition variable 'colour'; this model takes"):
    cascades.choose_conditions(cascade, keys, {"colour": 1.0})
  with pytest.raises(ValueError, match="'track_share' has value 2.0; allowed: 0.0 to 1.0"):
    cascades.choose_conditions(cascade, keys, {"track_share": 2.0})


@pytest.mark.parametrize("stage,changes,message", [
    ("fine", {"stage": "last"}, "Unknown config value stage = 'last'; allowed: .*'middle'"),
    ("fine", {"stage": "middle"}, "The config needs a block 'told'"),
    ("fine", {"map_noise": (0.1,)}, r"map_noise, two numbers of at least 0; got \[0.1\]"),
    ("coarse", {"condition": {}}, "The config block `condition` declares no variable"),
    ("coarse", {"condition": {"colour": dict(kind="scalar", mean=0.0, scale=1.0)}},
     "Unknown condition variable 'colour'; crops tell"),
    ("coarse", {"network": {"widht": 3}}, "Unknown config key network.widht")])
def test_bad_configs_are_named(stage, changes, message):
  with pytest.raises(ValueError, match=message):
    tasks.build_task(tiny(stage, **changes))


def test_a_stage_may_start_from_weights(directory):
  for stage in CONFIGS:
    started = tasks.build_task(tiny(stage, init_from=str(directory))).init(jax.random.key(3))["network"]
    stored, _ = weight_files.load_weights(directory, stage)
    jax.tree.map(np.testing.assert_array_equal, started, stored)
  wider = tiny("fine", init_from=str(directory))
  wider["network"] = {**wider["network"], "width": 32}
  with pytest.raises(ValueError, match="init_from = .* has network .*'width': 16"):
    tasks.build_task(wider)


def test_stages_that_do_not_belong_together_are_named(directory, tmp_path):
  for name in ("coarse", "fine", "conditions"):
    weight_files.copy_weights(directory, tmp_path, name)
  path = tmp_path / "coarse.json"
  info = json.loads(path.read_text())
  info["blocks"]["mean"] = 3.0
  path.write_text(json.dumps(info))
  with pytest.raises(ValueError, match="The stages in .* differ in blocks"):
    builders.build_cascade(tmp_path)
  assert builders.is_cascade(tmp_path) and not builders.is_cascade("crops64")


def test_the_bundled_cascade_is_small_and_fits_its_networks():
  assert builders.is_cascade("crops64_cascade")
  cascade, info = builders.build_cascade("crops64_cascade")
  assert (cascade.coarse.state_shape, cascade.fine.state_shape) == ((16, 16, 2), (64, 64, 1))
  declared = cascade.coarse.condition
  condition_lib.check(declared, {name: np.asarray(cascade.table[name]) for name in declared.variables})
  builders.build_cascade_samplers(cascade, info)
  files = weight_files.bundled_directory("crops64_cascade").iterdir()
  assert sum(path.stat().st_size for path in files) < 8_000_000


@pytest.mark.slow
@pytest.mark.third_party  # optax
@pytest.mark.parametrize("stage", CONFIGS)
def test_a_stopped_and_resumed_run_equals_an_unbroken_one(stage, tmp_path):
  config = tiny(stage)
  training = settings(config)
  task, tx = tasks.build_task(config), optimizer.make_optimizer(training.optim, training.train.num_steps)
  run = lambda name, num_steps: loop.train(
      task, tx, dataclasses.replace(training, train=Train(
          num_steps, log_every_steps=1, checkpoint_every_steps=3, eval_every_steps=0, draw_every_steps=0)),
      workdir=tmp_path / name, say=lambda text: None)
  unbroken = run("whole", 6).state
  run("broken", 3)
  resumed = run("broken", 6).state
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(resumed), jax.device_get(unbroken))


@pytest.mark.slow
@pytest.mark.third_party  # optax
@pytest.mark.parametrize("stage", CONFIGS)
def test_training_lowers_the_held_out_error(stage):
  config = tiny(stage)
  optim = settings(config).optim
  task, tx = tasks.build_task(config), optimizer.make_optimizer(optim, 60)
  state = loop.init_train_state(task.init(jax.random.key(0)), tx)
  step = jax.jit(loop.make_train_step(task.loss_fn, tx, ema_decay=0.0, ema_power=optim.ema_power))
  before = task.evaluate(state.ema_params, jax.random.key(1))
  for i in range(60):
    state, _ = step(state, task.batch_fn(i), jax.random.key(2))
  after = task.evaluate(state.ema_params, jax.random.key(1))
  assert set(after) == {f"eval/mse_at_{s:g}" for s in sparse_diffusion.CURVE_SIGMAS}
  assert after["eval/mse_at_1"] < 0.7 * before["eval/mse_at_1"], (before, after)
