"""Points in the plane whose score is known at every noise level: what pictures of score matching are drawn
with."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.diffusion.sde import SDE, alpha_std


class Mixture(NamedTuple):
  """Isotropic Gaussians of one width."""
  means: Float[Array, "k d"]
  log_weights: Float[Array, " k"]
  std: float | Array


def track_and_shower(num: int = 64, std: float = 0.02) -> Mixture:
  """A curved line (70 % of the weight) and a compact blob (30 %): thin where the data are, empty between.

  With std near 0 the line has almost no width: data on a manifold of lower dimension than the space (Song &
  Ermon 2019, sec. 3.2.1).
  """
  if num < 2 or not std > 0.0:
    raise ValueError(f"track_and_shower needs num >= 2 and std > 0; got {num=}, {std=}.")
  u = np.linspace(0.0, 1.0, num)
  line = np.stack([-1.6 + 2.2 * u, -1.2 + 0.5 * u + 1.6 * u**3], axis=1)
  angle = 2.399963 * np.arange(num)  # golden angle: an even disc
  blob = np.array([
      1.1, -0.8
  ]) + 0.25 * np.sqrt(np.arange(num) / num)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
  weights = np.repeat([0.7 / num, 0.3 / num], num)
  return Mixture(jnp.asarray(np.concatenate([line, blob]), jnp.float32),
                 jnp.asarray(np.log(weights), jnp.float32), std)


def draw_points(key: Array, mixture: Mixture, num: int) -> Float[Array, "n d"]:
  """Draws of the mixture."""
  key_component, key_noise = jax.random.split(key)
  component = jax.random.categorical(key_component, mixture.log_weights, shape=(num,))
  means = mixture.means[component]
  return means + mixture.std * jax.random.normal(key_noise, means.shape, means.dtype)


def log_density(mixture: Mixture, x: Float[Array, "n d"], sigma: float | Array = 0.0) -> Float[Array, " n"]:
  """log p of the mixture with noise of standard deviation sigma added, nats."""
  return _log_density(mixture, x, jnp.full(x.shape[:1], 1.0, x.dtype), jnp.full(x.shape[:1], sigma, x.dtype))


def _log_density(mixture, x, alpha, std):
  variance = (alpha * mixture.std) ** 2 + std**2
  squared = jnp.sum((x[:, None] - alpha[:, None, None] * mixture.means[None]) ** 2, axis=-1)
  constant = -0.5 * x.shape[1] * jnp.log(2.0 * np.pi * variance)
  return jax.scipy.special.logsumexp(mixture.log_weights[None] - 0.5 * squared / variance[:, None],
                                     axis=1) + constant


def mixture_score(mixture: Mixture, sde: SDE) -> Callable:
  """score_fn(x [n d], t [n]) of the SDE's marginals of the mixture, exact."""
  def score_fn(x, t):
    alpha, std = alpha_std(sde, t)
    return jax.grad(lambda y: _log_density(mixture, y, alpha, std).sum())(x)
  return score_fn


def score_at_sigma(mixture: Mixture, sigma: float | Array) -> Callable:
  """x [n d] -> score of the mixture with noise sigma added."""
  return lambda x: jax.grad(lambda y: log_density(mixture, y, sigma).sum())(x)
