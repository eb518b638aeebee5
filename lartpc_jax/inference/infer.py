"""From images to momenta: screen random starts, refine the best by gradient descent, judge what came out."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.inference import chart, screening
from lartpc_jax.inference.descent import best_start, check_rates, make_descent
from lartpc_jax.inference.estimator import Estimator
from lartpc_jax.inference.objective import Objective, antithetic_noise, generate_views, make_objective
from lartpc_jax.transport import emd as emd_lib


class Settings(NamedTuple):
  """Knobs of the inference; a config block `inference` has the same keys."""
  num_candidates: int = 1024        # random starts, drawn once and screened against every event on coarse images
  num_screened: int = 32            # the best of them go on to full images
  num_starts: int = 2               # best candidates refined in the first stage
  first_steps: int = 10
  first_draws: int = 2              # network draws a view and step; each gives two images, mirrored
  second_steps: int = 14            # the best of the first stage goes on
  second_draws: int = 4
  learning_rate: float = 0.06       # radians of direction, logits of energy
  second_learning_rate: float = 0.04
  energy_factor: float = 1.0        # of the second learning rate, for the energy: small where a prior knows it sharply
  num_averaged: int = 6
  first_vertex_power: float = 0.0   # screening and first stage see the whole track, so its length too
  vertex_power: float = 3.0         # the second stage looks where the direction is written
  vertex_radius_px: float = 2.0
  charge_weight_px: float = 10.0    # a generator whose charge scatters would make it rough
  charge_tolerance: float = 0.05    # draws that lose more than this share to a nucleus do not count
  prior_weight_px: float = 0.0      # of the amortised density in the second stage, pixels for a nat; see `make_objective`
  kinetic_margin_mev: float = 2.0   # the chart reaches this far beyond the trained range
  max_emd_px: float = 3.0           # a fit that ends above this, in any view, has not converged
  max_spread_mev: float = 25.0      # nor one whose last iterates scatter by more
  coordinates: str = "sphere"       # or "free": (px, py, pz), which needs "sgd"; see `chart.make_chart`
  optimizer: str = "adam"           # or "sgd"
  final_rate_share: float = 0.1     # last learning rate of the second stage over its first
  noise: str = "paired"             # draws in antithetic pairs, each counted mirrored too; or "independent"
  draws: str = "mean"               # over draws, or their "best"
  pictures: str = "each"            # view by itself, or their "sum" as one picture
  vertex_sigma_mm: float = 0.0      # prior width of the vertex, which is fitted if above 0; else it is the middle
  vertex_weight_px: float = 0.1     # pixels for a nat of that prior


NOISES = ("paired", "independent")


class Inferred(NamedTuple):
  """What is known of each of b events; momenta in MeV/c, distances in pixels."""
  momentum_mev: Float[Array, "b 3"]
  objective: Float[Array, " b"]       # at the end, summed over views
  emd_start: Float[Array, "b v"]      # plain W1 to the target at the best start, mean over draws
  emd_end: Float[Array, "b v"]        # the same at the end, on draws that the descent has not used
  converged: Float[Array, " b"] | Array
  trajectory: Float[Array, "s b 3"]   # of the hypothesis that won, both stages
  values: Float[Array, "s b"]         # objective of each stage along it
  images: Float[Array, "b v n n"]     # one generated draw at the end, MeV
  start_momentum_mev: Float[Array, "b h 3"]  # the refined starts
  end_momentum_mev: Float[Array, "b h 3"]    # where the first stage took them; one start alone skips it
  vertex_mm: Float[Array, "b 3"]             # fitted vertex; 0 if it is known


class Infer(NamedTuple):
  """Pure functions; jit them. See `make_infer`."""
  draw_candidates: Callable  # key -> Candidates
  infer: Callable            # (images [b v n n], Candidates, key) -> Inferred
  refine: Callable           # (images [b v n n], start momentum [b h 3], key) -> Inferred


def objective_of(settings: Settings, generate: Callable, *, views: tuple[str, ...], num_pixels: int,
                 prior: Estimator | None = None, distance: emd_lib.EMD | None = None, stage: int = 2) -> Objective:
  """The objective of a stage of the descent; see `make_infer`."""
  s = settings
  power, weight = (s.first_vertex_power, 0.0) if stage == 1 else (s.vertex_power, s.prior_weight_px)
  return make_objective(
      generate, emd_lib.make_emd(**emd_lib.DESCENT) if distance is None else distance, views=views, num_pixels=num_pixels,
      vertex_power=power, vertex_radius_px=s.vertex_radius_px, charge_weight_px=s.charge_weight_px,
      charge_tolerance=s.charge_tolerance, prior=prior, prior_weight_px=weight, pictures=s.pictures, draws=s.draws,
      vertex_sigma_mm=s.vertex_sigma_mm, vertex_weight_px=s.vertex_weight_px)


def _make_descents(first: Objective, second: Objective, bounds: tuple[float, float], settings: Settings, mode: str,
                   coordinates: chart.Chart) -> list[Callable]:
  """The descents of both stages, see `make_descent`."""
  return [make_descent(stage.evaluate, kinetic_range_mev=bounds, num_steps=steps, learning_rate=rate,
                       final_learning_rate=final, num_averaged=averaged, mode=mode, energy_factor=factor,
                       coordinates=coordinates, optimizer=settings.optimizer)
          for stage, steps, rate, final, averaged, factor in (
              (first, settings.first_steps, settings.learning_rate, settings.second_learning_rate, 1, 1.0),
              (second, settings.second_steps, settings.second_learning_rate,
               settings.final_rate_share * settings.second_learning_rate, settings.num_averaged, settings.energy_factor))]


def plain_emd(images: Float[Array, "b v n n"], drawn: Float[Array, "b v k n n"], draws: str = "mean") -> Float[Array, "b v"]:
  """W1 in px between each image and what was drawn for it: the mean over draws, or that of the "best"."""
  report = emd_lib.make_emd(**emd_lib.REPORTING)
  reduce = jnp.min if draws == "best" else jnp.mean

  def one_view(target, of_view):
    prepared = report.prepare_target(target)
    return reduce(jax.vmap(lambda x: report.emd_to_target(x, prepared).value)(of_view))
  return jax.lax.map(lambda pair: jax.vmap(one_view)(*pair), (images, drawn))


def make_infer(generate: Callable, generate_fast: Callable, *, latent_shape: tuple[int, int, int], num_pixels: int,
               kinetic_range_mev: tuple[float, float], views: tuple[str, ...], settings: Settings = Settings(),
               mode: str = "forward", prior: Estimator | None = None, distance: emd_lib.EMD | None = None) -> Infer:
  """Builds the inference of single-proton momenta from images in the given views.

  Args:
    generate: (noise [n h w c], momentum_mev [n 3]) -> images [n n n] or [n m n n] in MeV; used in the descent.
    generate_fast: the same with fewer sampler steps; draws the screened candidates.
    latent_shape: (h, w, c) of the noise.
    num_pixels: image size.
    kinetic_range_mev: energies that the generator was trained on.
    views: names of the views, in the order of the images.
    settings: knobs.
    mode: gradient mode, see `inference.gradients`.
    prior: amortised estimator of these views, needed where settings.prior_weight_px is above 0.
    distance: of the objective, see `inference.distances`; None: W1. Coarse screening and what is reported are W1 always.
  Raises:
    ValueError: as `make_objective` and `make_descent`, or naming a choice of `settings` that is unknown or does not fit.
  """
  if settings.noise not in NOISES:
    raise ValueError(f"Unknown noise {settings.noise!r}; choose from {NOISES}.")
  if settings.coordinates == "free" and settings.optimizer != "sgd":
    raise ValueError(f"coordinates 'free' need optimizer 'sgd'; got {settings.optimizer!r}.")
  check_rates("inference", settings)
  low, high = kinetic_range_mev
  bounds = (low - settings.kinetic_margin_mev, high + settings.kinetic_margin_mev)
  coordinates = chart.make_chart(settings.coordinates, bounds, vertex=settings.vertex_sigma_mm > 0.0)
  first_objective, objective = (
      objective_of(settings, generate, views=views, num_pixels=num_pixels, prior=prior, distance=distance, stage=stage)
      for stage in (1, 2))
  descents = _make_descents(first_objective, objective, bounds, settings, mode, coordinates)
  factor = 4
  screen = screening.make_screen(
      emd_lib.make_emd(ot_epsilon_px=0.1, num_iterations=4, num_pixels=16), first_objective.compare, factor=factor,
      charge_weight_px=settings.charge_weight_px, num_screened=settings.num_screened, num_starts=settings.num_starts)
  noise_of = lambda key, draws: (antithetic_noise(key, len(views), draws, latent_shape) if settings.noise == "paired"
                                 else jax.random.normal(key, (len(views), draws, *latent_shape)))
  # Fresh draws at every step: a few fixed ones pull every event their own way (median error 10 to 16 MeV/c, depending on
  # the key, with 8 fixed draws), and the mean of the last iterates averages over many.
  noise_of_steps = lambda key, steps, draws: jax.vmap(lambda k: noise_of(k, draws))(jax.random.split(key, steps))

  def draw_candidates(key) -> screening.Candidates:
    return screening.draw_candidates(key, generate_fast, num=settings.num_candidates, views=views, kinetic_range_mev=bounds,
                                     latent_shape=latent_shape, factor=factor)

  def choose(images, starts, key):
    """Ends of the first stage [b h d], and of each event's best: its start, its end, its path and values."""
    b, h = starts.shape[:2]
    targets = jax.tree.map(lambda x: jnp.repeat(x, h, axis=0), first_objective.prepare(images))
    flat = starts.reshape(b * h, -1)
    first = descents[0](flat, targets, per_step=(noise_of_steps(key, settings.first_steps, settings.first_draws),))
    chosen = jnp.arange(b) * h + best_start(first.values, h)
    return (first.hypothesis.reshape(b, h, -1), flat[chosen], first.hypothesis[chosen], first.trajectory[:, chosen],
            first.values[:, chosen])

  def refine(images: Float[Array, "b v n n"], start_momentum_mev: Float[Array, "b h 3"], key) -> Inferred:
    b, h = start_momentum_mev.shape[:2]
    key_first, key_second, key_report = jax.random.split(key, 3)
    starts = coordinates.from_momentum(start_momentum_mev.reshape(-1, 3)).reshape(b, h, -1)
    if h > 1:
      ends, start, chosen, path, values = choose(images, starts, key_first)
    else:  # a start that is known goes straight to the second stage: nothing is to be chosen
      ends, start, chosen = starts, starts[:, 0], starts[:, 0]
      path, values = jnp.zeros((0, b, 3)), jnp.zeros((0, b))
    second = descents[1](chosen, objective.prepare(images),
                         per_step=(noise_of_steps(key_second, settings.second_steps, settings.second_draws),))
    both = jnp.concatenate([start, second.hypothesis])  # one call: one compilation
    momentum = coordinates.to_momentum(second.hypothesis)
    # draws that the descent has not seen: it may have fitted its own
    drawn = generate_views(generate, noise_of(key_report, settings.second_draws), coordinates.to_momentum(both), views,
                           **coordinates.nuisance(both))
    emd_start, emd_end = jnp.split(plain_emd(jnp.concatenate([images, images]), drawn, settings.draws), 2)
    converged = ((emd_end.max(axis=1) <= settings.max_emd_px) & (second.spread <= settings.max_spread_mev)
                 & jnp.all(jnp.isfinite(momentum), axis=1))
    return Inferred(
        momentum_mev=momentum, objective=second.values[-settings.num_averaged:].mean(0), emd_start=emd_start,
        emd_end=emd_end, converged=converged, trajectory=jnp.concatenate([path, second.trajectory, momentum[None]]),
        values=jnp.concatenate([values, second.values]), images=drawn[b:, :, 0], start_momentum_mev=start_momentum_mev,
        end_momentum_mev=coordinates.to_momentum(ends.reshape(b * h, -1)).reshape(b, h, 3),
        vertex_mm=coordinates.nuisance(second.hypothesis).get("vertex_mm", jnp.zeros((b, 3))))

  def infer(images: Float[Array, "b v n n"], candidates: screening.Candidates, key) -> Inferred:
    best = screen(images, first_objective.prepare(images), candidates)
    starts = chart.to_momentum(candidates.hypothesis[best.reshape(-1)], bounds)
    return refine(images, starts.reshape(*best.shape, 3), key)

  return Infer(draw_candidates, infer, refine)


def check_target_images(images: np.ndarray, *, num_views: int, num_pixels: int, first_event: int = 0) -> np.ndarray:
  """Images as float32 [b v n n] if inference is defined on them; errors count events from `first_event`.

  Raises:
    ValueError: naming what is wrong: the shape, NaN, negative pixels or an image without charge, and where.
  """
  images = np.asarray(images)
  if images.ndim == 3 and num_views == 1:
    images = images[:, None]
  want = (num_views, num_pixels, num_pixels)
  if images.ndim != 4 or images.shape[1:] != want or not len(images):
    raise ValueError(f"images must have shape (N, {num_views}, {num_pixels}, {num_pixels}), N >= 1; got {images.shape}.")
  images = images.astype(np.float32)
  for test, text in ((np.isnan(images), "NaN pixels"), (np.isinf(images), "infinite pixels"),
                     (images < 0, "negative pixels (MeV)"), (images.sum((2, 3), keepdims=True) <= 0, "no charge")):
    bad = np.argwhere(np.any(test, axis=(2, 3)))
    if len(bad):
      raise ValueError(f"images hold {text} in event {first_event + bad[0][0]}, view {bad[0][1]} ({len(bad)} such images "
                       "in all).")
  return images
