"""Schedules against closed forms; AdamW against its equations in numpy."""
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.train import optimizer

SETTINGS = dict(learning_rate=2e-3, warmup_steps=10, num_steps=110)


def rates(steps, **changes):
  schedule = optimizer.make_schedule(**{**SETTINGS, "schedule": "cosine", **changes})
  return np.array([float(schedule(jnp.int32(step))) for step in steps])


def test_cosine():
  steps = np.arange(10, 111, 10)
  np.testing.assert_allclose(rates(steps), 1e-3 * (1 + np.cos(np.pi * (steps - 10) / 100)), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("schedule", optimizer.SCHEDULES)
def test_warmup_is_linear_from_zero(schedule):
  np.testing.assert_allclose(rates(range(11), schedule=schedule), 2e-4 * np.arange(11), rtol=1e-5, atol=1e-12)
  np.testing.assert_allclose(rates([0], schedule=schedule, warmup_steps=0), 2e-3, rtol=1e-6)


def test_constant():
  np.testing.assert_allclose(rates([10, 50, 110, 1000], schedule="constant"), 2e-3, rtol=1e-6)


def test_warmup_stable_decay():
  np.testing.assert_allclose(rates([10, 60, 87, 88, 99, 110], schedule="wsd", decay_fraction=0.2),
                             [2e-3, 2e-3, 2e-3, 2e-3, 1e-3, 0.0], rtol=1e-5, atol=1e-9)
  np.testing.assert_allclose(rates([10, 60, 110], schedule="wsd", decay_fraction=1.0), [2e-3, 1e-3, 0.0], atol=1e-9)


def test_two_steps_of_adamw_by_hand():
  """Loshchilov and Hutter 2019, algorithm 2, with the gradient clipped to norm 1; biases do not decay."""
  tx = optimizer.make_optimizer(learning_rate=0.1, warmup_steps=0, num_steps=10, schedule="constant", b1=0.8, b2=0.9,
                                weight_decay=0.05, grad_clip_norm=1.0)
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
  settings = dict(learning_rate=0.1, warmup_steps=0, num_steps=10)
  params, grads = {"a": jnp.ones((2, 2))}, {"a": jnp.full((2, 2), 100.0)}
  second_moments = []
  for norm in (None, 1.0):
    tx = optimizer.make_optimizer(**settings, grad_clip_norm=norm)
    _, state = tx.update(grads, tx.init(params), params)
    second_moments.append(max(float(np.max(leaf)) for leaf in (state if norm is None else state[1])[0].nu.values()))
  np.testing.assert_allclose(second_moments, [1e-3 * 100.0**2, 1e-3 * 0.5**2], rtol=1e-5)


@pytest.mark.parametrize("key,value", [
    ("schedule", "linear"), ("learning_rate", 0.0), ("warmup_steps", -1), ("warmup_steps", 200), ("num_steps", 0),
    ("decay_fraction", 0.0), ("b1", 1.0), ("b2", -0.1), ("weight_decay", -1.0), ("grad_clip_norm", 0.0)])
def test_bad_values_are_named(key, value):
  with pytest.raises(ValueError, match=key) as error:
    optimizer.make_optimizer(**{**SETTINGS, key: value})
  assert str(value) in str(error.value)
