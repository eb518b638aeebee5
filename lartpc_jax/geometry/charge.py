"""Charge transforms: invertible maps between MeV per pixel and the values that networks see."""
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp


class ChargeTransform(NamedTuple):
  """`inverse(forward(q)) == q` for q >= 0 MeV. Elementwise, differentiable (sqrt: not at exactly 0 MeV)."""
  forward: Callable
  inverse: Callable


def sqrt_transform(scale_mev: float = 1.0) -> ChargeTransform:
  """y = sqrt(q / scale): stabilises the variance of a Poisson-like charge. Negative y means 0 MeV."""
  if not scale_mev > 0:
    raise ValueError(f"scale_mev must be positive; got {scale_mev}.")
  return ChargeTransform(lambda q: jnp.sqrt(q / scale_mev),
                         lambda y: scale_mev * jnp.square(jnp.maximum(y, 0.0)))


def arcsinh_transform(scale_mev: float = 0.1) -> ChargeTransform:
  """y = arcsinh(q / scale): linear below `scale`, logarithmic above. Negative y means 0 MeV."""
  if not scale_mev > 0:
    raise ValueError(f"scale_mev must be positive; got {scale_mev}.")
  return ChargeTransform(lambda q: jnp.arcsinh(q / scale_mev),
                         lambda y: scale_mev * jnp.sinh(jnp.maximum(y, 0.0)))


def grey8_transform(scale_mev: float = 0.02) -> ChargeTransform:
  """y = 8-bit grey level / 255, one level being `scale` (linear, rounded, cut off at 255): the published
  representation.

  `inverse` gives whole levels; so neither direction is differentiable, and `inverse(forward(q))` is q to half
  a level, below 255 levels.
  """
  if not scale_mev > 0:
    raise ValueError(f"scale_mev must be positive; got {scale_mev}.")
  levels = lambda y: jnp.clip(jnp.round(y), 0.0, 255.0)
  return ChargeTransform(lambda q: levels(q / scale_mev) / 255.0, lambda y: scale_mev * levels(255.0 * y))


CHARGE_TRANSFORMS = {"sqrt": sqrt_transform, "arcsinh": arcsinh_transform, "grey8": grey8_transform}


def make_charge_transform(name: str, scale_mev: float) -> ChargeTransform:
  """The transform called `name`. Raises ValueError naming it and the allowed set."""
  if name not in CHARGE_TRANSFORMS:
    raise ValueError(f"Unknown charge transform {name!r}; choose from {sorted(CHARGE_TRANSFORMS)}.")
  return CHARGE_TRANSFORMS[name](scale_mev)
