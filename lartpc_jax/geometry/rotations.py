"""Rotations of space: random ones inside jitted code, and those that take one direction to another, on the
host.
"""
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.spatial.transform import Rotation


def random_rotations(key: Array, num: int) -> Float[Array, "b 3 3"]:
  """Rotation matrices uniform on SO(3), from normalised Gaussian quaternions (Shoemake 1992, Graphics Gems
  III).
  """
  q = jax.random.normal(key, (num, 4))
  w, x, y, z = jnp.moveaxis(q / jnp.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
  rows = [[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
          [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
          [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]]
  return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def rotate(vectors: Float[Array, "b *v 3"], rotations: Float[Array, "b 3 3"]) -> Float[Array, "b *v 3"]:
  """Applies one rotation an event to its vectors (momentum [b 3] or deposit positions [b v 3])."""
  return jnp.einsum("bij,b...j->b...i", rotations, vectors)


def rotations_between(start: np.ndarray, end: np.ndarray, roll: np.ndarray | None = None) -> np.ndarray:
  """Rotation matrices [n 3 3] float64 that take unit vectors [n 3] to others by the shortest way, then turn
  about those.

  Args:
    start: unit vectors [n 3].
    end: unit vectors [n 3], or one [3] for all.
    roll: angles [n] in radians, right-handed about `end`; None for no turn.
  """
  start, end = np.broadcast_arrays(np.asarray(start, float), np.asarray(end, float))
  axis, cosine = np.cross(start, end), np.sum(start * end, axis=1)
  sine = np.linalg.norm(axis, axis=1)
  # opposite ones: half a turn about any axis across
  across = np.cross(start, np.where(np.abs(start[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]))
  axis = np.where((sine > 1e-9)[:, None], axis, across)
  axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
  turn = Rotation.from_rotvec(axis * np.arctan2(sine, cosine)[:, None])
  if roll is not None:
    turn = Rotation.from_rotvec(end * np.asarray(roll, float)[:, None]) * turn
  return turn.as_matrix()
