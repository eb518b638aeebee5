"""Images that inference asks for, on the analytic generator: views, mirrors, sums of tracks, and the noise of
the draws."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.inference.imaging import antithetic_noise, generate_views, make_noise, sum_tracks
from tests import toy_generator as toy


def test_several_images_of_a_draw():
  """A generator that returns each image with its mirror gives twice the draws, neighbours."""
  single = toy.make_generate(0.1)
  double = lambda noise, cond: jnp.stack([single(noise, cond), single(noise, cond)[:, ::-1]], axis=1)
  noise = jax.random.normal(jax.random.key(3), (1, 2, *toy.LATENT_SHAPE))
  momentum = jnp.asarray(toy.random_momenta(3, seed=6))
  images, doubled = (generate_views(g, noise, momentum, ("xy",)) for g in (single, double))
  np.testing.assert_array_equal(doubled[:, :, ::2], images)
  np.testing.assert_array_equal(doubled[:, :, 1::2], images[:, :, :, ::-1])


@pytest.mark.parametrize("num_draws", [1, 2, 3, 8])
def test_antithetic_noise(num_draws):
  """Neighbours are opposite pairs, so every even number of first draws sums to zero; views draw for
  themselves."""
  noise = np.asarray(antithetic_noise(jax.random.key(1), 2, num_draws, (2, 3, 4)))
  assert noise.shape == (2, num_draws, 2, 3, 4)
  pairs = num_draws // 2
  np.testing.assert_array_equal(noise[:, 0:2 * pairs:2], -noise[:, 1:2 * pairs:2])
  assert len(np.unique(np.abs(noise))) == 2 * -(-num_draws // 2) * 24
  many = antithetic_noise(jax.random.key(2), 1, 2000, (5, 5, 1))
  np.testing.assert_allclose(many.std(), 1.0, atol=4 / np.sqrt(2 * 25_000))  # half of the 50,000 are free


def test_views_of_the_generator():
  """The xz image of a momentum is the xy image of the permuted one; draws and events keep their places."""
  views, generate = ("xy", "xz", "yz", "u"), toy.make_generate(0.1)
  momentum = jnp.asarray(toy.random_momenta(2, seed=5))
  noise = jax.random.normal(jax.random.key(3), (4, 4, *toy.LATENT_SHAPE))
  images = generate_views(generate, noise, momentum, views)
  assert images.shape == (2, 4, 4, 64, 64)
  wires = np.radians(60.0)
  turned = np.stack([momentum[:, 0], momentum[:, 2] * np.cos(wires) - momentum[:, 1] * np.sin(wires),
                     momentum[:, 1] * np.cos(wires) + momentum[:, 2] * np.sin(wires)], axis=1)
  for v, permuted in enumerate(
      (*(momentum[:, np.array(order)] for order in ([0, 1, 2], [0, 2, 1], [1, 2, 0])), turned)):
    permuted = jnp.asarray(permuted)
    for k in range(4):
      expected = generate(jnp.stack([noise[v, k]] * 2), {"momentum_mev": permuted})
      np.testing.assert_allclose(images[:, v, k], expected, atol=1e-4)


def test_tracks_keep_their_places_in_a_sum():
  """Images 1, 2, 3, ... of the tracks of two events: 1 + 2 + 3 and 4 + 5 + 6. One track is its own sum."""
  images = jnp.arange(1.0, 7.0)[:, None, None, None, None] * jnp.ones((1, 2, 3, 4, 4))
  np.testing.assert_array_equal(sum_tracks(images, 3)[:, 0, 0, 0, 0], [6.0, 15.0])
  np.testing.assert_array_equal(sum_tracks(images, 1), images)


def test_every_track_has_noise_of_its_own():
  """By track: opposite pairs for each, no two tracks alike. Shared noise is that of `antithetic_noise`; or of
  no pairs."""
  key, of = jax.random.key(4), dict(num_views=2, shape=toy.LATENT_SHAPE)
  noise = np.asarray(make_noise("by_track", **of, num_tracks=3)(jax.random.clone(key), 2))
  assert noise.shape == (3, 2, 2, *toy.LATENT_SHAPE) and len(np.unique(np.abs(noise))) == 3 * 2 * 2
  np.testing.assert_array_equal(noise[:, :, 0], -noise[:, :, 1])
  paired = make_noise("paired", **of)(jax.random.clone(key), 2)
  np.testing.assert_array_equal(paired, antithetic_noise(jax.random.clone(key), 2, 2, toy.LATENT_SHAPE))
  independent = np.asarray(make_noise("independent", **of)(key, 2))
  assert independent.shape == paired.shape and len(np.unique(np.abs(independent))) == independent.size


@pytest.mark.parametrize("kind, num_tracks, message", [
    ("white", 1, "Unknown noise 'white'; choose from"),
    ("paired", 2, "2 tracks need noise 'by_track'.*got 'paired'")])
def test_noise_that_does_not_fit_is_named(kind, num_tracks, message):
  with pytest.raises(ValueError, match=message):
    make_noise(kind, num_views=1, shape=toy.LATENT_SHAPE, num_tracks=num_tracks)
