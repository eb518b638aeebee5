"""The fast transport: conserved energy, closed forms of straggling and scattering, gradients, devices,
Geant4."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax import parallel
from lartpc_jax.simulation import counter_random, fast, scattering, steps, stopping

PROTON = stopping.PARTICLES["proton"]
UP = jnp.array([0.0, 0.0, 1.0])
NUM = 4000


def simulate(simulator, kinetic_mev, num=NUM, seed=0, direction=UP):
  def one(key):
    return simulator.transport(jnp.asarray(kinetic_mev, jnp.float32), direction, simulator.sample_noise(key))
  track = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(seed), num))
  return jax.tree.map(lambda x: np.asarray(x, np.float64), track)


def deposits(track):
  return np.diff(track.deposited_mev, axis=-1)


def lengths(track):
  return np.linalg.norm(np.diff(track.position_mm, axis=1), axis=2)


@pytest.fixture(scope="module")
def proton():
  return fast.make_fast_simulator()


@pytest.fixture(scope="module")
def tracks(proton):
  return simulate(proton, 100.0)


def still_noise(num_steps):
  return fast.Noise(path=jnp.zeros(num_steps), angle=jnp.zeros((2, num_steps)),
                    hinge=jnp.full(num_steps, 0.5), nuclear=jnp.full(2, 0.5))


@pytest.mark.parametrize("particle,kinetic_mev", [("proton", 50.0), ("muon", 60.0),
                                                  ("electron_approximate", 30.0)])
def test_deposits_add_up_to_the_energy(particle, kinetic_mev):
  track = simulate(fast.make_fast_simulator(particle, num_steps=40), kinetic_mev, num=50)
  np.testing.assert_allclose(deposits(track).sum(1), kinetic_mev, rtol=2e-6)
  assert np.all(deposits(track) >= 0) and np.isfinite(track.position_mm).all()


@pytest.mark.parametrize("scale", [1.0, stopping.GEANT4_SCALE])
def test_without_noise_it_is_the_continuous_slowing_down(scale):
  simulator = fast.make_fast_simulator(stopping_scale=scale)
  kinetic = np.array([20.0, 50.0, 100.0])
  noise = still_noise(simulator.tables.num_steps)
  run = jax.jit(jax.vmap(lambda t: simulator.transport(t, UP, noise)))
  track = jax.tree.map(lambda x: np.asarray(x, float), run(jnp.asarray(kinetic, jnp.float32)))
  length = stopping.csda_range(kinetic, PROTON, scale=scale)
  np.testing.assert_allclose(track.position_mm[:, -1, :2], 0.0, atol=1e-6)
  # steps of median length, below their mean
  np.testing.assert_allclose(track.position_mm[:, -1, 2], length, rtol=1.2e-2)
  left = kinetic - track.deposited_mev[:, 8]
  travelled = length - stopping.csda_range(left, PROTON, scale=scale)
  np.testing.assert_allclose(track.position_mm[:, 8, 2], travelled, rtol=1.5e-2)


def test_mean_path_and_range_straggling(proton, tracks):
  """The variance of the range is the integral of (d Omega^2/dx) / S^3 over energy (Bohr 1948; ICRU 49, sect.
  4.3)."""
  path = lengths(tracks).sum(1)
  energy = np.linspace(0.01, 100, 100_000)
  loss = stopping.GEANT4_SCALE * stopping.stopping_power(energy, PROTON)
  variance = np.mean(stopping.straggling_power(energy, PROTON) / loss**3) * 100
  mean = stopping.csda_range(100.0, PROTON, scale=stopping.GEANT4_SCALE)
  assert abs(path.mean() - mean) < 4 * np.sqrt(variance / NUM) + 1e-3 * mean
  assert abs(path.var() / variance - 1) < 4 * np.sqrt(2 / NUM) + 0.02
  assert 0.010 < path.std() / path.mean() < 0.0125  # Geant4: 1.15 %


def test_energy_loss_in_a_thin_slab_is_bohrs(tracks):
  """Mean and variance of the loss in 5 mm of path. The slab is an interpolation between nodes of energy."""
  travelled = np.concatenate([np.zeros((NUM, 1)), np.cumsum(lengths(tracks), axis=1)], axis=1)
  lost = np.concatenate([np.zeros((NUM, 1)), np.cumsum(deposits(tracks), axis=1)], axis=1)
  loss = np.array([np.interp(5.0, x, e) for x, e in zip(travelled, lost, strict=True)])
  energy = 100 - loss.mean() / 2
  mean = 5 * stopping.GEANT4_SCALE * stopping.stopping_power(energy, PROTON)
  variance = 5 * stopping.straggling_power(energy, PROTON)
  assert abs(loss.mean() - mean) < 4 * np.sqrt(variance / NUM) + 0.002 * mean
  assert abs(loss.var() / variance - 1) < 4 * np.sqrt(2 / NUM) + 0.06  # nodes and interpolation


@pytest.fixture(scope="module")
def slab():
  """Projected places and angles after 10 steps, and their depth, about 12 mm, of 100 MeV protons."""
  steps = 10
  track = simulate(fast.make_fast_simulator(scattering_scale=1.0, num_steps=96), 100.0, num=12_000, seed=3)
  place = track.position_mm[:, steps]
  following = track.position_mm[:, steps + 1] - place  # half of the next step's turn comes with it
  return place[:, :2], following[:, :2] / following[:, 2:], place[:, 2].mean()


def test_displacements_follow_fermi_and_eyges(slab):
  """<x^2> and <x theta> are the second and first moments of the scattering power over the way left (Eyges
  1948).

  The power grows as (p v)^-2 (Rossi & Greisen 1941) while 0.75 MeV/mm is lost: at constant power <x^2> =
  <theta^2> z^2 / 3.
  """
  place, angle, depth = slab
  left = 1.0 - (np.arange(1000) + 0.5) / 1000
  energy = 100.0 - 0.75 * depth * (1.0 - left)
  power = ((energy + 938.272) / (energy * (energy + 2 * 938.272))) ** 2
  angle2 = np.mean(angle**2) * 10 / 10.33  # the angle is seen half a step on
  np.testing.assert_allclose(
      np.mean(place**2) / (angle2 * depth**2), np.average(left**2, weights=power), rtol=0.04)
  np.testing.assert_allclose(
      np.mean(place * angle) / (angle2 * depth), np.average(left, weights=power), rtol=0.04)


def test_core_of_the_scattering_is_highlands(slab):
  """Central 68 % in 12 mm within 6 % of the PDG's formula, good to 11 % by itself, for the unscaled
  theory."""
  _, angle, depth = slab
  core = 0.5 * np.diff(np.percentile(angle, [15.87, 84.13]))[0]
  energy = 100 - 0.5 * depth * stopping.stopping_power(100.0, PROTON)
  beta2 = 1.0 - (938.272 / (energy + 938.272)) ** 2
  momentum = np.sqrt(energy * (energy + 2 * 938.272))
  x = depth * 10.5 / 10 / stopping.LIQUID_ARGON.radiation_length_mm
  # Lynch & Dahl 1991
  highland = 13.6 / (momentum * np.sqrt(beta2)) * np.sqrt(x) * (1.0 + 0.038 * np.log(x / beta2))
  assert abs(core / highland - 1) < 0.06


def test_second_moment_of_a_step():
  """The quantile function, integrated: chi_c^2 (ln(theta_max^2 / chi_a^2) - 1), and the electrons' share."""
  kin = stopping.kinematics(90.0, PROTON)
  chi_c2 = 0.9 * scattering.characteristic_power(90.0, PROTON)
  step = jax.tree.map(jnp.float32, scattering.step_scattering(chi_c2, 90.0, PROTON))
  exponential = jnp.linspace(0.0, 30.0, 300_001)
  factor = scattering.deflection_per_noise(
      exponential, jax.tree.map(lambda x: jnp.broadcast_to(x, exponential.shape), step))
  squared = 2 * np.asarray(exponential, float) * np.asarray(factor, float)**2
  mean = np.sum(squared * np.exp(-np.asarray(exponential, float))) * 1e-4
  chi_a2 = scattering.screening_angle2(kin.momentum_mev, kin.beta2)
  electrons = (np.log((stopping.ELECTRON_MASS_MEV / PROTON.mass_mev)**2 / chi_a2) - 1) / 18
  expected = chi_c2 * (np.log(scattering.largest_angle2(kin.momentum_mev) / chi_a2) - 1 + electrons)
  np.testing.assert_allclose(mean, expected, rtol=0.03)


def test_tail_of_a_step_is_rutherfords():
  """The chance of an angle beyond theta is chi_c^2 / theta^2 but for the nucleus, which cuts it off
  smoothly."""
  chi_c2 = float(0.9 * scattering.characteristic_power(90.0, PROTON))
  step = jax.tree.map(lambda x: jnp.full(1, x, jnp.float32), scattering.step_scattering(chi_c2, 90.0, PROTON))
  factor = scattering.deflection_per_noise(jnp.full(1, 7.5), step)
  theta2 = 15.0 * float(factor[0])**2
  cut = 1 / (1 +
             np.exp(7.5) * chi_c2 / scattering.largest_angle2(stopping.kinematics(90.0, PROTON).momentum_mev))
  assert cut > 0.85
  np.testing.assert_allclose(np.exp(-7.5) * theta2 / chi_c2, cut, atol=0.03)  # what is left of the core


def test_the_seed_decides(proton):
  first, again, other = (simulate(proton, 80.0, num=20, seed=seed) for seed in (5, 5, 6))
  np.testing.assert_array_equal(first.position_mm, again.position_mm)
  assert np.all(np.any(first.position_mm[:, 1:] != other.position_mm[:, 1:], axis=(1, 2)))


def test_tracks_turn_with_their_direction(proton):
  """Lengths and deposits do not depend on the direction; the start is along it."""
  direction = jnp.array([0.6, -0.48, 0.64])
  tilted, upright = simulate(proton, 80.0, num=20, direction=direction), simulate(proton, 80.0, num=20)
  np.testing.assert_allclose(lengths(tilted), lengths(upright), rtol=1e-3, atol=1e-4)
  rotated = np.einsum("ij,nkj->nki", np.asarray(fast.initial_frame(direction)), tilted.position_mm)
  np.testing.assert_allclose(rotated, upright.position_mm, atol=1e-3)


@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), (0.6, -0.48, 0.64), (0.36, 0.48, -0.8)])
def test_frames_are_orthonormal(direction):
  frame = fast.initial_frame(jnp.array(direction))
  np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-6)
  np.testing.assert_array_equal(frame[2], jnp.array(direction))


def test_directions_are_isotropic():
  words = counter_random.words(jax.random.key(0), jnp.arange(20_000, dtype=jnp.uint32), 2)
  d = np.asarray(fast.isotropic_direction(words)).T
  np.testing.assert_allclose(np.linalg.norm(d, axis=1), 1.0, atol=1e-5)
  np.testing.assert_allclose(d.mean(0), 0.0, atol=4 / np.sqrt(3 * len(d)))
  np.testing.assert_allclose(d.T @ d / len(d), np.eye(3) / 3, atol=4 * np.sqrt(4 / 45 / len(d)))


@pytest.mark.usefixtures("x64")
def test_gradient_is_that_of_finite_differences():
  """In energy and direction, both modes, for a moment of the deposits that feels range and scattering."""
  simulator = fast.make_fast_simulator(num_steps=40)
  noise = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), simulator.sample_noise(jax.random.key(2)))
  weights = jnp.array([1.0, -2.0, 0.5])
  def moment(inputs):
    direction = inputs[1:] / jnp.linalg.norm(inputs[1:])
    track = simulator.transport(inputs[0], direction, noise)
    middle = 0.5 * (track.position_mm[1:] + track.position_mm[:-1])
    return jnp.sum(jnp.diff(track.deposited_mev) * jnp.sin(0.05 * (middle @ weights)))
  moment = jax.jit(moment)
  at = jnp.array([83.0, 0.3, -0.5, 0.7])
  reverse, forward = jax.grad(moment)(at), jax.jacfwd(moment)(at)
  step = 1e-6
  finite = [(moment(at + step * e) - moment(at - step * e)) / (2 * step) for e in jnp.eye(4)]
  np.testing.assert_allclose(reverse, forward, rtol=1e-8)
  np.testing.assert_allclose(reverse, finite, rtol=2e-4, atol=1e-5)


def test_batches_are_single_events():
  """Events as the last axis, in segments shorter than the steps, are those that each number gives alone."""
  simulator = fast.make_fast_simulator(segment_mm=1.0, nuclear=True)
  key, numbers = jax.random.key(9), jnp.array([3, 70_000, 4_000_000_000], jnp.uint32)
  kinetic, direction = jnp.array([55.0, 70.0, 99.0]), jnp.stack([UP, -UP[::-1], UP[::-1]], axis=-1)
  batch = jax.jit(lambda n: simulator.transport(kinetic, direction, simulator.sample_noise(key, n)))(numbers)
  longest = np.linalg.norm(np.diff(batch.position_mm, axis=0), axis=1).max()
  # 1 mm is the limit at 120 MeV, the end of the tables; at 99 MeV steps are (99 / 120)^1.77 = 0.71 of that
  assert 0.6 < longest < 1.0 and batch.position_mm.shape == (*batch.deposited_mev.shape[:1], 3, 3)
  single = jax.jit(lambda energy, unit, n: simulator.transport(energy, unit, simulator.sample_noise(key, n)))
  for i in range(3):
    alone = single(kinetic[i], direction[:, i], numbers[i])
    np.testing.assert_allclose(batch.position_mm[..., i], alone.position_mm, atol=2e-4)
    np.testing.assert_allclose(batch.deposited_mev[:, i], alone.deposited_mev, rtol=1e-5)


def test_other_energies_than_those_of_the_tables_are_nan(proton):
  noise = proton.sample_noise(jax.random.key(0))
  for kinetic, known in ((9.9, False), (10.0, True), (120.0, True), (121.0, False)):
    track = proton.transport(jnp.float32(kinetic), UP, noise)
    assert bool(jnp.isfinite(track.position_mm[-1]).all()) == known, kinetic


@pytest.mark.skipif(jax.device_count() < 4, reason="needs four devices")
def test_one_device_equals_four(proton):
  keys = jax.random.split(jax.random.key(4), 24)
  one = lambda key: proton.transport(jnp.float32(70.0), UP, proton.sample_noise(key))
  results = [
      parallel.make_device_map(jax.vmap(one), chunk_size=3, mesh=parallel.make_mesh(jax.devices()[:n]))(keys)
      for n in (1, 4)
  ]
  np.testing.assert_allclose(results[0].position_mm, results[1].position_mm, atol=1e-5)
  np.testing.assert_array_equal(results[0].deposited_mev, results[1].deposited_mev)


def test_nuclear_interactions_end_tracks():
  """As many as the optical depth says, 1 - exp(-depth); what is left then is lost or local, never gained."""
  simulator = fast.make_fast_simulator(nuclear=True)
  track = simulate(simulator, 100.0, num=NUM, seed=7)
  total = deposits(track).sum(1)
  _, kinetic, _, _, depth = steps.integrals(PROTON, stopping.GEANT4_SCALE, scattering.GEANT4_SCALE)
  depth = np.interp(100.0, kinetic, depth)
  chance = 1 - np.exp(-depth)
  lost = total < 100.0 * (1 - 1e-5)
  assert abs(lost.mean() - chance) < 4 * np.sqrt(chance / NUM) + 0.002  # a few interact at the very end
  assert 0.08 < chance < 0.12 and total.max() < 100.001 and total.min() > 0
  ends = np.array([np.flatnonzero(e)[-1] for e in deposits(track)[lost]])
  assert ends.min() < 5 and ends.max() > 12  # anywhere along the track


@pytest.mark.parametrize("kwargs,match", [
    (dict(particle="pion"), "Unknown particle 'pion'"),
    (dict(num_steps=4), "num_steps must be at least 8; got 4"),
    (dict(max_kinetic_mev=0.5), "must be in order and within 0.1 to 2000; got 10 and 0.5"),
    (dict(max_kinetic_mev=5000.0), "got 10 and 5000"), (dict(min_kinetic_mev=0.01), "got 0.01 and 120"),
    (dict(segment_mm=0.0), "segment_mm must be positive; got 0.0"),
    (dict(stopping_scale=0.0), "stopping_scale must be positive"),
    (dict(scattering_scale=float("nan")), "scattering_scale must be positive")])
def test_bad_arguments_are_named(kwargs, match):
  with pytest.raises(ValueError, match=match):
    fast.make_fast_simulator(**kwargs)
