"""The objective over directions at fixed |p|, on a plane that touches the sphere at one momentum.

Coordinates are those of the azimuthal equidistant projection: the distance from the middle is the angle, in radians.
"""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.inference.objective import Objective


def tangent_plane(centre_mev: np.ndarray) -> np.ndarray:
  """Two unit vectors [2 3] across a momentum [3]; the first lies in the xy plane unless the momentum is along z."""
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
  """Momenta [n 3] of the length of `centre_mev` [3] at coordinates [n 2] in radians; inverse of `to_plane`."""
  angle = np.linalg.norm(offset, axis=-1, keepdims=True)
  magnitude = np.linalg.norm(centre_mev)
  across = (offset / np.maximum(angle, 1e-12)) @ tangent_plane(centre_mev)
  return magnitude * (np.cos(angle) * np.asarray(centre_mev, float) / magnitude + np.sin(angle) * across)


def make_surface(objective: Objective) -> Callable:
  """Builds surface(image [v n n], momentum_mev [r c 3], noise [v k h w c]) -> objective [r c], px; rows one by one."""
  def surface(image: Float[Array, "v n n"], momentum_mev: Float[Array, "r g 3"], noise) -> Float[Array, "r g"]:
    targets = objective.prepare(image[None])
    repeated = jax.tree.map(lambda x: jnp.repeat(x, momentum_mev.shape[1], axis=0), targets)
    return jax.lax.map(lambda row: objective.evaluate(row, repeated, noise), momentum_mev)
  return surface
