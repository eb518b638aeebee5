"""One step against its equations: gradient descent on a quadratic, the moving average, the noise key."""
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lartpc_jax.train.state import init_train_state
from lartpc_jax.train.step import ema_decay_at, make_train_step

pytestmark = pytest.mark.third_party  # optax promotes in its own arithmetic


def quadratic(params, batch, key):
  return 0.5 * jnp.mean((params["w"] - batch)**2), {"w_mean": jnp.mean(params["w"])}


def test_gradient_descent_on_a_quadratic():
  """w_n - target = (1 - rate / 4)^n (w_0 - target): the mean over 4 numbers divides the rate by 4."""
  tx, target = optax.sgd(0.8), jnp.array([1.0, 2.0, 3.0, 4.0])
  state = init_train_state({"w": jnp.zeros(4)}, tx)
  train_step = jax.jit(make_train_step(quadratic, tx, ema_decay=0.5))
  ema = np.zeros(4)
  for n in range(1, 6):
    state, metrics = train_step(state, target, jax.random.key(0))
    w = target * (1 - 0.8**n)
    decay = min(0.5, n / (9 + n))
    ema = decay * ema + (1 - decay) * np.asarray(w)
    np.testing.assert_allclose(state.params["w"], w, rtol=1e-5)
    np.testing.assert_allclose(state.ema_params["w"], ema, rtol=1e-5)
    np.testing.assert_allclose(metrics["grad_norm"], np.linalg.norm(target) / 4 * 0.8**(n - 1), rtol=1e-5)
  assert int(state.step) == 5 and metrics.keys() == {"loss", "w_mean", "grad_norm"}


def test_average_warms_up():
  decays = [float(ema_decay_at(jnp.int32(n), 0.999)) for n in (0, 8, 90, 10**6)]
  np.testing.assert_allclose(decays, [0.1, 0.5, 0.91, 0.999], rtol=1e-6)


def test_a_power_average_has_the_moments_of_a_power_of_time():
  """Weights of steps t of n grow as (t / n)^power: mean age and spread as of that density (Karras et al.
  2024, eq. 123)."""
  power, num = 6.94, 4000
  weights = np.zeros(num)
  for n in range(num):
    decay = float(ema_decay_at(jnp.int32(n), 0.0, power))
    weights *= decay
    weights[n] = 1.0 - decay
  time = (np.arange(num) + 1.0) / num
  mean = (power + 1.0) / (power + 2.0)
  spread = (power + 1.0)**0.5 / (power + 2.0) / (power + 3.0)**0.5
  np.testing.assert_allclose(weights.sum(), 1.0, atol=1e-4)
  np.testing.assert_allclose(weights @ time, mean, rtol=2e-3)
  np.testing.assert_allclose((weights @ (time - weights @ time)**2)**0.5, spread, rtol=1e-2)
  np.testing.assert_allclose(spread, 0.1, rtol=1e-2)  # their name for 6.94


def test_a_negative_power_is_named():
  with pytest.raises(ValueError, match="ema_power must be at least 0; got -1"):
    make_train_step(quadratic, optax.sgd(0.1), ema_decay=0.5, ema_power=-1.0)


def test_noise_depends_on_the_step_and_the_root_key_only():
  noisy = lambda params, batch, key: (params["w"].sum() * 0.0 + jax.random.normal(key), {})
  tx = optax.sgd(0.0)
  train_step = jax.jit(make_train_step(noisy, tx, ema_decay=0.0))
  state, losses = init_train_state({"w": jnp.zeros(1)}, tx), []
  for _ in range(3):
    state, metrics = train_step(state, jnp.zeros(1), jax.random.key(0))
    losses.append(float(metrics["loss"]))
  resumed = init_train_state({"w": jnp.zeros(1)}, tx)._replace(step=jnp.int32(2))
  assert len(set(losses)) == 3
  assert float(train_step(resumed, jnp.zeros(1), jax.random.key(0))[1]["loss"]) == losses[2]
  assert float(train_step(resumed, jnp.zeros(1), jax.random.key(1))[1]["loss"]) != losses[2]


def test_state_may_be_donated():
  tx = optax.adam(1e-2)
  state = init_train_state({"w": jnp.zeros(4)}, tx)
  train_step = jax.jit(make_train_step(quadratic, tx, ema_decay=0.9), donate_argnums=0)
  for _ in range(2):
    state, _ = train_step(state, jnp.ones(4), jax.random.key(0))
  assert np.isfinite(state.params["w"]).all()


@pytest.mark.parametrize("ema_decay", [-0.1, 1.0])
def test_bad_decay_is_named(ema_decay):
  with pytest.raises(ValueError, match="ema_decay"):
    make_train_step(quadratic, optax.sgd(0.1), ema_decay=ema_decay)
