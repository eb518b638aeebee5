"""Cutting segments at voxel faces against fine sampling; merging against a plain Python loop."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.simulation import voxels
from lartpc_jax.simulation.fast import Track


def random_track(seed, num=60, longest=1.0, scale=0.9):
  rng = np.random.default_rng(seed)
  moves = rng.normal(size=(num, 3))
  moves *= (scale * longest * rng.uniform(0.05, 1, num) / np.linalg.norm(moves, axis=1))[:, None]
  points = np.concatenate([np.zeros((1, 3)), np.cumsum(moves, axis=0)])
  deposited = np.concatenate([[0.0], np.cumsum(rng.exponential(size=num))])
  return Track(jnp.asarray(points, jnp.float32), jnp.asarray(deposited, jnp.float32))


def voxelize(track, voxel_mm):
  return sum_batch(jax.tree.map(lambda x: x[..., None], track), voxel_mm)


def sum_batch(tracks, voxel_mm):  # events last
  find = jax.jit(lambda *points: voxels.find_crossings(*points, voxel_mm))
  return voxels.sum_voxels(jax.device_get(find(*voxels.events_first(tracks))))


@pytest.mark.parametrize("voxel_mm", [1.0, 3.0])
def test_cut_equals_fine_sampling(voxel_mm):
  track = random_track(0, longest=voxel_mm)
  count, voxel, edep = voxelize(track, voxel_mm)
  assert count[0] == len(edep) == len(voxel) and voxel.dtype == np.int16 and edep.dtype == np.float32
  fine = {}
  points, share = np.asarray(track.position_mm, float), 4000
  for a, b, energy in zip(points[:-1], points[1:], np.diff(np.asarray(track.deposited_mev)), strict=True):
    for index in np.floor((a + (np.arange(share)[:, None] + 0.5) / share * (b - a)) / voxel_mm).astype(int):
      fine[tuple(index)] = fine.get(tuple(index), 0.0) + energy / share
  ours = {tuple(int(i) for i in v): e for v, e in zip(voxel, edep, strict=True)}
  for key in {*fine, *ours}:
    assert abs(fine.get(key, 0.0) - ours.get(key, 0.0)) < 2e-3, key


@pytest.mark.slow
def test_energy_is_kept_and_no_voxel_comes_twice():
  tracks = [random_track(seed) for seed in range(30)]
  count, voxel, edep = sum_batch(jax.tree.map(lambda *x: jnp.stack(x, axis=-1), *tracks), 1.0)
  offsets = np.concatenate([[0], np.cumsum(count)])
  assert edep.min() > 0
  for i, track in enumerate(tracks):
    mine = slice(offsets[i], offsets[i + 1])
    assert len({tuple(v) for v in voxel[mine]}) == count[i]
    np.testing.assert_allclose(edep[mine].sum(), track.deposited_mev[-1], rtol=1e-5)
    alone = voxelize(track, 1.0)
    np.testing.assert_array_equal(voxel[mine], alone[1])
    np.testing.assert_array_equal(edep[mine], alone[2])


def test_vertex_is_the_corner_of_voxel_zero():
  track = Track(jnp.array([[0.0, 0.0, 0.0], [0.5, 0.5, -0.5]]), jnp.array([0.0, 2.0]))
  _, voxel, edep = voxelize(track, 1.0)
  np.testing.assert_array_equal(voxel, [[0, 0, -1]])
  np.testing.assert_allclose(edep, [2.0])


def test_order_is_that_of_the_track_unless_it_comes_back():
  """There and back through one face: the first voxel has the energy of both visits."""
  straight = Track(jnp.array([[0.0, 0.0, 0.0], [0.3, 0.3, 0.9], [0.5, 0.5, 1.7]]), jnp.array([0.0, 1.0, 2.0]))
  np.testing.assert_array_equal(voxelize(straight, 1.0)[1], [[0, 0, 0], [0, 0, 1]])
  back = Track(jnp.array([[0.0, 0.0, 0.0], [0.3, 0.3, 0.9], [0.3, 0.3, 1.5], [0.3, 0.4, 0.7]]),
               jnp.array([0.0, 1.0, 2.0, 3.6]))
  count, voxel, edep = voxelize(back, 1.0)
  np.testing.assert_array_equal(voxel, [[0, 0, 0], [0, 0, 1]])
  np.testing.assert_allclose(edep, [1 + 0.1 / 0.6 + 1.6 * 0.3 / 0.8, 0.5 / 0.6 + 1.6 * 0.5 / 0.8], rtol=1e-5)


def test_events_without_energy_have_no_voxels():
  tracks = [random_track(0), random_track(1)._replace(deposited_mev=jnp.zeros(61)), random_track(2)]
  count, _, edep = sum_batch(jax.tree.map(lambda *x: jnp.stack(x, axis=-1), *tracks), 1.0)
  assert count[1] == 0 and count[0] > 0 and count.sum() == len(edep)


@pytest.mark.parametrize("index", [(0, 0, 0), (-512, 511, 7), (-1, -1, -1)])
def test_codes_round_trip(index):
  code = 0
  for i in index:
    code = (code << voxels.AXIS_BITS) | (i + 512)
  np.testing.assert_array_equal(voxels.decode(np.array([code], np.uint32)), [index])
