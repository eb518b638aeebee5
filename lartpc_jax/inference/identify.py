"""Which particle made an image: the best hypothesis of every type by inversion of one generator.

A library of random hypotheses, as many of each type, is drawn once; every event is compared with all of them,
and of each type the nearest is refined by descent through the generator, all types of an event side by side.
What comes out are objectives and not probabilities; see `inference.type_probability`.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.inference import chart as charts
from lartpc_jax.inference.chart import Chart, Species
from lartpc_jax.inference.descent import make_descent, on_chart
from lartpc_jax.inference.gradients import make_value_and_grad
from lartpc_jax.inference.imaging import Imager, antithetic_noise, generate_views
from lartpc_jax.inference.objective import make_objective, smooth_absolute
from lartpc_jax.inference.screening import CANDIDATES_AT_ONCE, pool
from lartpc_jax.inference.settings import Comparison, FitSettings
from lartpc_jax.transport.emd import EMD


class Library(NamedTuple):
  """m random hypotheses of each of k types, with one image a view."""
  hypothesis: Float[Array, "m k 4"]
  images: Float[Array, "m k v n n"]  # MeV
  pooled: Float[Array, "m k p"]      # the same on coarse pixels, all views in a row


class Identified(NamedTuple):
  """The best of each of k types for b events; distances in px, summed over views."""
  momentum_mev: Float[Array, "b k 3"]
  emd: Float[Array, "b k"]          # distance at the end, mean over draws that the descent has not seen
  charge: Float[Array, "b k"]       # |Q - Q_target| / Q_target there, mean over draws, summed over views
  near_emd: Float[Array, "b k s"]   # distance of the nearest of the library, the best by objective first
  near_charge: Float[Array, "b k s"]


class Identify(NamedTuple):
  """Pure functions; jit them. See `make_identify`."""
  draw_library: Callable  # key -> Library
  identify: Callable      # (images [b v n n], Library, key) -> Identified
  draw: Callable          # (momentum_mev [b k 3], key) -> one image each [b k v n n]


def make_identify(imager: Imager, species: Species, views: tuple[str, ...], settings: FitSettings,
                  distance: EMD, *, refine: bool = True) -> Identify:
  """Builds the identification of single particles in the given views.

  Args:
    imager: the generator, which is told the `particle` beside the momentum; its energies are not used.
    species: the types, with their energies.
    views: names of the views, in the order of the images.
    settings: of `settings.screening` the number of candidates (of each type) and of those compared in full,
      which are the nearest by squares of coarse pixels; the descent is `settings.second`, judged by
      `settings.report.num_draws` draws.
    distance: of the objective.
    refine: without it, the nearest of the library is the end, and its image the only draw.
  Raises:
    ValueError: if more are compared in full than there are, or as `make_objective` and `make_descent`.
  Differentiable in nothing: it is the end of a fit. Memory: the library, and the images of one descent.
  """
  screening, k = settings.screening, len(species.names)
  if not 1 <= screening.num_screened <= screening.num_candidates:
    raise ValueError(f"num_screened = {screening.num_screened} must be 1 to num_candidates = "
                     f"{screening.num_candidates}.")
  scene = _Scene(imager, charts.species_chart(species), k, views, settings)
  terms = _make_terms(scene, distance)
  screen = _make_screen(terms, screening.num_screened, settings.comparison.charge_weight_px)
  refined = _make_refine(scene, terms, distance)
  draw_one = _drawing(scene, imager.generate)

  def identify(images: Float[Array, "b v n n"], library: Library, key) -> Identified:
    nearest, emd, charge = screen(images, library)
    start = library.hypothesis[nearest[:, :, 0], jnp.arange(k)[None]].reshape(-1, 4)
    if not refine:
      momentum = scene.chart.to_momentum(start).reshape(-1, k, 3)
      return Identified(momentum, emd[:, :, 0], charge[:, :, 0], emd, charge)
    return Identified(*refined(images, start, key), emd, charge)

  def draw(momentum_mev: Float[Array, "b k 3"], key) -> Float[Array, "b k v n n"]:
    hypothesis = scene.chart.from_momentum(momentum_mev.reshape(-1, 3))
    drawn = draw_one(hypothesis, antithetic_noise(key, len(views), 1, imager.latent_shape))
    return drawn[:, :, 0].reshape(*momentum_mev.shape[:2], len(views), *drawn.shape[3:])

  return Identify(_make_draw_library(scene), identify, draw)


class _Scene(NamedTuple):
  """How hypotheses of k types become images."""
  imager: Imager
  chart: Chart
  num_types: int
  views: tuple[str, ...]
  settings: FitSettings


def _drawing(scene: _Scene, generate: Callable) -> Callable:
  """(hypotheses [bk 4], noise) -> images [bk v j n n]."""
  views_of = lambda p, noise, **more: generate_views(generate, noise, p, scene.views, **more)
  return on_chart(views_of, scene.chart)


def _make_draw_library(scene: _Scene) -> Callable:
  """Builds key -> Library: hypotheses and a draw of its own for each; one type scatters more than another."""
  m, k = scene.settings.screening.num_candidates, scene.num_types
  draw_one = _drawing(scene, scene.imager.generate_fast)

  def draw_library(key) -> Library:
    key_hypothesis, key_noise = jax.random.split(key)
    hypothesis = charts.random_hypotheses(key_hypothesis, m * k).reshape(m, k, 4)
    noise = jax.random.normal(key_noise, (m, k, len(scene.views), 1, *scene.imager.latent_shape))
    images = jax.lax.map(lambda inputs: draw_one(*inputs)[:, :, 0], (hypothesis, noise),
                         batch_size=min(max(CANDIDATES_AT_ONCE // k, 1), m))
    return Library(hypothesis, images, pool(images).reshape(m, k, -1))
  return draw_library


def _make_refine(scene: _Scene, terms: "_Terms", distance: EMD) -> Callable:
  """Builds (images [b v n n], start [bk 4], key) -> momenta [b k 3], distance and charge off [b k]."""
  settings, k, imager = scene.settings, scene.num_types, scene.imager
  objective = make_objective(imager.generate, distance, views=scene.views, num_pixels=imager.num_pixels,
                             settings=settings.comparison, vertex_power=settings.second.vertex_power)
  descend = make_descent(make_value_and_grad(on_chart(objective.evaluate, scene.chart)), scene.chart,
                         settings.second)
  draw_one = _drawing(scene, imager.generate)
  noise_of = lambda key, num: antithetic_noise(key, len(scene.views), num, imager.latent_shape)
  each = lambda targets: jax.tree.map(lambda x: jnp.repeat(x, k, axis=0), targets)

  def refine(images, start, key):
    key_noise, key_report = jax.random.split(key)
    keys = jax.random.split(key_noise, settings.second.num_steps)
    noise = jax.vmap(lambda x: noise_of(x, settings.second.num_draws))(keys)
    end = descend(start, each(objective.prepare(images)), per_step=(noise,)).hypothesis
    drawn = draw_one(end, noise_of(key_report, settings.report.num_draws))
    emd, charge = terms.compare(drawn, each(terms.prepare(images)))
    return scene.chart.to_momentum(end).reshape(-1, k, 3), emd.reshape(-1, k), charge.reshape(-1, k)
  return refine


class _Terms(NamedTuple):
  """The two terms of the objective apart: distance, and charge off, both over the whole image."""
  prepare: Callable  # images [b v n n] -> targets
  compare: Callable  # (images [b v j n n], targets) -> distance [b] in px, relative charge off [b]


def _make_terms(scene: _Scene, distance: EMD) -> _Terms:
  plain = make_objective(scene.imager.generate, distance, views=scene.views,
                         num_pixels=scene.imager.num_pixels,
                         settings=Comparison(charge_weight_px=0.0, charge_tolerance=float("inf")))

  def compare(drawn, targets):
    off = drawn.sum((3, 4)) / targets.charge[:, :, None] - 1.0
    return plain.compare(drawn, targets), jnp.abs(off).mean(axis=2).sum(axis=1)
  return _Terms(plain.prepare, compare)


def _make_screen(terms: _Terms, num_screened: int, charge_weight_px: float) -> Callable:
  """Builds (images [b v n n], Library) -> numbers in the library, distance and charge off, each [b k s], the
  best by objective first. An empty image is infinitely far.
  """
  def one(inputs, library: Library):
    image, target = inputs
    coarse = pool(image).reshape(-1)
    square = jnp.sum(library.pooled**2, axis=-1) - 2.0 * library.pooled @ coarse            # [m k]
    near = jax.lax.top_k(-square.T, num_screened)[1]                                        # [k s]
    k = len(near)
    drawn = library.images[near, jnp.arange(k)[:, None]].reshape(k * num_screened, *image.shape)[:, :, None]
    repeated = jax.tree.map(lambda x: jnp.repeat(x[None], len(drawn), axis=0), target)
    emd, charge = (x.reshape(k, num_screened) for x in terms.compare(drawn, repeated))
    value = emd + charge_weight_px * smooth_absolute(charge)
    order = jnp.argsort(jnp.where(jnp.isnan(value), jnp.inf, value), axis=1)
    return tuple(jnp.take_along_axis(x, order, axis=1) for x in (near, emd, charge))

  def screen(images: Float[Array, "b v n n"], library: Library):
    return jax.lax.map(lambda inputs: one(inputs, library), (images, terms.prepare(images)))
  return screen
