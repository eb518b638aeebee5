"""Screening of random starts on the analytic generator: the order it finds, empty candidates, and pooled
images."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.inference import chart, screening
from lartpc_jax.inference.objective import make_objective
from lartpc_jax.inference.settings import Comparison, Screening
from lartpc_jax.transport import emd
from tests import toy_generator as toy

VIEWS = ("xy", "xz")


def test_candidates():
  """Hypotheses inside the range, one image of each in each view, and the pooled images that belong to
  them."""
  low, high = bounds = (toy.KINETIC_RANGE_MEV[0] - 2.0, toy.KINETIC_RANGE_MEV[1] + 2.0)
  candidates = screening.draw_candidates(jax.random.key(0), toy.imager(0.03), num=200, views=VIEWS,
                                         kinetic_range_mev=bounds)
  assert candidates.hypothesis.shape == (200, 4) and candidates.images.shape == (200, 2, 64, 64)
  np.testing.assert_array_equal(candidates.pooled, screening.pool(candidates.images))
  momentum = chart.to_momentum(candidates.hypothesis, bounds)
  kinetic = np.sqrt(np.sum(np.asarray(momentum, float) ** 2, 1) + 938.27209**2) - 938.27209
  assert low < kinetic.min() and kinetic.max() < high
  np.testing.assert_allclose(candidates.images.sum((2, 3)), np.stack([kinetic] * 2, 1), rtol=0.02)


def screen_of(candidates_mev, targets):
  images = toy.straight_images(candidates_mev, VIEWS)
  candidates = screening.Candidates(chart.from_momentum(jnp.asarray(candidates_mev), toy.KINETIC_RANGE_MEV),
                                    images, screening.pool(images))
  objective = make_objective(toy.make_generate(), emd.make_emd(**emd.DESCENT), views=VIEWS, num_pixels=64,
                             settings=Comparison(charge_weight_px=20.0))
  screen = screening.make_screen(objective.compare, Screening(num_screened=4, num_starts=3),
                                 kinetic_range_mev=toy.KINETIC_RANGE_MEV, charge_weight_px=20.0)
  targets = toy.straight_images(targets, VIEWS)
  return jax.jit(screen)(targets, objective.prepare(targets), candidates)


@pytest.mark.slow
def test_screening_ranks_by_angle():
  """The truth first, then by growing angle, whatever the order of the candidates."""
  truth = toy.random_momenta(1, seed=12)
  turned = np.concatenate([toy.turn(truth, np.radians(a), seed=3) for a in (30, 120, 10, 60, 0)])
  best = screen_of(turned, truth)
  np.testing.assert_allclose(best.momentum_mev[:, :, 0], turned[None, np.array([4, 2, 0])], atol=0.01)
  assert np.all(np.diff(best.objective) > 0.0) and best.objective[0, 0] < 0.1


@pytest.mark.slow
def test_an_empty_candidate_is_the_last():
  """A generator may draw nothing; a distance to nothing is NaN, which must not win."""
  truth = toy.random_momenta(1, seed=12)
  others = toy.random_momenta(5, seed=13)
  nothing = jnp.zeros((1, 2, 64, 64))
  images = jnp.concatenate([nothing, toy.straight_images(others, VIEWS), nothing])
  objective = make_objective(toy.make_generate(), emd.make_emd(**emd.DESCENT), views=VIEWS, num_pixels=64,
                             settings=Comparison(charge_weight_px=0.0))
  screen = screening.make_screen(objective.compare, Screening(num_screened=7, num_starts=5),
                                 kinetic_range_mev=toy.KINETIC_RANGE_MEV, charge_weight_px=0.0)
  hypotheses = chart.from_momentum(jnp.asarray(np.concatenate([truth, others, truth])), toy.KINETIC_RANGE_MEV)
  candidates = screening.Candidates(hypotheses, images, screening.pool(images))
  targets = toy.straight_images(truth, VIEWS)
  best = jax.jit(screen)(targets, objective.prepare(targets), candidates).momentum_mev[0, :, 0]
  by_x = lambda p: p[np.argsort(p[:, 0])]
  np.testing.assert_allclose(by_x(np.asarray(best)), by_x(others), atol=0.01)


def test_pool():
  side = 2 * screening.COARSE_PIXELS
  image = np.random.default_rng(0).uniform(size=(3, side, side)).astype(np.float32)
  corners = sum(image[:, i::2, j::2] for i in (0, 1) for j in (0, 1))
  np.testing.assert_allclose(screening.pool(jnp.asarray(image)), corners, rtol=1e-6)


@pytest.mark.parametrize("method, num_tracks, message", [
    ("random", 1, "Unknown screening method 'random'; choose from"),
    ("distance", 2, "Sets of 2 tracks need the screening method 'squares'; got 'distance'")])
def test_a_method_that_does_not_fit_is_named(method, num_tracks, message):
  with pytest.raises(ValueError, match=message):
    screening.make_screen(np.subtract, Screening(method=method), kinetic_range_mev=toy.KINETIC_RANGE_MEV,
                          charge_weight_px=0.0, num_tracks=num_tracks)
