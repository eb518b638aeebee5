"""Amortised inference: the density of the momentum given one view or two, from one pass of a small network.

The network sees the views turned into frames of their own (see `view_features`), and answers in coordinates
that turn with them: a direction by its angles from a pole (azimuthal equidistant projection), an energy by
what it exceeds the charge. With two views the pole is the direction to the charge-weighted centroids, and the
event is mirrored until that lies in the positive octant. With one view the pole is the line of sight, and the
density is made even in the hidden component.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.geometry.rasterize import ImageSpec, view_axes
from lartpc_jax.inference.view_features import ViewSummary, grid_features, shared_axis, summarize_view
from lartpc_jax.units import PROTON_RANGE_POWER, kinetic_from_momentum, momentum_from_kinetic, proton_range_mm

# asinh((T - charge) / scale): linear for stopping protons, logarithmic for what nuclei took away
ENERGY_SCALE_MEV = 0.3
_LEAST = 1e-6


class Observed(NamedTuple):
  """What the estimator knows of b events."""
  features: Float[Array, "b f"]
  basis: Float[Array, "b 3 3"]     # rows in detector axes: two directions across the pole, and the pole
  centre: Float[Array, "b 2"]      # projected coordinates around which the network answers, radians
  scale: Float[Array, " b"]        # and the unit of its answer there, radians
  charge_mev: Float[Array, " b"]


class Mixture(NamedTuple):
  """Gaussians in (two projected angles in radians, asinh of the energy excess)."""
  log_weight: Float[Array, "b k"]
  mean: Float[Array, "b k 3"]
  cholesky: Float[Array, "b k 3 3"]  # lower triangular


def observe(images: Float[Array, "b v n n"], views: tuple[str, ...],
            spec: ImageSpec = ImageSpec()) -> Observed:
  """Features and coordinates of events seen in one view or two.

  Raises:
    ValueError: for more than two views, or twice the same.
  """
  if len(views) == 1:
    return _observe_one(summarize_view(images[:, 0], spec), view_axes(views[0]))
  shared, *others = shared_axis(views)
  pair = [image if view_axes(view)[0] == shared else image.swapaxes(-1, -2)
          for image, view in zip(jnp.moveaxis(images, 1, 0), views, strict=True)]
  first, second = (summarize_view(image, spec) for image in pair)
  return _observe_two(first, second, (shared, *others))


def _observe_one(view: ViewSummary, axes: tuple[int, int, int]) -> Observed:
  first, second, hidden = axes
  zero = jnp.zeros_like(view.cos)
  place = lambda a, b, c: jnp.stack([{first: a, second: b, hidden: c}[axis] for axis in range(3)], axis=-1)
  basis = jnp.stack(
      [place(view.cos, view.sin, zero),
       place(-view.sin, view.cos, zero),
       place(zero, zero, zero + 1.0)], axis=1)
  sine = jnp.clip(view.centroid_mm / _expected_depth_mm(view.charge_mev), 0.0, 1.0)
  angle = jnp.arcsin(0.999 * sine)
  features = jnp.concatenate([grid_features(view), sine[:, None], angle[:, None]], axis=-1)
  return Observed(features, basis, jnp.stack([angle, zero], axis=-1), zero + 0.1, view.charge_mev)


def _expected_depth_mm(charge_mev: Float[Array, " b"]) -> Float[Array, " b"]:
  """Charge-weighted mean depth of a stopping proton by the Bragg-Kleeman rule: R p / (p + 1) with p =
  1.769."""
  return proton_range_mm(jnp.maximum(charge_mev, 1.0)) * PROTON_RANGE_POWER / (PROTON_RANGE_POWER + 1.0)


def _observe_two(first: ViewSummary, second: ViewSummary, axes: tuple[int, int, int]) -> Observed:
  centroid = jnp.stack([0.5 * (first.centroid_mm * first.cos + second.centroid_mm * second.cos),
                        first.centroid_mm * first.sin, second.centroid_mm * second.sin], axis=-1)
  flips = jnp.where(centroid < 0.0, -1.0, 1.0)
  pole = jnp.abs(centroid) + _LEAST
  pole = pole / jnp.linalg.norm(pole, axis=-1, keepdims=True)
  towards = jnp.array([[1.0, 0.0, 0.0]], pole.dtype) - pole[:, :1] * pole
  towards = towards / jnp.linalg.norm(towards, axis=-1, keepdims=True)
  basis = jnp.stack([towards, jnp.cross(pole, towards), pole], axis=1)
  parts = [pole]
  for view, axis in ((first, 1), (second, 2)):
    mirrored = (flips[:, 0] * flips[:, axis] < 0.0)[:, None, None]
    grid = jnp.where(mirrored, view.grid_mev[:, :, ::-1], view.grid_mev)
    parts += [
        grid_features(view._replace(grid_mev=grid)),
        jnp.abs(view.cos)[:, None],
        jnp.abs(view.sin)[:, None]
    ]
  order = np.argsort(axes)
  charge = 0.5 * (first.charge_mev + second.charge_mev)
  return Observed(jnp.concatenate(parts, axis=-1), jnp.take(basis * flips[:, None, :], order, axis=-1),
                  jnp.zeros((len(charge), 2), charge.dtype), jnp.full_like(charge, 0.04), charge)


def to_coordinates(observed: Observed, momentum_mev: Float[Array, "b 3"]) -> Float[Array, "b 3"]:
  """Projected angles (radians) and asinh of the energy excess of momenta in MeV/c. Differentiable."""
  magnitude = jnp.linalg.norm(momentum_mev, axis=-1)
  n = jnp.einsum("bij,bj->bi", observed.basis, momentum_mev / magnitude[:, None])
  sine = jnp.sqrt(n[:, 0]**2 + n[:, 1]**2 + _LEAST**2)  # never zero, where its slope would be infinite
  stretch = jnp.arctan2(sine, n[:, 2]) / sine
  excess = (kinetic_from_momentum(magnitude) - observed.charge_mev) / ENERGY_SCALE_MEV
  return jnp.concatenate([n[:, :2] * stretch[:, None], jnp.arcsinh(excess)[:, None]], axis=-1)


def to_momentum(observed: Observed, coordinates: Float[Array, "b 3"], kinetic_range_mev: tuple[float, float]
                ) -> Float[Array, "b 3"]:
  """Inverse of `to_coordinates`; energies outside the range are moved to its ends."""
  x = coordinates[:, :2]
  angle = jnp.sqrt(jnp.sum(x**2, axis=-1))
  across = x * jnp.where(angle > _LEAST, jnp.sin(angle) / jnp.maximum(angle, _LEAST), 1.0)[:, None]
  n = jnp.concatenate([across, jnp.cos(angle)[:, None]], axis=-1)
  kinetic = observed.charge_mev + ENERGY_SCALE_MEV * jnp.sinh(jnp.clip(coordinates[:, 2], -8.0, 8.0))
  magnitude = momentum_from_kinetic(jnp.clip(kinetic, *kinetic_range_mev))
  return magnitude[:, None] * jnp.einsum("bij,bi->bj", observed.basis, n)


def mixture_of(raw: Float[Array, "b k 10"], observed: Observed) -> Mixture:
  """Gaussians of the network's raw answer."""
  unit = jnp.stack([observed.scale, observed.scale, jnp.ones_like(observed.scale)], axis=-1)[:, None]
  mean = raw[..., 1:4] * unit
  mean = mean.at[..., :2].add(observed.centre[:, None])
  diagonal = jnp.exp(jnp.clip(raw[..., 4:7], -7.0, 4.0))
  zero = jnp.zeros_like(diagonal[..., 0])
  rows = [[diagonal[..., 0], zero, zero], [raw[..., 7], diagonal[..., 1], zero],
          [raw[..., 8], raw[..., 9], diagonal[..., 2]]]
  cholesky = jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2) * unit[..., None]
  return Mixture(jax.nn.log_softmax(raw[..., 0]), mean, cholesky)


def log_density(mixture: Mixture, coordinates: Float[Array, "b 3"], *, even: bool) -> Float[Array, " b"]:
  """log of the density in the coordinates; `even`: the mean of those of a direction and of its mirror
  image."""
  def one_side(x):
    delta = (x[:, None] - mixture.mean)[..., None]
    z = jax.lax.linalg.triangular_solve(mixture.cholesky, delta, left_side=True, lower=True)[..., 0]
    log_det = jnp.log(jnp.diagonal(mixture.cholesky, axis1=-2, axis2=-1)).sum(-1)
    values = -0.5 * jnp.sum(z**2, -1) - log_det - 1.5 * np.log(2.0 * np.pi)
    return jax.scipy.special.logsumexp(mixture.log_weight + values, axis=-1)

  if not even:
    return one_side(coordinates)
  return jnp.logaddexp(one_side(coordinates), one_side(mirror(coordinates))) - np.log(2.0)


def mirror(coordinates: Float[Array, "b 3"]) -> Float[Array, "b 3"]:
  """The direction with the opposite component along the pole: its angle from the pole becomes pi minus it."""
  angle = jnp.maximum(jnp.linalg.norm(coordinates[:, :2], axis=-1, keepdims=True), _LEAST)
  return jnp.concatenate([coordinates[:, :2] * (np.pi - angle) / angle, coordinates[:, 2:]], axis=-1)


class Posterior(NamedTuple):
  """The density of the momentum of b events."""
  observed: Observed
  mixture: Mixture


class Estimator(NamedTuple):
  """A trained estimator of one or two views; see `make_estimator`. Pure functions, to be jitted by the
  caller."""
  num_views: int
  posterior: Callable    # (images [b v n n], views) -> Posterior
  estimate: Callable     # (images [b v n n], views) -> momentum [b 3], the mean of the heaviest component
  # (momentum [b 3], Posterior) -> [b], nats, in the coordinates of this module; differentiable
  log_density: Callable
  sample: Callable       # (key, images [b v n n], views, num) -> momenta [num b 3]
  draw: Callable         # (key, Posterior, num) -> momenta [num b 3]
  to_momentum: Callable  # (Posterior, coordinates [b 3]) -> momentum [b 3]; differentiable


def make_estimator(apply: Callable, params, *, num_views: int, kinetic_range_mev: tuple[float, float],
                   spec: ImageSpec = ImageSpec()) -> Estimator:
  """Builds the functions of an estimator from its network.

  Args:
    apply: (params, features [b f]) -> raw [b k 10].
    params: of the network.
    num_views: 1 or 2.
    kinetic_range_mev: energies of the training data, the prior of the density.
    spec: geometry of the images.
  """
  def posterior(images, views):
    observed = observe(images, views, spec)
    return Posterior(observed, mixture_of(apply(params, observed.features), observed))

  def log_density_of(momentum_mev, known: Posterior):
    return log_density(known.mixture, to_coordinates(known.observed, momentum_mev), even=num_views == 1)

  def estimate(images, views):
    observed, mixture = posterior(images, views)
    best = jnp.argmax(mixture.log_weight, axis=-1)
    mean = jnp.take_along_axis(mixture.mean, best[:, None, None], axis=1)[:, 0]
    return to_momentum(observed, mean, kinetic_range_mev)

  def draw(key, known: Posterior, num):
    observed, mixture = known
    def one(key):
      key_component, key_normal, key_side = jax.random.split(key, 3)
      chosen = jax.random.categorical(key_component, mixture.log_weight)[:, None, None]
      mean = jnp.take_along_axis(mixture.mean, chosen, axis=1)[:, 0]
      factor = jnp.take_along_axis(mixture.cholesky, chosen[..., None], axis=1)[:, 0]
      x = mean + jnp.einsum("bij,bj->bi", factor, jax.random.normal(key_normal, mean.shape))
      if num_views == 1:
        x = jnp.where(jax.random.bernoulli(key_side, shape=(len(x), 1)), mirror(x), x)
      return to_momentum(observed, x, kinetic_range_mev)
    return jax.lax.map(one, jax.random.split(key, num))

  def sample(key, images, views, num):
    return draw(key, posterior(images, views), num)

  def in_momenta(known: Posterior, coordinates):
    return to_momentum(known.observed, coordinates, kinetic_range_mev)

  return Estimator(num_views, posterior, estimate, log_density_of, sample, draw, in_momenta)
