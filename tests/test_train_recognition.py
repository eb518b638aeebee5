"""The tiny guide: it learns the energy, and its weights come back for a generator of the same states."""
import types

import jax
import numpy as np
import pytest

from configs import particles64_guide
from lartpc_jax.build.generators import Weights
from lartpc_jax.build.guides import build_guide
from lartpc_jax.build.tasks import build_task
from lartpc_jax.generators import weights as weight_files
from tests.brief_training import train_briefly
from tests.toy_parts import image_generator

pytestmark = [pytest.mark.slow, pytest.mark.third_party]


@pytest.fixture(scope="module")
def config():
  return particles64_guide.get_config("tiny").to_dict()


def test_a_guide_learns_and_returns(config, tmp_path):
  task = build_task(config)
  before, state = train_briefly(task, num_steps=20, learning_rate=5e-3)
  first, last = (task.evaluate(params, jax.random.key(3)) for params in (before, state.params))
  assert last["eval/loss"] < first["eval/loss"] - 0.05
  assert last["eval/kinetic_mev_rms_at_0.05"] < first["eval/kinetic_mev_rms_at_0.05"] + 0.05
  task.export(state.params, tmp_path, {"step": 20})
  params, info = weight_files.load_weights(tmp_path, "guide")
  assert set(info["labels"]) == {"kinetic_mev", "momentum_mev"} and info["codec"]["scale"]["scale"] > 0.0
  shaped = image_generator(None, None, types.SimpleNamespace(state_shape=(64, 64, 1)))
  found = build_guide(tmp_path, Weights(shaped, info, {}))
  np.testing.assert_allclose(found.guide.params["Dense_0"]["kernel"],
                             np.asarray(state.params["Dense_0"]["kernel"]), rtol=2e-3, atol=1e-3)
  other = {**info, "codec": {**info["codec"], "scale": {"shift": 0.0, "scale": 9.0}}}
  with pytest.raises(ValueError, match="trained on states of another codec"):
    build_guide(tmp_path, Weights(shaped, other, {}))
  with pytest.raises(ValueError, match="reads states of charge_plane None"):
    build_guide(tmp_path, Weights(shaped, {**info, "charge_plane": {"mean": 1.0}}, {}))


def test_bad_configs_are_named(config):
  with pytest.raises(ValueError, match="`labels` declares no variable"):
    build_task({**config, "labels": {}})
  with pytest.raises(ValueError, match="charge_plane.reference must be 'none'; got 'kinetic'"):
    build_task({**config, "charge_plane": dict(reference="kinetic", mean=1.0, std=0.1)})
  with pytest.raises(ValueError, match="Unknown config key network.width"):
    build_task({**config, "network": {"width": 3}})
