"""The momentum objective: distance between target views and what the generator draws for a momentum."""
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.inference.estimator import Estimator, Posterior
from lartpc_jax.inference.imaging import generate_views
from lartpc_jax.inference.settings import Comparison
from lartpc_jax.transport.emd import EMD

PICTURES = ("each", "sum")
DRAWS = ("mean", "best")
CHARGE_SMOOTHING = 0.005  # s in sqrt(r^2 + s^2) - s, relative charge
_COSTS_AT_ONCE = 2**25    # entries of all cost matrices held together (128 MB each time they are made)


class Targets(NamedTuple):
  """What the objective needs to know of the target images; leaves start with [b v]."""
  prepared: NamedTuple  # EMDTarget of the weighted images
  charge: Array         # [b v], MeV
  prior: Posterior | None = None  # of the events, if the objective has a prior


class Objective(NamedTuple):
  """Pure functions; see `make_objective`."""
  prepare: Callable   # images [b v n n] -> Targets
  compare: Callable   # (images [b v k n n], Targets) -> [b], pixels
  # (momentum [b 3], Targets, noise [v k h w c], vertex_mm [b 3] or None, told or None) -> [b], pixels
  evaluate: Callable


def vertex_weights(num_pixels: int, *, power: float, radius_px: float = 1.0) -> Float[Array, "n n"]:
  """Weight (radius / (r + radius))^power of a pixel at distance r from the vertex; power 0 weighs all alike.

  The direction at the vertex is written in the first millimetres of a track; farther out multiple scattering
  has moved it (rms displacement grows as r^1.5, Fermi-Eyges), and an unweighted Earth Mover's Distance
  listens to the far end, where displacements and, at the Bragg peak, charge are largest.
  """
  centre = (jnp.arange(num_pixels, dtype=jnp.float32) + 0.5) - num_pixels / 2
  r = jnp.hypot(centre[:, None], centre[None, :])
  return (radius_px / (r + radius_px)) ** power


def make_objective(generate: Callable, distance: EMD, *, views: tuple[str, ...], num_pixels: int,
                   settings: Comparison = Comparison(), vertex_power: float = 0.0,
                   prior: Estimator | None = None, prior_weight_px: float = 0.0) -> Objective:
  """Builds p -> sum over views of the mean over draws of EMD(target, generate(noise, p seen in the view)).

  Views are compared one by one unless `settings.pictures` is "sum". Each distance is normalised (unit
  charge), after multiplication by `vertex_weights`; with charge_weight_px a smooth |Q - Q_target| / Q_target
  of the unweighted charge is added to each, because the total charge alone fixes |p| better than any shape
  does. With the vertex as an argument of `evaluate`, its Gaussian prior is added.

  Args:
    generate: see `imaging.generate_views`.
    distance: Earth Mover's Distance between single images.
    views: names of the views, in the order of the images.
    num_pixels: image size.
    settings: what is added up.
    vertex_power: 0 compares images as they are.
    prior: amortised estimator; with one, `evaluate` adds -prior_weight_px log q(p | images) and descends to
      the mode of a generalised posterior (Bissiri et al. 2016) in place of the distance's minimum.
    prior_weight_px: pixels for a nat of the estimator's density.
  Raises:
    ValueError: for a charge_tolerance or weight below 0, a weight without a prior, or an unknown choice.
  Differentiable in momentum and vertex, forward and reverse mode.
  """
  _check(settings, prior, prior_weight_px)
  weights = vertex_weights(num_pixels, power=vertex_power, radius_px=settings.vertex_radius_px)
  each_draw = _make_each_draw(distance, weights, settings.charge_weight_px)
  one_picture = settings.pictures == "sum"
  as_compared = lambda images: images.sum(axis=1, keepdims=True) if one_picture else images  # [b v ...]

  def prepare(images: Float[Array, "b v n n"]) -> Targets:
    seen = as_compared(images)
    return Targets(jax.vmap(jax.vmap(distance.prepare_target))(seen * weights[None, None]), seen.sum((2, 3)),
                   prior.posterior(images, views) if prior_weight_px else None)

  def compare(images: Float[Array, "b v k n n"], targets: Targets) -> Float[Array, " b"]:
    single = lambda *view: _over_draws(*each_draw(*view), settings)
    return _map_events(jax.vmap(single), as_compared(images), targets.prepared, targets.charge).sum(axis=1)

  def evaluate(momentum_mev: Float[Array, "b 3"], targets: Targets, noise: Float[Array, "v k h w c"],
               vertex_mm: Float[Array, "b 3"] | None = None,
               told: Mapping[str, Array] | None = None) -> Float[Array, " b"]:
    if settings.draws == "best":  # the others have no share in the gradient: a third of the cost
      fixed = jax.lax.stop_gradient((momentum_mev, vertex_mm))
      images = as_compared(generate_views(generate, noise, fixed[0], views, fixed[1], told))
      values, _ = _map_events(jax.vmap(each_draw), images, targets.prepared, targets.charge)
      noise = best_noise(values, noise)
    value = compare(generate_views(generate, noise, momentum_mev, views, vertex_mm, told), targets)
    if vertex_mm is not None:
      value += 0.5 * settings.vertex_weight_px * jnp.sum((vertex_mm / settings.vertex_sigma_mm)**2, axis=1)
    if prior_weight_px:
      value -= prior_weight_px * prior.log_density(momentum_mev, targets.prior)
    return value

  return Objective(prepare, compare, evaluate)


def _check(settings: Comparison, prior: Estimator | None, prior_weight_px: float) -> None:
  for name, value, allowed in (("pictures", settings.pictures, PICTURES), ("draws", settings.draws, DRAWS)):
    if value not in allowed:
      raise ValueError(f"Unknown {name} {value!r}; choose from {allowed}.")
  if not settings.charge_tolerance >= 0.0:
    raise ValueError(f"charge_tolerance must be at least 0; got {settings.charge_tolerance}.")
  if not prior_weight_px >= 0.0 or (prior_weight_px and prior is None):
    raise ValueError("prior_weight_px must be at least 0, and 0 without an estimator; got "
                     f"{prior_weight_px}, {'no' if prior is None else 'an'} estimator.")


def _map_events(function: Callable, images: Float[Array, "b v k n n"], prepared, charge):
  """`function` of every event: all at once, or as many as the memory of their cost matrices allows."""
  b, v, k = images.shape[:3]
  points = getattr(prepared, "points", None)  # none: pixels are compared one by one
  at_once = b if points is None else _COSTS_AT_ONCE // (v * k * points.shape[-2]**2)
  if at_once >= b:
    return jax.vmap(function)(images, prepared, charge)
  return jax.lax.map(lambda event: function(*event), (images, prepared, charge), batch_size=max(at_once, 1))


def smooth_absolute(ratio: Float[Array, "*b"]) -> Float[Array, "*b"]:
  """sqrt(r^2 + s^2) - s of relative charges r: |r|, but smooth at 0."""
  return jnp.sqrt(ratio**2 + CHARGE_SMOOTHING**2) - CHARGE_SMOOTHING


def _make_each_draw(distance: EMD, weights: Float[Array, "n n"], charge_weight_px: float) -> Callable:
  """Builds (images [k n n] of one view, prepared, charge) -> values [k] in px, relative charges [k]."""
  def each_draw(images, prepared, charge):
    value = jax.vmap(lambda image: distance.emd_to_target(image * weights, prepared).value)(images)
    ratio = (images.sum((1, 2)) - charge) / charge
    if charge_weight_px:
      value += charge_weight_px * smooth_absolute(ratio)
    return value, ratio
  return each_draw


def _over_draws(value: Float[Array, " k"], ratio: Float[Array, " k"], settings: Comparison
                ) -> Float[Array, ""]:
  """The best of the draws, or the mean of those whose charge is within the tolerance of the median draw's.

  A draw of a proton that loses its energy to a nucleus is beyond it; between stopping and interacting momenta
  it changes at once, and the gradient there (up to ten times that of the steps before, seen on several of
  eight traced events) says nothing about the target.
  """
  if settings.draws == "best":
    return value.min()
  if settings.charge_tolerance == float("inf"):
    return value.mean()
  middle = jnp.sort(ratio)[ratio.size // 2]  # of an even number the larger one: nuclei take charge away
  kept = jax.lax.stop_gradient(jnp.abs(ratio - middle) <= settings.charge_tolerance)
  return jnp.where(kept, value, 0.0).sum() / kept.sum().astype(value.dtype)


def best_noise(values: Float[Array, "b p mk"], noise: Float[Array, "v k h w c"]
               ) -> Float[Array, "b v 1 h w c"]:
  """Of each event and view, or sum of views, the draw of the least value; NaN counts as infinite."""
  images_a_draw = values.shape[-1] // noise.shape[-4]
  index = jnp.argmin(jnp.where(jnp.isnan(values), jnp.inf, values), axis=-1) // images_a_draw
  index = jnp.broadcast_to(index, (len(values), noise.shape[-5]))
  return jax.vmap(lambda i: jax.vmap(lambda draws_of, one: draws_of[one][None])(noise, i))(index)
