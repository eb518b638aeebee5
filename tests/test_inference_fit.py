"""The whole fit on the analytic generator: one proton from random starts, two crossing ones, and what it
refuses."""
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.inference import counting, screening
from lartpc_jax.inference.errors import momentum_error
from lartpc_jax.inference.fit import Fit, Fitted, make_fit, one_track
from lartpc_jax.inference.settings import Comparison, FitSettings, Report, Screening, Stage
from lartpc_jax.transport.exact import exact_emd
from tests import toy_generator as toy

pytestmark = pytest.mark.third_party  # optax promotes in its own arithmetic

VIEWS = ("xy", "xz")
NUM_EVENTS = 6
SMALL = FitSettings(
    screening=Screening(num_candidates=200, num_screened=16,
                        num_starts=2), comparison=Comparison(charge_weight_px=20.0, charge_tolerance=0.05),
    first=Stage(num_steps=14, num_draws=2, learning_rate=0.1, final_rate_share=0.3, num_averaged=1,
                vertex_power=0.0), second=Stage(num_steps=16, num_draws=2, learning_rate=0.03, num_averaged=4,
                                                vertex_power=1.0), report=Report(num_draws=2))
SETS = FitSettings(
    screening=Screening("squares", num_candidates=300, beam=32, num_screened=8, num_starts=1),
    first=Stage(num_steps=8, num_draws=1, learning_rate=0.1, final_rate_share=0.4, num_averaged=1,
                vertex_power=0.0), second=Stage(num_steps=10, num_draws=1, learning_rate=0.04, num_averaged=4,
                                                vertex_power=1.0),
    report=Report(num_draws=2, judges_start=False), noise="by_track", skips_first=False)


class Done(NamedTuple):
  """A batch of six protons and a last image that no proton makes."""
  fit: Fit
  run: object
  candidates: screening.Candidates
  truth: np.ndarray
  images: jax.Array
  found: Fitted


def two_blobs(num_views):
  """Image [1 v 64 64] of 70 MeV in two corners far from the vertex, and nothing between."""
  image = np.zeros((1, num_views, 64, 64), np.float32)
  image[..., 6:9, 6:9] = image[..., 55:58, 55:58] = 70.0 / 18
  return jnp.asarray(image)


def infer_all(views, scatter_rad, seed) -> Done:
  fit = make_fit(toy.imager(scatter_rad), views, SMALL)
  truth = toy.random_momenta(NUM_EVENTS, seed)
  images = jnp.concatenate([toy.straight_images(truth, views), two_blobs(len(views))])
  candidates, run = fit.draw_candidates(jax.random.key(0)), jax.jit(lambda *args: one_track(fit.infer(*args)))
  return Done(fit, run, candidates, truth, images, run(images, candidates, jax.random.key(1)))


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
  found, (b, h) = two_views.found, (NUM_EVENTS + 1, SMALL.screening.num_starts)
  steps = SMALL.first.num_steps + SMALL.second.num_steps
  shapes = dict(momentum_mev=(b, 3), objective=(b,), emd_start=(b, 2), emd_end=(b, 2), spread=(b,),
                converged=(b,), values=(b, steps), trajectory=(b, steps + 1, 3), images=(b, 2, 64, 64),
                start_momentum_mev=(b, h, 3), end_momentum_mev=(b, h, 3), vertex_mm=(b, 3))
  assert {name: getattr(found, name).shape for name in Fitted._fields} == shapes
  np.testing.assert_array_equal(found.trajectory[:, -1], found.momentum_mev)
  # the winner's path begins at one of its own event's starts
  distance = np.linalg.norm(found.trajectory[:, :1] - found.start_momentum_mev, axis=-1).min(1)
  np.testing.assert_allclose(distance, 0.0, atol=0.05)
  np.testing.assert_allclose(found.images[:-1].sum((2, 3)), two_views.images[:-1].sum((2, 3)), rtol=0.05)


@pytest.mark.slow
def test_one_view_recovers_all_but_a_sign(one_view):
  """In the image to a few MeV/c; along the line of sight |p_z|, worse where p_z is small: sqrt(|p|^2 -
  p_xy^2)."""
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
  exact = [exact_emd(np.asarray(a[0]), np.asarray(b[0])) for a, b in zip(found.images, one_view.images)]
  # a fit ends at 0.1 px: few pixels move
  np.testing.assert_allclose(found.emd_end[:, 0], exact, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("views", ["two_views", pytest.param("one_view", marks=pytest.mark.slow)])
def test_no_proton_does_not_converge(views, request):
  """Two far blobs of a proton's charge: the distance stays far above the threshold, and nothing breaks."""
  done = request.getfixturevalue(views)
  assert not done.found.converged[-1]
  assert np.all(done.found.emd_end[-1] > 2 * SMALL.report.max_emd_px)
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
  found = one_track(jax.jit(one_view.fit.refine)(one_view.images[:2], starts[:, :, None], jax.random.key(3)))
  assert np.all(np.isnan(found.end_momentum_mev[:, 0])) and np.all(np.isfinite(found.momentum_mev))
  np.testing.assert_allclose(found.trajectory[:, 0], near, atol=0.1)
  assert momentum_error(np.asarray(found.momentum_mev), truth, ("xy",)).max() < 25.0


@pytest.mark.slow
def test_a_single_start_goes_straight_to_the_second_stage(one_view):
  """From 4 degrees away, as far as a good estimate is: the first stage, which chooses among starts, is left
  out."""
  truth = one_view.truth[:2]
  near = toy.turn(truth, np.radians(4.0), seed=5)
  starts, steps = jnp.asarray(near)[:, None, None], SMALL.second.num_steps
  found = one_track(jax.jit(one_view.fit.refine)(one_view.images[:2], starts, jax.random.key(3)))
  assert found.trajectory.shape == (2, steps + 1, 3) and found.values.shape == (2, steps)
  np.testing.assert_allclose(found.trajectory[:, 0], near, atol=0.1)
  np.testing.assert_array_equal(found.end_momentum_mev, found.trajectory[:, :1])
  assert np.linalg.norm((np.asarray(found.momentum_mev) - truth)[:, :2], axis=1).max() < 15.0


@pytest.mark.slow
def test_two_crossing_tracks_are_found_and_counted():
  """Both momenta of a pair, in whatever order, and the gain of the second track above that of any single
  one."""
  pair = jnp.asarray([[300.0, 150.0, 60.0], [-120.0, 330.0, -90.0]])
  single = jnp.asarray([[300.0, 150.0, 60.0], [-200.0, 100.0, 280.0]])
  images = jnp.concatenate(
      [toy.straight_images(pair, VIEWS).sum(0, keepdims=True),
       toy.straight_images(single, VIEWS)])
  imager = toy.imager(0.02, mirrored=True)
  one, two = (make_fit(imager, VIEWS, SETS, num_tracks=n, mode="mixed") for n in (1, 2))
  candidates = jax.jit(two.draw_candidates)(jax.random.key(0))
  screened = [jax.jit(fit.screen)(images, candidates) for fit in (one, two)]
  gain = counting.gains(np.stack([s.objective[:, 0] for s in screened], axis=1))[:, 0]
  assert gain[0] > 5.0 and np.all(gain[1:] < 0.0), gain  # the charge of a pair is beyond every single track
  found = jax.jit(two.refine)(images[:1], screened[1].momentum_mev[:1], jax.random.key(1))
  start, end = (counting.match_tracks(np.asarray(x), np.asarray(pair))
                for x in (screened[1].momentum_mev[0, 0], found.momentum_mev[0]))
  assert end.max() < 25.0 and end.mean() < start.mean(), (start, end)
  assert found.emd_end.shape == (1, 2) and np.all(found.emd_end < 1.0) and found.emd_start is None
  steps = SETS.first.num_steps + SETS.second.num_steps
  assert found.trajectory.shape == (1, steps + 1, 2, 3) and found.values.shape == (1, steps)
  assert found.images.shape == (1, 2, 64, 64) and found.start_momentum_mev.shape == (1, 1, 2, 3)
  np.testing.assert_array_equal(found.trajectory[:, -1], found.momentum_mev)
  np.testing.assert_allclose(found.trajectory[0, 0], screened[1].momentum_mev[0, 0], atol=0.1)


@pytest.mark.parametrize("num_tracks, mode, changes, message", [
    (0, "mixed", {}, "number of tracks must be 1 to 4; got 0"),
    (5, "mixed", {}, "number of tracks must be 1 to 4; got 5"),
    (2, "forward", {}, "2 tracks need the gradient mode 'mixed'; got 'forward'"),
    (1, "both", {}, "Unknown gradient mode 'both'"),
    (1, "forward", dict(coordinates="free"), "coordinates 'free' need optimizer 'sgd'; got 'adam'"),
    (1, "forward", dict(first=Stage(learning_rate=float("nan"))),
     "first.learning_rate of the inference must be .*nan"),
    (2, "mixed", dict(second=Stage(learning_rate=float("inf"))),
     "second.learning_rate of the inference must be .*got inf"),
    (1, "mixed", dict(comparison=Comparison(draws="best")), "'mixed'.* has no comparison.draws = 'best'"),
    (1, "mixed", dict(comparison=Comparison(vertex_sigma_mm=3.0)),
     "'mixed'.* has no comparison.vertex_sigma_mm"),
    (1, "mixed", dict(second=Stage(prior_weight_px=1.0)), "'mixed'.* has no prior_weight_px")])
def test_what_does_not_fit_is_named(num_tracks, mode, changes, message):
  with pytest.raises(ValueError, match=message):
    make_fit(toy.imager(), VIEWS, dataclasses.replace(SETS, **changes), num_tracks=num_tracks, mode=mode)
