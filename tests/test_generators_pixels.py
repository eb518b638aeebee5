"""Draws of an unconditional model whose data are normal, so that the network and all that comes out are
known."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.build import models as config_models
from lartpc_jax.diffusion.sde import SDES
from lartpc_jax.experiments import pixels
from lartpc_jax.generators.codec import Codec
from lartpc_jax.generators.generator import make_draw
from tests.toy_parts import image_generator

STD = 0.5
SHAPE = (4, 4, 1)
STOCHASTIC = dict(name="ancestral", num_evaluations=12)


def normal_model(sde_name="vp", shape=SHAPE):
  """Pixels N(0, STD^2), the state as it is: the network predicts x_0 = STD^2 / (STD^2 + sigma^2) x."""
  def apply(params, x, c_noise, cond):  # x = state / sqrt(1 + sigma^2), c_noise = log(sigma) / 8
    sigma2 = jnp.exp(16.0 * c_noise)
    return (STD**2 / (STD**2 + sigma2) * jnp.sqrt(1.0 + sigma2))[:, None, None, None] * x
  same = Codec(lambda images, cond: images[..., None], lambda state, cond: state[..., 0], shape)
  return image_generator(apply, SDES[sde_name](), same, prediction="x0")


@pytest.mark.parametrize("sigma_max", [30.0, 45.0])
@pytest.mark.parametrize("sde_name", sorted(SDES))
def test_draws_have_the_width_of_the_data_from_any_highest_noise_level(sde_name, sigma_max):
  knobs = dict(name="dpm_solver_pp_2m", num_evaluations=30, sigma_max=sigma_max)
  images, _ = pixels.draw_images(normal_model(sde_name), 64, **knobs)
  np.testing.assert_allclose(images.std(), STD, rtol=4 / (2 * images.size) ** 0.5 + 0.01)
  sampler = config_models.build_sampler(SDES[sde_name](), num_steps=30, sigma_max=sigma_max)
  drawn = jax.jit(lambda key: make_draw(normal_model(sde_name), sampler)(key, 64))(jax.random.key(1))
  np.testing.assert_allclose(np.std(drawn), STD, rtol=4 / (2 * images.size) ** 0.5 + 0.01)


@pytest.mark.parametrize("sampler", [STOCHASTIC, dict(name="dpm_solver_pp_2m", num_evaluations=5)],
                         ids=lambda s: s["name"])
def test_images_of_a_seed_do_not_depend_on_chunks_and_none_is_twice(sampler):
  model, num = normal_model(), 2 * pixels.NOISE_BLOCK + 3
  whole, _ = pixels.draw_images(model, num, seed=3, chunk_size=num, **sampler)
  for chunk_size in (pixels.NOISE_BLOCK, 50):
    parts, _ = pixels.draw_images(model, num, seed=3, chunk_size=chunk_size, **sampler)
    np.testing.assert_allclose(parts, whole, atol=1e-5)
  few, _ = pixels.draw_images(model, 5, seed=3, chunk_size=2, **sampler)
  np.testing.assert_allclose(few, whole[:5], atol=1e-5)
  assert len(np.unique(np.round(whole.reshape(num, -1), 3), axis=0)) == num
  other, _ = pixels.draw_images(model, 5, seed=4, chunk_size=2, **sampler)
  assert np.abs(other - few).max() > 0.1


def test_noise_and_steps_have_keys_of_their_own():
  """The noise of the prior, drawn again by the first step, would correlate the two."""
  noise, keys = pixels.draws_of(0, np.arange(4), (64, 64, 1))
  again = jax.vmap(lambda key: jax.random.normal(key, (64, 64, 1)))(keys)
  correlation = np.corrcoef(np.concatenate([noise.reshape(4, -1), again.reshape(4, -1)]))
  assert np.abs(correlation - np.eye(8)).max() < 5 / 64
  sampler = lambda score_fn, noise, key: jax.random.normal(key, noise.shape) - noise
  drawn = make_draw(normal_model(shape=(64, 64, 1)), sampler)(jax.random.key(0), 1)
  np.testing.assert_allclose(np.std(drawn), 2**0.5, rtol=0.05)  # 0, were the key used for both
