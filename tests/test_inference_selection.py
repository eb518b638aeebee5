"""How many pixels a distance sees, and what it leaves out, against sums by hand; large images fit."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import protons64_infer
from lartpc_jax.build import inference as config_inference
from lartpc_jax.inference import objective as lib, screening, selection
from lartpc_jax.inference.settings import Comparison
from lartpc_jax.transport import emd as emd_lib


def lit(num_lit, *, num_pixels=64, shift=0, seed=0):
  """An image with so many pixels of equal charge, at random places that move by `shift` pixels."""
  image = np.zeros(num_pixels**2, np.float32)
  draw = np.random.default_rng(seed)
  image[draw.permutation(max(num_pixels - 8, 4) * num_pixels)[:num_lit]] = 0.1
  return np.roll(image.reshape(num_pixels, num_pixels), shift, axis=0)


def unused(noise, cond):
  """No generator: images are compared that are there already."""
  raise AssertionError


def test_dropped_charge_is_that_of_the_worst_view():
  images = np.stack([np.stack([lit(80), lit(100)]), np.stack([lit(10), lit(64)])])
  np.testing.assert_allclose(selection.dropped_charge(images, 64), [0.36, 0.0], atol=1e-6)
  assert selection.dropped_charge(np.zeros((1, 1, 8, 8)), 64)[0] == 0.0


@pytest.mark.parametrize("num_lit,size,chosen", [
    (30, 64, 64), (66, 64, 64), (70, 64, 128), (130, 64, 128), (1000, 256, 1024), (1000, 64, 256),
    (5000, 256, 1024), (9, 8, 64)])
def test_the_number_of_pixels_follows_the_images(num_lit, size, chosen):
  images = np.stack([lit(num_lit, num_pixels=size, seed=seed)[None] for seed in range(20)])
  assert selection.choose_num_pixels(images) == chosen


def test_a_few_bright_events_do_not_choose():
  images = np.stack([lit(1000 if seed == 0 else 40, seed=seed)[None] for seed in range(40)])
  assert selection.choose_num_pixels(images) == 64


def test_the_config_takes_what_the_images_need_unless_it_says_itself():
  config, images = protons64_infer.get_config("tiny").to_dict(), lit(500, num_pixels=128)[None, None]
  chosen = config_inference.select_pixels(config, images)
  assert chosen["distance"] == {"name": "w1", "num_pixels": 512}
  assert chosen["inference"]["report"]["num_pixels"] == 512
  assert config_inference.seen_pixels(chosen) == 512
  small = config_inference.select_pixels(config, lit(30)[None, None])
  assert small["distance"]["num_pixels"] == 64 and small["inference"]["report"]["num_pixels"] == 128
  own = {**config, "distance": {"name": "sinkhorn", "num_pixels": 96}}
  assert config_inference.select_pixels(own, images)["distance"]["num_pixels"] == 96
  squares = {**config, "distance": {"name": "l2"}}
  assert config_inference.select_pixels(squares, images) == squares
  assert config_inference.seen_pixels(squares) is None


@pytest.mark.parametrize("size,factor", [(8, 1), (64, 4), (72, 4), (104, 4), (256, 16), (512, 32)])
def test_the_coarse_pass_sees_images_of_any_size(size, factor):
  assert screening.pool_factor(size) == factor
  image = np.random.default_rng(0).random((3, size, size)).astype(np.float32)
  pooled = screening.pool(jnp.asarray(image))
  np.testing.assert_allclose(pooled.sum((1, 2)), image.sum((1, 2)), rtol=1e-5)
  np.testing.assert_allclose(pooled[1, 0, 1], image[1, :factor, factor:2 * factor].sum(), rtol=1e-5)


@pytest.mark.third_party  # ott
def test_events_one_after_another_are_events_together(monkeypatch):
  distance = emd_lib.make_emd(ot_epsilon_px=0.1, num_iterations=3, num_pixels=32)
  objective = lib.make_objective(unused, distance, views=("xy",), num_pixels=64,
                                 settings=Comparison(charge_tolerance=float("inf")))
  images = jnp.asarray(np.stack([lit(20 + seed, seed=seed) for seed in range(5)]))[:, None]
  drawn = jnp.stack([images, jnp.roll(images, 2, axis=2)], axis=2)
  compare = lambda x: objective.compare(x, objective.prepare(images))
  slope = lambda x: jax.jvp(compare, (x,), (jnp.ones_like(x) * x,))
  together = jax.jit(slope)(drawn)
  monkeypatch.setattr(lib, "_COSTS_AT_ONCE", 2 * 2 * 32**2)
  for a, b in zip(together, jax.jit(slope)(drawn), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.third_party
def test_a_thousand_lit_pixels_of_a_large_image():
  """A shift of all pixels by 3 is a distance of 3 px, also where no pool of them fits into memory at once."""
  image = np.stack([lit(1000, num_pixels=256, seed=seed) for seed in range(2)])
  number = selection.choose_num_pixels(image[:, None])
  assert number == 1024
  distance = emd_lib.make_emd(**{**emd_lib.DESCENT, "num_pixels": number})
  objective = lib.make_objective(unused, distance, views=("xy",), num_pixels=256, settings=Comparison())
  moved = jnp.asarray(np.roll(image, 3, axis=1))[:, None, None]
  compiled = jax.jit(lambda a, b: objective.compare(a, objective.prepare(b))).lower(
      moved, jnp.asarray(image)[:, None]).compile()
  np.testing.assert_allclose(compiled(moved, jnp.asarray(image)[:, None]), 3.0, rtol=0.05)
  assert compiled.memory_analysis().temp_size_in_bytes < 400e6
