"""Sets of tracks by beam search: planted ones, brute force, and sets that come twice."""
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.inference import track_sets


@pytest.mark.parametrize("num_tracks", [1, 2, 3])
def test_beam_search_finds_the_planted_set(num_tracks):
  """The sum of some candidates is at distance zero of them; no search over all sets finds a nearer one."""
  rng = np.random.default_rng(num_tracks)
  candidates = jnp.asarray(rng.uniform(size=(20, 12)), jnp.float32)
  planted = np.sort(rng.permutation(20)[:num_tracks])
  found = track_sets.screen_sets(candidates[planted].sum(0), candidates, num_tracks, beam=20, keep=4)
  assert found.shape == (4, num_tracks)
  np.testing.assert_array_equal(np.sort(found[0]), planted)


def test_pairs_are_ranked_as_by_brute_force():
  rng = np.random.default_rng(0)
  candidates, target = rng.uniform(size=(15, 6)).astype(np.float32), rng.uniform(0, 2,
                                                                                 size=6).astype(np.float32)
  found = track_sets.screen_sets(jnp.asarray(target), jnp.asarray(candidates), 2, beam=15, keep=1)[0]
  cost = {(i, j): np.sum((target - candidates[i] - candidates[j])**2) for i in range(15)
          for j in range(i + 1, 15)}
  assert tuple(int(x) for x in found) == min(cost, key=cost.get)


def test_repeated_sets():
  np.testing.assert_array_equal(track_sets.is_repeated(jnp.asarray([[1, 2], [3, 4], [2, 1], [4, 5], [3, 4]])),
                                [False, False, True, False, True])
