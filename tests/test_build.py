"""Builders: every bad key is named with the allowed set; released weights become a generator."""
import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.build import inference as config_inference, models, tasks as lib
from lartpc_jax.build.generators import build_generator
from lartpc_jax.config.blocks import call_with
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.generators.generator import make_generate, prior_noise
from tests.toy_weights import DENOISER, save_toy_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
  return save_toy_weights(tmp_path_factory.mktemp("weights"))


def tiny(name, weights=None):
  config = importlib.import_module(f"configs.protons64_{name}").get_config("tiny").to_dict()
  if "data" in config:
    config["data"]["num_evaluation"] = 4
  if weights is not None:
    config["codec"]["weights"] = str(weights)
  return config


def edited(config, key, value):
  """A copy with `a.b` set to value, or without it where value is `...`."""
  config = json.loads(json.dumps(config))
  *blocks, last = key.split(".")
  node = config
  for block in blocks:
    node = node[block]
  if value is ...:
    del node[last]
  else:
    node[last] = value
  return config


# --- whole configs -----------------------------------------------------------------------------
def test_tiny_configs_build_tasks(weights):
  for config in (tiny("autoencoder"), tiny("ldm", weights)):
    task = lib.build_task(config)
    params = jax.eval_shape(task.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) > 1000
    assert task.evaluate and task.draw and task.export


@pytest.mark.parametrize("name", ["autoencoder", "ldm", "infer"])
def test_unknown_variant_is_named(name):
  module = importlib.import_module(f"configs.protons64_{name}")
  with pytest.raises(ValueError, match=r"Unknown variant 'huge'; choose from \[.*'tiny'"):
    module.get_config("huge")


BAD_AUTOENCODER = [
    ("task", "flow", r"Unknown config value task = 'flow'; allowed: \['autoencoder', .*'generator', .*"
     r"'ssnet'\]"),
    ("task", ..., "Unknown config value task = None"),
    ("seed", ..., "Missing config key seed"),
    ("extra", 1, r"Unknown config key extra = 1 of task 'autoencoder'; allowed: \['charge'"),
    # a block of the other task would do nothing
    ("sde", {}, r"Unknown config key sde = {} of task 'autoencoder'"),
    ("frame.pitch", 1.0,
     r"Unknown config key frame.pitch = 1.0; allowed: \['num_across', 'num_along', 'pitch_mm'"),
    ("frame.sigma_mm", 2.0,
     "frame.sigma_mm = 2.0 and frame.pitch_mm = 2.0 smear more than the image.sigma_mm = 1.35"),
    ("image", ..., "A block `frame` needs a block `image`"),
    ("data", 3, "The config needs a block 'data'"),
    ("image.pitch", 1.0, r"Unknown config key image.pitch = 1.0; allowed: \['num_pixels', 'pitch_mm'"),
    ("charge.name", "log", "Unknown charge transform 'log'; choose from"),
    ("charge.scale", 2.0, r"Unknown config key charge.scale = 2.0; allowed: \['name', 'scale_mev'\]"),
    ("charge.scale_mev", ..., "Missing config key charge.scale_mev"),
    ("data.batchsize", 2, r"Unknown config key data.batchsize = 2; allowed: \['batch_size'"),
    ("data.num_holdout", ..., "Missing config key data.num_holdout; there are"),
    ("data.path", "", "data.path is not set"),
    ("data.num_holdout", 0, "data.num_holdout must lie between"),
    ("network.width", 3, r"Unknown config key network.width = 3; allowed: \['encoder_features', 'features'"),
    ("loss.gan_weight", 3,
     r"Unknown config key loss.gan_weight = 3; allowed: \['charge_weight', 'kl_weight'\]"),
    ("loss.kl_weight", float("nan"), "loss.kl_weight is NaN"),
]
BAD_DIFFUSION = [
    ("sde.name", "vq", r"Unknown config value sde.name = 'vq'; allowed: \[.*'vp'"),
    ("sde.beta", 1.0, r"Unknown config key sde.beta = 1.0; allowed: \['beta_max', 'beta_min'\]"),
    ("sampler.name", "euler", "Unknown sampler 'euler'; choose from"),
    ("sampler.steps", 3, "Sampler 'dpm_solver_pp_2m' takes no option 'steps'"),
    ("sampler.sigma_max", 1e5, "sigma must lie in"),
    ("network.depth", 3, r"Unknown config key network.depth = 3; allowed: \['attention_levels'"),
    ("condition.momentum_mev.scale", ..., "Condition variable 'momentum_mev': .*missing .*'scale'"),
    ("condition.momentum_mev.kind", "matrix", "Unknown kind 'matrix' of condition variable 'momentum_mev'"),
    ("condition.mass_mev", {"kind": "scalar", "mean": 0.0,
                            "scale": 1.0}, "The label 'mass_mev' is not known of these events; known"),
    ("condition.kinetic_mev", {"kind": "scalar", "mean": 75.0,
                               "scale": 25.0}, "needs a block `frame` and the condition momentum_mev"),
    ("frame", None, "was trained on TrackFrame.*; the config says ImageSpec"),
    ("network.conditioning", "words", "Unknown network.conditioning 'words'; choose from"),
    ("charge_plane.reference", "weight",
     r"Unknown config value charge_plane.name = 'weight'; allowed: \['kinetic', 'none'\]"),
    ("loss.cond_dropout", 1.5, r"loss.cond_dropout must be in \[0, 1\); got 1.5"),
    ("codec.weights", "", "The config needs codec.weights"),
    ("codec.weights", "nowhere",
     "No weights: there is no directory 'nowhere', and the package has .*protons64"),
    ("frame.start_mm", -20.0, "was trained on .*start_mm=-24.0.*; the config says .*start_mm=-20.0"),
    ("image.pitch_mm", 4.0, "was trained on .*'pitch_mm': 3.0.*; the config says .*'pitch_mm': 4.0"),
]


@pytest.mark.parametrize("key,value,message", BAD_AUTOENCODER)
def test_bad_autoencoder_configs_are_named(key, value, message):
  with pytest.raises(ValueError, match=message):
    lib.build_task(edited(tiny("autoencoder"), key, value))


@pytest.mark.parametrize("key,value,message", BAD_DIFFUSION)
def test_bad_diffusion_configs_are_named(weights, key, value, message):
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    lib.build_task(edited(tiny("ldm", weights), key, value))


@pytest.mark.parametrize("key,value,message", [
    ("temperature", 1, r"Unknown config key temperature = 1; allowed: \['distance', 'guidance_scale'"),
    ("guidance_scale", float("nan"), "guidance_scale must be finite; got nan"),
    ("sampler", ..., "The config needs a block 'sampler'"),
    ("sampler.eta", 0.0, "Sampler 'dpm_solver_pp_2m' takes no option 'eta'"),
    ("inference.restarts", 2, "Unknown config key inference.restarts = 2; allowed"),
    ("inference.second.steps", 2,
     r"Unknown config key inference.second.steps = 2; allowed: \['energy_factor'"),
    ("inference.second", 2, "Config key inference.second must be a block; got 2"),
    ("inference.noise", {"a": 1}, "Config key inference.noise must be a value; got {'a': 1}"),
    ("inference.first.num_draws", 0, "inference.first.num_draws must be at least 1; got 0"),
    ("inference.screening.num_starts", 99,
     "screening.num_starts = 99 exceeds inference.screening.num_screened = 4"),
    ("inference.screening.num_screened", 17,
     "num_screened = 17 exceeds inference.screening.num_candidates = 16"),
])
def test_bad_inference_configs_are_named(weights, key, value, message):
  with pytest.raises(ValueError, match=message):
    config_inference.build_infer(edited(tiny("infer"), key, value),
                                 build_generator(weights).generator, ("xy",))


def test_call_with_names_keys_that_the_caller_supplies_itself():
  with pytest.raises(ValueError, match=r"Unknown config key block.sde = 1; allowed: \['num_steps'\]"):
    call_with(lambda sde, num_steps=1: None, "block", {"sde": 1}, sde=None)


# --- released weights
# ----------------------------------------------------------------------------------------------
def test_released_weights_generate_the_same_image_from_the_same_noise(weights):
  generator, info, _ = build_generator(weights)
  spec = generator.spec
  assert spec.num_pixels == 64 and info["kinetic_range_mev"] == [50.0, 100.0]
  assert generator.codec.state_shape == (8, 4, 5) and generator.kinetic_range_mev == (50.0, 100.0)
  sampler = models.build_sampler(generator.denoiser.sde, num_steps=3)
  of_momentum = lambda generate: jax.jit(lambda noise, momentum_mev: generate(
      noise, {"momentum_mev": momentum_mev}))
  generate = of_momentum(make_generate(generator, sampler))
  noise = prior_noise(generator, jax.random.key(0), 2)
  momentum = jnp.array([[300.0, 100.0, 50.0], [0.0, -350.0, 120.0]])
  images = generate(noise, momentum)
  assert images.shape == (2, 64, 64) and np.isfinite(images).all() and images.max() > 0
  assert ((images == 0) | (images >= spec.threshold_mev)).all()
  np.testing.assert_array_equal(generate(noise, momentum), images)
  np.testing.assert_allclose(generate(noise, momentum * jnp.array([[1.0, 1.0, -1.0]])), images, atol=1e-5)
  assert np.abs(generate(-noise, momentum) - images).max() > 1e-3
  assert np.abs(generate(noise, 0.9 * momentum) - images).max() > 1e-5
  # turning the momentum in the plane of the image turns the image: exact by a quarter, about the vertex at
  # the centre
  quarter = jnp.stack([-momentum[:, 1], momentum[:, 0], momentum[:, 2]], axis=-1)
  np.testing.assert_allclose(generate(noise, quarter), np.rot90(images, axes=(1, 2)), rtol=1e-3, atol=6e-3)
  again = of_momentum(make_generate(build_generator(weights).generator, sampler))  # another load
  np.testing.assert_array_equal(again(noise, momentum), images)


def rewrite(source, target, name, **changes):
  """Copies weights with another JSON; `...` drops a key."""
  target.mkdir(exist_ok=True)
  for file in source.iterdir():
    (target / file.name).write_bytes(file.read_bytes())
  info = {**json.loads((target / f"{name}.json").read_text()), **changes}
  (target / f"{name}.json").write_text(json.dumps({k: v for k, v in info.items() if v is not ...}))
  return target


@pytest.mark.parametrize("name,changes,message", [
    ("diffusion", dict(momentum_scale_mev=...), r"diffusion.json: lacks \['momentum_scale_mev'\]; it holds"),
    ("autoencoder", dict(latent=...), r"autoencoder.json: lacks \['latent'\]"),
    ("autoencoder", dict(network=dict(latent_channels=4, stem=8, features=16, num_encoder_blocks=1,
                                      num_decoder_blocks=1)),
     "autoencoder.npz does not fit the network of autoencoder.json: .*bias.* is .8,., the network needs"),
    ("diffusion", dict(network=dict(features=16, multipliers=[1], num_blocks=1, attention_levels=[],
                                    num_heads=1,
                                    num_groups=4)),
     "diffusion.npz does not fit the network of diffusion.json"),
    ("diffusion", dict(network=dict(widht=1)), "Unknown config key network.widht = 1"),
    ("diffusion", dict(sde=dict(name="vq")), "Unknown config value sde.name = 'vq'"),
])
def test_weights_that_do_not_fit_are_named(weights, tmp_path, name, changes, message):
  with pytest.raises(ValueError, match=message):
    build_generator(rewrite(weights, tmp_path / "bad", name, **changes))


def test_missing_weights_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="generator.json does not exist"):
    build_generator(tmp_path)


def test_training_goes_on_from_released_weights(weights):
  network = {"name": "latent_unet", "conditioning": "track", **DENOISER}
  config = edited(edited(tiny("ldm", weights), "network", network), "init_from", str(weights))
  params = lib.build_task(config).init(jax.random.key(3))
  released, _ = weight_files.load_weights(weights, "diffusion")
  assert jax.tree.structure(params) == jax.tree.structure(released)
  jax.tree.map(np.testing.assert_array_equal, params, released)


def test_released_weights_of_another_network_are_named(weights):
  config = edited(tiny("ldm", weights), "init_from", str(weights))
  with pytest.raises(ValueError, match="init_from = .* has network"):
    lib.build_task(config)
