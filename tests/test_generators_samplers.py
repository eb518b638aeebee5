"""Every sampler draws protons, crops and whole interactions: generators of the three kinds, with networks
known exactly."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.build.models import build_sampler
from lartpc_jax.diffusion.samplers import SAMPLERS
from lartpc_jax.diffusion.sde import vp_sde
from lartpc_jax.generators.codec import (
  Codec,
  LatentScale,
  StateScale,
  autoencoder_codec,
  decode_in_tiles,
  pixel_codec,
)
from lartpc_jax.generators.generator import make_draw, make_generate, prior_noise
from lartpc_jax.geometry.charge import sqrt_transform
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec
from tests.toy_parts import image_generator, proton_generator

THRESHOLD_MEV = 0.01
KNOBS = {"annealed_langevin": dict(step_scale=1.0, num_corrections=8, sigma_max=5.0)}


def normal_network(params, x, c_noise, cond):
  """Predicts for states N(0, 1) of which nothing else is known: D = x / (1 + sigma^2), so the EDM target is
  0."""
  del params, c_noise, cond
  return jnp.zeros_like(x)


def tiled_codec() -> Codec:
  """An autoencoder that only folds 2x2 pixels into 4 channels, decoded in tiles."""
  def fold(params, y):
    b, h, w, _ = y.shape
    return params * y.reshape(b, h // 2, 2, w // 2, 2).transpose(0, 1, 3, 2, 4).reshape(b, h // 2, w // 2,
                                                                                        4), None

  def unfold(params, z):
    b, h, w, _ = z.shape
    return (z / params).reshape(b, h, w, 2, 2).transpose(0, 1, 3, 2, 4).reshape(b, 2 * h, 2 * w, 1)
  scale = LatentScale(jnp.zeros(4), jnp.ones(4))
  codec = autoencoder_codec(fold, unfold, 1.0, scale, transform=sqrt_transform(1.0),
                            threshold_mev=THRESHOLD_MEV, shape=(16, 16))
  return codec._replace(decode=decode_in_tiles(codec.decode, tile=4, reach=0))


def protons():
  frame = TrackFrame(4, 4, start_mm=-3.0)
  codec = pixel_codec(sqrt_transform(1.0), StateScale(0.0, 1.0), threshold_mev=THRESHOLD_MEV,
                      shape=frame.shape)
  return proton_generator(normal_network, None, vp_sde(), codec, frame=frame, spec=ImageSpec(8))


def crops():
  codec = pixel_codec(sqrt_transform(1.0), StateScale(0.0, 1.0), threshold_mev=THRESHOLD_MEV, shape=(8, 8))
  return image_generator(normal_network, vp_sde(), codec)


def interactions():
  return image_generator(normal_network, vp_sde(), tiled_codec())


KINDS = {"protons": protons, "crops": crops, "interactions": interactions}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_sampler_draws_every_kind_of_image(name, kind):
  """Finite images, exactly zero below the threshold, the same from the same key or noise, others from another
  one."""
  generator = KINDS[kind]()
  sampler = build_sampler(generator.denoiser.sde, name=name, num_steps=12, **KNOBS.get(name, {}))
  cond = {"momentum_mev": jnp.array([[300.0, 100.0, 50.0], [0.0, -350.0, 120.0]])
         } if kind == "protons" else None
  draw = jax.jit(lambda key: make_draw(generator, sampler)(key, 2, cond))
  images = np.asarray(draw(jax.random.key(0)))
  assert images.shape == (2, 16, 16) if kind == "interactions" else (2, 8, 8)
  assert np.isfinite(images).all() and images.max() > THRESHOLD_MEV
  if kind != "protons":  # those are turned after their zeros are made
    assert np.all((images == 0.0) | (images >= THRESHOLD_MEV))
  np.testing.assert_array_equal(draw(jax.random.key(0)), images)
  assert np.abs(np.asarray(draw(jax.random.key(1))) - images).max() > 0.01


@pytest.mark.parametrize("name", ["ddim", "euler_maruyama"])
def test_without_a_key_the_image_follows_from_the_noise_alone(name):
  """As the fit calls it: each image by itself, whatever stands beside it."""
  generator = crops()
  generate = jax.jit(make_generate(generator, build_sampler(generator.denoiser.sde, name=name, num_steps=6)))
  noise = prior_noise(generator, jax.random.key(0), 4)
  images = generate(noise)
  np.testing.assert_allclose(generate(noise[::-1])[::-1], images, atol=1e-5)
  np.testing.assert_array_equal(generate(noise), images)
  if name == "euler_maruyama":  # and its own noise is not that of the prior
    steps = images - generate(noise, None, jax.random.split(jax.random.key(5), 4))
    assert np.abs(steps).max() > 0.01
