"""Several straight tracks from one vertex: screening by hand, gradients, two crossing protons found, and bad input."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.inference import chart, counting, tracks
from lartpc_jax.inference.gradients import make_value_and_grad
from lartpc_jax.inference.objective import generate_views, make_objective
from lartpc_jax.transport import emd
from tests import toy_generator as toy

VIEWS = ("xy", "xz")
SMALL = tracks.TracksSettings(num_candidates=300, beam=32, num_screened=8, num_starts=1, first_steps=8, second_steps=10,
                              second_draws=1, learning_rate=0.1, second_learning_rate=0.04, num_averaged=4, report_draws=2)


def mirrored(noise, momentum):
  """Two images a draw, as the trained generator has it."""
  images = toy.make_generate(0.02)(noise, momentum)
  return jnp.stack([images, images], axis=1)


def build(num_tracks, settings=SMALL):
  return tracks.make_tracks_fit(mirrored, toy.make_generate(0.02), num_tracks=num_tracks, latent_shape=toy.LATENT_SHAPE,
                                num_pixels=64, kinetic_range_mev=toy.KINETIC_RANGE_MEV, views=VIEWS, settings=settings)


@pytest.mark.parametrize("num_tracks", [1, 2, 3])
def test_beam_search_finds_the_planted_set(num_tracks):
  """The sum of some candidates is at distance zero of them; no search over all sets finds a nearer one."""
  rng = np.random.default_rng(num_tracks)
  candidates = jnp.asarray(rng.uniform(size=(20, 12)), jnp.float32)
  planted = np.sort(rng.permutation(20)[:num_tracks])
  found = tracks.screen_sets(candidates[planted].sum(0), candidates, num_tracks, beam=20, keep=4)
  assert found.shape == (4, num_tracks)
  np.testing.assert_array_equal(np.sort(found[0]), planted)


def test_pairs_are_ranked_as_by_brute_force():
  rng = np.random.default_rng(0)
  candidates, target = rng.uniform(size=(15, 6)).astype(np.float32), rng.uniform(0, 2, size=6).astype(np.float32)
  found = tracks.screen_sets(jnp.asarray(target), jnp.asarray(candidates), 2, beam=15, keep=1)[0]
  cost = {(i, j): np.sum((target - candidates[i] - candidates[j])**2) for i in range(15) for j in range(i + 1, 15)}
  assert tuple(int(x) for x in found) == min(cost, key=cost.get)


def test_repeated_sets():
  np.testing.assert_array_equal(tracks.is_repeated(jnp.asarray([[1, 2], [3, 4], [2, 1], [4, 5], [3, 4]])),
                                [False, False, True, False, True])


@pytest.mark.slow
def test_gradient_of_a_sum_is_that_of_reverse_mode():
  """Forward through the generator and backward through the distance, against jax.grad of the whole."""
  views, bounds = ("xy",), toy.KINETIC_RANGE_MEV
  objective = make_objective(mirrored, emd.make_emd(**emd.DESCENT), views=views, num_pixels=64, charge_weight_px=5.0,
                             charge_smoothing=0.05)
  truth, start = (jnp.asarray(toy.random_momenta(4, seed=s)) for s in (3, 4))
  noise = 0.5 * jax.random.normal(jax.random.key(0), (2, 1, 1, *toy.LATENT_SHAPE))
  draw = lambda hypothesis, noise: generate_views(mirrored, noise, chart.to_momentum(hypothesis, bounds), views)
  targets = jax.jit(objective.prepare)(tracks.sum_tracks(toy.straight_images(truth, views)[:, :, None], 2)[:, :, 0])
  hypothesis = chart.from_momentum(start, bounds)
  tangents = chart.tangent_basis(hypothesis)
  value, gradient = jax.jit(tracks.make_sum_value_and_grad(draw, objective.compare, 2))(hypothesis, tangents, targets, noise)
  whole = lambda x, *args: jnp.repeat(objective.compare(tracks.sum_tracks(draw(x, args[1]), 2), args[0]), 2) / 2
  reverse = jax.jit(make_value_and_grad(whole, mode="reverse"))
  value_whole, gradient_whole = reverse(hypothesis, tangents, targets, noise)
  assert value.shape == (4,) and value[0] == value[1] and value[2] == value[3] != value[0]
  np.testing.assert_allclose(value / 2, value_whole, rtol=1e-5)
  np.testing.assert_allclose(gradient, gradient_whole, rtol=2e-3, atol=2e-3)


@pytest.mark.slow
def test_two_crossing_tracks_are_found_and_counted():
  """Both momenta of a pair, in whatever order, and the gain of the second track above that of any single one."""
  pair = jnp.asarray([[300.0, 150.0, 60.0], [-120.0, 330.0, -90.0]])
  single = jnp.asarray([[300.0, 150.0, 60.0], [-200.0, 100.0, 280.0]])
  images = jnp.concatenate([toy.straight_images(pair, VIEWS).sum(0, keepdims=True), toy.straight_images(single, VIEWS)])
  one, two = build(1), build(2)
  candidates = jax.jit(two.draw_candidates)(jax.random.key(0))
  screened = [jax.jit(fit.screen)(images, candidates) for fit in (one, two)]
  gain = counting.gains(np.stack([s.objective[:, 0] for s in screened], axis=1))[:, 0]
  assert gain[0] > 5.0 and np.all(gain[1:] < 0.0), gain  # the charge of a pair is beyond every single track
  found = jax.jit(two.refine)(images[:1], screened[1].momentum_mev[:1], jax.random.key(1))
  start, end = (counting.match_tracks(np.asarray(x), np.asarray(pair))
                for x in (screened[1].momentum_mev[0, 0], found.momentum_mev[0]))
  assert end.max() < 25.0 and end.mean() < start.mean(), (start, end)
  assert found.emd.shape == (1, 2) and np.all(found.emd < 1.0)
  steps = SMALL.second_steps
  assert found.trajectory.shape == (steps, 1, 2, 3) and found.values.shape == (steps, 1)
  assert found.images.shape == (1, 2, 64, 64)


@pytest.mark.parametrize("num_tracks", [0, 5])
def test_a_bad_number_of_tracks_is_named(num_tracks):
  with pytest.raises(ValueError, match=f"number of tracks must be 1 to 4; got {num_tracks}"):
    build(num_tracks)
