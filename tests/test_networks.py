"""Networks as functions: exact symmetries, the null condition, inverses, counts by hand, derivatives."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.networks import api, blocks, unet

SHAPE = (8, 4, 3)
END = jnp.array([0.2, -0.5])
KWARGS = dict(features=8, multipliers=[1, 2], num_blocks=1, attention_levels=[1], num_heads=2, num_groups=4)


def randomise(params, seed=7):
  """Zero-initialised layers would hide what is behind them."""
  leaves, tree = jax.tree.flatten(params)
  rng = np.random.default_rng(seed)
  return tree.unflatten(
      [leaf + jnp.asarray(0.1 * rng.normal(size=leaf.shape), leaf.dtype) for leaf in leaves])


@pytest.fixture(scope="module")
def unet_network():
  """init, jitted apply, params that are nowhere zero, and a batch."""
  network = api.make_latent_unet(**KWARGS)
  fresh = jax.jit(lambda key: network.init(key, SHAPE))(jax.random.key(0))
  rng = np.random.default_rng(0)
  z = jnp.asarray(rng.normal(size=(2, *SHAPE)), jnp.float32)
  momentum = jnp.asarray([[0.4, -0.3, 0.5], [0.1, 0.6, -0.2]], jnp.float32)
  return network, jax.jit(network.apply), fresh, randomise(fresh), z, jnp.array([-0.4, 0.3]), momentum


def test_a_fresh_unet_is_zero(unet_network):
  network, _, fresh, _, z, c_noise, momentum = unet_network
  out = jax.jit(network.apply)(fresh, z, c_noise, {"momentum": momentum, "end": END, "keep": jnp.ones(2)})
  assert out.shape == z.shape and not out.any()  # so the denoiser starts at c_skip x


def test_unet_is_exactly_even_in_the_momentum_along_the_line_of_sight(unet_network):
  _, apply, _, params, z, c_noise, momentum = unet_network
  call = lambda p: np.asarray(apply(params, z, c_noise, {"momentum": p, "end": END, "keep": jnp.ones(2)}))
  flip = lambda axis: momentum.at[:, axis].multiply(-1.0)
  np.testing.assert_array_equal(call(flip(2)), call(momentum))
  assert np.abs(call(flip(0)) - call(momentum)).max() > 1e-3
  assert np.abs(call(1.2 * momentum) - call(momentum)).max() > 1e-3


def test_dropping_the_condition_is_the_unconditional_network(unet_network):
  _, apply, _, params, z, c_noise, momentum = unet_network
  call = lambda p, keep: np.asarray(
      apply(params, z, c_noise, {"momentum": p, "end": END, "keep": jnp.array(keep)}))
  free = np.asarray(apply(params, z, c_noise, None))
  np.testing.assert_allclose(call(momentum, [0.0, 0.0]), free, atol=1e-6)
  np.testing.assert_allclose(call(3 * momentum[::-1], [0.0, 0.0]), free, atol=1e-6)
  mixed = call(momentum, [0.0, 1.0])  # one example each: no example sees another
  np.testing.assert_allclose(mixed[0], free[0], atol=1e-6)
  np.testing.assert_allclose(mixed[1], call(momentum, [1.0, 1.0])[1], atol=1e-6)
  kept = apply(params, z, c_noise, {"momentum": momentum, "end": END})
  np.testing.assert_allclose(call(momentum, [1.0, 1.0]), kept, atol=1e-6)


@pytest.mark.slow  # test_inference_gradients does it through a sampler
def test_unet_derivatives_agree_in_both_modes_and_with_differences(unet_network):
  network, _, _, params, z, c_noise, momentum = unet_network
  weights = jnp.asarray(np.random.default_rng(1).normal(size=z.shape), jnp.float32)
  f = jax.jit(lambda z, p: jnp.sum(weights * network.apply(params, z, c_noise, {"momentum": p, "end": END})))
  gz, gp = jax.jit(jax.grad(f, argnums=(0, 1)))(z, momentum)
  dz, dp = jnp.cos(z), jnp.array([[0.3, 0.2, -0.5], [-0.1, 0.4, 0.3]])
  total = float(jnp.sum(gz * dz) + jnp.sum(gp * dp))
  np.testing.assert_allclose(jax.jvp(f, (z, momentum), (dz, dp))[1], total, rtol=1e-3)
  h = 5e-3
  difference = (f(z + h * dz, momentum + h * dp) - f(z - h * dz, momentum - h * dp)) / (2 * h)
  np.testing.assert_allclose(difference, total, rtol=0.03)
  assert (np.abs(np.asarray(gp)[:, [0, 2]]) > 1e-4).all()  # in the track frame the second component is zero


def test_every_parameter_gets_a_gradient(unet_network):
  network, _, _, params, z, c_noise, momentum = unet_network
  cond = {"momentum": momentum, "end": END, "keep": jnp.array([1.0, 0.0])}
  grads = jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(network.apply(p, z, c_noise, cond)))))(params)
  for path, g in jax.tree_util.tree_flatten_with_path(grads)[0]:
    assert np.isfinite(g).all() and np.abs(g).max() > 0, jax.tree_util.keystr(path)


def test_momentum_features_are_smooth_at_a_momentum_in_the_plane():
  features = lambda p: unet.momentum_features(p[None])[0]
  for p in (jnp.array([0.5, 0.0, 0.0]), jnp.array([0.0, 0.0, 0.7])):  # p_z = 0, and along the line of sight
    jacobian = jax.jacfwd(features)(p)
    assert np.isfinite(jacobian).all()
    np.testing.assert_allclose(features(p), features(p * jnp.array([1.0, 1.0, -1.0])), atol=0)


def test_fourier_features_equal_numpy():
  x = np.array([[0.3, -1.2]])
  angles = np.pi * x[..., None] * np.array([1, 2, 4])
  expected = np.concatenate([np.sin(angles), np.cos(angles)], -1).reshape(1, -1)
  np.testing.assert_allclose(unet.fourier(jnp.asarray(x, jnp.float32), 3), expected, atol=1e-5)


def test_pixel_coordinates_count_from_the_window_and_from_the_end():
  out = np.asarray(unet.pixel_coordinates(4, 2, jnp.array([0.25, -1.0])))
  assert out.shape[:3] == (2, 4, 2)
  along, across = np.array([-0.75, -0.25, 0.25, 0.75]), np.array([-0.5, 0.5])
  np.testing.assert_allclose(out[1, ..., 0], np.broadcast_to(along[:, None], (4, 2)), atol=1e-6)
  np.testing.assert_allclose(out[0, ..., 1], np.broadcast_to(across[None], (4, 2)), atol=1e-6)
  to_end = out[..., 2 + 12]  # behind the fixed coordinates and their 3 octaves
  np.testing.assert_allclose(to_end[0, :, 0], along - 0.25, atol=1e-6)
  np.testing.assert_allclose(to_end[1, :, 1], along + 1.0, atol=1e-6)


def test_space_to_depth_is_invertible_and_keeps_each_block_together():
  x = jnp.arange(2 * 6 * 4 * 3.0).reshape(2, 6, 4, 3)
  folded = blocks.space_to_depth(x, 2)
  assert folded.shape == (2, 3, 2, 12)
  np.testing.assert_array_equal(blocks.depth_to_space(folded, 2), x)
  for i in range(3):
    for j in range(2):
      np.testing.assert_array_equal(folded[:, i, j], x[:, 2 * i:2 * i + 2, 2 * j:2 * j + 2].reshape(2, -1))


def test_residual_block_starts_as_the_identity():
  x = jax.random.normal(jax.random.key(0), (1, 4, 4, 8))
  module = blocks.ResidualBlock(8, num_groups=4)
  embedding = jnp.ones((1, 5))
  params = module.init(jax.random.key(1), x, embedding)
  np.testing.assert_array_equal(module.apply(params, x, embedding), x)


def test_self_attention_does_not_care_where_pixels_are():
  x = jax.random.normal(jax.random.key(0), (1, 4, 4, 8))
  module = blocks.SelfAttention(num_heads=2, num_groups=4)
  params = randomise(module.init(jax.random.key(1), x))
  permutation = np.random.default_rng(0).permutation(16)
  shuffle = lambda y: y.reshape(1, 16, 8)[:, permutation].reshape(1, 4, 4, 8)
  out = module.apply(params, x)
  assert np.abs(out - x).max() > 0.01
  np.testing.assert_allclose(module.apply(params, shuffle(x)), shuffle(out), atol=1e-5)


@pytest.fixture(scope="module")
def autoencoder():
  network = api.make_autoencoder(latent_channels=2, stem=8, features=8, num_encoder_blocks=1,
                                 num_decoder_blocks=1)
  return network, randomise(jax.jit(lambda key: network.init(key, (64, 32)))(jax.random.key(0)))


def test_autoencoder_shapes_and_parameter_count(autoencoder):
  network, params = autoencoder
  mean, logvar = jax.eval_shape(network.encode, params, jnp.zeros((3, 64, 32, 1)))
  assert mean.shape == logvar.shape == (3, 8, 4, 2)
  assert jax.eval_shape(network.decode, params, mean).shape == (3, 64, 32, 1)
  conv = lambda inputs, outputs: 9 * inputs * outputs + outputs
  encoder = conv(64, 8) + 2 * conv(8, 8) + 8 * 4 + 4
  decoder = conv(2, 8) + 2 * conv(8, 8) + conv(8, 64)
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == encoder + decoder


def test_autoencoder_commutes_with_shifts_by_whole_blocks(autoencoder):
  """Where the zero padding of the border cannot reach (7 blocks), moving the image by 8 pixels moves the
  decoded one."""
  network, params = autoencoder
  y = np.zeros((2, 144, 144, 1), np.float32)
  y[0, 64:70, 62:72], y[1, 72:78, 62:72] = 1.0, 1.0
  out = np.asarray(jax.jit(lambda y: network.decode(params, network.encode(params, y)[0]))(jnp.asarray(y)))
  assert np.ptp(out[0, 64:72, 64:72]) > 1e-3
  np.testing.assert_allclose(out[1, 72:80, 64:72], out[0, 64:72, 64:72], atol=1e-5)


def test_autoencoder_derivatives_agree_in_both_modes(autoencoder):
  network, params = autoencoder
  z = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 2)), jnp.float32)
  f = lambda z: jnp.sum(jnp.sin(network.decode(params, z)))
  gradient = jax.jit(jax.grad(f))(z)
  np.testing.assert_allclose(
      jax.jit(lambda z: jax.jvp(f, (z,), (jnp.cos(z),))[1])(z), jnp.sum(gradient * jnp.cos(z)), rtol=1e-3)


# one call of XLA, and one matrix product
@pytest.mark.parametrize("shape", [(2, 8, 4, 3), (2, 4, 2, 3), (1, 1, 1, 3)])
def test_convolution_is_that_of_flax(shape):
  import flax.linen as nn
  x = jax.random.normal(jax.random.key(0), shape)
  ours, theirs = blocks.Conv(5), nn.Conv(5, (3, 3))
  params = randomise(theirs.init(jax.random.key(1), x))
  assert jax.tree.map(jnp.shape, ours.init(jax.random.key(1), x)) == jax.tree.map(jnp.shape, params)
  np.testing.assert_allclose(ours.apply(params, x), theirs.apply(params, x), atol=1e-5)
