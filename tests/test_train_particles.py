"""The particle type as a variable of the condition: it trains, weights keep it, and launch.generate takes
it."""
import numpy as np
import pytest

from configs import protons64_autoencoder, protons64_infer, protons64_ldm
from lartpc_jax.build import tasks as lib
from lartpc_jax.build.generators import build_generator
from lartpc_jax.build.models import build_autoencoder
from lartpc_jax.data.events import Events, load_events, save_events, select_events
from lartpc_jax.data.open import open_events
from lartpc_jax.experiments import generate, protocol, simulate
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.units import PDG_CODES
from tests.brief_training import train_briefly
from tests.toy_weights import random_params


def save_autoencoder(directory):
  """Random weights of a small autoencoder of detector images."""
  import jax
  config = protons64_autoencoder.get_config("images_tiny").to_dict()
  network = build_autoencoder(config["network"])
  params = random_params(lambda: network.init(jax.random.key(0), (64, 64)), np.random.default_rng(0))
  weight_files.save_weights(directory, "autoencoder", params, {
      **{name: config[name] for name in ("network", "charge", "image")}, "frame": None,
      "latent": {"shift": [0.0] * 8, "scale": [1.0] * 8}})
  return str(directory)


def joined(first: Events, second: Events) -> Events:
  """Events of two files, with the PDG codes of both."""
  return Events(np.concatenate([first.momentum_mev, second.momentum_mev]),
                np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]]),
                np.concatenate([first.voxel, second.voxel]),
                np.concatenate([first.edep_mev, second.edep_mev]),
                first.voxel_mm, pdg=np.concatenate([first.pdg, second.pdg]))


def tiny(path, weights):
  config = protons64_ldm.get_config("particles_tiny").to_dict()
  config["network"].update(features=8, multipliers=(1,), num_blocks=1, attention_levels=(), num_heads=1,
                           num_groups=4)
  config["data"].update(path=str(path), num_evaluation=4)
  config["codec"]["weights"], config["sampler"]["num_steps"] = weights, 2
  return config


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
  return save_autoencoder(tmp_path_factory.mktemp("autoencoder"))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
  """The first protons of the package, every other one called a muon: what matters here is the label."""
  events = select_events(open_events("sample"), np.arange(24))
  path = tmp_path_factory.mktemp("events") / "events.npz"
  pdg = np.where(np.arange(24) % 2, PDG_CODES["mu-"], PDG_CODES["proton"])
  save_events(
      path,
      Events(events.momentum_mev, events.offsets, events.voxel, events.edep_mev, events.voxel_mm, pdg=pdg))
  return path


def test_batches_say_the_particle(labelled, autoencoder):
  task = lib.build_task(tiny(labelled, autoencoder))
  batch = task.batch_fn(0)
  one_hot = np.asarray(batch["features"])[:, -2:]  # in the order of the declaration: momentum, particle
  assert set(map(tuple, one_hot)) == {(1.0, 0.0), (0.0, 1.0)}


def test_an_unknown_particle_is_named(labelled, autoencoder):
  config = tiny(labelled, autoencoder)
  config["condition"]["particle"]["classes"] = ("proton", "e-")
  with pytest.raises(ValueError, match=r"PDG code 13; asked for are \['proton', 'e-'\]"):
    lib.build_task(config)
  config["condition"]["particle"]["classes"] = ("proton", "axion")
  with pytest.raises(ValueError, match="Unknown particle 'axion'; choose from"):
    lib.build_task(config)


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_protons_and_muons_from_simulation_to_images(autoencoder, tmp_path):
  for name, kinetic in (("proton", "50,100"), ("muon", "20,60")):
    settings = simulate.Settings(out=str(tmp_path / f"{name}.npz"), num_events=20, backend="fast",
                                 particles=(name,), kinetic_mev=protocol.ranges(kinetic), chunk_size=20)
    simulate.run(settings, protocol.SILENT)
  both = joined(*(load_events(tmp_path / f"{name}.npz") for name in ("proton", "muon")))
  order = np.random.default_rng(0).permutation(len(both))
  save_events(tmp_path / "both.npz", select_events(both, order))
  task = lib.build_task(tiny(tmp_path / "both.npz", autoencoder))
  _, state = train_briefly(task, num_steps=3, learning_rate=1e-3)
  task.export(state.ema_params, tmp_path / "weights", {"step": 3, "config": None})
  assert build_generator(tmp_path
                         / "weights").generator.condition.variables["particle"].classes == ("proton", "mu-")
  config = protons64_infer.get_config("tiny").to_dict()
  muon = np.array([[80.0, 40.0, 0.0]], np.float32)
  images, _, pdg = generate.generate_events(muon, config, views=("xy",), num=2,
                                            weights=str(tmp_path / "weights"), asked="particle=mu-")
  assert images.shape == (2, 1, 64, 64) and list(pdg) == [13, 13]
  with pytest.raises(ValueError, match=r"a mu-, is 259.8 MeV, outside 20 to 60 MeV"):
    generate.generate_events(np.array([[300.0, 180.0, 0.0]], np.float32), config, views=("xy",), num=1,
                             weights=str(tmp_path / "weights"), asked="particle=mu-")
  with pytest.raises(ValueError,
                     match=r"asked for \['momentum_mev', 'particle'\]; give \['particle'\] in --cond"):
    generate.generate_events(np.ones((1, 3), np.float32), config, views=("xy",), num=1,
                             weights=str(tmp_path / "weights"))
