"""The whole inference on the analytic generator, from random starts; and what it is told to refuse."""
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.inference import chart, screening
from lartpc_jax.inference.errors import momentum_error
from lartpc_jax.inference.infer import Infer, Inferred, Settings, check_target_images, make_infer
from lartpc_jax.inference.objective import make_objective
from lartpc_jax.transport import emd
from tests import toy_generator as toy

VIEWS = ("xy", "xz")
NUM_EVENTS = 6
SMALL = Settings(num_candidates=200, num_screened=16, num_starts=2, first_steps=14, first_draws=2,
                 second_steps=16, second_draws=2,
                 learning_rate=0.1, second_learning_rate=0.03, num_averaged=4, vertex_power=1.0, vertex_radius_px=2.0,
                 charge_weight_px=20.0)


class Done(NamedTuple):
  """A batch of six protons and a last image that no proton makes."""
  infer: Infer
  run: object
  candidates: screening.Candidates
  truth: np.ndarray
  images: jax.Array
  found: Inferred


def two_blobs(num_views):
  """Image [1 v 64 64] of 70 MeV in two corners far from the vertex, and nothing between."""
  image = np.zeros((1, num_views, 64, 64), np.float32)
  image[..., 6:9, 6:9] = image[..., 55:58, 55:58] = 70.0 / 18
  return jnp.asarray(image)


def infer_all(views, scatter_rad, seed) -> Done:
  generate = toy.make_generate(scatter_rad)
  infer = make_infer(generate, generate, latent_shape=toy.LATENT_SHAPE, num_pixels=64, views=views, settings=SMALL,
                     kinetic_range_mev=toy.KINETIC_RANGE_MEV)
  truth = toy.random_momenta(NUM_EVENTS, seed)
  images = jnp.concatenate([toy.straight_images(truth, views), two_blobs(len(views))])
  candidates, run = infer.draw_candidates(jax.random.key(0)), jax.jit(infer.infer)
  return Done(infer, run, candidates, truth, images, run(images, candidates, jax.random.key(1)))


@pytest.fixture(scope="module")
def two_views():
  return infer_all(VIEWS, 0.03, seed=10)


@pytest.fixture(scope="module")
def one_view():
  return infer_all(("xy",), 0.0, seed=11)


def test_two_views_recover_the_momentum(two_views):
  """Random starts: all six within 12 MeV/c (2 degrees of a proton of 390 MeV/c), half of them within 4."""
  found, truth = two_views.found, two_views.truth
  error = momentum_error(np.asarray(found.momentum_mev[:-1]), truth, VIEWS)
  assert np.median(error) < 4.0 and error.max() < 12.0, error
  assert np.all(found.converged[:-1])
  assert np.all(found.emd_end[:-1] < 0.7)
  assert np.median(found.emd_end[:-1] / found.emd_start[:-1]) < 0.25


def test_what_is_reported(two_views):
  found, (b, h) = two_views.found, (NUM_EVENTS + 1, SMALL.num_starts)
  steps = SMALL.first_steps + SMALL.second_steps
  shapes = dict(momentum_mev=(b, 3), objective=(b,), emd_start=(b, 2), emd_end=(b, 2), converged=(b,), values=(steps, b),
                trajectory=(steps + 1, b, 3), images=(b, 2, 64, 64), start_momentum_mev=(b, h, 3),
                end_momentum_mev=(b, h, 3), vertex_mm=(b, 3))
  assert {name: getattr(found, name).shape for name in Inferred._fields} == shapes
  np.testing.assert_array_equal(found.trajectory[-1], found.momentum_mev)
  # the winner's path begins at one of its own event's starts
  distance = np.linalg.norm(found.trajectory[0][:, None] - found.start_momentum_mev, axis=-1).min(1)
  np.testing.assert_allclose(distance, 0.0, atol=0.05)
  np.testing.assert_allclose(found.images[:-1].sum((2, 3)), two_views.images[:-1].sum((2, 3)), rtol=0.05)


@pytest.mark.slow
def test_one_view_recovers_all_but_a_sign(one_view):
  """In the image to a few MeV/c; along the line of sight |p_z|, worse where p_z is small: sqrt(|p|^2 - p_xy^2)."""
  found, truth = np.asarray(one_view.found.momentum_mev[:-1]), one_view.truth
  in_plane = np.linalg.norm((found - truth)[:, :2], axis=1)
  assert np.median(in_plane) < 8.0 and in_plane.max() < 25.0, in_plane
  along = np.abs(np.abs(found[:, 2]) - np.abs(truth[:, 2]))
  assert np.median(along) < 15.0, along
  steep = np.abs(truth[:, 2]) > 0.5 * np.linalg.norm(truth, axis=1)
  assert steep.any() and along[steep].max() < 30.0, along
  assert np.all(one_view.found.converged[:-1])


@pytest.mark.slow
def test_reported_distance_is_the_exact_one(one_view):
  """Without scatter all draws are alike, so emd_end is POT's W1 between the target and the drawn image."""
  found = one_view.found
  exact = [emd.exact_emd(np.asarray(a[0]), np.asarray(b[0])) for a, b in zip(found.images, one_view.images)]
  np.testing.assert_allclose(found.emd_end[:, 0], exact, rtol=0.02, atol=0.05)  # a fit ends at 0.1 px: few pixels move


@pytest.mark.parametrize("views", ["two_views", pytest.param("one_view", marks=pytest.mark.slow)])
def test_no_proton_does_not_converge(views, request):
  """Two far blobs of a proton's charge: the distance stays far above the threshold, and nothing breaks."""
  done = request.getfixturevalue(views)
  assert not done.found.converged[-1]
  assert np.all(done.found.emd_end[-1] > 2 * SMALL.max_emd_px)
  assert np.all(np.isfinite(done.found.momentum_mev))


@pytest.mark.slow
def test_same_key_same_result(two_views):
  """Bit for bit."""
  again = two_views.run(two_views.images, two_views.candidates, jax.random.key(1))
  jax.tree.map(np.testing.assert_array_equal, again, two_views.found)


@pytest.mark.slow
def test_another_key_is_another_draw(two_views):
  """Other noise, same answer within its scatter."""
  other = two_views.run(two_views.images, two_views.candidates, jax.random.key(2))
  difference = np.linalg.norm(other.momentum_mev - two_views.found.momentum_mev, axis=1)[:-1]
  assert difference.max() > 1e-3 and np.median(difference) < 15.0, difference


@pytest.mark.slow
def test_order_of_a_batch_does_not_matter(two_views):
  """The same program on the events in another order, some of them twice, one of them gone."""
  order = np.array([4, 6, 2, 0, 0, 1, 3])
  other = two_views.run(two_views.images[order], two_views.candidates, jax.random.key(1))
  np.testing.assert_allclose(other.momentum_mev, two_views.found.momentum_mev[order], atol=0.05)
  np.testing.assert_allclose(other.emd_end, two_views.found.emd_end[order], atol=0.01)


@pytest.mark.slow  # another batch size is another program
def test_an_event_alone(two_views):
  alone = two_views.run(two_views.images[2:3], two_views.candidates, jax.random.key(1))
  np.testing.assert_allclose(alone.momentum_mev[0], two_views.found.momentum_mev[2], atol=0.5)
  np.testing.assert_allclose(alone.emd_end[0], two_views.found.emd_end[2], atol=0.02)


@pytest.mark.slow
def test_refine_from_given_starts(one_view):
  """From 30 degrees away; a start that is lost (the objective is NaN) does not win over one that is not."""
  truth = one_view.truth[:2]
  near = toy.turn(truth, np.radians(30.0), seed=4)
  starts = jnp.stack([jnp.full((2, 3), jnp.nan), jnp.asarray(near)], axis=1)
  found = jax.jit(one_view.infer.refine)(one_view.images[:2], starts, jax.random.key(3))
  assert np.all(np.isnan(found.end_momentum_mev[:, 0])) and np.all(np.isfinite(found.momentum_mev))
  np.testing.assert_allclose(found.trajectory[0], near, atol=0.1)
  assert momentum_error(np.asarray(found.momentum_mev), truth, ("xy",)).max() < 25.0


@pytest.mark.slow
def test_a_single_start_goes_straight_to_the_second_stage(one_view):
  """From 4 degrees away, as far as a good estimate is: the first stage, which chooses among starts, is left out."""
  truth = one_view.truth[:2]
  near = toy.turn(truth, np.radians(4.0), seed=5)
  found = jax.jit(one_view.infer.refine)(one_view.images[:2], jnp.asarray(near)[:, None], jax.random.key(3))
  assert found.trajectory.shape == (SMALL.second_steps + 1, 2, 3) and found.values.shape == (SMALL.second_steps, 2)
  np.testing.assert_allclose(found.trajectory[0], near, atol=0.1)
  np.testing.assert_array_equal(found.end_momentum_mev, found.trajectory[:1].swapaxes(0, 1))
  assert np.linalg.norm((np.asarray(found.momentum_mev) - truth)[:, :2], axis=1).max() < 15.0


def test_candidates(two_views):
  """Hypotheses inside the range with its margin, and the pooled images that belong to them."""
  candidates = two_views.candidates
  assert candidates.hypothesis.shape == (200, 4) and candidates.images.shape == (200, 2, 64, 64)
  np.testing.assert_array_equal(candidates.pooled, screening.pool(candidates.images, 4))
  low, high = toy.KINETIC_RANGE_MEV
  momentum = chart.to_momentum(candidates.hypothesis, (low - 2.0, high + 2.0))  # kinetic_margin_mev
  kinetic = np.sqrt(np.sum(np.asarray(momentum, float) ** 2, 1) + 938.27209**2) - 938.27209
  assert low - 2.0 < kinetic.min() and kinetic.max() < high + 2.0
  np.testing.assert_allclose(candidates.images.sum((2, 3)), np.stack([kinetic] * 2, 1), rtol=0.02)


def screen_of(candidates_mev, targets):
  images = toy.straight_images(candidates_mev, VIEWS)
  candidates = screening.Candidates(jnp.zeros((len(images), 4)), images, screening.pool(images, 4))
  objective = make_objective(toy.make_generate(), emd.make_emd(**emd.DESCENT), views=VIEWS, num_pixels=64,
                             charge_weight_px=20.0)
  screen = screening.make_screen(emd.make_emd(ot_epsilon_px=0.1, num_iterations=4, num_pixels=16), objective.compare,
                                 factor=4, charge_weight_px=20.0, num_screened=4, num_starts=3)
  targets = toy.straight_images(targets, VIEWS)
  return candidates, np.asarray(jax.jit(screen)(targets, objective.prepare(targets), candidates))


@pytest.mark.slow
def test_screening_ranks_by_angle():
  """The truth first, then by growing angle, whatever the order of the candidates."""
  truth = toy.random_momenta(1, seed=12)
  turned = np.concatenate([toy.turn(truth, np.radians(a), seed=3) for a in (30, 120, 10, 60, 0)])
  _, best = screen_of(turned, truth)
  np.testing.assert_array_equal(best, [[4, 2, 0]])


@pytest.mark.slow
def test_an_empty_candidate_is_the_last():
  """A generator may draw nothing; a distance to nothing is NaN, which must not win."""
  truth = toy.random_momenta(1, seed=12)
  others = toy.random_momenta(5, seed=13)
  nothing = jnp.zeros((1, 2, 64, 64))
  images = jnp.concatenate([nothing, toy.straight_images(others, VIEWS), nothing])
  objective = make_objective(toy.make_generate(), emd.make_emd(**emd.DESCENT), views=VIEWS, num_pixels=64)
  screen = screening.make_screen(emd.make_emd(ot_epsilon_px=0.1, num_iterations=4, num_pixels=16), objective.compare,
                                 factor=4, charge_weight_px=0.0, num_screened=7, num_starts=5)
  candidates = screening.Candidates(jnp.zeros((7, 4)), images, screening.pool(images, 4))
  targets = toy.straight_images(truth, VIEWS)
  best = jax.jit(screen)(targets, objective.prepare(targets), candidates)
  assert sorted(np.asarray(best)[0].tolist()) == [1, 2, 3, 4, 5]


def test_pool():
  image = np.arange(32.0, dtype=np.float32).reshape(1, 4, 8)[:, :, :4]
  np.testing.assert_array_equal(screening.pool(jnp.asarray(image), 2), [[[0 + 1 + 8 + 9, 2 + 3 + 10 + 11],
                                                                         [16 + 17 + 24 + 25, 18 + 19 + 26 + 27]]])


GOOD = np.ones((3, 2, 8, 8), np.float32)


def with_pixel(value):
  images = GOOD.copy()
  images[1, 1, 3, 4] = value
  return images


@pytest.mark.parametrize("images,message", [
    (GOOD[0], r"shape \(N, 2, 8, 8\), N >= 1; got \(2, 8, 8\)"),
    (GOOD[:, :1], r"got \(3, 1, 8, 8\)"),
    (GOOD[:, :, :7], r"got \(3, 2, 7, 8\)"),
    (GOOD[:0], r"got \(0, 2, 8, 8\)"),
    (with_pixel(np.nan), r"NaN pixels in event 41, view 1 \(1 such"),
    (with_pixel(np.inf), r"infinite pixels in event 41, view 1"),
    (with_pixel(-np.inf), r"infinite pixels in event 41, view 1"),
    (with_pixel(-0.1), r"negative pixels \(MeV\) in event 41, view 1"),
    (GOOD * np.array([1.0, 1.0, 0.0])[:, None, None, None], r"no charge in event 42, view 0 \(2 such"),
], ids=["dimensions", "views", "pixels", "none", "nan", "inf", "minus_inf", "negative", "empty"])
def test_bad_images_are_named(images, message):
  with pytest.raises(ValueError, match=message):
    check_target_images(images, num_views=2, num_pixels=8, first_event=40)


def test_good_images_pass():
  checked = check_target_images(GOOD.astype(np.float64), num_views=2, num_pixels=8)
  assert checked.dtype == np.float32 and checked.shape == GOOD.shape
  assert check_target_images(GOOD[:, 0], num_views=1, num_pixels=8).shape == (3, 1, 8, 8)
  assert check_target_images(np.ones((1, 1, 8, 8), int), num_views=1, num_pixels=8).dtype == np.float32
