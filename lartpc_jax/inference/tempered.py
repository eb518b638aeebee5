"""The generalised posterior of the Earth Mover's Distance, by weighted draws, and the temperature that
calibrates it.

density(p) = q(p)^power exp(-distance(p) / temperature) up to a constant (Bissiri et al. 2016), q the
amortised density in estimator coordinates. With power below 1 the data that q has seen already count less,
and the distance makes up for it. Draws come from q with its Gaussians widened by power^-1/2 and carry
weights, so that any temperature costs nothing more.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.inference import estimator as estimator_lib
from lartpc_jax.inference.estimator import Estimator, Posterior

TEMPERATURES_PX = np.geomspace(0.003, 30.0, 161)  # searched by `fit_temperature`


class Draws(NamedTuple):
  """Draws of n events, and their truths where they are known."""
  momentum_mev: Float[Array, "s n 3"]
  distance_px: Float[Array, "s n"]
  log_prior: Float[Array, "s n"]       # power log q
  log_proposal: Float[Array, "s n"]
  true_distance_px: Float[Array, " n"]
  true_log_prior: Float[Array, " n"]


def make_draws(estimator: Estimator, evaluate: Callable, *, power: float, num_samples: int) -> Callable:
  """Builds draw(key, known, truth_mev [n 3], *args) -> Draws, to be jitted by the caller.

  Args:
    estimator: with the density q.
    evaluate: (momentum_mev [n 3], *args) -> distance [n] in pixels.
    power: of q, above 0 and at most 1.
    num_samples: draws an event.
  Raises:
    ValueError: for another power, or fewer than 20 draws.
  """
  if not 0.0 < power <= 1.0:
    raise ValueError(f"power must lie above 0 and at most at 1; got {power}.")
  if num_samples < 20:
    raise ValueError(f"num_samples must be at least 20; got {num_samples}.")

  def draw(key, known: Posterior, truth_mev, *args) -> Draws:
    wide = known.mixture._replace(cholesky=known.mixture.cholesky * power**-0.5)
    momentum = estimator.draw(key, known._replace(mixture=wide), num_samples)
    even = estimator.num_views == 1

    def one(p):
      x = estimator_lib.to_coordinates(known.observed, p)
      return (evaluate(p, *args), power * estimator_lib.log_density(known.mixture, x, even=even),
              estimator_lib.log_density(wide, x, even=even))
    distance, prior, proposal = jax.lax.map(one, jnp.concatenate([momentum, truth_mev[None]]))
    return Draws(momentum, distance[:-1], prior[:-1], proposal[:-1], distance[-1], prior[-1])
  return draw


def weights(draws: Draws, temperature_px: float) -> np.ndarray:
  """Normalised weights [s n] float64 of the draws; 0 where the distance is not finite, NaN for an event where
  none is.

  Raises:
    ValueError: for a temperature that is not above 0.
  """
  if not temperature_px > 0.0:
    raise ValueError(f"temperature_px must be above 0; got {temperature_px}.")
  log_weight = (np.asarray(draws.log_prior, np.float64) - np.asarray(draws.log_proposal, np.float64)
                - np.asarray(draws.distance_px, np.float64) / temperature_px)
  log_weight = np.where(np.isfinite(log_weight), log_weight, -np.inf)
  top = log_weight.max(0)
  weight = np.exp(log_weight - np.where(np.isfinite(top), top, np.nan))
  return weight / weight.sum(0)


def credible_levels(draws: Draws, temperature_px: float) -> np.ndarray:
  """Smallest highest-density region [n] that holds the truth, as the weight of the draws with a higher
  density.

  NaN for an event without a density of the truth or of any draw: it has no region, and is not covered by one.
  """
  density = np.asarray(draws.log_prior) - np.asarray(draws.distance_px) / temperature_px
  true_density = np.asarray(draws.true_log_prior) - np.asarray(draws.true_distance_px) / temperature_px
  level = np.sum(weights(draws, temperature_px) * (density > true_density[None]), axis=0)
  return np.where(np.isfinite(true_density), level, np.nan)


def effective_samples(draws: Draws, temperature_px: float) -> np.ndarray:
  """1 / sum of squared weights [n] (Kish 1965)."""
  return 1.0 / np.sum(weights(draws, temperature_px)**2, axis=0)


def fit_temperature(draws: Draws, *, credibility: float = 0.68) -> float:
  """The temperature in pixels at which regions of that credibility cover that share of the truths.

  Coverage rises with the temperature up to the noise of few events: the middle of the temperatures of
  `TEMPERATURES_PX` that come closest is taken.

  Raises:
    ValueError: if no temperature comes within three binomial errors.
  """
  covered = np.array([np.mean(credible_levels(draws, t) <= credibility) for t in TEMPERATURES_PX])
  off = np.abs(covered - credibility)
  allowed = 3.0 * np.sqrt(credibility * (1.0 - credibility) / len(draws.true_distance_px))
  if off.min() > allowed:
    raise ValueError(f"No temperature from {TEMPERATURES_PX[0]:g} to {TEMPERATURES_PX[-1]:g} px covers "
                     f"{100 * credibility:g} % of {len(draws.true_distance_px)} events; the closest covers "
                     f"{100 * covered[off.argmin()]:.1f} %.")
  best = np.flatnonzero(off <= off.min() + 1e-9)
  return float(TEMPERATURES_PX[best[len(best) // 2]])


def resample(draws: Draws, temperature_px: float, *, num: int, seed: int) -> np.ndarray:
  """Momenta [num n 3] in MeV/c drawn by their weights, with replacement; NaN for an event without weights."""
  chosen = weights(draws, temperature_px)
  found = np.isfinite(chosen).all(0)
  random = np.random.default_rng(seed)
  index = np.stack([random.choice(len(chosen), num, p=p if known else None)
                    for p, known in zip(chosen.T, found, strict=True)], axis=1)
  momentum = np.take_along_axis(np.asarray(draws.momentum_mev), index[..., None], axis=0)
  return np.where(found[None, :, None], momentum, np.nan)
