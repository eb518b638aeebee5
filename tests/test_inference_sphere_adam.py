"""Adam on sphere x energy: the path turns with the axes, the energy is plain Adam, the moment stays
tangential."""
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lartpc_jax.inference import chart
from lartpc_jax.inference.sphere_adam import sphere_adam
from tests import toy_generator as toy

B1, B2 = 0.8, 0.95


def path(start, gradient_of, num_steps=8, **kwargs):
  """Hypotheses [s b 4] of steps along gradients."""
  tx = sphere_adam(optax.constant_schedule(0.1), b1=B1, b2=B2, **kwargs)
  state, hypothesis, found = tx.init(start), start, []
  for step in range(num_steps):
    gradient = jnp.asarray(gradient_of(step, hypothesis), jnp.float32)
    basis = chart.tangent_basis(hypothesis)
    tangent = jnp.einsum("kb,kbd->bd", jnp.einsum("kbd,bd->kb", basis, gradient), basis)
    update, state = tx.update(tangent, state, hypothesis)
    np.testing.assert_allclose(jnp.sum(update[:, :3] * hypothesis[:, :3], axis=1), 0.0, atol=1e-6)
    hypothesis = chart.retract(hypothesis + update)
    found.append(np.asarray(hypothesis))
  return np.stack(found)


@pytest.fixture
def start():
  return chart.from_momentum(jnp.asarray(toy.random_momenta(5, seed=0)), toy.KINETIC_RANGE_MEV)


def test_the_path_does_not_depend_on_the_axes(start):
  rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
  turn = lambda h: jnp.concatenate([h[:, :3] @ jnp.asarray(rotation.T, jnp.float32), h[:, 3:]], axis=1)
  pulls = np.random.default_rng(2).normal(size=(8, 5, 4))
  one = path(start, lambda step, h: pulls[step])
  other = path(turn(start), lambda step, h: turn(jnp.asarray(pulls[step], jnp.float32)))
  for a, b in zip(one, other, strict=True):
    np.testing.assert_allclose(turn(jnp.asarray(a)), b, atol=2e-4)


@pytest.mark.third_party  # optax
def test_the_energy_takes_the_steps_of_adam(start):
  pulls = np.random.default_rng(3).normal(size=(8, 5))
  ours = path(start, lambda step, h: np.concatenate([np.zeros((5, 3)), pulls[step][:, None]], axis=1))
  tx = optax.adam(0.1, b1=B1, b2=B2)
  x, state = start[:, 3], tx.init(start[:, 3])
  for step in range(8):
    update, state = tx.update(jnp.asarray(pulls[step], jnp.float32), state)
    x = x + update
    np.testing.assert_allclose(ours[step][:, 3], x, rtol=1e-4, atol=1e-5)


def test_the_first_step_turns_by_the_learning_rate_whatever_the_gradient(start):
  """Two degrees of freedom share one second moment, so the first turn is sqrt(2) times the rate in any
  direction."""
  for scale in (1e-3, 1.0, 1e3):
    moved = path(start, lambda step, h, s=scale: s * np.array([[1.0, 2.0, -0.5, 0.0]]).repeat(5, 0),
                 num_steps=1)[0]
    np.testing.assert_allclose(np.tan(np.radians(toy.angle_deg(moved[:, :3], start[:, :3]))), 0.1 * 2**0.5,
                               rtol=1e-3)


def test_a_steep_gradient_counts_no_more_than_clip_times_those_before(start):
  """A thousandfold last gradient, clipped, moves as far as one of 1.5 times the others; direction and energy
  apart."""
  usual = np.array([[1.0, 2.0, -0.5, 0.7]]).repeat(5, 0)
  moved = {}
  for name, factors, clip in (("spike", [1e3] * 4, 1.5), ("limit", [1.5] * 4, 1.5),
                              ("energy", [1.0] * 3 + [1e3], 1.5), ("energy limit", [1.0] * 3 + [1.5], None),
                              ("free", [1e3] * 4, None)):
    pulls = lambda step, h, f=factors: usual * (np.array([f]) if step == 3 else 1.0)
    moved[name] = path(start, pulls, num_steps=4, clip=clip)[-1]
  np.testing.assert_allclose(moved["energy"], moved["energy limit"], atol=1e-4)
  # the direction turns, so that its tangential gradients differ a little from step to step
  np.testing.assert_allclose(moved["spike"], moved["limit"], atol=0.01)
  assert np.abs(moved["free"] - moved["limit"]).max() > 0.02


def test_energy_has_its_own_rate():
  """A factor on the energy's learning rate scales its steps, and leaves the direction's alone."""
  hypothesis = chart.random_hypotheses(jax.random.key(0), 3)
  gradient = chart.tangent_basis(hypothesis).sum(0)
  steps = []
  for factor in (1.0, 0.1):
    tx = sphere_adam(lambda count: 0.05, b1=0.5, b2=0.9, energy_factor=factor)
    steps.append(tx.update(gradient, tx.init(hypothesis), hypothesis)[0])
  np.testing.assert_allclose(steps[1][:, :3], steps[0][:, :3], rtol=1e-6)
  np.testing.assert_allclose(steps[1][:, 3], 0.1 * steps[0][:, 3], rtol=1e-6)
