"""Guides: p(label | noisy state) of a trained network, to draw by Bayes' rule what a generator was not told.

A label is a class, a number or a vector, declared as the variables of a condition are. Classes have
probabilities, numbers and the components of vectors are normal with a mean and a deviation of their own.
"""
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.diffusion.guidance import at_noise_level, by_bayes
from lartpc_jax.diffusion.prediction import edm_coefficients
from lartpc_jax.diffusion.sde import SDE, batch_mul
from lartpc_jax.generators.condition import Condition
from lartpc_jax.types import Params, ScoreFn

LOG_DEVIATIONS = (-5.0, 2.0)  # of scaled values: no network is sure to 0.7 % of a scale, or less than nothing
_HALF_LOG_2PI = 0.5 * float(np.log(2.0 * np.pi))


class Guide(NamedTuple):
  """A trained reader of noisy states."""
  apply: Callable        # (params, c_in x [b h w c], c_noise [b]) -> [b outputs]
  params: Params
  labels: Condition      # what it reads, in the order of its outputs
  sigma_data: float = 1.0


def num_outputs(labels: Condition) -> int:
  """Length of what the network gives for one example: a logit a class, or mean and log deviation a number."""
  return sum(len(v.classes) if v.kind == "label" else 2 * v.size for v in labels.variables.values())


def readings(guide: Guide, x: Float[Array, "b ..."], sigma: Float[Array, " b"]) -> dict[str, Array]:
  """Label -> log probabilities of its classes [b k], or mean and log deviation of its scaled value [b 2 s].

  Args:
    guide: the trained reader.
    x: states with noise of standard deviation sigma.
    sigma: noise over signal.
  """
  _, _, c_in, c_noise = edm_coefficients(sigma, guide.sigma_data)
  outputs, found, start = guide.apply(guide.params, batch_mul(c_in, x), c_noise), {}, 0
  for name, variable in guide.labels.variables.items():
    size = len(variable.classes) if variable.kind == "label" else 2 * variable.size
    values, start = outputs[:, start:start + size], start + size
    if variable.kind == "label":
      found[name] = jax.nn.log_softmax(values)
    else:
      mean, log_std = jnp.split(values.reshape(-1, 2, variable.size), 2, axis=1)
      found[name] = jnp.concatenate([mean, _soft_clip(log_std)], axis=1)
  return found


def _soft_clip(log_std: Array) -> Array:
  """Within LOG_DEVIATIONS, smoothly: a guide is differentiated."""
  low, high = LOG_DEVIATIONS
  return low + (high - low) * jax.nn.sigmoid(4.0 * (log_std - 0.5 * (low + high)) / (high - low))


def scaled(labels: Condition, name: str, values: Array) -> Float[Array, "b s"]:
  """Physical values of a number or a vector as the network sees them."""
  variable = labels.variables[name]
  values = jnp.log(values) if variable.log else values
  return ((values - variable.mean) / variable.scale).reshape(len(values), -1)


def log_density(guide: Guide, wanted: Mapping[str, Array]) -> Callable:
  """(x [b h w c], sigma [b]) -> log p(wanted | x) [b] in nats, of scaled values; labels that are not in
  `wanted` are left out.

  Args:
    guide: the trained reader.
    wanted: physical values by name, [b] or [b s].
  Raises:
    ValueError: naming a label that the guide does not read.
  """
  for name in wanted:
    if name not in guide.labels.variables:
      raise ValueError(f"Unknown label {name!r}; this guide reads {sorted(guide.labels.variables)}.")

  def density(x, sigma):
    found, total = readings(guide, x, sigma), jnp.zeros(len(x), x.dtype)
    for name, values in wanted.items():
      if guide.labels.variables[name].kind == "label":
        total += jnp.take_along_axis(found[name], values[:, None], axis=1)[:, 0]
      else:
        mean, log_std = found[name][:, 0], found[name][:, 1]
        pull = (scaled(guide.labels, name, values) - mean) * jnp.exp(-log_std)
        total += jnp.sum(-0.5 * pull**2 - log_std - _HALF_LOG_2PI, axis=-1)
    return total
  return density


def steer(guide: Guide, sde: SDE, wanted: Mapping[str, Array], *, guidance_scale: float = 1.0) -> Callable:
  """score_fn -> score_fn that draws what is wanted; see `diffusion.guidance.by_bayes`."""
  likelihood = at_noise_level(sde, log_density(guide, wanted))

  def steered(score_fn: ScoreFn) -> ScoreFn:
    return by_bayes(score_fn, likelihood, guidance_scale=guidance_scale)
  return steered
