"""Random starting points, screened in two passes: all on coarse images, the best of them on full ones. One draw each."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.inference import chart
from lartpc_jax.inference.objective import antithetic_noise, generate_views
from lartpc_jax.transport.emd import EMD

CANDIDATES_AT_ONCE = 256  # drawn together: bounds the memory


class Candidates(NamedTuple):
  """Random hypotheses with one coarse image a view; drawn once and compared with every event."""
  hypothesis: Float[Array, "m 4"]
  images: Float[Array, "m v n n"]  # MeV
  pooled: Float[Array, "m v p p"]  # the same, coarse


def pool(images: Float[Array, "*b n n"], factor: int) -> Float[Array, "*b p p"]:
  """Sums charge over factor x factor pixels."""
  *batch, n, _ = images.shape
  return images.reshape(*batch, n // factor, factor, n // factor, factor).sum((-3, -1))


def draw_candidates(key: Array, generate: Callable, *, num: int, views: tuple[str, ...],
                    kinetic_range_mev: tuple[float, float], latent_shape: tuple[int, int, int], factor: int) -> Candidates:
  """`num` random hypotheses with one image a view, all of the same draw.

  Args:
    key: of hypotheses and draw.
    generate: (noise [n h w c], momentum_mev [n 3]) -> images [n n n] in MeV.
    num: m.
    views: names of the views.
    kinetic_range_mev: of the chart.
    latent_shape: (h, w, c) of the noise.
    factor: of `pool`.
  """
  key_hypothesis, key_noise = jax.random.split(key)
  hypothesis = chart.random_hypotheses(key_hypothesis, num)
  noise = antithetic_noise(key_noise, len(views), 1, latent_shape)
  draw = lambda h: generate_views(generate, noise, chart.to_momentum(h[None], kinetic_range_mev), views)[0, :, 0]
  images = jax.lax.map(draw, hypothesis, batch_size=min(CANDIDATES_AT_ONCE, num))
  return Candidates(hypothesis, images, pool(images, factor))


def make_screen(distance: EMD, compare_full: Callable, *, factor: int, charge_weight_px: float, num_screened: int,
                num_starts: int) -> Callable:
  """Builds screen(images [b v n n], targets, candidates) -> indices [b h] of the best candidates for each event.

  Args:
    distance: for pooled images.
    compare_full: `Objective.compare`, for full ones.
    factor: pixels pooled in each direction.
    charge_weight_px: of the objective.
    num_screened: candidates that the coarse pass leaves to the full one.
    num_starts: h.
  """
  coarse = _make_coarse(distance, factor=factor, charge_weight_px=charge_weight_px)

  def screen(images, targets, candidates: Candidates):
    def one(inputs):
      image, target = inputs
      _, kept = jax.lax.top_k(-coarse(image, candidates), num_screened)
      drawn = candidates.images[kept][:, :, None]
      values = compare_full(drawn, jax.tree.map(lambda x: jnp.repeat(x[None], num_screened, axis=0), target))
      _, best = jax.lax.top_k(-jnp.where(jnp.isnan(values), jnp.inf, values), num_starts)
      return kept[best]
    return jax.lax.map(one, (images, targets))
  return screen


def _make_coarse(distance: EMD, *, factor: int, charge_weight_px: float) -> Callable:
  """Builds coarse(target [v n n], candidates) -> objective [m] of pooled images, in pooled pixels, summed over views.

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
    values = jax.vmap(lambda x: over_views(x, x.sum((1, 2)), prepared, charge).sum())(candidates.pooled)
    return jnp.where(jnp.isnan(values), jnp.inf, values)

  return screen_one
