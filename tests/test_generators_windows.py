"""The denoiser of whole pictures made of windows: against plain functions of the whole picture."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.diffusion import samplers
from lartpc_jax.diffusion.prediction import score_from_denoiser
from lartpc_jax.diffusion.sde import edm_sde
from lartpc_jax.diffusion.time_grids import karras_grid
from lartpc_jax.generators import windows as lib
from lartpc_jax.geometry.windows import count_lit, make_windows, num_places

WINDOWS = make_windows(8, 4, 4)


@pytest.fixture(scope="module")
def pictures():
  """States [3 16 16 1], maps [3 4 4 2] of blocks of 4, and which blocks are lit."""
  random = np.random.default_rng(0)
  return (jnp.asarray(random.normal(size=(3, 16, 16, 1)), jnp.float32),
          jnp.asarray(random.normal(size=(3, 4, 4, 2)), jnp.float32),
          jnp.asarray(random.random((3, 4, 4)) < 0.3))


def plain(x, sigma, told):
  """A function of a pixel, its noise, what its picture is told, the map at its place and one block above."""
  inner = told["map"][:, 1:-1, 1:-1]
  above = told["map"][:, :-2, 1:-1]
  wide = lambda m: jnp.repeat(jnp.repeat(m, 4, 1), 4, 2)
  scale = (sigma * told["features"][:, 0])[:, None, None, None]
  return jnp.tanh(x * scale) + wide(inner[..., :1] * above[..., 1:])


def whole(x, sigma, maps, features, lit):
  told = {"map": jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0))), "features": features}
  alive = jnp.repeat(jnp.repeat(lit, 4, 1), 4, 2)[..., None]
  return jnp.where(alive, plain(x, sigma, told), 0.0)


def build(maps, features, lit, num_windows=64):
  return lib.windowed_denoiser(plain, {"features": features}, maps, lit, WINDOWS, cell_px=1, map_cell_px=4,
                               num_windows=num_windows)


def test_of_a_plain_function_it_is_that_function_of_the_whole_picture(pictures):
  x, maps, lit = pictures
  features = jnp.array([[0.5], [1.0], [2.0]])
  places = set()
  for sigma in (0.1, 0.7, 1.3, 5.0, 20.0, 33.0):
    level = jnp.full(3, sigma)
    places.add(tuple(np.asarray(lib.place_of(level[0], WINDOWS)).tolist()))
    np.testing.assert_allclose(build(maps, features, lit)(x, level), whole(x, level, maps, features, lit),
                               rtol=1e-6, atol=1e-7)
  assert len(places) > 1 and max(max(place) for place in places) < num_places(WINDOWS)


def test_any_sampler_takes_it(pictures):
  x, maps, lit = pictures
  features, sde = jnp.ones((3, 1)), edm_sde(sigma_max=10.0)
  times = karras_grid(sde, 4, sigma_min=0.05, sigma_max=10.0)
  sampler = samplers.make_sampler("dpm_solver_pp_2m", sde, times)
  drawn = sampler(score_from_denoiser(sde, build(maps, features, lit)), 10.0 * x)
  wanted = sampler(score_from_denoiser(sde, lambda x, sigma: whole(x, sigma, maps, features, lit)), 10.0 * x)
  np.testing.assert_allclose(drawn, wanted, rtol=2e-4, atol=2e-4)
  empty = ~np.repeat(np.repeat(np.asarray(lit), 4, 1), 4, 2)
  np.testing.assert_allclose(np.asarray(drawn)[empty], 0.0, atol=1e-6)  # decodes to exact zeros


def test_too_few_windows_are_no_picture_at_all(pictures):
  x, maps, _ = pictures
  many = lambda a: jnp.tile(a, (6, *(1,) * (a.ndim - 1)))
  lit, level = jnp.ones((18, 4, 4), bool), jnp.ones(18)  # at least 4 windows a picture, 72 in all
  draw = lambda num: build(many(maps), jnp.ones((18, 1)), lit, num_windows=num)(many(x), level)
  assert np.isnan(np.asarray(draw(64))).all() and np.isfinite(np.asarray(draw(192))).all()


def test_the_order_of_pictures_makes_chunks_alike_and_none_needs_more():
  random = np.random.default_rng(2)
  lit = random.random((22, 32, 32)) < random.random((22, 1, 1)) * 0.02
  windows = make_windows(64, 16, 0)
  order, most = lib.windows_needed(lit, windows, 4)
  assert sorted(order) == list(range(22)) and most % lib.AT_ONCE == 0
  filled = lambda order, start: lit[order[np.minimum(np.arange(start, start + 4), 21)]]
  sums = lambda order: [count_lit(filled(order, i), windows).sum(0).max() for i in range(0, 22, 4)]
  found = sums(order)
  assert max(found) <= most < max(found) + lib.AT_ONCE
  by_size = np.argsort(count_lit(lit, windows).max((1, 2)))
  assert max(found) < max(sums(by_size))


def test_no_window_at_all():
  order, most = lib.windows_needed(np.zeros((3, 8, 8), bool), make_windows(64, 16, 0), 2)
  assert sorted(order) == [0, 1, 2] and most == lib.AT_ONCE


def test_cells_of_a_step_are_lit_where_one_of_theirs_is():
  lit = np.zeros((1, 8, 8), bool)
  lit[0, 5, 2] = True
  found = np.asarray(lib.lit_cells(jnp.asarray(lit), 2, WINDOWS))  # two cells of 2 pixels a step of 4
  assert found.shape == (1, 4, 4) and np.argwhere(found).tolist() == [[0, 2, 1]]


def test_gradient_is_that_of_finite_differences(pictures):
  x, maps, lit = pictures
  weights = jnp.asarray(np.random.default_rng(3).normal(size=x.shape), jnp.float32)
  value = jax.jit(lambda maps, scale: jnp.sum(weights * build(maps, jnp.full((3, 1), scale), lit)(
      x, jnp.full(3, 0.8))))
  slope = jax.jit(jax.grad(value, (0, 1)))(maps, 0.9)
  direction = jnp.asarray(np.random.default_rng(4).normal(size=maps.shape), jnp.float32)
  h = 1e-2
  np.testing.assert_allclose(jnp.sum(slope[0] * direction), (
      value(maps + h * direction, 0.9) - value(maps - h * direction, 0.9)) / (2 * h), rtol=2e-3)
  np.testing.assert_allclose(slope[1], (value(maps, 0.91) - value(maps, 0.89)) / 0.02, rtol=5e-3)
