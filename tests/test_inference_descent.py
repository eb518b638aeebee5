"""The descent on straight tracks, and on objectives that pull where it must not go."""
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.inference import chart
from lartpc_jax.inference.descent import make_descent, on_chart
from lartpc_jax.inference.gradients import make_value_and_grad
from lartpc_jax.inference.imaging import antithetic_noise, generate_views
from lartpc_jax.inference.objective import make_objective
from lartpc_jax.inference.settings import Comparison, Stage
from lartpc_jax.transport import emd
from tests import toy_generator as toy

pytestmark = pytest.mark.third_party  # optax promotes in its own arithmetic

VIEWS = ("xy", "xz")
STAGE = Stage(num_steps=24, learning_rate=0.1, final_rate_share=0.05, num_averaged=4)
SPHERE = chart.sphere_chart(toy.KINETIC_RANGE_MEV)


def descent_of(evaluate, *, mode="forward", coordinates=SPHERE, optimizer="adam", **stage):
  """The descent of evaluate(momentum_mev, *args), one value a hypothesis."""
  value_and_grad = make_value_and_grad(on_chart(evaluate, coordinates), mode=mode)
  return make_descent(value_and_grad, coordinates, dataclasses.replace(STAGE, **stage), optimizer=optimizer)


def kinetic(momentum_mev):
  return np.sqrt(np.sum(np.asarray(momentum_mev, float) ** 2, -1) + 938.27209**2) - 938.27209


@pytest.mark.slow  # test_inference_fit does it with both stages
def test_recovers_the_truth_from_40_degrees_away():
  """Targets scatter by 0.04 rad in each view, which bends the far end only: the direction at the vertex is
  wanted.

  A straight line laid through a track that leaves its tangent by scatter * noise at the end is off by less
  than that, so the error of the direction has its own sigma below 0.04 rad an axis; the energy, by charge, is
  exact to a few 0.1 MeV.
  """
  scatter, num = 0.04, 8
  generate = toy.make_generate(scatter)
  objective = make_objective(generate, emd.make_emd(**emd.DESCENT), views=VIEWS, num_pixels=64,
                             vertex_power=1.0,
                             settings=Comparison(charge_weight_px=20.0, vertex_radius_px=1.0))
  truth = toy.random_momenta(num, seed=0)
  own = jax.random.normal(jax.random.key(0), (2, num, *toy.LATENT_SHAPE))
  seen = [{"momentum_mev": jnp.asarray(truth[:, order])} for order in ([0, 1, 2], [0, 2, 1])]
  images = jnp.stack([generate(own[v], cond) for v, cond in enumerate(seen)], axis=1)
  start = jnp.asarray(toy.turn(truth, np.radians(40.0)) * 0.97)
  np.testing.assert_allclose(toy.angle_deg(start, truth), 40.0, rtol=1e-4)
  descend = jax.jit(descent_of(objective.evaluate))
  found = descend(chart.from_momentum(start, toy.KINETIC_RANGE_MEV), jax.jit(objective.prepare)(images),
                  antithetic_noise(jax.random.key(1), 2, 2, toy.LATENT_SHAPE))
  end = chart.to_momentum(found.hypothesis, toy.KINETIC_RANGE_MEV)
  angle = np.radians(toy.angle_deg(end, truth))
  assert np.sqrt(np.mean(angle**2)) < np.sqrt(2) * scatter, np.degrees(angle)  # two angles, sigma each
  assert angle.max() < 3 * np.sqrt(2) * scatter, np.degrees(angle)
  assert np.abs(kinetic(end) - kinetic(truth)).max() < 1.5
  assert found.trajectory.shape == (num, 24, 3) and found.values.shape == (num, 24)
  np.testing.assert_allclose(found.trajectory[:, 0], start, rtol=1e-4, atol=0.05)
  assert np.all(found.values[:, -1] < 0.3 * found.values[:, 0])
  assert np.all(found.spread < 10.0)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("pull", [1.0, -1.0, 1e6])
def test_energy_stays_in_range(mode, pull):
  """An objective that only wants a shorter or longer track, with absurd rates: in range at every step, and
  finite."""
  descend = jax.jit(
      descent_of(lambda p: pull * jnp.linalg.norm(p, axis=1) + p[:, 0], mode=mode, learning_rate=5.0,
                 final_rate_share=1.0))
  found = descend(chart.random_hypotheses(jax.random.key(2), 16))
  energy = kinetic(found.trajectory)
  low, high = toy.KINETIC_RANGE_MEV
  assert np.all(np.isfinite(found.trajectory)) and np.all(np.isfinite(found.hypothesis))
  assert low - 1e-3 <= energy.min() and energy.max() <= high + 1e-3
  assert np.abs(energy[:, -1] - (low if pull > 0 else high)).max() < 1.0
  np.testing.assert_allclose(np.linalg.norm(found.hypothesis[:, :3], axis=1), 1.0, rtol=1e-5)


def test_minimum_in_closed_form():
  """Distance to a known momentum: the descent ends there, and examples do not mix."""
  truth = jnp.asarray(toy.random_momenta(5, seed=3))
  start = chart.from_momentum(jnp.asarray(toy.turn(truth, 0.5, seed=1)), toy.KINETIC_RANGE_MEV)
  descend = jax.jit(descent_of(lambda p, q: jnp.sum((p - q) ** 2, axis=1) / 1e4, num_steps=150))
  together = descend(start, truth)
  end = chart.to_momentum(together.hypothesis, toy.KINETIC_RANGE_MEV)
  np.testing.assert_allclose(end, truth, atol=1.0)
  alone = descend(start[2:3], truth[2:3])
  np.testing.assert_allclose(alone.hypothesis[0], together.hypothesis[2], atol=1e-4)


def test_each_step_sees_its_own_entry():
  """Noise given per step: the value of step s is that of entry s; the same entry every step is the fixed
  objective."""
  start = chart.random_hypotheses(jax.random.key(5), 3)
  shift = jnp.arange(5.0)
  descend = descent_of(lambda p, scale, own: scale * jnp.sum(jnp.abs(p - 100.0), axis=1) + own, num_steps=5)
  moved = descend(start, 2.0, per_step=(shift,))
  fixed = descend(start, 2.0, per_step=(jnp.zeros(5),))
  # a constant leaves the path alone
  np.testing.assert_allclose(moved.values, fixed.values + shift, rtol=1e-4)
  np.testing.assert_allclose(moved.trajectory, fixed.trajectory, rtol=1e-4)
  np.testing.assert_allclose(fixed.values, 2.0 * jnp.sum(jnp.abs(fixed.trajectory - 100.0), axis=-1),
                             rtol=1e-4)


@pytest.mark.slow
def test_average_of_the_last_iterates():
  """num_averaged = 1 returns the last iterate, with no spread; trajectory and values belong together."""
  objective = lambda p: jnp.sum(jnp.abs(p - 100.0), axis=1)
  start = chart.random_hypotheses(jax.random.key(4), 3)
  one = descent_of(objective, num_steps=5, num_averaged=1)(start)
  longer = descent_of(objective, num_steps=5, num_averaged=3)(start)
  np.testing.assert_allclose(one.spread, 0.0, atol=1e-3)
  np.testing.assert_allclose(one.values, jax.vmap(objective)(one.trajectory), rtol=1e-5)
  np.testing.assert_allclose(longer.trajectory, one.trajectory, rtol=1e-5)
  # its own words: the rms distance of the averaged iterates (steps 3, 4 and the last) from their mean
  ends = np.concatenate(
      [one.trajectory[:, 3:],
       chart.to_momentum(one.hypothesis, toy.KINETIC_RANGE_MEV)[:, None]], axis=1)
  centre = np.asarray(chart.to_momentum(longer.hypothesis, toy.KINETIC_RANGE_MEV))
  np.testing.assert_allclose(longer.spread, np.sqrt(np.mean(np.sum((ends - centre[:, None])**2, -1), 1)),
                             rtol=1e-3)


@pytest.mark.parametrize("wrong,named", [
    (dict(num_averaged=0), "num_averaged=0"), (dict(num_averaged=25), "num_averaged=25, num_steps=24"),
    (dict(final_rate_share=0.0), "final_rate_share=0.0"),
    (dict(final_rate_share=1.5), "final_rate_share=1.5"),
    (dict(learning_rate=0.0), "learning_rate=0.0"),
    (dict(optimizer="lbfgs"), "Unknown optimizer 'lbfgs'; choose from"),
    (dict(mode="both"), "Unknown gradient mode 'both'")])
def test_bad_arguments_are_named(wrong, named):
  with pytest.raises(ValueError, match=named):
    descent_of(lambda p: p[:, 0], **wrong)


def test_sgd_in_free_coordinates_is_the_formula():
  """Published form: p / (500 MeV/c) moves by the rate times the gradient, on a cosine from 0.1 to 0.001."""
  goal = jnp.asarray(toy.random_momenta(4, seed=3))
  start = jnp.asarray(toy.random_momenta(4, seed=4))
  steps = 39
  descend = jax.jit(
      descent_of(lambda p, q: jnp.sum(((p - q) / 500.0)**2, axis=1), num_steps=steps, final_rate_share=0.01,
                 num_averaged=1, coordinates=chart.free_chart(), optimizer="sgd"))
  found = descend(start / 500.0, goal)
  rate = 0.1 * (0.99 * 0.5 * (1.0 + np.cos(np.pi * np.arange(steps) / steps)) + 0.01)
  left = np.cumprod(1.0 - 2.0 * rate)  # of the way to go, which is a quadratic's
  np.testing.assert_allclose(500.0 * found.hypothesis, goal + (start - goal) * left[-1], atol=0.1)
  np.testing.assert_allclose(found.trajectory[:, 1:],
                             goal[:, None] + (start - goal)[:, None] * left[:-1, None], atol=0.1)


@pytest.mark.slow
def test_the_vertex_is_found_with_the_momentum():
  """Tracks moved by a pixel in a random direction: with the vertex as a nuisance the momentum and the vertex
  come out."""
  generate = toy.make_generate()
  truth, rng = toy.random_momenta(4, seed=6), np.random.default_rng(0)
  vertex = rng.normal(size=(4, 3))
  vertex = jnp.asarray(3.0 * vertex / np.linalg.norm(vertex, axis=1, keepdims=True), jnp.float32)
  noise = jnp.zeros((2, 1, *toy.LATENT_SHAPE))
  images = generate_views(generate, noise, jnp.asarray(truth), VIEWS, vertex)[:, :, 0]
  objective = make_objective(
      generate, emd.make_emd(**emd.DESCENT), views=VIEWS, num_pixels=64,
      settings=Comparison(charge_weight_px=20.0, vertex_sigma_mm=3.0, vertex_weight_px=0.02))
  start = jnp.asarray(toy.turn(truth, np.radians(8.0)))
  angle = {}
  for fitted in (False, True):
    coordinates = chart.make_chart("sphere", toy.KINETIC_RANGE_MEV, vertex=fitted)
    descend = jax.jit(descent_of(objective.evaluate, num_steps=30, learning_rate=0.05, final_rate_share=0.1,
                                 coordinates=coordinates))
    end = descend(coordinates.from_momentum(start), objective.prepare(images), noise).hypothesis
    angle[fitted] = toy.angle_deg(coordinates.to_momentum(end), truth)
  assert angle[True].max() < 1.5 < np.median(angle[False]), angle
  np.testing.assert_allclose(coordinates.nuisance(end)["vertex_mm"], vertex, atol=0.9)
