"""Inpainting of images whose law is normal, so that what is missing has a known one."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.build.models import build_sampler
from lartpc_jax.diffusion.sde import vp_sde
from lartpc_jax.generators import condition as condition_lib
from lartpc_jax.generators.codec import Codec
from lartpc_jax.generators.frame import IDENTITY
from lartpc_jax.generators.generator import Denoiser, Generator
from lartpc_jax.generators.inpainting import Inpainting, is_pixels, make_inpaint
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec
from tests.toy_parts import image_generator, proton_generator

SIDE, NUM = 2, 3000
MEAN = np.array([0.3, -0.2, 0.5, 0.1])
ROOT = np.linalg.cholesky(0.6 * np.ones((4, 4)) + 0.4 * np.eye(4))
COVARIANCE = ROOT @ ROOT.T
SEEN = np.array([1.0, 0.0, 1.0, 0.0])
SAME = Codec(lambda images, cond=None: images[..., None], lambda state, cond=None: state[..., 0],
             (SIDE, SIDE, 1))


def denoise(params, x, c_noise, cond):
  """What an x0 network of the normal law predicts; x is state / sqrt(1 + sigma^2), c_noise log(sigma) / 8."""
  sigma2 = jnp.exp(16.0 * c_noise)
  state = (x * jnp.sqrt(1.0 + sigma2)[:, None, None, None]).reshape(len(x), 4)
  values, vectors = (jnp.asarray(a, jnp.float32) for a in np.linalg.eigh(COVARIANCE))
  mean = jnp.asarray(MEAN, jnp.float32)[None]
  share = values[None] / (values[None] + sigma2[:, None])
  return (mean + ((state - mean) @ vectors * share) @ vectors.T).reshape(x.shape)


def draws(settings, given, num=NUM):
  generator = image_generator(denoise, vp_sde(), SAME, prediction="x0")
  inpaint = make_inpaint(generator, build_sampler(vp_sde(), num_steps=32), settings)
  noise = jax.random.normal(jax.random.key(0), (num, SIDE, SIDE, 1))
  many = lambda a: jnp.broadcast_to(jnp.asarray(a, jnp.float32).reshape(1, SIDE, SIDE), (num, SIDE, SIDE))
  return np.asarray(jax.jit(inpaint)(noise, many(given), many(SEEN))).reshape(num, 4)


@pytest.mark.parametrize("noise_mev", [0.0, 0.5])
def test_dead_pixels_are_drawn_as_the_posterior_has_them(noise_mev):
  given = SEEN * np.array([1.2, 9.0, -0.4, 9.0])
  found = draws(Inpainting(num_iterations=4, floor=0.05, noise_mev=noise_mev), given)
  std = np.hypot(0.05, noise_mev)
  precision = np.linalg.inv(COVARIANCE) + np.diag(SEEN / std**2)
  want = np.linalg.inv(precision)
  mean = want @ (np.linalg.solve(COVARIANCE, MEAN) + SEEN * given / std**2)
  dead = SEEN == 0.0
  error = 4.0 * np.sqrt(np.diag(want)[dead] / NUM)
  np.testing.assert_allclose(found.mean(0)[dead], mean[dead], atol=error.max() + 0.03)
  np.testing.assert_allclose(np.cov(found[:, dead].T), want[np.ix_(dead, dead)], atol=0.06)
  if noise_mev:
    np.testing.assert_allclose(found.mean(0)[~dead], mean[~dead], atol=0.06)  # denoised, not kept
  else:
    kept = np.broadcast_to(given[~dead].astype(np.float32), (NUM, 2))
    np.testing.assert_array_equal(found[:, ~dead], kept)


def test_what_is_seen_is_found_through_a_decoder():
  """States of two numbers behind a curved decoder, of unit normal data: one image tells them."""
  planes = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4)), jnp.float32)
  decode = lambda state, cond=None: jnp.exp(0.5 * jnp.einsum("bk,knm->bnm", state[:, 0, 0], planes))
  codec = Codec(None, decode, (1, 1, 2))
  unit = lambda params, x, c_noise, cond: x / jnp.sqrt(1.0 + jnp.exp(16.0 * c_noise))[:, None, None, None]
  condition = condition_lib.Condition({})
  generator = Generator(Denoiser(unit, None, vp_sde(), "x0", 1.0), codec, condition,
                        condition_lib.feature_inputs(condition), IDENTITY, ImageSpec(4), None)
  assert not is_pixels(generator)
  truth = codec.decode(jnp.array([0.7, -0.9]).reshape(1, 1, 1, 2))
  seen = jnp.ones((8, 4, 4)).at[:, :, 2:].set(0.0)
  settings = Inpainting(floor=0.02, inflation=0.0)
  inpaint = make_inpaint(generator, build_sampler(vp_sde(), num_steps=24), settings)
  noise = jax.random.normal(jax.random.key(0), (8, 1, 1, 2))
  found = np.asarray(jax.jit(inpaint)(noise, jnp.broadcast_to(truth, (8, 4, 4)) * seen, seen))
  np.testing.assert_allclose(found, np.broadcast_to(truth, found.shape), rtol=0.15)
  np.testing.assert_array_equal(found[:, :, :2], np.broadcast_to(truth, found.shape)[:, :, :2])


def test_a_track_frame_needs_its_momentum():
  generator = proton_generator(denoise, None, vp_sde(), Codec(None, None, (2, 2, 1)), frame=TrackFrame(),
                               spec=ImageSpec())
  inpaint = make_inpaint(generator, lambda score_fn, noise, key: noise, Inpainting())
  with pytest.raises(ValueError, match="places its pictures by the momentum"):
    inpaint(jnp.zeros((1, 2, 2, 2)), jnp.zeros((1, 64, 64)), jnp.ones((1, 64, 64)))
