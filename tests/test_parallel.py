"""Four virtual devices against one."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from lartpc_jax import parallel

pytestmark = pytest.mark.skipif(jax.device_count() < 4, reason="needs four devices")


def loss_fn(params, batch):
  hidden = jnp.tanh(batch["x"] @ params["kernel"])
  return jnp.mean((hidden.sum(1) - batch["y"])**2)


def train_step(params, batch, axis_name=None):
  loss, grads = jax.value_and_grad(loss_fn)(params, batch)
  if axis_name is not None:
    loss, grads = jax.lax.pmean((loss, grads), axis_name)
  return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), loss


@pytest.fixture
def problem():
  key_x, key_w = jax.random.split(jax.random.key(0))
  x = jax.random.normal(key_x, (16, 5))
  return {"kernel": jax.random.normal(key_w, (5, 7))}, {"x": x, "y": x.sum(1)}


def test_pmap_equals_jit(problem):
  """The pmap idiom, pmean of gradients. Inside jax.shard_map with check_vma it would be wrong by four."""
  params, batch = problem
  mapped = parallel.pmap(functools.partial(train_step, axis_name="data"), in_axes=(None, 0),
                         out_axes=(None, None))
  expected, new = params, params
  for _ in range(3):
    expected, expected_loss = jax.jit(train_step)(expected, batch)
    new, loss = mapped(new, batch)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(new["kernel"], expected["kernel"], rtol=1e-5, atol=1e-6)


def test_sharded_jit_equals_one_device(problem):
  params, batch = problem
  mesh = parallel.make_mesh()
  sharded = parallel.shard_batch(batch, mesh)
  assert sharded["x"].sharding.spec == PartitionSpec("data") and len(sharded["x"].addressable_shards) == 4
  new, loss = jax.jit(train_step)(parallel.replicate(params, mesh), sharded)
  expected, expected_loss = jax.jit(train_step)(params, batch)
  np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
  np.testing.assert_allclose(new["kernel"], expected["kernel"], rtol=1e-5, atol=1e-6)


def test_pmap_sees_a_share_and_a_device_number():
  def share(x, scale):
    return x * scale, jnp.full(1, x.shape[0]), jax.lax.axis_index("data")[None]
  scaled, sizes, numbers = parallel.pmap(share, in_axes=(0, None))(jnp.arange(8.0), 2.0)
  np.testing.assert_array_equal(scaled, 2.0 * np.arange(8))
  assert sizes.tolist() == [2] * 4 and numbers.tolist() == [0, 1, 2, 3]


def test_pmap_splits_another_axis():
  x = jnp.arange(24.0).reshape(3, 8)
  doubled, widths = parallel.pmap(lambda x: (2.0 * x["a"], jnp.full(1, x["a"].shape[1])), in_axes=({"a": 1},),
                                  out_axes=(1, 0))({"a": x})
  np.testing.assert_array_equal(doubled, 2.0 * x)
  np.testing.assert_array_equal(widths, [2, 2, 2, 2])


@pytest.mark.parametrize("axis", [-1, "data"])
def test_pmap_refuses_other_axes(axis):
  with pytest.raises(ValueError, match=f"axis {axis!r}"):
    parallel.pmap(lambda x: x, in_axes=(axis,))


def test_a_chain_equals_its_functions_and_compiles_once():
  traces = []

  def first(x):
    traces.append("first")
    return jnp.stack([x, x * x]), x

  def second(inputs):
    traces.append("second")
    return inputs[0].sum(0) + inputs[1]

  run = parallel.compile_chain((first, second), (0, (1, 0), 0), np.zeros(8, np.float32))
  for x in (np.arange(8, dtype=np.float32), np.ones(8, np.float32)):
    np.testing.assert_array_equal(run(parallel.shard_batch(x, parallel.make_mesh())), 2 * x + x * x)
  assert traces == ["first", "second"]
  with pytest.raises(ValueError, match="2 functions need 3 axes; got 2"):
    parallel.compile_chain((first, second), (0, 0), np.zeros(8))


def test_batches_must_split():
  mesh = parallel.make_mesh()
  with pytest.raises(ValueError,
                     match="Batch size 10 is not a multiple of the 4 devices; choose a batch of 8 or 12"):
    parallel.shard_batch({"x": np.zeros((10, 2))}, mesh)
  with pytest.raises(ValueError, match="choose a batch of 4, or fewer devices"):
    parallel.shard_batch(np.zeros(3), mesh)
  with pytest.raises(ValueError, match=r"lengths \[4, 8\]"):
    parallel.shard_batch((np.zeros(4), np.zeros(8)), mesh)
  scalar, _ = parallel.shard_batch((np.float32(1.0), np.zeros(4)), mesh)
  assert scalar.sharding.spec == PartitionSpec()


@pytest.mark.parametrize("total", [1, 7, 8, 9, 40])
def test_map_over_devices_pads_and_trims(total):
  x = np.arange(total * 3, dtype=np.float32).reshape(total, 3)
  keys = jax.random.split(jax.random.key(0), total)
  done = []

  def fn(batch, shift):
    noise = jax.vmap(jax.random.normal)(batch["key"])
    return {"sum": batch["x"].sum(1) + shift, "noise": noise}

  out = parallel.map_over_devices(fn, {"x": x, "key": keys}, jnp.float32(10.0), chunk_size=2,
                                  progress=done.append)
  np.testing.assert_allclose(out["sum"], x.sum(1) + 10.0)
  assert isinstance(out["sum"], np.ndarray) and out["noise"].shape == (total,)
  np.testing.assert_allclose(out["noise"][-1], jax.random.normal(keys[-1]), rtol=1e-6)
  assert done == [min(n, total) for n in range(8, total + 8, 8)]


def test_device_map_compiles_once():
  traces = []

  def fn(x):
    traces.append(x.shape)
    return x + 1.0
  mapped = parallel.make_device_map(fn, chunk_size=3)
  for total in (1, 5, 30):
    np.testing.assert_array_equal(mapped(np.zeros(total, np.float32)), np.ones(total))
  assert traces == [(3,)]


def test_one_device_gives_the_same():
  x = np.linspace(0.0, 1.0, 11, dtype=np.float32)
  one = parallel.map_over_devices(jnp.sin, x, chunk_size=4, mesh=parallel.make_mesh(jax.devices()[:1]))
  np.testing.assert_array_equal(parallel.map_over_devices(jnp.sin, x, chunk_size=4), one)


def test_bad_chunks_and_batches():
  with pytest.raises(ValueError, match="chunk_size"):
    parallel.map_over_devices(jnp.sin, np.zeros(3), chunk_size=0)
  with pytest.raises(ValueError, match="empty"):
    parallel.map_over_devices(jnp.sin, np.zeros(0, np.float32))
