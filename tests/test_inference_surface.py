"""Grids of momenta, and the length over which a gradient foretells the value: closed form on a parabola."""
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.inference import surface
from lartpc_jax.inference.objective import Objective

TRUTH = np.array([-356.0, -245.0, 40.0])


def parabola():
  """|p - truth|^2 in place of a distance; the targets are batch-sized dummies."""
  truth = jnp.asarray(TRUTH[None], jnp.float32)
  value = lambda p, targets, noise: jnp.sum((p - truth)**2, axis=-1) + 0.0 * targets
  return Objective(prepare=lambda images: jnp.zeros(len(images)), compare=None, evaluate=value)


def test_grid_of_components():
  grid = surface.component_grid(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0]), axes=(0, 2),
                                others_mev=np.array([5.0, 6.0]))
  assert grid.shape == (2, 3, 2, 3)
  np.testing.assert_array_equal(grid[1, 2, 0], [3.0, 5.0, 20.0])
  np.testing.assert_array_equal(grid[0, 0, 1], [1.0, 6.0, 10.0])


@pytest.mark.parametrize("axes", [(0, 0), (0, 3)])
def test_bad_axes_are_named(axes):
  with pytest.raises(ValueError, match="two different components of 0, 1, 2; got"):
    surface.component_grid(np.zeros(1), np.zeros(1), axes=axes, others_mev=np.zeros(1))


def test_trusted_step_of_a_parabola():
  """A step s down |d|^2 falls by 2 d s - s^2 where the gradient says 2 d s: trusted to a quarter up to s = d
  / 2."""
  distance = np.array([[8.0, 40.0, 100.0]])
  momentum = TRUTH + np.stack([distance, 0 * distance, 0 * distance], axis=-1)
  steps = np.array([1.0, 3.9, 4.1, 19.0, 21.0, 49.0, 51.0], np.float32)
  value, gradient, walked = surface.make_first_order(parabola())(jnp.zeros((1, 4, 4)), jnp.asarray(
      momentum, jnp.float32), jnp.zeros((1, 1, 1, 1, 1)), jnp.asarray(steps))
  np.testing.assert_allclose(value, distance**2, rtol=1e-4)
  np.testing.assert_allclose(gradient[..., 0], 2 * distance, rtol=1e-4)
  trusted = surface.trusted_step(np.asarray(value), np.asarray(gradient), np.asarray(walked), steps)
  np.testing.assert_allclose(trusted, [[3.9, 19.0, 49.0]])


def test_nothing_is_trusted_where_the_gradient_lies():
  gradient, value = np.full((1, 1, 3), 1.0), np.zeros((1, 1))
  assert surface.trusted_step(value, gradient, np.full((1, 1, 2), 5.0), np.array([1.0, 2.0]))[0, 0] == 0.0
