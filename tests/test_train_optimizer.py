"""Schedules against closed forms; AdamW against its equations in numpy."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.config.blocks import parse
from lartpc_jax.config.schema import Muon, Optim
from lartpc_jax.train import optimizer

pytestmark = pytest.mark.third_party  # optax promotes in its own arithmetic

SETTINGS = dict(learning_rate=2e-3, warmup_steps=10)


def rates(steps, **changes):
  schedule = optimizer.make_schedule(Optim(**{**SETTINGS, "schedule": "cosine", **changes}), 110)
  return np.array([float(schedule(jnp.int32(step))) for step in steps])


def test_cosine():
  steps = np.arange(10, 111, 10)
  np.testing.assert_allclose(rates(steps), 1e-3 * (1 + np.cos(np.pi * (steps - 10) / 100)), rtol=1e-4,
                             atol=1e-9)


@pytest.mark.parametrize("schedule", optimizer.SCHEDULES)
def test_warmup_is_linear_from_zero(schedule):
  np.testing.assert_allclose(rates(range(11), schedule=schedule), 2e-4 * np.arange(11), rtol=1e-5, atol=1e-12)
  np.testing.assert_allclose(rates([0], schedule=schedule, warmup_steps=0), 2e-3, rtol=1e-6)


def test_constant():
  np.testing.assert_allclose(rates([10, 50, 110, 1000], schedule="constant"), 2e-3, rtol=1e-6)


def test_warmup_stable_decay():
  np.testing.assert_allclose(rates([10, 60, 87, 88, 99, 110], schedule="wsd", decay_fraction=0.2),
                             [2e-3, 2e-3, 2e-3, 2e-3, 1e-3, 0.0], rtol=1e-5, atol=1e-9)
  np.testing.assert_allclose(rates([10, 60, 110], schedule="wsd", decay_fraction=1.0), [2e-3, 1e-3, 0.0],
                             atol=1e-9)


def test_two_steps_of_adamw_by_hand():
  """Loshchilov and Hutter 2019, algorithm 2, with the gradient clipped to norm 1; biases do not decay."""
  tx = optimizer.make_optimizer(Optim(0.1, schedule="constant", b1=0.8, b2=0.9, weight_decay=0.05), 10)
  params = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([3.0])}
  grads = {"kernel": jnp.array([[3.0, 0.0]]), "bias": jnp.array([4.0])}  # norm 5
  state = tx.init(params)
  p, g = np.array([1.0, -2.0, 3.0]), np.array([3.0, 0.0, 4.0]) / 5.0
  m, v, decay = np.zeros(3), np.zeros(3), np.array([0.05, 0.05, 0.0])
  for t in (1, 2):
    updates, state = tx.update(grads, state, params)
    params = {name: params[name] + updates[name] for name in params}
    m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
    p = p - 0.1 * (m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.9**t)) + 1e-8) + decay * p)
    np.testing.assert_allclose(np.append(params["kernel"][0], params["bias"]), p, rtol=1e-5)


def test_no_clipping():
  params, grads = {"a": jnp.ones((2, 2))}, {"a": jnp.full((2, 2), 100.0)}
  second_moments = []
  for norm in (None, 1.0):
    tx = optimizer.make_optimizer(Optim(0.1, b2=0.999, grad_clip_norm=norm), 10)
    _, state = tx.update(grads, tx.init(params), params)
    second_moments.append(
        max(float(np.max(leaf)) for leaf in (state if norm is None else state[1])[0].nu.values()))
  np.testing.assert_allclose(second_moments, [1e-3 * 100.0**2, 1e-3 * 0.5**2], rtol=1e-5)


@pytest.mark.parametrize("key,value", [
    ("schedule", "linear"), ("learning_rate", 0.0), ("learning_rate", np.nan), ("learning_rate", np.inf),
    ("warmup_steps", -1), ("warmup_steps", 200), ("num_steps", 0),
    ("decay_fraction", 0.0), ("b1", 1.0), ("b2", -0.1), ("weight_decay", -1.0), ("grad_clip_norm", 0.0)])
def test_bad_values_are_named(key, value):
  with pytest.raises(ValueError, match=key) as error:
    values = {"num_steps": 110, **SETTINGS, key: value}
    optimizer.make_optimizer(num_steps=values.pop("num_steps"), optim=Optim(**values))
  assert str(value) in str(error.value)


def newton_schulz(matrix, steps=5):
  """Jordan et al. 2024: five steps of an odd polynomial that drives singular values towards 1."""
  a, b, c = 3.4445, -4.7750, 2.0315
  x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
  x = x / (np.linalg.norm(x) + 1e-8)
  for _ in range(steps):
    square = x @ x.T
    x = a * x + (b * square + c * square @ square) @ x
  return x.T if matrix.shape[0] > matrix.shape[1] else x


def test_muon_equals_its_equations_in_numpy_and_leaves_the_rest_to_adam():
  random = np.random.default_rng(0)
  draw = lambda *shape: random.normal(size=shape)
  params = {"block_0": {"qkv": {"kernel": draw(4, 3, 6), "bias": draw(3, 6)}, "out": {"kernel": draw(8, 4)}},
            "head": {"kernel": draw(4, 2)}}
  settings = dict(learning_rate=1e-2, schedule="constant", b2=0.98, grad_clip_norm=None)
  tx = optimizer.make_optimizer(Optim(**settings, muon=Muon("block_0/.*kernel", 0.02, weight_decay=0.1)), 10)
  adam = optimizer.make_optimizer(Optim(**settings), 10)
  as_jax = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)
  state, adam_state = tx.init(as_jax(params)), adam.init(as_jax(params))
  moment = {"qkv": np.zeros((4, 3, 6)), "out": np.zeros((8, 4))}
  for step in range(1, 4):
    grads = jax.tree.map(lambda x: draw(*x.shape), params)
    updates, state = tx.update(as_jax(grads), state, as_jax(params))
    wanted, adam_state = adam.update(as_jax(grads), adam_state, as_jax(params))
    for name in moment:
      g, w = grads["block_0"][name]["kernel"], params["block_0"][name]["kernel"]
      moment[name] = 0.95 * moment[name] + 0.05 * g
      nesterov = 0.95 * moment[name] / (1 - 0.95**(step + 1)) + 0.05 * g / (1 - 0.95**step)
      # three matrices, one after another
      parts = np.moveaxis(nesterov, 1, 0) if name == "qkv" else nesterov[None]
      direction = np.stack([0.2 * max(part.shape)**0.5 * newton_schulz(part) for part in parts])
      direction = np.moveaxis(direction, 0, 1) if name == "qkv" else direction[0]
      np.testing.assert_allclose(updates["block_0"][name]["kernel"], -0.02 * (direction + 0.1 * w), rtol=2e-3,
                                 atol=2e-5)
    np.testing.assert_allclose(updates["head"]["kernel"], wanted["head"]["kernel"], rtol=1e-6)
    np.testing.assert_allclose(updates["block_0"]["qkv"]["bias"], wanted["block_0"]["qkv"]["bias"], rtol=1e-6)


@pytest.mark.parametrize("muon,message", [
    (dict(pattern="nothing", learning_rate=0.1), "optim.muon.pattern = 'nothing' matches no matrix"),
    (dict(pattern="w", learning_rate=0.1, weight_decay=-1.0),
     "optim.muon.weight_decay must be >= 0; got -1.0"),
    (dict(pattern="w"), "Missing config key optim.muon.learning_rate"),
    (dict(pattern="w", learning_rate=0.1, beta=0.9), "Unknown config key optim.muon.beta")])
def test_bad_settings_of_muon_are_named(muon, message):
  with pytest.raises(ValueError, match=message):
    optim = parse(Optim, "optim", {**SETTINGS, "muon": muon})
    optimizer.make_optimizer(optim, 110).init({"w": jnp.zeros((2, 2)), "v": jnp.zeros(2)})
