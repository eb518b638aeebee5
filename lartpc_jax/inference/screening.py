"""Random starting points, one draw each, screened twice: all on coarse images, the best on full ones."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.inference import chart
from lartpc_jax.inference.imaging import Imager, antithetic_noise, generate_views
from lartpc_jax.inference.settings import Screening
from lartpc_jax.inference.track_sets import is_repeated, screen_sets
from lartpc_jax.transport.emd import EMD, make_emd

METHODS = ("distance", "squares")
COARSE_PIXELS = 16        # a side of the images of the coarse pass, or a little more
COARSE = dict(ot_epsilon_px=0.1, num_iterations=4, num_pixels=16)  # of `make_emd`, for pooled images
CANDIDATES_AT_ONCE = 256  # drawn together: bounds the memory


class Candidates(NamedTuple):
  """Random hypotheses with one coarse image a view; drawn once and compared with every event."""
  hypothesis: Float[Array, "m 4"]
  images: Float[Array, "m v n n"]  # MeV
  pooled: Float[Array, "m v p p"]  # the same, coarse


class Screened(NamedTuple):
  """The best sets of t candidates for each of b events, the best first."""
  momentum_mev: Float[Array, "b h t 3"]  # MeV/c
  objective: Float[Array, "b h"]         # px, unweighted distance and charge term, summed over views


def pool_factor(num_pixels: int) -> int:
  """Pixels pooled in each direction: the most that divide the side and leave at least COARSE_PIXELS of
  them.
  """
  return next((f for f in range(num_pixels // COARSE_PIXELS, 0, -1) if num_pixels % f == 0), 1)


def pool(images: Float[Array, "*b n n"]) -> Float[Array, "*b p p"]:
  """Sums charge over squares of `pool_factor` pixels."""
  *batch, n, _ = images.shape
  factor = pool_factor(n)
  return images.reshape(*batch, n // factor, factor, n // factor, factor).sum((-3, -1))


def draw_candidates(key: Array, imager: Imager, *, num: int, views: tuple[str, ...],
                    kinetic_range_mev: tuple[float, float]) -> Candidates:
  """`num` random hypotheses with one image a view, all of the same draw.

  Args:
    key: of hypotheses and draw.
    imager: the generator.
    num: m.
    views: names of the views.
    kinetic_range_mev: of the chart.
  """
  key_hypothesis, key_noise = jax.random.split(key)
  hypothesis = chart.random_hypotheses(key_hypothesis, num)
  noise = antithetic_noise(key_noise, len(views), 1, imager.latent_shape)
  momentum = lambda h: chart.to_momentum(h[None], kinetic_range_mev)
  draw = lambda h: generate_views(imager.generate_fast, noise, momentum(h), views)[0, :, 0]
  images = jax.lax.map(draw, hypothesis, batch_size=min(CANDIDATES_AT_ONCE, num))
  return Candidates(hypothesis, images, pool(images))


def make_screen(compare_full: Callable, settings: Screening, *, kinetic_range_mev: tuple[float, float],
                charge_weight_px: float, num_tracks: int = 1) -> Callable:
  """Builds screen(images [b v n n], targets, candidates) -> Screened.

  Args:
    compare_full: `Objective.compare`, for full images; prepares `targets`.
    settings: how many of them, and by what pooled images are compared.
    kinetic_range_mev: of the chart.
    charge_weight_px: of the objective.
    num_tracks: candidates that add up to an image.
  Raises:
    ValueError: naming a method that is unknown or knows single tracks only.
  """
  if settings.method not in METHODS:
    raise ValueError(f"Unknown screening method {settings.method!r}; choose from {METHODS}.")
  if settings.method == "distance" and num_tracks > 1:
    raise ValueError(f"Sets of {num_tracks} tracks need the screening method 'squares'; got 'distance'.")
  num = settings.num_screened
  coarse = _make_coarse(make_emd(**COARSE), charge_weight_px=charge_weight_px)

  def coarse_best(image, candidates):  # [s t]
    if settings.method == "distance":
      return jax.lax.top_k(-coarse(image, candidates), num)[1][:, None]
    pooled = candidates.pooled.reshape(len(candidates.pooled), -1)
    return screen_sets(pool(image).reshape(-1), pooled, num_tracks, beam=settings.beam, keep=num)

  def screen(images: Float[Array, "b v n n"], targets, candidates: Candidates) -> Screened:
    def one(inputs):
      image, target = inputs
      sets = coarse_best(image, candidates)
      drawn = candidates.images[sets].sum(1)[:, :, None]
      values = compare_full(drawn, jax.tree.map(lambda x: jnp.repeat(x[None], num, axis=0), target))
      values = jnp.where(jnp.isnan(values) | is_repeated(sets), jnp.inf, values)
      best = jax.lax.top_k(-values, settings.num_starts)[1]
      return sets[best], values[best]
    sets, values = jax.lax.map(one, (images, targets))
    momentum = chart.to_momentum(candidates.hypothesis[sets.reshape(-1)], kinetic_range_mev)
    return Screened(momentum.reshape(*sets.shape, 3), values)
  return screen


def _make_coarse(distance: EMD, *, charge_weight_px: float) -> Callable:
  """Builds coarse(target [v n n], candidates) -> objective [m] of pooled images, all views, pooled pixels.

  The distance of pooled images costs a hundredth of the full one; the charge term is the one of the full
  objective. An empty candidate is infinitely far, so that `top_k`, which ranks NaN first, does not choose it.
  """
  def compare(image, charge, prepared, target_charge, weight):
    ratio = jnp.abs(charge - target_charge) / target_charge
    return distance.emd_to_target(image, prepared).value + weight * ratio

  def screen_one(target: Float[Array, "v n n"], candidates: Candidates) -> Float[Array, " m"]:
    pooled = pool(target)
    prepared = jax.vmap(distance.prepare_target)(pooled)
    charge = pooled.sum((1, 2))
    weight = charge_weight_px / pool_factor(target.shape[-1])
    over_views = jax.vmap(lambda *view: compare(*view, weight))
    values = jax.vmap(lambda x: over_views(x, x.sum((1, 2)), prepared, charge).sum())(candidates.pooled)
    return jnp.where(jnp.isnan(values), jnp.inf, values)

  return screen_one
