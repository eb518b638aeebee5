"""Forward and reverse mode against each other and finite differences: closed forms, and whole samplers."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.diffusion import samplers, time_grids
from lartpc_jax.diffusion.sde import alpha_std, batch_mul, vp_sde
from lartpc_jax.generators.codec import Codec
from lartpc_jax.generators.generator import make_generate
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.inference import chart
from lartpc_jax.inference.gradients import MODES, default_mode, make_mixed_value_and_grad, make_value_and_grad
from lartpc_jax.inference.imaging import generate_views, sum_tracks
from lartpc_jax.inference.objective import make_objective
from lartpc_jax.inference.settings import Comparison
from lartpc_jax.networks.api import make_latent_unet
from lartpc_jax.transport import emd
from tests import toy_generator as toy
from tests.toy_parts import proton_generator

STEPS = {"ddim": 12, "dpm_solver_pp_2m": 6}


def full_basis(x):
  """Tangents [d b d] along every coordinate of x [b d]."""
  b, d = x.shape
  return jnp.broadcast_to(jnp.eye(d, dtype=x.dtype)[:, None, :], (d, b, d))


def finite_differences(function, x, step=1e-5):
  """Gradient [b d] of function(x [b d]) -> [b], by central differences."""
  columns = []
  for i in range(x.shape[1]):
    shift = step * jnp.zeros_like(x).at[:, i].set(1.0)
    columns.append((function(x + shift) - function(x - shift)) / (2 * step))
  return np.stack(columns, axis=1)


def assert_modes_agree(function, x):
  """Both modes equal finite differences and each other, to 1e-6 of the largest component.

  Not to rounding in float64: the time grids are float32, and each program rounds its coefficients its own
  way.
  """
  compiled = jax.jit(function)
  value, expected = compiled(x), finite_differences(compiled, x)
  scale = np.abs(expected).max()
  assert scale > 1e-3
  for mode in MODES:
    found = jax.jit(make_value_and_grad(function, mode=mode))(x, full_basis(x))
    np.testing.assert_allclose(found[0], value, rtol=1e-6)
    np.testing.assert_allclose(found[1], expected, atol=1e-6 * scale)


def test_closed_form(x64):
  x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)))
  function = lambda y: jnp.sin(y[:, 0]) * y[:, 1] + jnp.exp(y[:, 2] - y[:, 3] ** 2)
  assert_modes_agree(function, x)
  tail = np.exp(x[:, 2] - x[:, 3] ** 2)
  expected = np.stack([np.cos(x[:, 0]) * x[:, 1], np.sin(x[:, 0]), tail, -2 * x[:, 3] * tail], axis=1)
  for mode in MODES:
    np.testing.assert_allclose(
        make_value_and_grad(function, mode=mode)(x, full_basis(x))[1], expected, rtol=1e-12)


@pytest.mark.parametrize("num_tracks", [1, 3])
def test_mixed_mode_in_closed_form(num_tracks, x64):
  """Images linear in the hypothesis, summed over tracks, against a target by squares: 2 A^T (sum of A x - y)
  for each."""
  rng, events = np.random.default_rng(0), 2
  matrix, x, target = (rng.normal(size=size) for size in ((9, 4), (events * num_tracks, 4), (events, 9)))
  draw = lambda y, noise: (y @ jnp.asarray(matrix).T + noise).reshape(-1, 1, 1, 3, 3)
  compare = lambda images, y: jnp.sum((images.reshape(len(images), -1) - y)**2, axis=1)
  value_and_grad = make_mixed_value_and_grad(draw, compare, num_tracks)
  value, gradient = value_and_grad(jnp.asarray(x), full_basis(jnp.asarray(x)), jnp.asarray(target), 0.5)
  left = (x @ matrix.T + 0.5).reshape(events, num_tracks, 9).sum(1) - target
  np.testing.assert_allclose(value, np.sum(left**2, axis=1), rtol=1e-12)
  np.testing.assert_allclose(gradient, np.repeat(2.0 * left @ matrix, num_tracks, axis=0), rtol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_gradient_is_projected_on_the_tangents(mode, x64):
  """With fewer tangents than dimensions, the orthogonal projection of the gradient [1, 2, 3]; extra arguments
  pass."""
  x = jnp.ones((2, 3))
  tangents = jnp.asarray([[[1.0, 0, 0], [0, 0.6, 0.8]]])
  value, gradient = make_value_and_grad(lambda y, a: y @ a,
                                        mode=mode)(x, tangents, jnp.asarray([1.0, 2.0, 3.0]))
  np.testing.assert_allclose(value, 6.0)
  np.testing.assert_allclose(gradient, [[1.0, 0, 0], [0, 0.6 * 3.6, 0.8 * 3.6]], rtol=1e-12)


def test_unknown_mode_is_named():
  with pytest.raises(ValueError, match=r"Unknown gradient mode 'backward'.*'forward', 'reverse'"):
    make_value_and_grad(lambda x: x[:, 0], mode="backward")


def test_default_mode_is_a_mode():
  assert default_mode() in MODES


def gaussian_generate(name, *, remat=False, mean=None, spread=0.5):
  """generate(noise, condition) for data N(mean(condition), spread^2), whose score is known at every time."""
  sde = vp_sde()
  sampler = samplers.make_sampler(name, sde, time_grids.karras_grid(sde, STEPS[name], sigma_min=0.02),
                                  remat=remat)
  mean = mean or (lambda c: jnp.stack([jnp.sin(c[:, 0]) * c[:, 1], c[:, 2] ** 2, c[:, 0] * c[:, 2]], axis=1))

  def generate(noise, condition):
    def score_fn(x, t):
      alpha, std = alpha_std(sde, t)
      return batch_mul(-1.0 / (alpha**2 * spread**2 + std**2), x - batch_mul(alpha, mean(condition)))
    return sampler(score_fn, noise)
  return generate


@pytest.mark.parametrize("name", sorted(STEPS))
def test_through_a_sampler_with_a_known_score(name, x64):
  rng = np.random.default_rng(1)
  noise, condition = (jnp.asarray(rng.normal(size=(4, 3))) for _ in range(2))
  generate = gaussian_generate(name)
  assert_modes_agree(lambda c: jnp.cos(generate(noise, c)).sum(axis=1), condition)


@pytest.mark.parametrize("name", sorted(STEPS))
def test_sample_moves_with_the_mean(name, x64):
  """The flow of a Gaussian is affine: x0 = mean + spread * noise at perfect steps, so the Jacobian in the
  mean is one."""
  noise = jnp.asarray(np.random.default_rng(2).normal(size=(4, 3)))
  generate = gaussian_generate(name, mean=lambda c: c, spread=0.3)
  total = lambda c: generate(noise, c).sum(axis=1)
  for mode in MODES:
    _, gradient = jax.jit(make_value_and_grad(total, mode=mode))(jnp.ones((4, 3)), full_basis(noise))
    np.testing.assert_allclose(gradient, 1.0, atol=0.05)  # the steps' own error


@pytest.mark.parametrize("name", sorted(STEPS))
def test_rematerialisation_changes_nothing(name, x64):
  rng = np.random.default_rng(3)
  noise, condition = (jnp.asarray(rng.normal(size=(4, 3))) for _ in range(2))
  plain, again = (jax.jit(
      make_value_and_grad(lambda c, g=gaussian_generate(name, remat=remat): (g(noise, c)**2).sum(axis=1),
                          mode="reverse"))(condition, full_basis(condition)) for remat in (False, True))
  np.testing.assert_allclose(again[0], plain[0], rtol=1e-6)
  np.testing.assert_allclose(again[1], plain[1], rtol=1e-6, atol=1e-6)


@functools.cache
def random_unet():
  """A tiny latent U-Net and float64 weights for it, the ones that start at zero random too."""
  network = make_latent_unet(features=8, multipliers=(1,), num_blocks=1, attention_levels=(0,), num_heads=2,
                             num_groups=4)
  shapes = jax.eval_shape(lambda key: network.init(key, (4, 4, 3)), jax.random.key(0))
  rng = np.random.default_rng(5)
  return network, jax.tree.map(lambda s: jnp.asarray(0.2 * rng.normal(size=s.shape) + (s.ndim == 1)), shapes)


def unet_generate(*, remat=False):
  """Generator of the tiny U-Net, through a smooth decoder, on pixels of 30 cm: a range of a few of them."""
  network, params = random_unet()
  sde = vp_sde()
  codec = Codec(None, lambda z, cond: jax.nn.softplus(z).sum(axis=-1), (4, 4, 2))
  protons = proton_generator(network.apply, params, sde, codec, frame=TrackFrame(4, 4, 300.0, 150.0, -300.0),
                             spec=ImageSpec(4, 300.0, 250.0, 0.0), scale_mev=400.0, kinetic_mev=(48.0, 103.0))
  times = time_grids.karras_grid(sde, 4, sigma_min=0.05)
  generate = make_generate(protons, samplers.dpm_solver_pp_2m(sde, times, remat=remat))
  return lambda noise, momentum_mev: generate(noise, {"momentum_mev": momentum_mev})


@pytest.mark.slow  # test_through_a_sampler_with_a_known_score does it without a network
@pytest.mark.third_party  # flax: float32 constants among float64 numbers
def test_through_a_network_and_a_sampler(x64):
  """In units of 400 MeV/c, so that all numbers are of order one."""
  rng = np.random.default_rng(4)
  noise, weights = jnp.asarray(rng.normal(size=(2, 4, 4, 3))), jnp.asarray(rng.normal(size=(2, 4, 4)))
  condition = jnp.asarray(rng.normal(size=(2, 3)) + np.array([0.5, -0.5, 0.7]))
  generate = unet_generate()
  assert_modes_agree(lambda c: (weights * generate(noise, 400.0 * c)).sum(axis=(1, 2)), condition)


@pytest.mark.slow  # test_rematerialisation_changes_nothing does it without a network
@pytest.mark.third_party  # flax: float32 constants among float64 numbers
def test_rematerialisation_of_a_network(x64):
  noise, condition = jnp.ones((2, 4, 4, 3)), jnp.asarray([[0.5, -0.5, 0.7], [0.1, 0.9, 0.2]])
  plain, again = (jax.jit(
      make_value_and_grad(lambda c, g=unet_generate(remat=remat): g(noise, 400.0 * c).sum(axis=(1, 2)),
                          mode="reverse"))(condition, full_basis(condition))[1] for remat in (False, True))
  np.testing.assert_allclose(again, plain, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_gradient_of_a_sum_is_that_of_reverse_mode():
  """Forward through the generator and backward through the distance, against jax.grad of the whole."""
  views, bounds = ("xy",), toy.KINETIC_RANGE_MEV
  mirrored = toy.imager(0.02, mirrored=True).generate
  objective = make_objective(mirrored, emd.make_emd(**emd.DESCENT), views=views, num_pixels=64,
                             settings=Comparison(charge_weight_px=5.0, charge_tolerance=float("inf")))
  truth, start = (jnp.asarray(toy.random_momenta(4, seed=s)) for s in (3, 4))
  noise = 0.5 * jax.random.normal(jax.random.key(0), (2, 1, 1, *toy.LATENT_SHAPE))
  draw = lambda hypothesis, noise: generate_views(mirrored, noise, chart.to_momentum(hypothesis, bounds),
                                                  views)
  targets = jax.jit(objective.prepare)(sum_tracks(toy.straight_images(truth, views)[:, :, None], 2)[:, :, 0])
  hypothesis = chart.from_momentum(start, bounds)
  tangents = chart.tangent_basis(hypothesis)
  value, gradient = jax.jit(make_mixed_value_and_grad(draw, objective.compare, 2))(
      hypothesis, tangents, targets, noise)
  whole = lambda x, *args: objective.compare(sum_tracks(draw(x, args[1]), 2), args[0])
  reverse = jax.jit(make_value_and_grad(whole, mode="reverse"))
  value_whole, gradient_whole = reverse(hypothesis, tangents, targets, noise)
  assert value.shape == (2,) and value[0] != value[1]
  np.testing.assert_allclose(value, value_whole, rtol=1e-5)
  np.testing.assert_allclose(gradient, gradient_whole, rtol=2e-3, atol=2e-3)
