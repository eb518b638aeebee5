"""Runge-Kutta solvers against exponentials and scipy."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lartpc_jax.diffusion import ode as lib


@pytest.mark.parametrize("method", sorted(lib.METHODS))
def test_order_on_an_exponential(x64, method):
  """dy/dt = -2 t y has the solution exp(-t^2)."""
  def error(n):
    y, dt = jnp.float64(1.0), 1.0 / n
    for i in range(n):
      y = lib.runge_kutta_step(lambda y, t: -2.0 * t * y, y, jnp.float64(i * dt), jnp.float64(dt), method)
    return abs(float(y) - np.exp(-1.0))
  assert abs(np.log2(error(8) / error(16)) - lib.ORDERS[method]) < 0.3


def test_adaptive_pendulum_equals_scipy_forwards_and_backwards(x64):
  velocity = lambda y, t: {"angle": y["speed"], "speed": -jnp.sin(y["angle"])}
  start = {"angle": jnp.array([1.0, 2.5]), "speed": jnp.zeros(2)}
  solve = jax.jit(
      lambda y, a, b: lib.solve_adaptive(velocity, y, a, b, jnp.float64(0.1), rtol=1e-9, atol=1e-9))
  end, count = solve(start, jnp.float64(0.0), jnp.float64(7.0))
  for i, angle in enumerate([1.0, 2.5]):
    exact = solve_ivp(lambda t, y: [y[1], -np.sin(y[0])], (0, 7), [angle, 0.0], rtol=1e-11,
                      atol=1e-11).y[:, -1]
    np.testing.assert_allclose([end["angle"][i], end["speed"][i]], exact, atol=1e-6)
  assert (int(count) - 1) % 6 == 0
  back, _ = solve(end, jnp.float64(7.0), jnp.float64(0.0))
  np.testing.assert_allclose(back["angle"], start["angle"], atol=1e-6)


def test_too_few_steps_give_nan(x64):
  y, _ = lib.solve_adaptive(lambda y, t: -y, jnp.ones(1), jnp.float64(0.0), jnp.float64(100.0),
                            jnp.float64(1e-6), rtol=1e-9, atol=1e-9, max_steps=2)
  assert np.isnan(y).all()
