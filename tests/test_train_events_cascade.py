"""The cascade for whole interactions from config to draws: what its stages see, weights, draws, resumed
runs."""
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import events512_coarse, events512_fine, events512_middle
from lartpc_jax import parallel
from lartpc_jax.build import cascade as builders, cascade_data, tasks
from lartpc_jax.config.schema import Train
from lartpc_jax.data.batches import voxel_pool
from lartpc_jax.data.events import Events
from lartpc_jax.data.open import open_events
from lartpc_jax.data.pictures import voxel_images
from lartpc_jax.experiments import cascades, models, sample
from lartpc_jax.generators import (
  cascade as lib,
  condition as condition_lib,
  sparse_state,
  weights as weight_files,
)
from lartpc_jax.generators.keyed import image_keys
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.geometry.symmetries import turn_pixels
from lartpc_jax.geometry.windows import make_windows
from lartpc_jax.train import loop, optimizer
from lartpc_jax.train.settings import settings
from tests.toy_weights import random_params

CONFIGS = {"coarse": events512_coarse, "middle": events512_middle, "fine": events512_fine}
SPEC = ImageSpec(num_pixels=128, pitch_mm=3.0, sigma_mm=0.0, threshold_mev=0.09)


@pytest.fixture(autouse=True)
def no_key_reuse_check():
  """A scan over the keys of every image under vmap is a false alarm of the check, see conftest."""
  with jax.debug_key_reuse(False):
    yield


def tiny(name, **changes):
  return CONFIGS[name].get_config("tiny").to_dict() | changes


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  """Weights of all stages, random."""
  path = tmp_path_factory.mktemp("cascade")
  for seed, stage in enumerate(CONFIGS):
    task = tasks.build_task(tiny(stage, **({} if stage == "coarse" else {"coarse": str(path)})))
    params = random_params(lambda task=task: task.init(jax.random.key(0)), np.random.default_rng(seed))
    task.export(params, path, {"step": 3, "config": None})
  return path


@pytest.fixture(scope="module")
def draws(directory):
  cascade, info = builders.build_cascade(directory)
  few = dict(num_evaluations=2)
  samplers = builders.build_cascade_samplers(cascade, info, coarse=few, middle=few, fine=few)
  with jax.debug_key_reuse(False):  # this fixture is older than the one above
    return cascade, samplers, cascades.draw_cascade(cascade, samplers, 5, chunk_size=2, seed=3)


def test_maps_of_large_blocks_are_exact_and_commute_with_symmetries():
  layout = builders._layout("coarse", tiny("coarse"))
  images = voxel_images(open_events("sample"), np.arange(8), spec=SPEC)
  maps = lambda x: np.asarray(sparse_state.block_map(sparse_state.gap_state(jnp.asarray(x), layout.gap),
                                                     layout.gap, layout.blocks))
  found = maps(images)
  for image, wanted in zip(images, found, strict=True):
    pixels = np.argwhere(image > 0)
    given = sparse_state.map_of_pixels(pixels, image[tuple(pixels.T)], 128, layout.gap, layout.blocks)
    np.testing.assert_allclose(given, wanted, atol=1e-4)
  lit = images >= 0.09
  y = np.where(lit, 0.8 + np.arcsinh(images.astype(np.float64) / 0.1), 0.0)
  cells = lambda x: x.reshape(8, 8, 16, 8, 16).sum((2, 4))
  count, total = cells(lit), cells(y)
  assert found.shape == (8, 8, 8, 2) and count.max() > 3
  np.testing.assert_allclose(found[..., 0], count**0.5 / layout.blocks.lit_scale, rtol=1e-5)
  mean = (total / np.maximum(count, 1) - layout.blocks.mean) / layout.blocks.mean_scale
  np.testing.assert_allclose(found[..., 1], np.where(count > 0, mean, 0.0), atol=1e-4)
  turns = np.arange(8)
  np.testing.assert_allclose(maps(turn_pixels(images, turns)), turn_pixels(found, turns), atol=2e-5)


def test_windows_of_events_are_parts_of_their_pictures_and_hold_charge():
  events = open_events("sample")
  windows = make_windows(16, 8, 8)
  pool = voxel_pool(events, spec=SPEC, wanted={}, windows=windows, view="xy")
  whole = np.pad(voxel_images(events, np.arange(20), spec=SPEC), ((0, 0), (32, 32), (32, 32)))
  corners = range(0, 160, 8)
  for number in range(20):
    image = pool.read([number], np.random.default_rng(number))["image"][0]
    assert image.shape == (32, 32) and image[8:24, 8:24].any()
    found = [(i, j) for i in corners for j in corners
             if np.array_equal(whole[number, i:i + 32, j:j + 32], image)]
    assert found and (np.array(found) % 8 == 0).all()


def test_stages_see_the_middle_of_a_window_and_the_map_around_it():
  config = tiny("middle", map_noise=(0.0, 0.0))
  layout = builders._layout("middle", config)
  encode = builders._make_encode(layout, condition_lib.Condition({}), lambda batch: {}, (0.0, 0.0))
  image = np.zeros((2, 128, 128), np.float32)
  image[0, 40, 50], image[0, 3, 127], image[1, 70, 70] = 1.0, 2.0, 3.0
  state, cond = encode({"image": jnp.asarray(image)}, jax.random.key(0))
  assert state.shape == (2, 16, 16, 2) and cond["features"].shape == (2, 0)
  assert np.argwhere(np.asarray(state)[..., 0]).tolist() == [[0, 2, 4], [1, 9, 9]]  # (40 - 32) / 4 ...
  told = np.asarray(cond["map"]).reshape(2, 8, 8, 5, 5, 2)[..., 0]  # tokens, then blocks from -2 to 2
  wanted = np.zeros(told.shape, bool)
  for b, row, column in ((0, 40 // 16, 50 // 16), (0, 0, 7), (1, 4, 4)):
    for i, j in np.ndindex(8, 8):  # token i lies in block 2 + i / 2 of the picture
      down, right = row - (2 + i // 2) + 2, column - (2 + j // 2) + 2
      if 0 <= down < 5 and 0 <= right < 5:
        wanted[b, i, j, down, right] = True
  np.testing.assert_array_equal(told > 0.0, wanted)


def test_draws_do_not_depend_on_chunks_or_devices_and_are_empty_where_the_map_is(draws):
  cascade, samplers, (images, cond, seconds) = draws
  assert images.shape == (5, 128, 128) and seconds > 0.0 and len(set(cond["kinetic_mev"].tolist())) > 1
  again, _, _ = cascades.draw_cascade(cascade, samplers, 3, chunk_size=3, seed=3)
  np.testing.assert_allclose(again, images[:3], rtol=1e-3, atol=1e-4)
  assert 0.0 < (images > 0.0).mean() < 1.0 and images[images > 0.0].min() >= 0.09 * 0.999


def test_one_program_of_all_stages_equals_programs_one_after_the_other(draws):
  cascade, samplers, (images, cond, _) = draws
  keys = image_keys(jax.random.key(3), 5)
  draw = lib.make_cascade_draw(cascade, *samplers, num_windows=64)
  mapped = parallel.make_device_map(lambda batch: draw(batch["key"], batch["cond"]), chunk_size=5,
                                    mesh=parallel.make_mesh(jax.devices()[:1]))
  np.testing.assert_allclose(mapped({"key": keys, "cond": cond}), images, rtol=1e-3, atol=1e-4)
  first = jax.jit(lib.make_stages_draw(cascade, samplers, range(1)))
  maps = first(keys, {name: jnp.asarray(values) for name, values in cond.items()})
  dark = np.asarray(sparse_state.lit_pixels(maps, cascade.coarse.blocks)) == 0.0
  wide = np.repeat(np.repeat(dark, 16, 1), 16, 2)
  assert dark.any() and not images[wide].any()


def test_stages_that_start_from_crops_compute_what_those_compute():
  crops, _ = builders.build_cascade("crops64_cascade")
  random = np.random.default_rng(0)
  c_noise = jnp.array([0.05, -0.2])
  for stage, source, told in (("middle", crops.coarse, (8, 8, 50)), ("fine", crops.fine, (16, 16, 2))):
    config = CONFIGS[stage].get_config().to_dict()
    layout = builders._layout(stage, config)
    condition = condition_lib.Condition({})
    network, _ = builders._network_of(layout, config["network"], condition, source.state_shape)
    saved = {name: config[name] for name in ("network", "state", "blocks", "condition")}
    params = builders._released_init(config, network, saved, source.state_shape)(None, None)
    x = jnp.asarray(random.normal(size=(2, *source.state_shape)), jnp.float32)
    maps = jnp.asarray(random.normal(size=(2, *told)), jnp.float32)
    keep = {"keep": jnp.zeros(2)}
    theirs = {**keep, "features": jnp.zeros((2, condition_lib.num_features(source.condition)))}
    ours = {"keep": jnp.ones(2), "features": jnp.zeros((2, 0)), "map": maps}
    theirs |= {"map": maps} if stage == "fine" else {}
    np.testing.assert_allclose(jax.jit(network.apply)(params, x, c_noise, ours),
                               jax.jit(source.apply)(source.params, x, c_noise, theirs), rtol=1e-4, atol=1e-4)


def toy_interactions():
  pairs = [(0, 13, 100.0), (0, 2212, 50.0), (1, 11, 4.0), (1, 22, 1.0), (1, 211, 1.0), (1, -211, 1.0)]
  pairs += [(2, code, 1.0) for code in (13, 2212, 11, 22, 211, -211)]
  rows = np.array([[*pair, 0, 0, 1] for pair in pairs])
  return Events(np.zeros((3, 3), np.float32), np.array([0, 1, 2, 3]), np.zeros((3, 3), np.int16),
                np.ones(3, np.float32), 3.0, primaries=rows)


def test_conditions_are_told_of_interactions(monkeypatch):
  monkeypatch.setattr(cascade_data, "open_events", lambda path: toy_interactions())
  condition = condition_lib.make_condition(events512_coarse.get_config().condition.to_dict())
  data = cascade_data.build_interaction_stage_data(
      dict(path="toy", batch_size=4, num_holdout=1, num_evaluation=1), spec=SPEC, windows=None, seed=0,
      condition=condition, reduce=None)
  assert sorted(data.table["count_mu-"]) == [0.0, 1.0] and sorted(data.table["kinetic_mev"]) == [7.0, 150.0]
  batch = data.batch_fn(0)
  with pytest.raises(ValueError, match="Unknown condition variable 'charge_mev'; these events tell"):
    cascade_data.build_interaction_stage_data(
        dict(path="toy", batch_size=4, num_holdout=1), spec=SPEC, windows=None, seed=0, reduce=None,
        condition=condition_lib.make_condition({"charge_mev": dict(kind="scalar", mean=0.0, scale=1.0)}))
  told = data.condition_of(batch)
  assert set(told) == set(condition.variables) and batch["image"].shape == (4, 128, 128)
  np.testing.assert_array_equal(told["count_proton"], (told["kinetic_mev"] == 150.0).astype(np.float32))


def test_who_asks_for_some_primaries_asks_for_no_others():
  names = ("count_mu-", "count_proton", "kinetic_mev")
  condition = condition_lib.make_condition(
      {name: value for name, value in events512_coarse.get_config().condition.to_dict().items()
       if name in names})
  stage = lib.Stage(None, None, None, (8, 8, 2), condition)
  table = {"count_mu-": jnp.array([3.0]), "count_proton": jnp.array([2.0]), "kinetic_mev": jnp.array([50.0])}
  cascade = lib.Cascade((stage,), None, table)
  found = cascades.choose_conditions(cascade, image_keys(jax.random.key(0), 2), {"count_mu-": 1.0})
  assert {name: values.tolist() for name, values in found.items()} == {
      "count_mu-": [1.0, 1.0], "count_proton": [0.0, 0.0], "kinetic_mev": [50.0, 50.0]}


@pytest.mark.parametrize("stage,changes,message", [
    ("middle", {"windows": {}}, "The middle stage needs a block `windows`"),
    ("middle", {"told": {}}, "Missing config key told.size"),
    ("fine", {"windows": dict(size_px=64, step_px=6)}, "windows.size_px must be a multiple"),
    ("fine", {"windows": dict(size_px=60, step_px=6)}, "windows.step_px = 6 must be a multiple of the cells"),
    ("fine", {"map_noise": ()}, "The fine stage needs map_noise"),
    ("coarse", {"windows": dict(size_px=64, step_px=16)}, "stage 'coarse' is told None"),
    ("coarse", {"condition": {}}, "declares no variable")])
def test_bad_configs_are_named(stage, changes, message):
  with pytest.raises(ValueError, match=message):
    tasks.build_task(tiny(stage, **changes))


def test_stages_that_do_not_belong_together_are_named(directory, tmp_path):
  for name in ("coarse", "middle", "fine", "conditions"):
    weight_files.copy_weights(directory, tmp_path, name)
  info = json.loads((tmp_path / "middle.json").read_text())
  info["told"]["mean"] = 3.0
  (tmp_path / "middle.json").write_text(json.dumps(info))
  with pytest.raises(ValueError, match="The stages in .* differ in blocks"):
    builders.build_cascade(tmp_path)


def test_samplers_of_stages_that_are_not_there_are_named():
  chosen = sample.Settings(weights="crops64_cascade", out="x", middle_sampler="ddim:3")
  with pytest.raises(ValueError, match=r"--middle_sampler = .ddim:3.: this cascade has the stages"):
    models.open_model(chosen)


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
