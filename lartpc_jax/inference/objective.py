"""The momentum objective: distance between target views and what the generator draws for a momentum."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.geometry.rasterize import to_view
from lartpc_jax.inference.estimator import Estimator, Posterior
from lartpc_jax.transport.emd import EMD

PICTURES = ("each", "sum")
DRAWS = ("mean", "best")


class Targets(NamedTuple):
  """What the objective needs to know of the target images; leaves start with [b v]."""
  prepared: NamedTuple  # EMDTarget of the weighted images
  charge: Array         # [b v], MeV
  prior: Posterior | None = None  # of the events, if the objective has a prior


class Objective(NamedTuple):
  """Pure functions; see `make_objective`."""
  prepare: Callable   # images [b v n n] -> Targets
  compare: Callable   # (images [b v k n n], Targets) -> [b], pixels
  evaluate: Callable  # (momentum [b 3], Targets, noise [v k h w c], vertex_mm [b 3] or None) -> [b], pixels


def vertex_weights(num_pixels: int, *, power: float, radius_px: float = 1.0) -> Float[Array, "n n"]:
  """Weight (radius / (r + radius))^power of each pixel at distance r from the vertex; power 0 weighs all alike.

  The direction at the vertex is written in the first millimetres of a track; farther out multiple scattering has moved it
  (rms displacement grows as r^1.5, Fermi-Eyges), and an unweighted Earth Mover's Distance listens to the far end, where
  displacements and, at the Bragg peak, charge are largest.
  """
  centre = (jnp.arange(num_pixels) + 0.5) - num_pixels / 2
  r = jnp.hypot(centre[:, None], centre[None, :])
  return (radius_px / (r + radius_px)) ** power


def make_objective(generate: Callable, distance: EMD, *, views: tuple[str, ...], num_pixels: int,
                   vertex_power: float = 0.0, vertex_radius_px: float = 1.0, charge_weight_px: float = 0.0,
                   charge_smoothing: float = 0.005, charge_tolerance: float = float("inf"),
                   prior: Estimator | None = None, prior_weight_px: float = 0.0, pictures: str = "each",
                   draws: str = "mean", vertex_sigma_mm: float = 0.0, vertex_weight_px: float = 0.0) -> Objective:
  """Builds p -> sum over views of the mean over noise draws of EMD(target, generate(noise, p seen in the view)).

  Views are compared one by one unless `pictures` is "sum". Each distance is normalised (unit charge), after
  multiplication by `vertex_weights`; with charge_weight_px a smooth |Q - Q_target| / Q_target of the unweighted charge is
  added to each, because the total charge alone fixes |p| better than any shape does.

  Args:
    generate: (noise [n h w c], momentum_mev [n 3]) -> images [n n n] in MeV.
    distance: Earth Mover's Distance between single images.
    views: names of the views, in the order of the images.
    num_pixels: image size.
    vertex_power: 0 compares images as they are.
    vertex_radius_px: see `vertex_weights`.
    charge_weight_px: pixels for a charge that differs by 100 %.
    charge_smoothing: s in sqrt(r^2 + s^2) - s, relative charge.
    charge_tolerance: draws whose charge is farther than this share of the target's charge from the median draw's do not
      count in the mean. A draw of a proton that loses its energy to a nucleus is such; between stopping and interacting
      momenta it changes at once, and the gradient there (up to ten times that of the steps before, seen on several of eight
      traced events) says nothing about the target.
    prior: amortised estimator; with one, `evaluate` adds -prior_weight_px log q(p | images) and descends to the mode of a
      generalised posterior (Bissiri et al. 2016) in place of the distance's minimum.
    prior_weight_px: pixels for a nat of the estimator's density.
    pictures: "each" view by itself, or the "sum" of the views as one picture, as published.
    draws: their "mean", or the "best" of them.
    vertex_sigma_mm: width of a Gaussian prior of the vertex, where `evaluate` is given one (then `generate` takes it as a
      third argument).
    vertex_weight_px: pixels for a nat of it.
  Raises:
    ValueError: for a charge_tolerance or weight below 0, a weight without a prior, or an unknown choice.
  Differentiable in momentum and vertex, forward and reverse mode.
  """
  for name, value, allowed in (("pictures", pictures, PICTURES), ("draws", draws, DRAWS)):
    if value not in allowed:
      raise ValueError(f"Unknown {name} {value!r}; choose from {allowed}.")
  if not charge_tolerance >= 0.0:
    raise ValueError(f"charge_tolerance must be at least 0; got {charge_tolerance}.")
  if not prior_weight_px >= 0.0 or (prior_weight_px and prior is None):
    raise ValueError(f"prior_weight_px must be at least 0, and 0 without an estimator; got {prior_weight_px}, "
                     f"{'no' if prior is None else 'an'} estimator.")
  weights = vertex_weights(num_pixels, power=vertex_power, radius_px=vertex_radius_px)

  def prepare(images: Float[Array, "b v n n"]) -> Targets:
    seen = as_compared(images)
    return Targets(jax.vmap(jax.vmap(distance.prepare_target))(seen * weights[None, None]), seen.sum((2, 3)),
                   prior.posterior(images, views) if prior_weight_px else None)

  def as_compared(images):  # [b v ...]
    return images.sum(axis=1, keepdims=True) if pictures == "sum" else images

  def each_draw(images, prepared, charge):  # images [k n n] of one view of one event -> values and relative charges [k]
    value = jax.vmap(lambda image: distance.emd_to_target(image * weights, prepared).value)(images)
    ratio = (images.sum((1, 2)) - charge) / charge
    if charge_weight_px:
      value += charge_weight_px * (jnp.sqrt(ratio**2 + charge_smoothing**2) - charge_smoothing)
    return value, ratio

  def single(images, prepared, charge):
    value, ratio = each_draw(images, prepared, charge)
    if draws == "best":
      return value.min()
    if charge_tolerance == float("inf"):
      return value.mean()
    middle = jnp.sort(ratio)[ratio.size // 2]  # of an even number the larger one: nuclei take charge away
    kept = jax.lax.stop_gradient(jnp.abs(ratio - middle) <= charge_tolerance)
    return jnp.where(kept, value, 0.0).sum() / kept.sum()

  def compare(images: Float[Array, "b v k n n"], targets: Targets) -> Float[Array, " b"]:
    return jax.vmap(jax.vmap(single))(as_compared(images), targets.prepared, targets.charge).sum(axis=1)

  def evaluate(momentum_mev: Float[Array, "b 3"], targets: Targets, noise: Float[Array, "v k h w c"],
               vertex_mm: Float[Array, "b 3"] | None = None):
    if draws == "best":  # the others have no share in the gradient: a third of the cost
      noise = best_noise(momentum_mev, targets, noise, vertex_mm)
    value = compare(generate_views(generate, noise, momentum_mev, views, vertex_mm), targets)
    if vertex_mm is not None:
      value += 0.5 * vertex_weight_px * jnp.sum((vertex_mm / vertex_sigma_mm)**2, axis=1)
    return value - prior_weight_px * prior.log_density(momentum_mev, targets.prior) if prior_weight_px else value

  def best_noise(momentum_mev, targets, noise, vertex_mm):
    """Of each event and view, or sum of views, the draw [b v 1 h w c] with the least value."""
    fixed = jax.lax.stop_gradient((momentum_mev, vertex_mm))
    images = as_compared(generate_views(generate, noise, fixed[0], views, fixed[1]))
    values, _ = jax.vmap(jax.vmap(each_draw))(images, targets.prepared, targets.charge)
    index = jnp.argmin(jnp.where(jnp.isnan(values), jnp.inf, values), axis=-1) // (values.shape[-1] // noise.shape[-4])
    index = jnp.broadcast_to(index, (len(momentum_mev), len(views)))
    return jax.vmap(lambda i: jax.vmap(lambda draws_of, one: draws_of[one][None])(noise, i))(index)

  return Objective(prepare, compare, evaluate)


def generate_views(generate: Callable, noise: Float[Array, "*r v k h w c"], momentum_mev: Float[Array, "b 3"],
                   views: tuple[str, ...], vertex_mm: Float[Array, "b 3"] | None = None) -> Float[Array, "b v mk n n"]:
  """Images of each momentum in each view for each noise draw, in one call of `generate`.

  Draws are shared by the batch; with a leading axis of r, momentum i sees those of row i mod r. A `generate` that returns m
  images a draw ([n m n n], see `make_generate`) gives m k of them. With the vertex at another place than the middle,
  `generate` gets it as a third argument, in the frame of the view.
  """
  b, rows = momentum_mev.shape[0], noise.reshape(-1, *noise.shape[-5:])
  r, v, k = rows.shape[:3]
  in_views = lambda x: jnp.stack([to_view(x, view) for view in views], axis=1)         # [b v 3]
  repeated = lambda x: jnp.broadcast_to(in_views(x)[:, :, None, :], (b, v, k, 3)).reshape(-1, 3)
  draws = jnp.broadcast_to(rows[None], (b // r, *rows.shape)).reshape(-1, *rows.shape[3:])
  images = generate(draws, repeated(momentum_mev), *([] if vertex_mm is None else [repeated(vertex_mm)]))
  return images.reshape(b, v, -1, *images.shape[-2:])


def antithetic_noise(key: Array, num_views: int, num_draws: int, shape: tuple[int, ...]) -> Float[Array, "v k h w c"]:
  """Fixed draws for the objective, in pairs z, -z (Hammersley & Morton 1956).

  To first order in z a pair scatters a track to both sides alike, so few draws do not pull the momentum to one side. The
  two of a pair are neighbours: the first 2 m draws are m pairs.
  """
  half = jax.random.normal(key, (num_views, -(-num_draws // 2), *shape))
  return jnp.stack([half, -half], axis=2).reshape(num_views, -1, *shape)[:, :num_draws]
