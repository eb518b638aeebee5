"""Data whose score is known in closed form: a Gaussian, and a skewed mixture of two, in one dimension."""
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from lartpc_jax.diffusion.sde import alpha_std

WEIGHTS, MEANS, STDS = (0.3, 0.7), (-1.0, 0.8), (0.25, 0.5)


def gaussian_score(sde, mean, std):
  """score_fn(x [b 1], t [b]) of data drawn from N(mean, std^2)."""
  def score_fn(x, t):
    alpha_t, std_t = (a[:, None] for a in alpha_std(sde, t))
    return -(x - alpha_t * mean) / ((alpha_t * std) ** 2 + std_t**2)
  return score_fn


def mixture_score(sde, weights=WEIGHTS, means=MEANS, stds=STDS):
  """score_fn of weights[k] N(means[k], stds[k]^2)."""
  def score_fn(x, t):
    alpha, std = (a[:, None] for a in alpha_std(sde, t))
    parts = [((alpha * s) ** 2 + std**2, x - alpha * m, w) for w, m, s in zip(weights, means, stds)]
    logs = jnp.stack(
        [jnp.log(jnp.asarray(w, x.dtype)) - 0.5 * jnp.log(v) - 0.5 * d**2 / v for v, d, w in parts])
    shares = jax.nn.softmax(logs, axis=0)
    return sum(-share * d / v for share, (v, d, _) in zip(shares, parts))
  return score_fn


def mixture_moments():
  """Mean, variance and third central moment of the mixture."""
  w, m, s = (np.array(a) for a in (WEIGHTS, MEANS, STDS))
  mean = w @ m
  d = m - mean
  return mean, w @ (s**2 + d**2), w @ (d**3 + 3 * d * s**2)


def mixture_cdf(x, weights=WEIGHTS, means=MEANS, stds=STDS):
  """Cumulative distribution of the mixture."""
  return sum(w * stats.norm.cdf(x, m, s) for w, m, s in zip(weights, means, stds))


def mixture_draws(seed, num):
  """Draws [num] of the mixture."""
  rng = np.random.default_rng(seed)
  component = rng.choice(2, num, p=WEIGHTS)
  return np.array(MEANS)[component] + np.array(STDS)[component] * rng.normal(size=num)
