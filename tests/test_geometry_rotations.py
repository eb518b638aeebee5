"""Rotations: proper, uniform, and where they take a direction."""
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from lartpc_jax.geometry import rotations


def unit(vectors):
  return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_rotations_are_proper_and_uniform():
  n = 4000
  r = np.asarray(rotations.random_rotations(jax.random.key(0), n), np.float64)
  np.testing.assert_allclose(r @ r.transpose(0, 2, 1), np.broadcast_to(np.eye(3), r.shape), atol=2e-6)
  np.testing.assert_allclose(np.linalg.det(r), 1.0, atol=2e-6)
  # under the Haar measure: E R = 0, E R_ij^2 = 1/3 (entries are uniform on [-1, 1]), E R_ij R_kl = 0
  # otherwise
  np.testing.assert_allclose(r.mean(0), 0.0, atol=4 / (3 * n) ** 0.5)
  second = np.einsum("nij,nkl->ijkl", r, r).reshape(9, 9) / n
  np.testing.assert_allclose(second, np.eye(9) / 3, atol=4 * (4 / 45 / n) ** 0.5 * 1.3)
  for entry in r.reshape(n, 9).T:
    assert stats.kstest(entry, stats.uniform(-1, 2).cdf).pvalue > 1e-4
  angle = np.arccos(np.clip((np.trace(r, axis1=1, axis2=2) - 1) / 2, -1, 1))  # density (1 - cos a) / pi
  assert stats.kstest(angle, lambda a: (a - np.sin(a)) / np.pi).pvalue > 1e-4


def test_momenta_and_positions_turn_together():
  turns = rotations.random_rotations(jax.random.key(1), 4)
  vectors = jax.random.normal(jax.random.key(2), (4, 5, 3))
  turned = rotations.rotate(vectors, turns)
  expected = [[r @ v for v in vs] for r, vs in zip(np.asarray(turns), np.asarray(vectors))]
  np.testing.assert_allclose(turned, expected, atol=1e-6)
  np.testing.assert_allclose(rotations.rotate(vectors[:, 2], turns), turned[:, 2], atol=1e-6)
  np.testing.assert_allclose(jnp.linalg.norm(turned, axis=-1), jnp.linalg.norm(vectors, axis=-1), rtol=1e-5)


def test_rotations_take_one_direction_to_the_other():
  rng = np.random.default_rng(0)
  start, end = (unit(rng.normal(size=(50, 3))) for _ in range(2))
  end[0], end[1] = start[0], -start[1]
  turn = rotations.rotations_between(start, end)
  np.testing.assert_allclose(np.einsum("bij,bj->bi", turn, start), end, atol=1e-9)
  np.testing.assert_allclose(turn @ np.swapaxes(turn, 1, 2), np.broadcast_to(np.eye(3), turn.shape),
                             atol=1e-9)
  np.testing.assert_allclose(np.linalg.det(turn), 1.0, atol=1e-9)
  axis = np.cross(start[2:], end[2:])  # the shortest way leaves the axis where it is
  np.testing.assert_allclose(np.einsum("bij,bj->bi", turn[2:], axis), axis, atol=1e-9)


def test_a_roll_turns_about_the_end():
  """What lies across goes on by the angle, right-handed: (c, s) in the frame of the shortest way and of end x
  that."""
  rng = np.random.default_rng(1)
  start, end, roll = unit(rng.normal(size=(20, 3))), np.array([0.0, 0.6, 0.8]), rng.uniform(-3.0, 3.0, 20)
  plain, rolled = rotations.rotations_between(start, end), rotations.rotations_between(start, end, roll)
  np.testing.assert_allclose(np.einsum("bij,bj->bi", rolled, start), np.tile(end, (20, 1)), atol=1e-12)
  across = unit(np.cross(start, rng.normal(size=(20, 3))))
  before, after = (np.einsum("bij,bj->bi", turn, across) for turn in (plain, rolled))
  expected = np.cos(roll)[:, None] * before + np.sin(roll)[:, None] * np.cross(end, before)
  np.testing.assert_allclose(after, expected, atol=1e-12)
