"""GAN, codes, priors and pixel sequences from config to draws: resumed runs, exported weights, the likelihood
command."""
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import crops64_gan, crops64_pixel_sequence, crops64_vqvae, crops64_vqvae_prior
from lartpc_jax.build import codes as code_builders, tasks
from lartpc_jax.config.schema import Train
from lartpc_jax.experiments import columns, generator_table, likelihood, models, protocol, reconstruct, sample
from lartpc_jax.experiments.rows import Row
from lartpc_jax.generators import keyed
from lartpc_jax.metrics.estimate import Estimate
from lartpc_jax.train import codes as code_training, loop, optimizer
from lartpc_jax.train.settings import settings
from tests.docs_text import load_tables
from tests.toy_weights import random_params

CONFIGS = {"gan": (crops64_gan, "tiny"), "vqvae": (crops64_vqvae, "tiny"), "fsq": (crops64_vqvae, "fsq_tiny"),
           "pixelcnn": (crops64_vqvae_prior, "tiny"), "transformer": (crops64_vqvae_prior,
                                                                      "transformer_tiny"),
           "pixel_sequence": (crops64_pixel_sequence, "tiny")}
CODES_OF = {"pixelcnn": "vqvae", "transformer": "fsq"}
DRAWING = ("gan", "pixelcnn", "transformer", "pixel_sequence")


@pytest.fixture(autouse=True)
def no_key_reuse_check():
  """A scan over keys of every image under vmap is a false alarm of the check, see conftest."""
  with jax.debug_key_reuse(False):
    yield


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  """Weights of all, random, by name."""
  path = tmp_path_factory.mktemp("rivals")
  for seed, name in enumerate(CONFIGS):
    task = tasks.build_task(config_of(name, path))
    params = random_params(lambda task=task: task.init(jax.random.key(0)), np.random.default_rng(seed))
    task.export(params, path / name, {"step": 3, "config": None, "cpu_seconds": 7200.0})
  return path


def config_of(name, directory):
  module, variant = CONFIGS[name]
  config = module.get_config(variant).to_dict()
  return config | ({"codes": str(directory / CODES_OF[name])} if name in CODES_OF else {})


def settings_of(directory, name, out, **changes):
  return sample.Settings(weights=str(directory / name), out=str(out), num=5, chunk_size=2, **changes)


@pytest.mark.parametrize("name", DRAWING)
def test_every_one_draws_behind_the_one_interface(directory, name, tmp_path):
  kind = next(kind for kind, value in models.KINDS.items() if value.holds(str(directory / name)))
  assert kind in models.KEYED
  model = models.open_model(settings_of(directory, name, tmp_path))
  images, cond, seconds = model.draw(lambda done: None)
  assert images.shape == (5, 64, 64) and seconds > 0.0 and np.isfinite(images).all()
  assert images.max() == 0.0 or images[images > 0].min() >= 0.09 * 0.999  # zeros are exact
  built, _ = models.KEYED[kind][1](str(directory / name))
  again = jax.jit(keyed.make_draw(built), static_argnums=1)(jax.random.key(0), 2)
  assert again.shape == (2, 64, 64)
  assert set(cond) == set(built.condition.variables)


def test_a_sample_tells_what_it_cost_and_the_table_of_generators_shows_it(directory, tmp_path):
  sample.run(settings_of(directory, "pixel_sequence", tmp_path / "a"), protocol.SILENT)
  cost = json.loads((tmp_path / "a" / generator_table.COST).read_text())
  params = jax.eval_shape(tasks.build_task(config_of("pixel_sequence", directory)).init, jax.random.key(0))
  assert cost["parameters"] == sum(x.size for x in jax.tree.leaves(params))
  assert cost["core_hours"] == 2.0 and cost["ms_an_image"] > 0.0
  rows = generator_table.cost_rows({"ours": f"{tmp_path}/a/images.npz[0:3]",
                                    "theirs": f"{tmp_path}/images.npz"})
  assert {name: set(found) for (_, name, _), found in rows.items()} == {
      name: {"ours"} for name in generator_table.COSTS.values()}
  rows[("c2st", "AUC, CNN on images", "corrected")] = {
      "real vs real": Row("c2st", "AUC, CNN on images", "corrected", 1, Estimate(0.50123, 0.0123)),
      "ours": Row("c2st", "AUC, CNN on images", "corrected", 1, Estimate(0.8, 0.01))}
  path = generator_table.write_table(rows, ["real vs real", "ours", "theirs"],
                                     {"real vs real": 5000, "ours": 5, "theirs": 5000},
                                     "2026\ncommand: python -m launch.evaluate\ncommit: 0123456789",
                                     tmp_path / "table.json")
  (tmp_path / "only").mkdir()
  path.rename(tmp_path / "only" / "table.json")
  result = load_tables().load_results(tmp_path / "only")["table"]  # checks its form
  by_name = {row[0]: row[1:] for row in json.loads((tmp_path / "only" / "table.json").read_text())["rows"]}
  assert by_name["AUC, CNN on images"] == [[0.5012, 0.012], [0.8, 0.01], None]
  assert by_name["core-hours of training"] == [None, 2.0, None]
  assert result["runs"][0]["commit"] == "0123456"


def test_a_report_may_draw_its_columns(directory, tmp_path):
  found = columns.draw_columns([f"ours={directory / 'gan'}"], 3, tmp_path, protocol.SILENT)
  assert found == {"ours": f"{tmp_path}/ours/images.npz"}
  assert np.load(found["ours"])["images"].shape == (3, 1, 64, 64)


@pytest.mark.parametrize("name", ["pixelcnn", "transformer", "pixel_sequence"])
def test_the_likelihood_command_reports_the_exact_nats(directory, name, tmp_path):
  images = np.where(np.random.default_rng(0).uniform(size=(4, 64, 64)) < 0.02, 1.0, 0.0).astype(np.float32)
  np.savez(tmp_path / "x.npz", images=images)
  assert likelihood.run(likelihood.Settings(weights=str(directory / name), input=(f"a={tmp_path}/x.npz",),
                                            num=4,
                                            chunk_size=2, out=str(tmp_path / "out")), protocol.SILENT) == 0
  found = json.loads((tmp_path / "out" / "likelihood.json").read_text())["rows"]["a"]["nats_an_image"]
  kind = next(kind for kind in models.KEYED if models.KEYED[kind][0](str(directory / name)))
  model, _ = models.KEYED[kind][1](str(directory / name))
  np.testing.assert_allclose(found, jax.jit(model.nats)(jnp.asarray(images)), rtol=1e-4)
  assert np.all(np.array(found) < 0.0)


def test_models_without_a_likelihood_and_priors_of_other_codes_are_named(directory, tmp_path):
  with pytest.raises(ValueError, match="a pass of a GAN. has no likelihood"):
    likelihood.run(likelihood.Settings(weights=str(directory / "gan"), input=("sample_crops",),
                                       out=str(tmp_path)),
                   protocol.SILENT)
  path = directory / "pixelcnn" / "prior.json"
  text = path.read_text()
  path.write_text(json.dumps({**json.loads(text), "codes": "0"}))
  with pytest.raises(ValueError, match="the prior was trained on other codes"):
    code_builders.build_code_model(directory / "pixelcnn")
  path.write_text(text)
  with pytest.raises(ValueError, match="A prior needs config.codes"):
    tasks.build_task(crops64_vqvae_prior.get_config("tiny").to_dict())


def test_reconstructions_against_counts_by_hand():
  real, made = np.zeros((1, 2, 2)), np.zeros((1, 2, 2))
  real[0, 0], made[0, :, 0] = (1.0, 2.0), (3.0, 1.0)
  found = code_training.reconstruction(real, made)
  np.testing.assert_allclose([found["iou"], found["active_ratio"], found["charge_ratio"]],
                             [1 / 3, 1.0, 4 / 3])


@pytest.mark.slow
@pytest.mark.third_party  # optax
@pytest.mark.parametrize("name", CONFIGS)
def test_a_stopped_and_resumed_run_equals_an_unbroken_one(directory, name, tmp_path):
  config = config_of(name, directory)
  training = settings(config)
  task, tx = tasks.build_task(config), optimizer.make_optimizer(training.optim, training.train.num_steps)
  run = lambda where, num_steps: loop.train(
      task, tx, dataclasses.replace(training, train=Train(
          num_steps, log_every_steps=1, checkpoint_every_steps=2, eval_every_steps=0, draw_every_steps=0)),
      workdir=tmp_path / where, say=lambda text: None)
  unbroken = run("whole", 4).state
  run("broken", 2)
  resumed = run("broken", 4).state
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(resumed), jax.device_get(unbroken))
  info = json.loads(next((tmp_path / "broken" / "weights").glob(f"{NAMES[name]}.json")).read_text())
  assert info["step"] == 4 and info["cpu_seconds"] > 0.0


NAMES = {"gan": "gan", "vqvae": "vqvae", "fsq": "vqvae", "pixelcnn": "prior", "transformer": "prior",
         "pixel_sequence": "pixel_sequence"}


@pytest.mark.slow
@pytest.mark.third_party  # optax
@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "gan"])
def test_training_lowers_the_held_out_loss(directory, name):
  config = config_of(name, directory)
  optim = settings(config).optim
  task, tx = tasks.build_task(config), optimizer.make_optimizer(optim, 40)
  state = loop.init_train_state(task.init(jax.random.key(0)), tx)
  step = jax.jit(loop.make_train_step(task.loss_fn, tx, ema_decay=0.0))
  keys = ("eval/nats", ) if name in DRAWING else ("eval/lit_nats", "eval/charge_nats")
  total = lambda metrics: sum(metrics[key] for key in keys)
  before = total(task.evaluate(state.ema_params, jax.random.key(1)))
  for i in range(40):
    state, _ = step(state, task.batch_fn(i), jax.random.key(2))
  after = task.evaluate(state.params, jax.random.key(1))
  assert total(after) < 0.9 * before
  if name == "vqvae":  # the moving averages are no work of the optimiser, but they move
    assert 0.0 < after["eval/code_usage"] <= 1.0 and 1.0 <= after["eval/perplexity"] <= 16.0


@pytest.mark.parametrize("name", ["vqvae", "fsq"])
def test_crops_through_codes_are_reported(directory, name, tmp_path):
  said = []
  reconstruct.run(reconstruct.Settings(weights=str(directory / name), data="sample_crops", out=str(tmp_path),
                                       num=6,
                                       chunk_size=4), protocol.SILENT._replace(say=said.append))
  found = json.loads((tmp_path / "reconstruct.json").read_text())
  network, params, _ = code_builders.load_codes(directory / name)
  assert found["usage"]["codes"] == network.num_codes and 1 <= found["usage"]["taken"] <= network.num_codes
  assert set(found["rows"]) == {"likeliest", "drawn"} and found["images"] == 6
  assert all(0.0 <= row["iou"] <= 1.0 and 0.0 <= row["same_call"] <= 1.0 for row in found["rows"].values())
  assert (tmp_path / "reconstruct.png").exists()
  assert (tmp_path / "reconstruct.md").read_text().strip() in said[-1]
