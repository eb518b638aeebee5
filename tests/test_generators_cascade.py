"""Draws of a cascade with random weights: chunks, devices, conditions, gradients through both stages."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax import parallel
from lartpc_jax.diffusion import samplers
from lartpc_jax.diffusion.sde import edm_sde
from lartpc_jax.diffusion.time_grids import karras_grid
from lartpc_jax.generators import cascade as lib, condition as condition_lib, sparse_state
from lartpc_jax.generators.cascade_inpainting import make_cascade_inpaint
from lartpc_jax.generators.inpainting import Inpainting
from lartpc_jax.generators.keyed import image_keys
from lartpc_jax.networks.api import make_sparse_transformer

GAP = sparse_state.GapScale(threshold_mev=0.09, charge_scale_mev=0.1, gap=0.8, scale=0.5416)
BLOCKS = sparse_state.BlockScale(size=4, lit_scale=0.6285, mean=3.34, mean_scale=0.2704)
CONDITION = condition_lib.make_condition(
    {"charge_mev": dict(kind="scalar", mean=4.2, scale=0.65, low=0.1, log=True)})
SDE = edm_sde(sigma_max=20.0)
NETWORK = dict(width=8, depth=1, num_heads=2, head_features=4, head_token_features=1)


@pytest.fixture(autouse=True)
def no_key_reuse_check():
  """A scan over the keys of every image under vmap is a false alarm of the check, see conftest."""
  with jax.debug_key_reuse(False):
    yield


def stage(space, shape, seed):
  network = make_sparse_transformer(space=space, num_features=condition_lib.num_features(CONDITION),
                                    map_shape=(4, 4, 2) if space == "pixels" else None, **NETWORK)
  random = np.random.default_rng(seed)
  params = jax.tree.map(lambda x: x + jnp.asarray(0.2 * random.normal(size=x.shape), jnp.float32),
                        network.init(jax.random.key(seed), shape))
  blocks, told = (BLOCKS, None) if space == "map" else (None, lib.Told(BLOCKS, (0.07, 0.15)))
  return lib.Stage(network.apply, params, SDE, shape, CONDITION, blocks, told)


@pytest.fixture(scope="module")
def cascade():
  table = {"charge_mev": jnp.array([20.0, 80.0, 300.0])}
  return lib.Cascade((stage("map", (4, 4, 2), 0), stage("pixels", (16, 16, 1), 1)), GAP, table)


@pytest.fixture(scope="module")
def draw(cascade):
  build = lambda name: samplers.make_sampler(name, SDE, karras_grid(SDE, 3, sigma_min=0.05, sigma_max=20.0))
  return lib.make_cascade_draw(cascade, build("dpm_solver_pp_2m"), build("sde_dpm_solver_pp_2m"))


def test_an_image_depends_on_its_key_alone(draw):
  keys = image_keys(jax.random.key(3), 8)
  together = draw(keys)
  assert together.shape == (8, 16, 16) and 0.0 < float((together > 0.0).mean()) < 1.0
  np.testing.assert_allclose(draw(image_keys(jax.random.key(3), 2, first=5)), together[5:7], rtol=1e-4,
                             atol=1e-5)
  runs = [parallel.make_device_map(lambda batch: draw(batch["key"]), chunk_size=chunk,
                                   mesh=parallel.make_mesh(jax.devices()[:devices]))({"key": keys})
          for chunk, devices in ((3, 1), (2, 4))]
  for images in runs:
    np.testing.assert_allclose(images, together, rtol=1e-4, atol=1e-5)


def test_draws_without_a_condition_take_rows_of_the_table(cascade, draw):
  keys = image_keys(jax.random.key(0), 300)
  found = np.asarray(lib.conditions_of(cascade, keys)["charge_mev"])
  counts = np.array([(found == value).sum() for value in (20.0, 80.0, 300.0)])
  assert counts.sum() == 300 and np.all(np.abs(counts - 100) < 4 * (300 * 2 / 9)**0.5)
  rows = {name: values[:4] for name, values in lib.conditions_of(cascade, keys).items()}
  np.testing.assert_array_equal(draw(keys[:4]), draw(keys[:4], rows))


def test_the_condition_reaches_both_stages(cascade, draw):
  keys, maps = image_keys(jax.random.key(1), 4), jnp.zeros((4, 4, 4, 2))
  sampler = samplers.make_sampler("ddim", SDE, karras_grid(SDE, 2, sigma_min=0.05, sigma_max=20.0))
  few, many = ({"charge_mev": jnp.full(4, value)} for value in (5.0, 500.0))
  for stage_draw in (lambda cond: lib.draw_maps(cascade, sampler, keys, cond),
                     lambda cond: lib.draw_next(cascade, 1, sampler, keys, cond, maps)):
    assert float(jnp.abs(stage_draw(few) - stage_draw(many)).max()) > 0.01


def test_guidance_with_scale_one_is_none_and_scale_zero_forgets_the_condition(cascade):
  keys = image_keys(jax.random.key(1), 4)
  sampler = samplers.make_sampler("ddim", SDE, karras_grid(SDE, 2, sigma_min=0.05, sigma_max=20.0))
  maps = lambda value, scale: lib.draw_stage(cascade.coarse, sampler, keys, {
      "features": condition_lib.embed(CONDITION, {"charge_mev": jnp.full(4, value)})
  }, guidance_scale=scale)
  np.testing.assert_allclose(maps(5.0, 0.0), maps(500.0, 0.0), atol=1e-5)
  np.testing.assert_allclose(maps(5.0, 1.0 + 1e-6), maps(5.0, 1.0), atol=1e-3)
  assert float(jnp.abs(maps(5.0, 3.0) - maps(5.0, 1.0)).max()) > 0.01


def test_a_sampler_for_each_stage_is_needed(cascade):
  with pytest.raises(ValueError, match="A cascade of 2 stages needs as many samplers; got 1"):
    lib.make_cascade_draw(cascade, lambda *args: None)


def test_gradient_through_both_stages_is_that_of_finite_differences(draw):
  """Lit pixels are whole numbers, so only steps count that change none of them."""
  keys = image_keys(jax.random.key(5), 4)
  weights = jnp.asarray(np.random.default_rng(0).normal(size=(4, 16, 16)), jnp.float32)
  lit = lambda charge: np.asarray(draw(keys, {"charge_mev": charge})) > 0.0
  value = jax.jit(lambda charge: jnp.sum(weights * draw(keys, {"charge_mev": charge}), (1, 2)))
  charge, step = jnp.array([30.0, 60.0, 100.0, 200.0]), 0.02
  slope = jax.grad(lambda charge: value(charge).sum())(charge)
  up, down = charge + step, charge - step
  same = np.all(lit(up) == lit(down), axis=(1, 2))
  assert same.sum() >= 2 and np.all(np.abs(np.asarray(slope)[same]) > 1e-4)
  np.testing.assert_allclose(slope[same], ((value(up) - value(down)) / (2 * step))[same], rtol=0.05,
                             atol=2e-3)


def test_scale_one_never_looks_at_the_null_condition(cascade):
  """So it is the unguided sampler, bit for bit: a broken null condition would give NaN."""
  def poisoned(params, x, c_noise, cond):
    return cascade.coarse.apply(params, x, c_noise, cond) * jnp.where(cond["keep"] > 0.5, 1.0, jnp.nan)[
        :, None, None, None]
  sampler = samplers.make_sampler("ddim", SDE, karras_grid(SDE, 2, sigma_min=0.05, sigma_max=20.0))
  keys = image_keys(jax.random.key(1), 2)
  told = {"features": condition_lib.embed(CONDITION, {"charge_mev": jnp.full(2, 80.0)})}
  drawn = lambda apply, scale: np.asarray(lib.draw_stage(
      cascade.coarse._replace(apply=apply), sampler, keys, told, guidance_scale=scale))
  np.testing.assert_array_equal(drawn(poisoned, 1.0), drawn(cascade.coarse.apply, 1.0))
  assert np.isnan(drawn(poisoned, 2.0)).all()


def test_completed_images_keep_what_was_seen_and_draw_the_rest(cascade):
  sampler = samplers.start_from_noise(SDE, times := karras_grid(SDE, 3, sigma_min=0.05, sigma_max=20.0),
                                      samplers.make_sampler("dpm_solver_pp_2m", SDE, times))
  inpaint = jax.jit(make_cascade_inpaint(cascade, (sampler, sampler), Inpainting(num_iterations=1)))
  images = np.where(np.random.default_rng(0).random((3, 16, 16)) < 0.3, 2.0, 0.0).astype(np.float32)
  seen = np.ones_like(images)
  seen[:, :, 3:9] = 0.0
  keys = image_keys(jax.random.key(3), 3)
  found = np.asarray(inpaint(keys, images * seen, seen))
  np.testing.assert_array_equal(found[seen > 0], images[seen > 0])
  hidden = found[seen == 0]
  assert np.isfinite(hidden).all() and ((hidden == 0.0) | (hidden >= GAP.threshold_mev * 0.99)).all()
  alone = np.asarray(inpaint(keys[1:], images[1:] * seen[1:], seen[1:]))
  np.testing.assert_allclose(alone, found[1:], rtol=1e-3, atol=1e-4)
  with pytest.raises(ValueError, match="dead pixels, not noise; got noise_mev = 0.1"):
    make_cascade_inpaint(cascade, (sampler, sampler), Inpainting(noise_mev=0.1))
