"""Scores learned of points in the plane against the true ones."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.diffusion import toy
from lartpc_jax.train.toy import fit_toy_score


def cosine(a, b):
  a, b = np.asarray(a, float), np.asarray(b, float)
  return np.mean(np.sum(a * b, 1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


@pytest.mark.slow
def test_denoising_score_matching_learns_the_score_at_its_levels():
  mixture = toy.track_and_shower(std=0.1)
  score_fn = fit_toy_score(mixture, jax.random.key(0), sigmas=(1.0, 0.3), num_steps=400)
  for sigma in (1.0, 0.3):
    x = toy.draw_points(jax.random.key(1), mixture,
                        256) + sigma * jax.random.normal(jax.random.key(2), (256, 2))
    assert cosine(score_fn(x, jnp.full(256, sigma)), toy.score_at_sigma(mixture, sigma)(x)) > 0.85


@pytest.mark.slow
def test_sliced_score_matching_learns_a_gaussian():
  one = toy.Mixture(jnp.zeros((1, 2)), jnp.zeros(1), 0.5)
  score_fn = fit_toy_score(one, jax.random.key(0), num_steps=300)
  x = toy.draw_points(jax.random.key(1), one, 256)
  assert cosine(score_fn(x), -x) > 0.95
