"""The chart against closed forms in numpy, finite differences and moments of the uniform sphere."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.inference import chart

MASS_MEV = 938.27209  # PDG 2024
RANGE_MEV = (48.0, 103.0)


def kinetic(momentum_mev):
  """T in MeV from momenta [b 3], in float64."""
  return np.sqrt(np.sum(np.asarray(momentum_mev, float) ** 2, -1) + MASS_MEV**2) - MASS_MEV


def momenta(kinetic_mev, seed=0):
  """Momenta [b 3] of the kinetic energies [b] in random directions."""
  kinetic_mev = np.asarray(kinetic_mev, float)
  direction = np.random.default_rng(seed).normal(size=(len(kinetic_mev), 3))
  direction /= np.linalg.norm(direction, axis=1, keepdims=True)
  return np.sqrt(kinetic_mev**2 + 2 * kinetic_mev * MASS_MEV)[:, None] * direction


def hypotheses(num=6, seed=0):
  """Hypotheses [num 4], unit directions and logits within 3, in numpy float64."""
  rng = np.random.default_rng(seed)
  direction = rng.normal(size=(num, 3))
  return np.concatenate(
      [direction / np.linalg.norm(direction, axis=1, keepdims=True),
       rng.uniform(-3, 3, (num, 1))], 1)


def test_momentum_of_a_hypothesis_in_closed_form(x64):
  h = hypotheses()
  energy = RANGE_MEV[0] + (RANGE_MEV[1] - RANGE_MEV[0]) / (1.0 + np.exp(-h[:, 3]))
  want = np.sqrt((energy + MASS_MEV) ** 2 - MASS_MEV**2)[:, None] * h[:, :3]
  np.testing.assert_allclose(chart.to_momentum(jnp.asarray(h), RANGE_MEV), want, rtol=1e-12)
  longer = h * np.array([2.5, 2.5, 2.5, 1.0])
  np.testing.assert_allclose(chart.to_momentum(jnp.asarray(longer), RANGE_MEV), want, rtol=1e-12)


def test_inverse_inside_the_range():
  p = momenta(np.linspace(50.0, 101.0, 32)).astype(np.float32)
  np.testing.assert_allclose(chart.to_momentum(chart.from_momentum(jnp.asarray(p), RANGE_MEV), RANGE_MEV), p,
                             rtol=1e-5, atol=1e-2)


def test_outside_the_range_energy_is_clamped_and_direction_kept():
  p = momenta([1.0, 20.0, 47.9, 103.1, 400.0]).astype(np.float32)
  back = chart.to_momentum(chart.from_momentum(jnp.asarray(p), RANGE_MEV), RANGE_MEV)
  width = RANGE_MEV[1] - RANGE_MEV[0]
  low, high = RANGE_MEV[0] + 0.02 * width, RANGE_MEV[1] - 0.02 * width
  np.testing.assert_allclose(kinetic(back), [low, low, low, high, high], rtol=1e-5)
  unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
  np.testing.assert_allclose(unit(np.asarray(back)), unit(p), atol=1e-6)
  slopes = jax.vmap(jax.grad(lambda h: chart.to_momentum(h[None], RANGE_MEV).sum()))(
      chart.from_momentum(jnp.asarray(p), RANGE_MEV))
  assert np.all(np.abs(slopes[:, 3]) > 0.1)  # alive: a descent can come back


@pytest.mark.parametrize("logit", [-1e3, -60.0, 60.0, 1e3])
def test_no_logit_leaves_the_range(logit):
  h = jnp.asarray([[0.0, 0.6, 0.8, logit]])
  p = chart.to_momentum(h, RANGE_MEV)
  assert RANGE_MEV[0] - 1e-3 <= kinetic(p)[0] <= RANGE_MEV[1] + 1e-3
  assert np.all(np.isfinite(jax.jacobian(lambda x: chart.to_momentum(x, RANGE_MEV))(h)))


def test_tangents_are_orthonormal():
  h = np.concatenate([hypotheses(), [[1.0, 0, 0, 0], [0, -1.0, 0, 2.0], [0, 0, 1.0, -1.0]]])
  basis = chart.tangent_basis(jnp.asarray(h, jnp.float32))
  assert basis.shape == (chart.NUM_TANGENTS, len(h), 4)
  gram = np.einsum("kbd,lbd->bkl", basis, basis)
  np.testing.assert_allclose(gram, np.broadcast_to(np.eye(3), gram.shape), atol=1e-6)
  np.testing.assert_allclose(np.einsum("kbd,bd->kb", basis[:, :, :3], h[:, :3]), 0.0, atol=1e-6)


def test_tangents_touch_the_sphere(x64):
  """A short step along a tangent turns the momentum by the step (first two) or leaves its direction alone
  (third)."""
  h, step = jnp.asarray(hypotheses()), 1e-4
  p = np.asarray(chart.to_momentum(h, RANGE_MEV))
  for number, tangent in enumerate(chart.tangent_basis(h)):
    moved = [
        np.asarray(chart.to_momentum(chart.retract(h + sign * step * tangent), RANGE_MEV)) for sign in (1, -1)
    ]
    slope = (moved[0] - moved[1]) / (2 * step)
    length = np.linalg.norm(p, axis=1)
    if number < 2:
      np.testing.assert_allclose(np.linalg.norm(slope, axis=1), length, rtol=1e-7)
      np.testing.assert_allclose(np.sum(slope * p, axis=1) / length**2, 0.0, atol=1e-7)
    else:
      np.testing.assert_allclose(np.linalg.norm(np.cross(slope, p), axis=1) / length**2, 0.0, atol=1e-9)
      assert np.all(np.sum(slope * p, axis=1) > 0)


def test_retract():
  h = jnp.asarray(hypotheses() * np.array([3.0, 3.0, 3.0, 1.0]), jnp.float32)
  back = chart.retract(h)
  np.testing.assert_allclose(np.linalg.norm(back[:, :3], axis=1), 1.0, rtol=1e-6)
  np.testing.assert_allclose(back[:, :3] * 3.0, h[:, :3], rtol=1e-5)
  np.testing.assert_array_equal(back[:, 3], h[:, 3])
  np.testing.assert_allclose(chart.retract(back), back, atol=1e-7)


def test_random_hypotheses_are_uniform():
  """First and second moments of the direction (variances 1/3 and 4/45, 1/15) and of the energy, to 4 standard
  errors."""
  num = 20_000
  h = chart.random_hypotheses(jax.random.key(0), num)
  n = np.asarray(h[:, :3], float)
  np.testing.assert_allclose(np.linalg.norm(n, axis=1), 1.0, rtol=1e-5)
  np.testing.assert_allclose(n.mean(0), 0.0, atol=4 * np.sqrt(1 / 3 / num))
  second = n.T @ n / num
  np.testing.assert_allclose(np.diag(second), 1 / 3, atol=4 * np.sqrt(4 / 45 / num))
  np.testing.assert_allclose(second[np.triu_indices(3, 1)], 0.0, atol=4 * np.sqrt(1 / 15 / num))
  # each component of a uniform direction is uniform in [-1, 1] (Archimedes): its quartiles
  for share in (0.25, 0.75):
    np.testing.assert_allclose(np.quantile(n, share, axis=0), 2 * share - 1,
                               atol=4 * 2 * np.sqrt(share * (1 - share) / num))
  energy = kinetic(chart.to_momentum(h, RANGE_MEV))
  width = RANGE_MEV[1] - RANGE_MEV[0]
  assert RANGE_MEV[0] + 0.0199 * width < energy.min() and energy.max() < RANGE_MEV[1] - 0.0199 * width
  np.testing.assert_allclose(energy.mean(), np.mean(RANGE_MEV), atol=4 * 0.96 * width / np.sqrt(12 * num))


@pytest.mark.parametrize("name,dimension", [("sphere", 4), ("free", 3)])
def test_charts_with_and_without_vertex(name, dimension):
  """There and back, orthonormal tangents, and a vertex that starts at zero and is handed on as it is."""
  momentum = jnp.asarray([[200.0, -250.0, 120.0], [10.0, 20.0, -390.0]])
  plain, fitted = (chart.make_chart(name, (48.0, 102.0), vertex=vertex) for vertex in (False, True))
  assert plain.nuisance(plain.from_momentum(momentum)) == {}
  for coordinates, d in ((plain, dimension), (fitted, dimension + 3)):
    h = coordinates.from_momentum(momentum)
    assert h.shape == (2, d)
    np.testing.assert_allclose(coordinates.to_momentum(h), momentum, rtol=1e-4, atol=0.02)
    tangents = coordinates.tangent_basis(h)
    gram = np.einsum("kbd,lbd->bkl", tangents, tangents)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(len(tangents)), gram.shape), atol=1e-6)
    np.testing.assert_allclose(coordinates.retract(h), h, atol=1e-6)
  moved = fitted.from_momentum(momentum).at[:, -3:].set(jnp.asarray([[1.0, 2.0, 3.0]] * 2))
  np.testing.assert_array_equal(fitted.nuisance(moved)["vertex_mm"], [[1.0, 2.0, 3.0]] * 2)
  np.testing.assert_array_equal(fitted.retract(moved)[:, -3:], moved[:, -3:])
  np.testing.assert_allclose(fitted.to_momentum(moved), momentum, rtol=1e-4, atol=0.02)


def test_unknown_coordinates_are_named():
  with pytest.raises(ValueError, match=r"Unknown coordinates 'polar'; choose from \['free', 'sphere'\]"):
    chart.make_chart("polar", (48.0, 102.0))
