"""Random starting points, screened cheaply: few sampler steps, one draw, coarse images."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.emd import EMD


class Candidates(NamedTuple):
  """Random hypotheses with one coarse image a view; drawn once and compared with every event."""
  hypothesis: Float[Array, "m 4"]
  images: Float[Array, "m v p p"]  # pooled, MeV


def pool(images: Float[Array, "*b n n"], factor: int) -> Float[Array, "*b p p"]:
  """Sums charge over factor x factor pixels."""
  *batch, n, _ = images.shape
  return images.reshape(*batch, n // factor, factor, n // factor, factor).sum((-3, -1))


def make_screen(distance: EMD, *, factor: int, charge_weight_px: float) -> Callable:
  """Builds screen(targets [b v n n], candidates) -> coarse objective [b m], in pooled pixels, summed over the views.

  The distance of pooled images costs a hundredth of the full one; the charge term is the one of the full objective. An
  empty candidate is infinitely far, so that `top_k`, which ranks NaN first, does not choose it.
  """
  def compare(image, charge, prepared, target_charge):
    ratio = jnp.abs(charge - target_charge) / target_charge
    return distance.emd_to_target(image, prepared).value + charge_weight_px / factor * ratio

  def screen_one(target: Float[Array, "v n n"], candidates: Candidates) -> Float[Array, " m"]:
    pooled = pool(target, factor)
    prepared = jax.vmap(distance.prepare_target)(pooled)
    charge = pooled.sum((1, 2))
    over_views = jax.vmap(compare)
    values = jax.vmap(lambda x: over_views(x, x.sum((1, 2)), prepared, charge).sum())(candidates.images)
    return jnp.where(jnp.isnan(values), jnp.inf, values)

  return lambda targets, candidates: jax.lax.map(lambda target: screen_one(target, candidates), targets)
