"""Identification on an analytic generator of two particle types: one stops with a peak, the other goes five
times as far and loses its energy evenly."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.geometry.rasterize import ImageSpec, rasterize
from lartpc_jax.inference import chart as charts
from lartpc_jax.inference.chart import Species
from lartpc_jax.inference.identify import make_identify
from lartpc_jax.inference.imaging import Imager
from lartpc_jax.inference.settings import Comparison, FitSettings, Report, Screening, Stage
from lartpc_jax.transport import emd as emd_lib
from lartpc_jax.units import MASS_MEV, kinetic_from_momentum, momentum_from_kinetic
from tests import toy_generator as toy

SPECIES = Species(("proton", "mu-"), (1, 0), (MASS_MEV[2212], MASS_MEV[13]), ((55.0, 95.0), (25.0, 55.0)))
SPEC = ImageSpec()
NUM = 48
EDGE = np.linspace(0.0, 1.0, NUM + 1)
DEPTH = (0.5 * (EDGE[1:] + EDGE[:-1])).astype(np.float32)
SHARES = np.stack([np.full(NUM, 1.0 / NUM), -np.diff((1.0 - EDGE) ** (1.0 / toy.POWER))]).astype(np.float32)


def generate(noise, cond, pose=None):
  """Label 1 is the proton, 0 the muon: not the order of SPECIES, as in weights that know more types."""
  del noise, pose

  def draw(p, label):
    magnitude = jnp.linalg.norm(p)
    mass = jnp.where(label == 1, SPECIES.mass_mev[0], SPECIES.mass_mev[1])
    kinetic = kinetic_from_momentum(magnitude, mass)
    range_mm = toy.RANGE_100_MM * (kinetic / 100.0) ** toy.POWER * jnp.where(label == 1, 1.0, 5.0)
    return rasterize(range_mm * jnp.asarray(DEPTH)[:, None] * (p / magnitude)[None],
                     kinetic * jnp.asarray(SHARES)[label], SPEC)
  return jax.vmap(draw)(cond["momentum_mev"], cond["particle"])


def momenta(num, which, seed):
  """Momenta [num 3] of a type of SPECIES, within its energies."""
  draw = np.random.default_rng(seed)
  direction = draw.normal(size=(num, 3))
  direction[:, 2] *= 0.3  # mostly seen from the side: one view then knows the length
  low, high = SPECIES.kinetic_range_mev[which]
  magnitude = np.asarray(momentum_from_kinetic(jnp.asarray(draw.uniform(low + 2, high - 2, num), jnp.float32),
                                               SPECIES.mass_mev[which]))
  direction /= np.linalg.norm(direction, axis=1, keepdims=True)
  return (magnitude[:, None] * direction).astype(np.float32)


def identification(*, refine, num_steps=4):
  settings = FitSettings(
      screening=Screening(num_candidates=200, num_screened=6), comparison=Comparison(charge_tolerance=np.inf),
      second=Stage(num_steps=num_steps, num_draws=1, learning_rate=0.08, num_averaged=1, vertex_power=0.0),
      report=Report(num_draws=1))
  imager = Imager(generate, generate, (1, 1, 1), 64, (0.0, 1.0))
  distance = emd_lib.make_emd(ot_epsilon_px=0.1, num_iterations=6, num_pixels=48)
  return make_identify(imager, SPECIES, ("xy",), settings, distance, refine=refine)


def test_each_hypothesis_has_the_energies_and_the_mass_of_its_type():
  chart = charts.species_chart(SPECIES)
  h = charts.random_hypotheses(jax.random.key(0), 40)
  p = np.asarray(chart.to_momentum(h), float)
  for which, (low, high) in enumerate(SPECIES.kinetic_range_mev):
    kinetic = np.sqrt((p[which::2]**2).sum(1) + SPECIES.mass_mev[which]**2) - SPECIES.mass_mev[which]
    assert low < kinetic.min() < low + 0.3 * (high - low) and high - 0.3 * (high - low) < kinetic.max() < high
  np.testing.assert_array_equal(chart.nuisance(h)["told"]["particle"], [1, 0] * 20)
  np.testing.assert_allclose(chart.from_momentum(chart.to_momentum(h)), h, atol=2e-3)


@pytest.mark.parametrize("mass_mev", [0.0, 0.511, 105.66])
def test_momentum_and_energy_of_other_masses_are_inverse(mass_mev):
  kinetic = jnp.array([10.0, 60.0])
  p = momentum_from_kinetic(kinetic, mass_mev)
  np.testing.assert_allclose(p, np.sqrt((np.array([10.0, 60.0]) + mass_mev)**2 - mass_mev**2), rtol=1e-5)
  np.testing.assert_allclose(kinetic_from_momentum(p, mass_mev), kinetic, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.third_party  # optax and ott
def test_the_right_type_is_nearer_and_a_descent_brings_it_nearer():
  truth = np.concatenate([momenta(4, 0, 3), momenta(4, 1, 4)])
  label = np.repeat([0, 1], 4)
  images = generate(None, {"momentum_mev": jnp.asarray(truth),
                           "particle": jnp.asarray(SPECIES.label)[label]})[:, None]
  with jax.debug_key_reuse(False):
    screened, refined = identification(refine=False), identification(refine=True)
    library = jax.jit(screened.draw_library)(jax.random.key(0))
    assert library.hypothesis.shape == (200, 2, 4) and library.images.shape == (200, 2, 1, 64, 64)
    near = jax.jit(screened.identify)(images, library, jax.random.key(1))
    found = jax.jit(refined.identify)(images, library, jax.random.key(1))
  rows = np.arange(8)
  for each in (near, found):
    objective = np.asarray(each.emd + 10.0 * each.charge)
    assert (objective.argmin(1) == label).all()
  np.testing.assert_array_equal(near.emd, near.near_emd[:, :, 0])
  assert (np.asarray(found.emd)[rows, label] < np.asarray(near.emd)[rows, label]).mean() > 0.7
  error = lambda each: np.linalg.norm((np.asarray(each.momentum_mev)[rows, label] - truth)[:, :2], axis=1)
  assert np.sum(error(found) < error(near)) >= 6  # of 8
  drawn = jax.jit(refined.draw)(found.momentum_mev, jax.random.key(2))
  assert drawn.shape == (8, 2, 1, 64, 64)
  np.testing.assert_allclose(drawn[rows, label].sum((1, 2, 3)), images.sum((1, 2, 3)), rtol=0.1)


def test_more_compared_than_there_are_is_named():
  imager = Imager(generate, generate, (1, 1, 1), 64, (0.0, 1.0))
  settings = FitSettings(screening=Screening(num_candidates=4, num_screened=6))
  with pytest.raises(ValueError, match="num_screened = 6 must be 1 to num_candidates = 4"):
    make_identify(imager, SPECIES, ("xy",), settings, emd_lib.make_emd(**emd_lib.DESCENT))
