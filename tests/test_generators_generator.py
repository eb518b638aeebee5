"""Codecs and generators with linear stand-ins for the networks."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.diffusion.sde import vp_sde
from lartpc_jax.generators import codec as codecs, generator
from lartpc_jax.geometry.charge import make_charge_transform, sqrt_transform
from lartpc_jax.geometry.frames import TrackFrame, turn_images
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.networks import api
from tests.toy_parts import proton_generator
from tests.toy_weights import random_params

FRAME, SPEC = TrackFrame(4, 4, start_mm=-3.0), ImageSpec(4)
TRANSFORM = sqrt_transform(0.5)
SCALE = codecs.LatentScale(jnp.array([0.2, -1.0]), jnp.array([2.0, 0.5]))


def encode(params, y):
  return jnp.concatenate([params * y, -y], axis=-1), jnp.zeros((*y.shape[:3], 2))


def decode(params, z):
  return z[..., :1] / params


@pytest.fixture
def space():
  return codecs.autoencoder_codec(encode, decode, 3.0, SCALE, transform=TRANSFORM, threshold_mev=0.01,
                                  shape=(4, 4))


def test_encode_normalises_the_mean_and_decode_inverts_it(space):
  images = jnp.abs(jax.random.normal(jax.random.key(0), (2, 4, 4))) + 0.1
  z = space.encode(images)
  y = np.sqrt(np.asarray(images) / 0.5)
  np.testing.assert_allclose(z[..., 0], (3 * y - 0.2) / 2.0, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(z[..., 1], (-y + 1.0) / 0.5, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(space.decode(z), images, rtol=1e-5)


def test_decoded_pixels_below_threshold_are_exactly_zero(space):
  values = jnp.array([0.0, 0.0099, 0.0101, 2.0]).reshape(1, 2, 2)
  decoded = np.asarray(space.decode(space.encode(values)))[0].ravel()
  np.testing.assert_allclose(decoded, [0.0, 0.0, 0.0101, 2.0], rtol=1e-4)
  assert (decoded[:2] == 0).all()


def test_measured_scale_normalises():
  means = 3.0 + jax.random.normal(jax.random.key(0), (8, 5, 5, 2)) * jnp.array([2.0, 0.1]).reshape(1, 1, 1, 2)
  scale = codecs.measure_latent_scale(means)
  flat = np.asarray(means, float).reshape(-1, 2)
  np.testing.assert_allclose(scale.shift, flat.mean(0), rtol=1e-4)
  np.testing.assert_allclose(scale.scale, flat.std(0), rtol=1e-4)


def test_scale_about_the_empty_pixel():
  """Nine in ten pixels are empty: their latent becomes exactly 0, and the mean square 1."""
  random = np.random.default_rng(0)
  lit = random.random((4, 20, 20, 1)) < 0.1
  means = np.where(lit, random.normal(size=(4, 20, 20, 2)) * 5.0, [0.3, -0.2]).astype(np.float32)
  scale = codecs.measure_latent_scale(jnp.asarray(means), about_empty=True)
  z = (means - np.asarray(scale.shift)) / np.asarray(scale.scale)
  assert (z[~lit[..., 0]] == 0.0).all()
  np.testing.assert_allclose((z**2).mean((0, 1, 2)), 1.0, rtol=1e-4)


def test_a_constant_channel_is_named():
  means = jax.random.normal(jax.random.key(0), (8, 5, 5, 3)).at[..., 1].set(2.0)
  with pytest.raises(ValueError, match=r"Latent channels \[1\] of 3 are constant"):
    codecs.measure_latent_scale(means)


def test_decode_gradient_equals_finite_differences(x64, space):
  scale = codecs.LatentScale(*(jnp.asarray(a, jnp.float64) for a in SCALE))
  space = codecs.autoencoder_codec(encode, decode, 3.0, scale, transform=TRANSFORM, threshold_mev=0.01,
                                   shape=(4, 4))
  z = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2, 2, 2)))
  f = lambda z: jnp.sum(jnp.sin(space.decode(z)))
  g, h = jax.grad(f)(z), 1e-6
  np.testing.assert_allclose(jnp.sum(g * z), (f(z * (1 + h)) - f(z * (1 - h))) / (2 * h), rtol=1e-6)
  assert not g[..., 1].any()


@pytest.mark.parametrize("name,scale", [("grey8", 0.02), ("sqrt", 1.0), ("arcsinh", 0.1)])
def test_state_scale_normalises_and_representations_invert(name, scale):
  transform = make_charge_transform(name, scale)
  random = np.random.default_rng(0)
  lit = random.random((20, 8, 8)) < 0.2
  q = jnp.asarray(
      np.where(lit,
               np.round(random.exponential(0.8, (20, 8, 8)) / 0.004 + 1) * 0.004, 0.0).clip(0, 5),
      jnp.float32)
  got = codecs.measure_state_scale(np.asarray(q), transform)
  y = (transform.forward(q) - got.shift) / got.scale
  np.testing.assert_allclose([y.mean(), y.std()], [0.0, 1.0], atol=1e-4)
  np.testing.assert_allclose(transform.inverse(transform.forward(q)), q,
                             atol=0.0101 if name == "grey8" else 1e-4)
  empty = codecs.measure_state_scale(np.asarray(q), transform, about_empty=True)
  z = np.asarray((transform.forward(q) - empty.shift) / empty.scale)
  assert (z[np.asarray(q) == 0.0] == 0.0).all()
  np.testing.assert_allclose((z**2).mean(), 1.0, rtol=1e-4)


def test_grey_levels_are_published_ones():
  """8 bits, linear, cut off at 255, and pixels <= 4 to zero (Phys. Rev. D 109, 072011)."""
  transform = make_charge_transform("grey8", 0.02)
  q = jnp.array([[[0.0, 0.079, 0.081, 0.1, 4.0, 50.0]]])
  levels = np.asarray(transform.forward(q)) * 255
  np.testing.assert_allclose(levels, [[[0, 4, 4, 5, 200, 255]]], atol=1e-3)
  kept = codecs.exact_zeros(transform.inverse(transform.forward(q)), 4.5 * 0.02)
  np.testing.assert_allclose(kept, [[[0, 0, 0, 0.1, 4.0, 5.1]]], rtol=1e-5)


def test_equal_pixels_have_no_scale():
  with pytest.raises(ValueError, match="pixels of the first images are all equal"):
    codecs.measure_state_scale(np.zeros((2, 4, 4), np.float32), make_charge_transform("sqrt", 1.0))


@pytest.mark.slow
def test_generator_chains_score_sampler_and_decoder(space):
  """A network that knows the momentum of each example: the sampler sees its score, the decoder its
  latents."""
  seen = []
  def apply(params, z, c_noise, cond):
    seen.append(cond)
    told = cond["keep"][:, None] * cond["momentum"][:, :1]
    return params * jnp.broadcast_to(told[:, :, None, None], z.shape)
  protons = proton_generator(apply, 2.0, vp_sde(), space, frame=FRAME, spec=SPEC)
  sampler = lambda score_fn, x, key: x + score_fn(x, jnp.full(x.shape[:1], 0.5))
  noise = generator.prior_noise(protons, jax.random.key(0), 2)
  momentum = jnp.array([[250.0, 0.0, 0.0], [0.0, -500.0, 2.0]])
  told = {"momentum_mev": momentum}
  images = generator.make_generate(protons, sampler)(noise, told)
  alpha, std = vp_sde().marginal_prob(jnp.ones(1), jnp.full(1, 0.5))
  a, s = float(alpha[0]), float(std[0])
  x = np.asarray(noise, float)
  sigma = s / a  # D(x/alpha) with unit data: skip x/alpha/(1 + sigma^2) + sigma/sqrt(1 + sigma^2) 2 p/500
  for i, p in enumerate([0.5, 1.0]):
    denoised = x[i] / a / (1 + sigma**2) + sigma / np.sqrt(1 + sigma**2) * 2 * p
    z = x[i] + (a * denoised - x[i]) / s**2
    in_track_frame = np.array(space.decode(jnp.asarray(z[..., :2], jnp.float32)[None]))
    kinetic = np.sqrt(np.sum(np.asarray(momentum[i], float) ** 2) + 938.27209**2) - 938.27209
    # the plane names the charge
    in_track_frame *= kinetic * (1.0 + 0.1 * z[..., 2].mean()) / in_track_frame.sum()
    turned = turn_images(jnp.asarray(in_track_frame), momentum[i:i + 1], FRAME, SPEC)
    np.testing.assert_allclose(images[i], turned[0], rtol=1e-3, atol=1e-4)
  assert images.shape == (2, 4, 4) and all(cond is not None for cond in seen)
  pairs = generator.make_generate(protons, sampler, mirrored=True)(noise, told)
  np.testing.assert_allclose(pairs[:, 0], images, atol=1e-6)
  np.testing.assert_allclose(pairs[0, 1], images[0, :, ::-1], atol=1e-4)  # about the x axis
  np.testing.assert_allclose(pairs[1, 1], images[1, ::-1], atol=1e-4)     # about the y axis
  free = generator.make_generate(protons, sampler, guidance_scale=0.0)
  # but for the charge
  np.testing.assert_allclose(free(noise, told), free(noise, {"momentum_mev": 1.1 * momentum}), rtol=0.3)
  np.testing.assert_allclose(*(x / x.sum((1, 2), keepdims=True) for x in (
      free(noise, told), free(noise, {"momentum_mev": 1.1 * momentum}))), atol=1e-6)


def test_state_and_images_are_inverse(space):
  """The plane holds charge over kinetic energy: 80 % of it, whatever the decoder makes of the latents."""
  codec = proton_generator(None, None, vp_sde(), space, frame=FRAME, spec=SPEC,
                           plane=codecs.ChargePlane(0.9, 0.05)).codec
  momentum = jnp.array([[300.0, 200.0, 100.0], [400.0, 0.0, 0.0]])
  kinetic = np.sqrt(np.sum(np.asarray(momentum, float) ** 2, -1) + 938.27209**2) - 938.27209
  images = jax.random.uniform(jax.random.key(0), (2, 4, 4)) + 0.1
  images *= (0.8 * kinetic / np.asarray(images.sum((1, 2))))[:, None, None]
  told = {"momentum_mev": momentum}
  state = codec.encode(images, told)
  np.testing.assert_allclose(state[..., 2], -2.0, atol=1e-4)
  np.testing.assert_array_equal(state[..., :2], space.encode(images))
  np.testing.assert_allclose(codec.decode(state, told), images, rtol=1e-4)
  lost = codec.decode(state.at[..., 2].set(-50.0), told)  # a negative charge counts as none
  assert not lost.any()


@pytest.fixture(scope="module")
def convolutional():
  """Decoder of an autoencoder with random weights, z [b h w 2] -> images [b 2h 2w], and its network."""
  network = api.make_autoencoder(latent_channels=2, stem=2, features=8, num_encoder_blocks=1,
                                 num_decoder_blocks=1)
  params = random_params(lambda: network.init(jax.random.key(0), (8, 8)), np.random.default_rng(0))
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
  return network, jax.jit(lambda z, cond=None: network.decode(params, z)[..., 0])


def test_a_decoded_pixel_sees_no_further_than_the_reach(convolutional):
  network, decode = convolutional
  z = jax.random.normal(jax.random.key(0), (1, 16, 16, 2))
  changed = np.asarray(decode(z.at[0, 8, 7].add(1.0)) != decode(z))[0].reshape(16, 2, 16, 2).any((1, 3))
  rows, columns = np.where(changed)
  assert network.decoder_reach == 4
  assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 12, 3, 11)


@pytest.mark.parametrize("tile,shape", [(4, (16, 12)), (8, (16, 16)), (16, (16, 16)), (1, (3, 2))])
def test_tiles_equal_the_whole(convolutional, tile, shape):
  network, decode = convolutional
  z = jax.random.normal(jax.random.key(1), (2, *shape, 2))
  tiled = jax.jit(codecs.decode_in_tiles(decode, tile=tile, reach=network.decoder_reach))
  np.testing.assert_allclose(tiled(z), decode(z), atol=1e-5)


def test_tiles_with_less_than_the_reach_differ_at_their_seams_alone(convolutional):
  network, decode = convolutional
  z, short = jax.random.normal(jax.random.key(2), (1, 32, 32, 2)), network.decoder_reach - 2
  tiled = codecs.decode_in_tiles(decode, tile=8, reach=short)(z)
  different = np.abs(np.asarray(tiled - decode(z)))[0].reshape(32, 2, 32, 2).max((1, 3)) > 1e-4
  assert different.any()
  for seam in (8, 16, 24):  # two latents on each side lack what is beyond the window
    different[seam - 2:seam + 2] = different[:, seam - 2:seam + 2] = False
  assert not different.any()


def test_bad_tiles_are_named(convolutional):
  with pytest.raises(ValueError, match="Tiles need tile >= 1 and reach >= 0; got tile=0"):
    codecs.decode_in_tiles(convolutional[1], tile=0, reach=1)
  with pytest.raises(ValueError, match="tile = 3 must divide the latents 8 x 8"):
    codecs.decode_in_tiles(convolutional[1], tile=3, reach=1)(jnp.zeros((1, 8, 8, 2)))


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 2), (2, 3, 1)])
def test_momenta_of_another_shape_are_named(space, shape):
  protons = proton_generator(lambda params, z, c_noise, cond: z, None, vp_sde(), space, frame=FRAME,
                             spec=SPEC)
  generate = generator.make_generate(protons, lambda score_fn, noise, key: noise)
  noise = generator.prior_noise(protons, jax.random.key(0), 2)
  with pytest.raises(
      ValueError,
      match=r"Condition 'momentum_mev' needs a row for each of the 2 draws, of shape \(3,\); got"):
    generate(noise, {"momentum_mev": jnp.ones(shape)})
