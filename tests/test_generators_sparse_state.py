"""Gap states and block maps: exact functions of the image, against loops in numpy."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.generators import sparse_state as lib
from lartpc_jax.geometry.symmetries import turn_pixels
from tests.toy_sources import sample_crops

GAP = lib.GapScale(threshold_mev=0.09, charge_scale_mev=0.1, gap=0.8, scale=0.5416)
BLOCKS = lib.BlockScale(size=4, lit_scale=0.6285, mean=3.34, mean_scale=0.2704)


@pytest.fixture(scope="module")
def images():
  crops = sample_crops()["image"][:32]
  return np.where(crops >= GAP.threshold_mev, crops, 0.0).astype(np.float32)


def map_by_loops(images):
  y = np.where(images > 0, GAP.gap + np.arcsinh(images.astype(np.float64) / GAP.charge_scale_mev), 0.0)
  out = np.zeros((len(y), 16, 16, 2))
  for b in range(len(y)):
    for i in range(16):
      for j in range(16):
        cell = y[b, 4 * i:4 * i + 4, 4 * j:4 * j + 4]
        lit = cell[cell > 0]
        if len(lit):
          out[b, i, j] = len(lit)**0.5 / BLOCKS.lit_scale, (lit.mean() - BLOCKS.mean) / BLOCKS.mean_scale
  return out


def test_images_come_back_and_zeros_exactly(images):
  state = lib.gap_state(jnp.asarray(images), GAP)
  back = np.asarray(lib.image_from_gap_state(state, GAP))
  np.testing.assert_array_equal(back == 0.0, images == 0.0)
  np.testing.assert_allclose(back, images, rtol=3e-5)
  assert float(state[state > 0].min()) >= GAP.faintest / GAP.scale - 1e-5  # the gap is empty


def test_pixels_below_the_threshold_are_empty():
  state = lib.gap_state(jnp.array([[[0.089, 0.09, 0.0, 2.0]]]), GAP)
  np.testing.assert_allclose(state[0, 0, :, 0] * GAP.scale,
                             [0.0, 0.8 + np.arcsinh(0.9), 0.0, 0.8 + np.arcsinh(20.0)], rtol=1e-6)


def test_noise_inside_half_the_gap_leaves_zeros_and_counts(images):
  state = lib.gap_state(jnp.asarray(images), GAP)
  noise = jax.random.uniform(jax.random.key(0), state.shape, minval=-1.0,
                             maxval=1.0) * 0.49 * GAP.faintest / GAP.scale
  back = lib.image_from_gap_state(state + noise, GAP)
  np.testing.assert_array_equal(back > 0.0, images > 0.0)
  assert float(jnp.where(back > 0.0, back, 1.0).min()) >= GAP.threshold_mev * 0.999


def test_the_edge_of_a_flat_spectrum_stays_flat():
  """States of a density that jumps at the threshold, smeared: reflection gives the density back."""
  random = np.random.default_rng(0)
  clean = GAP.faintest + 2.0 * random.random(400_000)
  drawn = (clean + 0.2 * random.normal(size=clean.shape)).astype(np.float32) / GAP.scale
  charge = np.asarray(lib.image_from_gap_state(jnp.asarray(drawn)[None, None, :, None], GAP))[0, 0]
  y = GAP.gap + np.arcsinh(charge / GAP.charge_scale_mev)
  share, _ = np.histogram(y, bins=5, range=(GAP.faintest, GAP.faintest + 1.0))
  np.testing.assert_allclose(share / len(clean), 0.1, atol=4 * (0.1 / len(clean))**0.5)


def test_maps_equal_loops_and_are_their_own_whole_map(images):
  state = lib.gap_state(jnp.asarray(images), GAP)
  found = lib.block_map(state, GAP, BLOCKS)
  np.testing.assert_allclose(found, map_by_loops(images), atol=2e-5)
  np.testing.assert_allclose(lib.whole_map(found, BLOCKS), found, atol=2e-5)
  lit = (images.reshape(-1, 16, 4, 16, 4) > 0).sum((2, 4))
  np.testing.assert_array_equal(lib.lit_pixels(found, BLOCKS), lit)


def test_whole_maps_forgive_noise_and_refuse_what_no_image_has(images):
  found = lib.block_map(lib.gap_state(jnp.asarray(images), GAP), GAP, BLOCKS)
  noise = 0.05 * jax.random.uniform(jax.random.key(1), found.shape[:3], minval=-1.0, maxval=1.0)
  np.testing.assert_array_equal(lib.lit_pixels(found.at[..., 0].add(noise), BLOCKS),
                                lib.lit_pixels(found, BLOCKS))
  wild = lib.whole_map(jnp.array([[[[-3.0, 5.0], [40.0, 0.5]]]]), BLOCKS)
  np.testing.assert_allclose(wild[0, 0], [[0.0, 0.0], [4.0 / BLOCKS.lit_scale, 0.5]], rtol=1e-6)


def test_symmetries_commute(images):
  few, turns = images[:8], np.arange(8)
  state = lambda x: lib.gap_state(jnp.asarray(x), GAP)
  coarse = np.asarray(lib.block_map(state(few), GAP, BLOCKS))
  np.testing.assert_array_equal(
      state(turn_pixels(few, turns))[..., 0], turn_pixels(np.asarray(state(few))[..., 0], turns))
  np.testing.assert_allclose(lib.block_map(state(turn_pixels(few, turns)), GAP, BLOCKS),
                             turn_pixels(coarse, turns), atol=2e-6)
