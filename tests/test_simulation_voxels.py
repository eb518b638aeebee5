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
  return Track(jnp.asarray(points, jnp.float32), jnp.asarray(rng.exponential(size=num), jnp.float32))


def voxelize(track, voxel_mm):
  code, energy = (np.asarray(x)[None] for x in voxels.cut_segments(track, voxel_mm))
  return voxels.merge_pieces(code, energy)


@pytest.mark.parametrize("voxel_mm", [1.0, 3.0])
def test_cut_equals_fine_sampling(voxel_mm):
  track = random_track(0, longest=voxel_mm)
  count, voxel, edep = voxelize(track, voxel_mm)
  assert count[0] == len(edep) == len(voxel) and voxel.dtype == np.int16 and edep.dtype == np.float32
  fine = {}
  points, share = np.asarray(track.position_mm, float), 4000
  for a, b, energy in zip(points[:-1], points[1:], np.asarray(track.edep_mev), strict=True):
    for index in np.floor((a + (np.arange(share)[:, None] + 0.5) / share * (b - a)) / voxel_mm).astype(int):
      fine[tuple(index)] = fine.get(tuple(index), 0.0) + energy / share
  ours = {tuple(int(i) for i in v): e for v, e in zip(voxel, edep, strict=True)}
  for key in {*fine, *ours}:
    assert abs(fine.get(key, 0.0) - ours.get(key, 0.0)) < 2e-3, key


def test_energy_is_kept_and_no_voxel_comes_twice():
  tracks = [random_track(seed) for seed in range(30)]
  batch = jax.tree.map(lambda *x: jnp.stack(x), *tracks)
  code, energy = (np.asarray(x) for x in jax.jit(jax.vmap(lambda t: voxels.cut_segments(t, 1.0)))(batch))
  count, voxel, edep = voxels.merge_pieces(code, energy)
  offsets = np.concatenate([[0], np.cumsum(count)])
  for i, track in enumerate(tracks):
    mine = slice(offsets[i], offsets[i + 1])
    assert len({tuple(v) for v in voxel[mine]}) == count[i]
    np.testing.assert_allclose(edep[mine].sum(), track.edep_mev.sum(), rtol=1e-5)


def test_vertex_is_the_corner_of_voxel_zero():
  track = Track(jnp.array([[0.0, 0.0, 0.0], [0.5, 0.5, -0.5]]), jnp.array([2.0]))
  _, voxel, edep = voxelize(track, 1.0)
  np.testing.assert_array_equal(voxel, [[0, 0, -1]])
  np.testing.assert_allclose(edep, [2.0])


def test_merge_equals_a_loop():
  rng = np.random.default_rng(1)
  code = rng.integers(0, 12, (5, 40)).astype(np.uint32)
  energy = rng.exponential(size=code.shape).astype(np.float32)
  code[2], energy[2] = voxels.NOTHING, 0.0  # an event without energy
  code[3, ::2], energy[3, ::2] = voxels.NOTHING, 0.0
  count, voxel, edep = voxels.merge_pieces(code, energy)
  start = 0
  for i in range(5):
    sums = {}
    for c, e in zip(code[i], energy[i], strict=True):
      if c != voxels.NOTHING:
        sums[c] = sums.get(c, 0.0) + float(e)
    assert count[i] == len(sums)
    np.testing.assert_allclose(edep[start:start + count[i]], [sums[c] for c in sorted(sums)], rtol=1e-6)
    np.testing.assert_array_equal(voxel[start:start + count[i]], voxels.decode(np.array(sorted(sums), np.uint32)))
    start += count[i]
  assert start == len(edep)


@pytest.mark.parametrize("index", [(0, 0, 0), (-512, 511, 7), (-1, -1, -1)])
def test_codes_round_trip(index):
  code = 0
  for i in index:
    code = (code << voxels.AXIS_BITS) | (i + 512)
  np.testing.assert_array_equal(voxels.decode(np.array([code], np.uint32)), [index])
