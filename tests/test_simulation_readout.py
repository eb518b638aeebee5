"""Detector response against closed forms, published numbers and finite differences."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.simulation import readout as lib

NOMINAL = lib.nominal_params()
QUIET = NOMINAL._replace(noise_electrons=0.0, threshold_electrons=0.0, saturation_electrons=float("inf"))


def test_electrons_per_mev():
  """larnd-sim: 4.237e4 electrons a MeV."""
  np.testing.assert_allclose(lib.electrons_from_energy(jnp.array(1.0), NOMINAL), 4.237e4, rtol=1e-4)


def test_recombination_of_minimum_ionising_particles():
  """About 0.7 at 0.5 kV/cm by both models (ArgoNeuT, JINST 8 P08005: they agree at low dE/dx)."""
  box, birks = (float(model(jnp.array(2.1), NOMINAL)) for model in (lib.modified_box, lib.birks))
  np.testing.assert_allclose([box, birks], 0.70, atol=0.012)
  np.testing.assert_allclose(box, np.log(0.93 + 0.63) / 0.63, rtol=1e-6)  # x = 0.207 * 2.1 / 0.69 = 0.63
  np.testing.assert_allclose(birks, 0.8 / (1 + 0.0486 * 2.1 / 0.69), rtol=1e-6)


def test_models_agree_up_to_stopping_protons():
  """ArgoNeuT describes 2 ... 24 MeV/cm by either; the canonical parameters of the two differ by less than 8
  %."""
  dedx = jnp.linspace(1.7, 24.0, 50)
  box, birks = lib.modified_box(dedx, NOMINAL), lib.birks(dedx, NOMINAL)
  np.testing.assert_allclose(box, birks, rtol=0.08)
  assert (np.diff(np.asarray(box)) < 0).all() and (np.diff(np.asarray(birks)) < 0).all()


def test_charge_of_the_box_model_inverts():
  """dE/dx = (exp(b W dQ/dx) - alpha) / b, the calorimetry formula of the experiments (b = beta / (rho E))."""
  dedx = jnp.linspace(1.0, 30.0, 20)
  charge = lib.electrons_from_energy(dedx, NOMINAL) * lib.modified_box(dedx, NOMINAL)
  b = NOMINAL.box_beta / (NOMINAL.density_g_cm3 * NOMINAL.electric_field_kv_cm)
  np.testing.assert_allclose((np.exp(b * 23.6e-6 * np.asarray(charge)) - NOMINAL.box_alpha) / b, dedx,
                             rtol=1e-4)


def test_recombination_at_the_edge():
  dedx = jnp.array([0.0, 0.1, 0.25])
  for params in (NOMINAL, NOMINAL._replace(box_alpha=1.0), NOMINAL._replace(box_alpha=1.1)):
    value, slope = jax.value_and_grad(lambda d, params=params: lib.modified_box(d, params).sum())(dedx)
    assert np.isfinite(value) and np.isfinite(np.asarray(slope)).all() and (
        lib.modified_box(dedx, params) >= 0).all()
  assert lib.modified_box(jnp.array(0.2), NOMINAL) == 0.0 and lib.modified_box(jnp.array(0.25), NOMINAL) > 0


def test_less_recombination_in_a_stronger_field():
  for model in (lib.modified_box, lib.birks):
    shares = [
        float(model(jnp.array(5.0), NOMINAL._replace(electric_field_kv_cm=field)))
        for field in (0.25, 0.5, 1.0)
    ]
    assert shares[0] < shares[1] < shares[2]


def test_lifetime():
  """ProtoDUNE-SP: 3.6 m of drift and 10 ms of lifetime leave exp(-2256 us / 10 ms) = 79.8 %."""
  params = NOMINAL._replace(electron_lifetime_us=10_000.0)
  np.testing.assert_allclose(lib.survival(jnp.array(3600.0), params), 0.798, atol=5e-4)
  np.testing.assert_allclose(lib.survival(jnp.array([0.0, -5.0]), params), 1.0)
  half = NOMINAL.electron_lifetime_us * np.log(2) * NOMINAL.electron_drift_velocity_mm_us
  np.testing.assert_allclose(lib.survival(jnp.array(half), NOMINAL), 0.5, rtol=1e-5)
  assert lib.survival(jnp.array(1e4), NOMINAL._replace(electron_lifetime_us=float("inf"))) == 1.0


def test_diffusion():
  """MicroBooNE: 3.74 cm2/s, 2.56 m at 1.098 mm/us widen a pulse by 1.32 mm = 1.20 us; and sqrt(t)."""
  params = NOMINAL._replace(longitudinal_diffusion_mm2_us=3.74e-4, electron_drift_velocity_mm_us=1.098)
  longitudinal, _ = lib.diffusion_sigma_mm(jnp.array(2560.0), params)
  np.testing.assert_allclose(longitudinal, np.sqrt(2 * 374.0 * 2560.0 / 1.098e6), rtol=1e-5)  # in mm2/s and s
  np.testing.assert_allclose(longitudinal / 1.098, 1.20, atol=0.01)
  near, far = (lib.diffusion_sigma_mm(jnp.array(d), NOMINAL) for d in (100.0, 400.0))
  np.testing.assert_allclose(far, 2 * np.array(near), rtol=1e-5)
  np.testing.assert_allclose(near[1] / near[0], np.sqrt(8.8 / 4.0), rtol=1e-5)
  slope = jax.grad(lambda d: sum(lib.diffusion_sigma_mm(d, NOMINAL)))(jnp.array(0.0))
  assert np.isfinite(slope)


def test_diffused_image_moments():
  """Charge is kept; first and second moments are those of the Gaussian, plus pitch^2 / 12 of the pixels."""
  position, sigma = jnp.array([[5.0, -7.0]]), jnp.array([[4.0, 8.0]])
  image = np.asarray(lib.diffused_image(position, jnp.array([1000.0]), sigma, num_pixels=64, pitch_mm=3.0),
                     float)
  centres = (np.arange(64) - 31.5) * 3.0
  np.testing.assert_allclose(image.sum(), 1000.0, rtol=1e-5)
  for axis in (0, 1):
    weights = image.sum(axis=1 - axis) / image.sum()
    mean = (weights * centres).sum()
    np.testing.assert_allclose(mean, position[0, axis], atol=1e-3)
    np.testing.assert_allclose((weights * (centres - mean)**2).sum(),
                               float(sigma[0, axis])**2 + 9 / 12, rtol=1e-3)


def test_noise_threshold_and_saturation():
  noisy = np.asarray(lib.add_noise(jax.random.key(0), jnp.zeros((200, 200)), NOMINAL))
  np.testing.assert_allclose(noisy.std(), 500.0, rtol=4 / np.sqrt(2 * 40_000))
  np.testing.assert_allclose(noisy.mean(), 0.0, atol=4 * 500 / 200)
  values = jnp.array([-100.0, 6999.0, 7000.0, 1e5, 2e5])
  np.testing.assert_allclose(lib.digitize(values, NOMINAL), [0.0, 0.0, 7000.0, 1e5, 1.8e5])
  slope = jax.vmap(jax.grad(lambda q: lib.digitize(q, NOMINAL)))(values)
  np.testing.assert_allclose(slope, [0.0, 0.0, 1.0, 1.0, 0.0])


@pytest.mark.parametrize("model", ["box", "birks", "none"])
def test_calibration_returns_the_energy_of_a_muon(model):
  energy = jnp.array([0.5, 2.0])
  charge = lib.electrons_from_energy(energy, NOMINAL) * lib.RECOMBINATION[model](jnp.full(
      2, lib.MIP_DEDX_MEV_CM), NOMINAL)
  np.testing.assert_allclose(lib.calibrated_mev(charge, NOMINAL, recombination=model), energy, rtol=1e-5)


def event(num=12, seed=0):
  rng = np.random.default_rng(seed)
  return (jnp.asarray(rng.uniform(-60, 60, (num, 3)),
                      jnp.float32), jnp.asarray(rng.exponential(size=num), jnp.float32),
          jnp.asarray(rng.uniform(2, 20, num), jnp.float32))


def test_readout_is_the_product_of_its_parts():
  position, edep, dedx = event()
  readout = jax.jit(lib.make_readout(QUIET, drift_axis=0, drift_mm=400.0, num_pixels=128))
  image = readout(jax.random.key(0), position, edep, dedx)
  expected = np.asarray(edep) * 1e6 / 23.6 * np.asarray(lib.modified_box(dedx, QUIET))
  expected = expected * np.exp(-(400.0 - np.asarray(position)[:, 0]) / 1.596 / 2200.0)
  np.testing.assert_allclose(image.sum(), expected.sum(), rtol=1e-5)


def test_drift_along_the_line_of_sight_widens_both_axes_alike():
  point = (jnp.array([[0.0, 0.0, 0.0]]), jnp.array([10.0]), jnp.array([5.0]))
  seen = lib.make_readout(QUIET, drift_axis=2, drift_mm=3000.0, pitch_mm=0.2)(jax.random.key(0), *point)
  np.testing.assert_allclose(seen, seen.T, rtol=1e-4, atol=1e-3)
  side = lib.make_readout(QUIET, drift_axis=1, drift_mm=3000.0, pitch_mm=0.2)(jax.random.key(0), *point)
  side = np.asarray(side, float)
  spread = [(side.sum(axis=1 - axis) * (np.arange(64) - 31.5)**2).sum() for axis in (0, 1)]
  np.testing.assert_allclose(spread[0] / spread[1], 8.8 / 4.0, rtol=0.02)  # transverse over longitudinal


def test_gradients(x64):
  """In energies, positions, dE/dx and every parameter of the physics, against central differences."""
  position, edep, dedx = (jnp.asarray(np.asarray(a), jnp.float64) for a in event(4))
  weights = jnp.asarray(np.random.default_rng(1).normal(size=(32, 32)))
  physics = [name for name in lib.ReadoutParams._fields if not name.endswith("_electrons")]

  @functools.partial(jax.jit, static_argnums=1)
  def total(values, model):
    params = QUIET._replace(**dict(zip(physics, values["params"])))
    distance = 300.0 - values["position"][:, 0]
    charge = lib.electrons_from_energy(values["edep"], params) * lib.survival(distance, params)
    charge = charge * lib.RECOMBINATION[model](values["dedx"], params)
    sigma = jnp.stack(lib.diffusion_sigma_mm(distance, params), axis=-1)
    image = lib.diffused_image(values["position"][:, :2], charge, sigma + 3.0, num_pixels=32, pitch_mm=5.0)
    return jnp.vdot(weights, image) * 1e-4

  values = dict(params=jnp.array([getattr(QUIET, name) for name in physics]), position=position, edep=edep,
                dedx=dedx)
  for model in ("box", "birks"):
    gradient = jax.jit(jax.grad(total), static_argnums=1)(values, model)
    for name in values:
      flat = values[name].ravel()
      for i in range(len(flat)):
        step = 1e-5 * max(abs(float(flat[i])), 1e-3)
        shifted = [{**values, name: flat.at[i].add(s).reshape(values[name].shape)} for s in (step, -step)]
        difference = (total(shifted[0], model) - total(shifted[1], model)) / (2 * step)
        np.testing.assert_allclose(gradient[name].ravel()[i], difference, rtol=1e-5, atol=1e-7)


def test_ranges():
  for name in lib.ReadoutParams._fields:
    value = getattr(lib.PARAMETERS, name)
    assert value.down < value.nominal < value.up, name
    for side in ("down", "up"):
      varied = lib.varied_params(name, side)
      lib.check_params(varied)
      assert getattr(varied, name) == getattr(value, side)
      assert varied._replace(**{name: value.nominal}) == NOMINAL


@pytest.mark.parametrize("changes,message", [
    (dict(electron_lifetime_us=0.0), "electron_lifetime_us must be positive and finite .*; got 0.0"),
    (dict(electric_field_kv_cm=-0.5), "electric_field_kv_cm must be positive .* got -0.5"),
    (dict(noise_electrons=-1.0), "noise_electrons must be 0 or positive .* got -1.0"),
    (dict(box_beta=float("nan")), "box_beta must be positive .* got nan"),
    (dict(density_g_cm3=float("inf")), "density_g_cm3 .* got inf"),
    (dict(threshold_electrons=2e5), "threshold_electrons must be below saturation_electrons; got 200000.0"),
])
def test_bad_parameters_are_named(changes, message):
  with pytest.raises(ValueError, match=message):
    lib.make_readout(NOMINAL._replace(**changes))


@pytest.mark.parametrize("arguments,message", [
    (dict(recombination="boxx"), r"Unknown recombination 'boxx'; choose from \['birks', 'box', 'none'\]"),
    (dict(drift_axis=3), "drift_axis must be 0, 1 or 2; got 3"),
    (dict(drift_mm=-1.0), "must not be negative; got -1.0"),
    (dict(pixel_sigma_mm=-1.0), "got 500.0 and -1.0"),
    (dict(num_pixels=0), "num_pixels=0"), (dict(pitch_mm=0.0), "pitch_mm=0.0"),
])
def test_bad_arguments_are_named(arguments, message):
  with pytest.raises(ValueError, match=message):
    lib.make_readout(**arguments)


def test_unknown_names():
  with pytest.raises(ValueError,
                     match="Unknown readout parameter 'lifetime'; choose from .*electron_lifetime_us"):
    lib.varied_params("lifetime", "up")
  with pytest.raises(ValueError, match="'down' or 'up'; got 'left'"):
    lib.varied_params("box_alpha", "left")
  with pytest.raises(ValueError, match="Unknown recombination 'x'"):
    lib.calibrated_mev(jnp.ones(2), NOMINAL, recombination="x")
