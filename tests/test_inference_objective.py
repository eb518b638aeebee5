"""The momentum objective on straight tracks, where the distance is that of the centroids (see
tests/toy_generator.py)."""
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.geometry.rasterize import to_view
from lartpc_jax.inference.estimator import make_estimator
from lartpc_jax.inference.gradients import make_value_and_grad
from lartpc_jax.inference.imaging import generate_views
from lartpc_jax.inference.objective import make_objective, vertex_weights
from lartpc_jax.inference.settings import Comparison
from lartpc_jax.transport import emd
from tests import toy_generator as toy

VIEWS = ("xy", "xz")
KINETIC_MEV = 80.0
PLAIN = Comparison(charge_weight_px=0.0, charge_tolerance=float("inf"), vertex_radius_px=1.0)
SILENT = {views: jnp.zeros((views, 1, *toy.LATENT_SHAPE)) for views in (1, 2)}


@functools.cache
def objective_of(views=("xy",), scatter_rad=0.0, vertex_power=0.0, **kwargs):
  """The objective on the toy generator, compiled; made once, as compiling is what takes the time."""
  objective = make_objective(toy.make_generate(scatter_rad), emd.make_emd(**emd.DESCENT), views=views,
                             num_pixels=toy.SPEC.num_pixels, vertex_power=vertex_power,
                             settings=dataclasses.replace(PLAIN, **kwargs))
  return objective._replace(prepare=jax.jit(objective.prepare), evaluate=jax.jit(objective.evaluate))


def in_plane(angles_rad, kinetic_mev=KINETIC_MEV):
  """Momenta [b 3] in the xy plane."""
  direction = np.stack([np.cos(angles_rad), np.sin(angles_rad), np.zeros_like(angles_rad)], axis=1)
  return jnp.asarray(toy.magnitude_of(kinetic_mev) * direction, jnp.float32)


def repeated(targets, num):
  return jax.tree.map(lambda x: jnp.repeat(x, num, axis=0), targets)


def test_zero_at_the_truth_and_the_chord_elsewhere():
  """Turned by an angle: 2 sin(angle / 2) times the charge-weighted mean depth, to the accuracy of the DESCENT
  preset."""
  objective = objective_of()
  angles = np.radians([0.0, 3.0, 10.0, 25.0, 60.0, 120.0])
  truth = in_plane(np.array([0.4]))
  targets = objective.prepare(toy.straight_images(truth))
  value = objective.evaluate(in_plane(0.4 + angles), repeated(targets, len(angles)), SILENT[1])
  assert value[0] < 0.02
  assert np.all(np.diff(value) > 0)
  np.testing.assert_allclose(value[1:], 2 * np.sin(angles[1:] / 2) * toy.mean_depth_px(KINETIC_MEV),
                             rtol=0.06)
  assert targets.charge.shape == (1, 1)
  np.testing.assert_allclose(targets.charge, KINETIC_MEV, rtol=0.01)  # but for pixels below threshold


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_gradient_of_a_turn(mode):
  """Along a turn in the image the derivative is cos(angle / 2) times the mean depth, in pixels a radian."""
  objective = objective_of()
  angles = np.radians([12.0, -20.0, 45.0])
  targets = repeated(objective.prepare(toy.straight_images(in_plane(np.array([0.4])))), 3)
  momentum = in_plane(0.4 + angles)
  across = in_plane(0.4 + angles + np.pi / 2) / toy.magnitude_of(KINETIC_MEV).astype(np.float32)
  _, gradient = jax.jit(make_value_and_grad(objective.evaluate, mode=mode))(
      momentum, across[None], targets, SILENT[1])
  slope = np.sum(gradient * across, axis=1) * toy.magnitude_of(KINETIC_MEV)
  np.testing.assert_allclose(slope,
                             np.sign(angles) * np.cos(angles / 2) * toy.mean_depth_px(KINETIC_MEV), rtol=0.1)


def test_views_are_compared_one_by_one():
  """Swapped target views are another event; the value is the sum of the views; the sum of the pictures is not
  looked at."""
  objective = objective_of(VIEWS)
  truth = jnp.asarray([[120.0, 330.0, -150.0]])
  images = toy.straight_images(truth, VIEWS)
  targets = objective.prepare(jnp.concatenate([images, images[:, ::-1]]))
  right, swapped = objective.evaluate(repeated(truth, 2), targets, SILENT[2])
  assert right < 0.04 and swapped > 10.0
  hypothesis = jnp.asarray([[200.0, 200.0, 280.0]])
  both = objective.evaluate(hypothesis, objective.prepare(images), SILENT[2])
  single = objective_of()
  parts = [single.evaluate(to_view(hypothesis, view), single.prepare(images[:, i:i + 1]), SILENT[1])
           for i, view in enumerate(VIEWS)]
  np.testing.assert_allclose(both, parts[0] + parts[1], rtol=1e-3)


def test_charge_term():
  """Off: only the shape counts. On: weight times the smoothed relative difference of charge, on top."""
  plain, charged = objective_of(), objective_of(charge_weight_px=20.0)
  truth = in_plane(np.array([1.0]))
  # the shape of the truth in both
  images = toy.straight_images(truth) * jnp.asarray([1.0, 1.25])[:, None, None, None]
  values = [f.evaluate(repeated(truth, 2), f.prepare(images), SILENT[1]) for f in (plain, charged)]
  np.testing.assert_allclose(values[0], 0.0, atol=0.02)
  smooth = np.sqrt(0.2**2 + 0.005**2) - 0.005  # (1 - 1.25) / 1.25
  np.testing.assert_allclose(values[1] - values[0], [0.0, 20.0 * smooth], atol=1e-3)


def test_vertex_weights():
  np.testing.assert_array_equal(vertex_weights(16, power=0.0), np.ones((16, 16)))
  weights = np.asarray(vertex_weights(64, power=2.0, radius_px=1.5))
  np.testing.assert_allclose(weights[32 + 3, 32 - 5], (1.5 / (np.hypot(3.5, 4.5) + 1.5)) ** 2, rtol=1e-6)
  np.testing.assert_allclose(weights, weights[::-1].T, rtol=1e-6)  # all four quadrants alike
  np.testing.assert_allclose(weights.max(), (1.5 / (np.sqrt(0.5) + 1.5)) ** 2, rtol=1e-6)


@pytest.mark.slow
def test_vertex_weights_listen_to_the_vertex():
  """A track that only bends towards its end is closer, in units of a turned one, with the weights than
  without."""
  truth = in_plane(np.array([0.3]))
  # across the track
  noise = jnp.full((1, 1, *toy.LATENT_SHAPE), jnp.asarray([-np.sin(0.3), np.cos(0.3)], jnp.float32))
  ratio = []
  for power in (0.0, 2.0):
    bent, straight = (
        objective_of(scatter_rad=s, vertex_power=power, vertex_radius_px=2.0) for s in (0.2, 0.0))
    targets = straight.prepare(toy.straight_images(truth))
    ratio.append(
        bent.evaluate(truth, targets, noise) / straight.evaluate(in_plane(np.array([0.5])), targets, noise))
  assert ratio[1] < 0.8 * ratio[0] and ratio[0] < 1.0, ratio


def test_draws_are_averaged():
  """Two draws: the mean of the values with each alone."""
  objective = objective_of(scatter_rad=0.1)
  truth = in_plane(np.array([2.0]))
  targets = objective.prepare(toy.straight_images(truth))
  noise = jax.random.normal(jax.random.key(0), (1, 2, *toy.LATENT_SHAPE))
  each = [objective.evaluate(truth, targets, noise[:, i:i + 1]) for i in (0, 1)]
  assert abs(each[0] - each[1]) > 0.01
  np.testing.assert_allclose(objective.evaluate(truth, targets, noise), (each[0] + each[1]) / 2, rtol=1e-3)


@pytest.mark.parametrize("tolerance", [-0.1, float("nan")])
def test_a_bad_tolerance_is_named(tolerance):
  """It would leave every draw out, and the objective without a value."""
  with pytest.raises(ValueError, match="charge_tolerance must be at least 0; got (-0.1|nan)"):
    objective_of(charge_tolerance=tolerance)


def test_draws_that_lost_their_charge_do_not_count():
  """Draws of a tenth less charge are left out of the mean, gradient included, until they are the majority."""
  toy_generate = toy.make_generate(0.1)
  lossy = lambda noise, cond: toy_generate(noise, cond) * jnp.where(noise[:, 0, 0, 0] > 1.0, 0.9, 1.0
                                                                   )[:, None, None]
  objective = make_objective(lossy, emd.make_emd(**emd.DESCENT), views=("xy",), num_pixels=64,
                             settings=Comparison(charge_weight_px=10.0, charge_tolerance=0.05))
  value_and_grad = jax.jit(jax.value_and_grad(lambda p, *args: objective.evaluate(p, *args)[0]))
  truth = in_plane(np.array([2.0]))
  targets = jax.jit(objective.prepare)(toy.straight_images(truth))
  noise = jnp.stack([jnp.full(toy.LATENT_SHAPE, x) for x in (0.5, 2.0, -0.5, 1.5, 0.2)])[None]
  # always six draws, so that one program does
  of = lambda *draws: value_and_grad(in_plane(np.array([2.1])), targets, noise[:, np.array(draws)])
  whole, mixed = of(0, 2, 4, 0, 2, 4), of(0, 1, 2, 3, 4, 1)
  np.testing.assert_allclose(mixed[0], whole[0], rtol=1e-5)
  np.testing.assert_allclose(mixed[1], whole[1], rtol=1e-4, atol=1e-6)
  even, charged = of(0, 1, 2, 3, 0, 1)[0], of(0, 2, 0, 0, 2, 0)[0]  # three and three: those with more charge
  np.testing.assert_allclose(even, charged, rtol=1e-5)
  lost = of(0, 1, 3, 1, 3, 1)
  assert np.isfinite(lost[0]) and lost[0] > 1.3 * whole[0]


def wide_estimator(num_views):
  """An estimator that answers one Gaussian of 0.1 rad and 1 in asinh(T - charge), around the classical
  direction."""
  raw = jnp.zeros((1, 10)).at[:, 4:6].set(np.log(0.1 / (0.1 if num_views == 1 else 0.04)))
  estimator = make_estimator(lambda params, features: jnp.broadcast_to(raw, (len(features), *raw.shape)),
                             None, num_views=num_views, kinetic_range_mev=toy.KINETIC_RANGE_MEV)
  return estimator._replace(posterior=jax.jit(estimator.posterior, static_argnums=1),
                            estimate=jax.jit(estimator.estimate, static_argnums=1),
                            log_density=jax.jit(estimator.log_density))


@pytest.mark.slow
def test_prior_is_added():
  """The objective with a prior is the one without it, less the weighted log density."""
  prior, momentum = wide_estimator(2), jnp.asarray(toy.random_momenta(4, seed=8))
  images = toy.straight_images(momentum, VIEWS)
  plain = objective_of(VIEWS)
  weighted = make_objective(toy.make_generate(), emd.make_emd(**emd.DESCENT), views=VIEWS, num_pixels=64,
                            settings=PLAIN, prior=prior, prior_weight_px=0.3)
  at = jnp.asarray(toy.turn(momentum, 0.15, seed=9))
  known = prior.posterior(images, VIEWS)
  density = prior.log_density(at, known)
  targets = jax.jit(weighted.prepare)(images)
  value = jax.jit(weighted.evaluate)(at, targets, SILENT[2])
  np.testing.assert_allclose(value,
                             plain.evaluate(at, plain.prepare(images), SILENT[2]) - 0.3 * density, atol=1e-4)
  # a turn of 0.15 rad away from the mode of a Gaussian of 0.1 rad costs 1.125 nats
  np.testing.assert_allclose(prior.log_density(momentum, known) - density, 0.5 * 1.5**2, atol=0.35)
  exact = prior.estimate(images, VIEWS)
  slope = jax.jit(jax.grad(lambda p: prior.log_density(p, known).sum()))(exact)
  assert np.isfinite(slope).all()


def test_prior_weight_is_checked():
  build = functools.partial(make_objective, toy.make_generate(), emd.make_emd(**emd.DESCENT), views=VIEWS,
                            num_pixels=64)
  with pytest.raises(ValueError, match="prior_weight_px must be at least 0.*got -1.0"):
    build(prior=wide_estimator(2), prior_weight_px=-1.0)
  with pytest.raises(ValueError, match="0 without an estimator; got 0.3, no estimator"):
    build(prior_weight_px=0.3)


@pytest.mark.slow
def test_sum_of_the_pictures_and_the_best_draw():
  """Published: one picture that is the sum of the views, normalised, and of the draws the nearest one."""
  generate, distance = toy.make_generate(0.1), emd.make_emd(**emd.DESCENT)
  momentum = jnp.asarray(toy.random_momenta(2, seed=5))
  noise = jax.random.normal(jax.random.key(3), (2, 3, *toy.LATENT_SHAPE))
  images = toy.straight_images(toy.turn(momentum, 0.2), VIEWS)
  drawn = generate_views(generate, noise, momentum, VIEWS)
  direct = jax.jit(jax.vmap(jax.vmap(lambda x, y: distance.emd(x, y).value,
                                     in_axes=(0, None))))(drawn.sum(1), images.sum(1))
  build = lambda draws: make_objective(generate, distance, views=VIEWS, num_pixels=64,
                                       settings=dataclasses.replace(PLAIN, pictures="sum", draws=draws))
  for draws, reduce in (("mean", np.mean), ("best", np.min)):
    objective = build(draws)
    value = jax.jit(objective.evaluate)(momentum, objective.prepare(images), noise)
    np.testing.assert_allclose(value, reduce(direct, axis=1), rtol=1e-3)
  alone = build("mean")  # the gradient is the best draw's
  best = int(np.argmin(direct[0]))
  assert best != int(np.argmin(direct[1]))  # each event has its own
  slope = lambda f, draws: jax.jit(jax.grad(lambda p, t: f.evaluate(p, t, draws).sum()))(momentum,
                                                                                         f.prepare(images))[0]
  np.testing.assert_allclose(slope(objective, noise), slope(alone, noise[:, best:best + 1]), rtol=1e-3,
                             atol=1e-6)


def test_the_vertex_moves_the_images_and_costs_its_prior():
  objective = objective_of(VIEWS, vertex_sigma_mm=3.0, vertex_weight_px=0.1)
  momentum = jnp.asarray(toy.random_momenta(2, seed=5))
  vertex = jnp.asarray([[3.0, -6.0, 3.0], [0.0, 3.0, 0.0]])
  targets = objective.prepare(toy.straight_images(momentum, VIEWS))
  value = objective.evaluate(momentum, targets, SILENT[2], vertex)
  # px, in xy and xz
  moved = np.hypot(vertex[:, 0], vertex[:, 1]) / 3.0 + np.hypot(vertex[:, 0], vertex[:, 2]) / 3.0
  np.testing.assert_allclose(value, moved + 0.1 * 0.5 * np.sum((np.asarray(vertex) / 3.0)**2, axis=1),
                             rtol=0.03)


@pytest.mark.parametrize("choice", [dict(pictures="both"), dict(draws="worst")])
def test_unknown_choices_are_named(choice):
  (name, value), = choice.items()
  with pytest.raises(ValueError, match=f"Unknown {name} '{value}'; choose from"):
    make_objective(toy.make_generate(), emd.make_emd(**emd.DESCENT), views=VIEWS, num_pixels=64,
                   settings=dataclasses.replace(PLAIN, **choice))
