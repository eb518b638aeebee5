"""The objective on grids of momenta, and how far its gradient can be trusted.

Over directions at fixed |p| the grid lies on a plane that touches the sphere at one momentum; its coordinates
are those of the azimuthal equidistant projection: the distance from the middle is the angle, in radians.
"""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.inference.gradients import make_value_and_grad
from lartpc_jax.inference.objective import Objective


def tangent_plane(centre_mev: np.ndarray) -> np.ndarray:
  """Two unit vectors [2 3] across a momentum [3]; the first lies in the xy plane unless the momentum is along
  z."""
  direction = np.asarray(centre_mev, float) / np.linalg.norm(centre_mev)
  pole = np.array([0.0, 0.0, 1.0]) if abs(direction[2]) < 0.999 else np.array([0.0, 1.0, 0.0])
  first = np.cross(pole, direction)
  first /= np.linalg.norm(first)
  return np.stack([first, np.cross(direction, first)])


def to_plane(momentum_mev: np.ndarray, centre_mev: np.ndarray) -> np.ndarray:
  """Coordinates [n 2] in radians of the directions of momenta [n 3] around `centre_mev` [3]."""
  unit = lambda p: p / np.maximum(np.linalg.norm(p, axis=-1, keepdims=True), 1e-12)
  direction, centre = unit(np.asarray(momentum_mev, float)), unit(np.asarray(centre_mev, float))
  across = direction @ tangent_plane(centre).T
  sine = np.linalg.norm(across, axis=-1, keepdims=True)
  return across / np.maximum(sine, 1e-12) * np.arctan2(sine, (direction @ centre)[:, None])


def from_plane(offset: np.ndarray, centre_mev: np.ndarray) -> np.ndarray:
  """Momenta [n 3] of the length of `centre_mev` [3] at coordinates [n 2] in radians; inverse of
  `to_plane`."""
  angle = np.linalg.norm(offset, axis=-1, keepdims=True)
  magnitude = np.linalg.norm(centre_mev)
  across = (offset / np.maximum(angle, 1e-12)) @ tangent_plane(centre_mev)
  return magnitude * (np.cos(angle) * np.asarray(centre_mev, float) / magnitude + np.sin(angle) * across)


def make_surface(objective: Objective) -> Callable:
  """Builds surface(image [v n n], momentum_mev [r c 3], noise [v k h w c]) -> objective [r c], px; rows one
  by one."""
  def surface(image: Float[Array, "v n n"], momentum_mev: Float[Array, "r g 3"],
              noise) -> Float[Array, "r g"]:
    targets = objective.prepare(image[None])
    repeated = jax.tree.map(lambda x: jnp.repeat(x, momentum_mev.shape[1], axis=0), targets)
    return jax.lax.map(lambda row: objective.evaluate(row, repeated, noise), momentum_mev)
  return surface


def component_grid(first: np.ndarray, second: np.ndarray, *, axes: tuple[int, int],
                   others_mev: np.ndarray) -> np.ndarray:
  """Momenta [r c k 3] in MeV/c with the components `axes` on a grid, and the third at each of `others_mev`
  [k].

  Args:
    first: [c], component axes[0].
    second: [r], component axes[1].
    axes: two of 0, 1, 2.
    others_mev: [k]; one value fixes the third component, several let it be profiled.
  Raises:
    ValueError: unless the axes are two different components.
  """
  if len(set(axes)) != 2 or not set(axes) <= {0, 1, 2}:
    raise ValueError(f"axes must be two different components of 0, 1, 2; got {axes}.")
  grid = np.zeros((len(second), len(first), len(others_mev), 3), np.float32)
  grid[..., axes[0]] = first[None, :, None]
  grid[..., axes[1]] = second[:, None, None]
  grid[..., ({0, 1, 2} - set(axes)).pop()] = others_mev
  return grid


def make_first_order(objective: Objective) -> Callable:
  """Builds first_order(image [v n n], momentum_mev [r c 3], noise, steps_mev [s]): the gradient, and walks
  down it.

  Returns value [r c] and gradient [r c 3] of the objective, and its value [r c s] after steps of those
  lengths (MeV/c) against the gradient; rows one by one.
  """
  value_of = make_surface(objective)

  def first_order(image: Float[Array, "v n n"], momentum_mev: Float[Array, "r g 3"], noise,
                  steps_mev: Float[Array, " s"]):
    targets = objective.prepare(image[None])
    repeated = jax.tree.map(lambda x: jnp.repeat(x, momentum_mev.shape[1], axis=0), targets)
    unit = jnp.broadcast_to(jnp.eye(3)[:, None], (3, momentum_mev.shape[1], 3))
    gradient_of = make_value_and_grad(objective.evaluate, mode="forward")
    value, gradient = jax.lax.map(lambda row: gradient_of(row, unit, repeated, noise), momentum_mev)
    length = jnp.linalg.norm(gradient, axis=-1, keepdims=True)
    down = -gradient / jnp.where(length > 0, length, 1.0)
    walk = lambda step: value_of(image, momentum_mev + step * down, noise)
    return value, gradient, jnp.moveaxis(jax.lax.map(walk, steps_mev), 0, -1)
  return first_order


def trusted_step(value: np.ndarray, gradient: np.ndarray, walked: np.ndarray, steps_mev: np.ndarray, *,
                 tolerance: float = 0.25) -> np.ndarray:
  """Longest step [r c] in MeV/c up to which the first-order Taylor expansion foretells the fall of the
  objective.

  A step s is trusted where the fall differs from s |gradient| by at most `tolerance` of it, for s and all
  shorter steps; 0 where not even the shortest is. `steps_mev` rise; the other arguments are what
  `make_first_order` returns.
  """
  expected = steps_mev * np.linalg.norm(gradient, axis=-1, keepdims=True)
  good = np.abs((value[..., None] - walked) - expected) <= tolerance * expected
  count = np.cumprod(good, axis=-1).sum(-1)
  return np.concatenate([[0.0], steps_mev])[count]
