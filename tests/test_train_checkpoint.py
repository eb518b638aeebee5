"""Checkpoints: exact, retained, and never silently wrong."""
import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from lartpc_jax import parallel
from lartpc_jax.train import checkpoint
from lartpc_jax.train.state import init_train_state

CONFIG = {"network": {"num_channels": 64}, "optim": {"b1": 0.9}, "train": {"num_steps": 5}}


def make_state(seed: int):
  params = {"a": jax.random.normal(jax.random.key(seed), (64, 64)), "b": jnp.full(3, seed, jnp.bfloat16)}
  return init_train_state(params, optax.adam(1e-3))._replace(step=jnp.int32(seed))


def abstract(mesh=None):
  sharding = NamedSharding(mesh or parallel.make_mesh(), PartitionSpec())
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), make_state(0))


def save(directory, steps, max_to_keep=3):
  with checkpoint.open_checkpoints(directory, max_to_keep=max_to_keep) as checkpoints:
    for step in steps:
      checkpoints.save(step, make_state(step), {"config": CONFIG, "memory": {"step": step}})


def data_files(directory):
  files = [p for p in directory.rglob("*") if p.is_file() and "/d/" in str(p)]
  return sorted(files, key=lambda p: p.stat().st_size, reverse=True)


def assert_is_step(restored, step):
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(restored.state),
               jax.device_get(make_state(step)))
  assert restored.info["memory"] == {"step": step} and restored.info["config"] == CONFIG


def test_round_trip_on_another_number_of_devices(tmp_path):
  mesh = parallel.make_mesh()
  with checkpoint.open_checkpoints(tmp_path, max_to_keep=1) as checkpoints:
    checkpoints.save(4, parallel.replicate(make_state(4), mesh), {"config": CONFIG, "memory": {"step": 4}})
    checkpoints.wait()
    assert checkpoints.latest_step() == 4
  restored = checkpoint.restore_latest(tmp_path, abstract(parallel.make_mesh(jax.devices()[:1])),
                                       config=CONFIG)
  assert_is_step(restored, 4)
  assert isinstance(restored.state, type(make_state(0)))
  assert restored.state.params["a"].sharding.device_set == {jax.devices()[0]}


def test_retention(tmp_path):
  save(tmp_path, [1, 2, 3, 4], max_to_keep=2)
  assert sorted(p.name for p in tmp_path.iterdir()) == ["3", "4"]


def test_nothing_to_restore(tmp_path):
  assert checkpoint.restore_latest(tmp_path / "missing", abstract()) is None
  (tmp_path / "7.orbax-checkpoint-tmp").mkdir()  # what a process killed while writing leaves
  assert checkpoint.restore_latest(tmp_path, abstract()) is None
  save(tmp_path, [1])
  assert sorted(p.name for p in tmp_path.iterdir()) == ["1"]


def truncate(step_directory):
  path = data_files(step_directory)[0]
  path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def delete_data(step_directory):
  data_files(step_directory)[0].unlink()


def flip_bytes(step_directory):
  path = data_files(step_directory)[0]
  data = bytearray(path.read_bytes())
  middle = len(data) // 2
  data[middle:middle + 64] = bytes(b ^ 0x01 for b in data[middle:middle + 64])
  path.write_bytes(data)


def empty_info(step_directory):
  (step_directory / "info" / "metadata").write_text("")


def change_digest(step_directory):
  """The state as orbax gives it back is not the one that was saved: flipped bits that its decoder accepts."""
  path = step_directory / "info" / "metadata"
  info = json.loads(path.read_text())
  path.write_text(json.dumps({**info, "digest": "0" * 64}))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # orbax's abandoned readers
@pytest.mark.parametrize("damage", [truncate, delete_data, flip_bytes, empty_info, change_digest])
def test_falls_back_over_damage(tmp_path, caplog, damage):
  directory = tmp_path / "checkpoints"
  save(directory, [1, 2, 3])
  damage(directory / "3")
  with caplog.at_level(logging.WARNING):
    restored = checkpoint.restore_latest(directory, abstract(), config=CONFIG)
  assert_is_step(restored, 2)
  assert "Checkpoint 3" in caplog.text and "damaged" in caplog.text
  # orbax sees the other kinds itself
  assert ("sha256" in caplog.text) == (damage in (flip_bytes, change_digest))
  assert sorted(p.name for p in directory.iterdir()) == ["1", "2"]
  assert (tmp_path / "checkpoints_unusable" / "3").is_dir()
  save(directory, [3])  # the resumed run writes the same step again
  assert_is_step(checkpoint.restore_latest(directory, abstract()), 3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_usable_checkpoint_names_directory_and_reasons(tmp_path):
  save(tmp_path, [1, 2])
  change_digest(tmp_path / "1")
  truncate(tmp_path / "2")
  with pytest.raises(ValueError, match="usable") as error:
    checkpoint.restore_latest(tmp_path, abstract())
  text = str(error.value)
  assert str(tmp_path) in text and "step 1: ValueError: sha256" in text and "step 2: " in text
  assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2"]  # nothing is moved or lost


def test_another_config_is_no_damage(tmp_path):
  save(tmp_path, [1, 2])
  changed = {**CONFIG, "network": {"num_channels": 32}, "train": {"num_steps": 9}}
  with pytest.raises(ValueError, match=r"network\.num_channels: 64 -> 32") as error:
    checkpoint.restore_latest(tmp_path, abstract(), config=changed)
  assert "train.num_steps" not in str(error.value)
  assert_is_step(checkpoint.restore_latest(tmp_path, abstract(), config={**CONFIG, "train": {}}), 2)


def test_saving_survives_donation(tmp_path):
  """The step after a save reuses the buffers of the saved state."""
  step = jax.jit(lambda s: jax.tree.map(lambda x: x * 0, s), donate_argnums=0)
  with checkpoint.open_checkpoints(tmp_path, max_to_keep=1) as checkpoints:
    state = jax.tree.map(jnp.copy, make_state(5))
    checkpoints.save(5, state, {"config": CONFIG, "memory": {"step": 5}})
    for _ in range(3):
      state = step(state)
  assert_is_step(checkpoint.restore_latest(tmp_path, abstract()), 5)


def test_digest_sees_values_types_shapes_and_names():
  x = np.arange(6, dtype=np.float32)
  states = [{"a": x}, {"b": x}, {"a": x.reshape(2, 3)}, {"a": x.view(np.int32)}, {"a": x + np.float32(1e-6)}]
  assert len({checkpoint.state_digest(state) for state in states}) == len(states)
  assert checkpoint.state_digest({"a": jnp.asarray(x)}) == checkpoint.state_digest(states[0])


def test_keep_at_least_one(tmp_path):
  with pytest.raises(ValueError,
                     match="keep_checkpoints"), checkpoint.open_checkpoints(tmp_path, max_to_keep=0):
    pass
