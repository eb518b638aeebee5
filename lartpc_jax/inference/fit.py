"""From images to the momenta of one to four tracks: screen random starts, descend, judge the end.

A fit is a chart (what is fitted), an objective (what its images are compared by), a screening (where it
starts) and two descents. Events are the first axis of everything, tracks the next to last of momenta. The
image of several tracks from one vertex is the sum of what the generator draws for each; all momenta of a set
are refined together.
"""
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.inference import screening
from lartpc_jax.inference.chart import Chart, make_chart
from lartpc_jax.inference.descent import Descent, best_start, make_descent, on_chart
from lartpc_jax.inference.estimator import Estimator
from lartpc_jax.inference.gradients import make_mixed_value_and_grad, make_value_and_grad
from lartpc_jax.inference.imaging import Imager, generate_views, make_noise, sum_tracks
from lartpc_jax.inference.objective import Objective, make_objective
from lartpc_jax.inference.settings import MAX_TRACKS, FitSettings
from lartpc_jax.transport import emd as emd_lib

MIXED = "mixed"  # forward mode through the generator, reverse mode through the distance; see `make_fit`


class Fitted(NamedTuple):
  """What is known of t tracks in each of b events; momenta in MeV/c, distances in pixels."""
  momentum_mev: Float[Array, "b t 3"]
  objective: Float[Array, " b"]           # distance and charge term at the end, unweighted, on fresh draws
  emd_start: Float[Array, "b v"] | None   # plain W1 to the target at the start that won, if asked for
  emd_end: Float[Array, "b v"]            # the same at the end
  spread: Float[Array, " b"]              # rms scatter of the last iterates of the worst track, MeV/c
  converged: Array                        # [b], see `settings.Report`
  trajectory: Float[Array, "b s t 3"]     # of the hypothesis that won, both stages
  values: Float[Array, "b s"]             # objective of each stage along it
  images: Float[Array, "b v n n"]         # one generated draw at the end, MeV
  start_momentum_mev: Float[Array, "b h t 3"]  # the refined starts
  end_momentum_mev: Float[Array, "b h t 3"]    # where the first stage took them
  vertex_mm: Float[Array, "b 3"]               # fitted vertex; 0 if it is known


class Fit(NamedTuple):
  """Pure functions; jit them. See `make_fit`."""
  draw_candidates: Callable  # key -> Candidates
  screen: Callable           # (images [b v n n], Candidates) -> Screened
  refine: Callable           # (images [b v n n], start momentum [b h t 3], key) -> Fitted
  infer: Callable            # (images [b v n n], Candidates, key) -> Fitted: both


class _Scene(NamedTuple):
  """How hypotheses become images: the chart, the draws and the objectives that compare them."""
  chart: Chart
  num_tracks: int
  draw: Callable           # (hypothesis [bt d], noise) -> images [bt v k n n] of single tracks
  noise: Callable          # (key, num_draws) -> noise
  whole: Objective         # sees the whole track
  stages: tuple[Objective, Objective]


def make_stage_objectives(imager: Imager, views: tuple[str, ...], settings: FitSettings, *,
                          prior: Estimator | None = None, distance: emd_lib.EMD | None = None
                          ) -> tuple[Objective, Objective, Objective]:
  """Objectives of the screening, the first and the second stage; see `make_fit`."""
  distance = emd_lib.make_emd(**emd_lib.DESCENT) if distance is None else distance

  def build(power, weight):
    return make_objective(
        imager.generate, distance, views=views, num_pixels=imager.num_pixels, settings=settings.comparison,
        vertex_power=power, prior=prior, prior_weight_px=weight)

  stages = (settings.first, settings.second)
  return build(0.0, 0.0), *(build(stage.vertex_power, stage.prior_weight_px) for stage in stages)


def make_fit(imager: Imager, views: tuple[str, ...], settings: FitSettings = FitSettings(), *,
             num_tracks: int = 1, mode: str = "forward", prior: Estimator | None = None,
             distance: emd_lib.EMD | None = None) -> Fit:
  """Builds the fit of `num_tracks` protons from one vertex to images in the given views.

  Args:
    imager: the generator.
    views: names of the views, in the order of the images.
    settings: all the rest.
    num_tracks: t, 1 to 4.
    mode: of the gradient: "forward" or "reverse" through all of the objective of one track (see
      `inference.gradients`), or "mixed", for any number of tracks: three tangents a track go forward through
      the sampler, for all tracks in one pass, and the distance backward to the pixels of their sum.
    prior: amortised estimator of these views, needed where a stage's prior_weight_px is above 0.
    distance: of the objective, see `transport.distances`; None: W1. Coarse screening and what is reported are
      W1 always.
  Raises:
    ValueError: for another number of tracks, as `make_objective` and `make_descent`, or naming a setting that
      is unknown or does not fit.
  """
  _check(settings, num_tracks, mode)
  low, high = imager.kinetic_range_mev
  bounds = (low - settings.kinetic_margin_mev, high + settings.kinetic_margin_mev)
  chart = make_chart(settings.coordinates, bounds, vertex=settings.comparison.vertex_sigma_mm > 0.0)
  whole, *stages = make_stage_objectives(imager, views, settings, prior=prior, distance=distance)
  views_of = lambda p, noise, **vertex: generate_views(imager.generate, noise, p, views, **vertex)
  draw = on_chart(views_of, chart)
  noise = make_noise(settings.noise, num_views=len(views), shape=imager.latent_shape, num_tracks=num_tracks)
  scene = _Scene(chart, num_tracks, draw, noise, whole, tuple(stages))
  refine = _make_refine(scene, settings, mode)
  screen_whole = screening.make_screen(
      whole.compare, settings.screening, kinetic_range_mev=bounds, num_tracks=num_tracks,
      charge_weight_px=settings.comparison.charge_weight_px)

  def draw_candidates(key) -> screening.Candidates:
    return screening.draw_candidates(key, imager, num=settings.screening.num_candidates, views=views,
                                     kinetic_range_mev=bounds)

  def screen(images: Float[Array, "b v n n"], candidates: screening.Candidates) -> screening.Screened:
    return screen_whole(images, whole.prepare(images), candidates)

  def infer(images: Float[Array, "b v n n"], candidates: screening.Candidates, key) -> Fitted:
    return refine(images, screen(images, candidates).momentum_mev, key)

  return Fit(draw_candidates, screen, refine, infer)


def _check(settings: FitSettings, num_tracks: int, mode: str) -> None:
  if not 1 <= num_tracks <= MAX_TRACKS:
    raise ValueError(f"The number of tracks must be 1 to {MAX_TRACKS}; got {num_tracks}.")
  if settings.coordinates == "free" and settings.optimizer != "sgd":
    raise ValueError(f"coordinates 'free' need optimizer 'sgd'; got {settings.optimizer!r}.")
  for name, stage in (("first", settings.first), ("second", settings.second)):
    if not 0.0 < stage.learning_rate < float("inf"):
      raise ValueError(
          f"{name}.learning_rate of the inference must be positive and finite; got {stage.learning_rate}.")
  if mode != MIXED:
    if num_tracks > 1:
      raise ValueError(f"{num_tracks} tracks need the gradient mode {MIXED!r}; got {mode!r}.")
    return
  alone = {"comparison.draws = 'best'": settings.comparison.draws == "best",
           "comparison.vertex_sigma_mm": settings.comparison.vertex_sigma_mm > 0.0,
           "prior_weight_px": settings.first.prior_weight_px > 0.0 or settings.second.prior_weight_px > 0.0}
  for name in (name for name, asked in alone.items() if asked):
    raise ValueError(f"The gradient mode {MIXED!r}, that of several tracks, has no {name}.")


def _make_refine(scene: _Scene, settings: FitSettings, mode: str) -> Callable:
  """Builds `Fit.refine`: the first stage chooses among the starts, the second refines, fresh draws judge."""
  chart, t = scene.chart, scene.num_tracks
  first, second = (_make_stage(scene, number, settings, mode) for number in (0, 1))
  judge = _make_judge(scene, settings)

  def refine(images: Float[Array, "b v n n"], start_momentum_mev: Float[Array, "b h t 3"], key) -> Fitted:
    b, h = start_momentum_mev.shape[:2]
    key_first, key_second, key_report = jax.random.split(key, 3)
    starts = chart.from_momentum(start_momentum_mev.reshape(-1, 3)).reshape(b, h, t, -1)
    if h > 1 or not settings.skips_first:
      ran = first(images, starts, key_first)
      best = jnp.arange(b), best_start(ran.values, h)
      ends = ran.hypothesis.reshape(starts.shape)
      path, values = ran.trajectory.reshape(b, h, t, -1, 3)[best], ran.values.reshape(b, h, -1)[best]
    else:  # a start that is known goes straight to the second stage
      best, ends = (jnp.arange(b), jnp.zeros(b, int)), starts
      path, values = jnp.zeros((b, t, 0, 3)), jnp.zeros((b, 0))
    out = second(images, ends[best][:, None], key_second)
    found = judge(images, starts[best].reshape(b * t, -1), out, key_report)
    last = found["momentum_mev"][:, :, None]
    path = jnp.concatenate([path, out.trajectory.reshape(b, t, -1, 3), last], axis=2)
    return Fitted(
        **found, trajectory=path.swapaxes(1, 2), values=jnp.concatenate([values, out.values], axis=1),
        start_momentum_mev=start_momentum_mev,
        end_momentum_mev=chart.to_momentum(ends.reshape(b * h * t, -1)).reshape(b, h, t, 3))
  return refine


def _make_stage(scene: _Scene, number: int, settings: FitSettings, mode: str) -> Callable:
  """Builds (images [b v n n], starts [b h t d], key) -> Descent of all starts in a row."""
  objective, stage = scene.stages[number], (settings.first, settings.second)[number]
  if mode == MIXED:
    value_and_grad = make_mixed_value_and_grad(scene.draw, objective.compare, scene.num_tracks)
  else:
    value_and_grad = make_value_and_grad(on_chart(objective.evaluate, scene.chart), mode=mode)
  descend = make_descent(value_and_grad, scene.chart, stage, optimizer=settings.optimizer)

  def run(images, starts, key) -> Descent:
    targets = objective.prepare(images)
    if starts.shape[1] > 1:
      targets = jax.tree.map(lambda x: jnp.repeat(x, starts.shape[1], axis=0), targets)
    # Fresh draws at every step: a few fixed ones pull every event their own way (median error 10 to 16 MeV/c,
    # depending on the key, with 8 fixed draws), and the mean of the last iterates averages over many.
    noise = jax.vmap(lambda k: scene.noise(k, stage.num_draws))(jax.random.split(key, stage.num_steps))
    return descend(starts.reshape(-1, starts.shape[-1]), targets, per_step=(noise,))
  return run


def _make_judge(scene: _Scene, settings: FitSettings) -> Callable:
  """Builds (images [b v n n], start [bt d], Descent, key) -> fields of `Fitted` about its end.

  Judged on draws that the descent has not seen: it may have fitted its own.
  """
  chart, t, report = scene.chart, scene.num_tracks, settings.report
  reported = functools.partial(plain_emd, draws=settings.comparison.draws, num_pixels=report.num_pixels)

  def judge(images, start, out: Descent, key) -> dict:
    b, end = len(images), out.hypothesis
    noise = scene.noise(key, report.num_draws)
    momentum, spread = chart.to_momentum(end).reshape(b, t, 3), out.spread.reshape(b, t).max(1)
    if report.judges_start:  # one call: one compilation
      drawn = sum_tracks(scene.draw(jnp.concatenate([start, end]), noise), t)
      both = reported(jnp.concatenate([images, images]), drawn)
      emd_start, emd_end = jnp.split(both, 2)
    else:
      drawn = sum_tracks(scene.draw(end, noise), t)
      emd_start, emd_end = None, reported(images, drawn)
    converged = ((emd_end.max(axis=1) <= report.max_emd_px) & (spread <= report.max_spread_mev)
                 & jnp.all(jnp.isfinite(momentum), axis=(1, 2)))
    drawn = drawn[-b:]
    return dict(
        momentum_mev=momentum, objective=scene.whole.compare(drawn, scene.whole.prepare(images)),
        emd_start=emd_start, emd_end=emd_end, spread=spread, converged=converged, images=drawn[:, :, 0],
        vertex_mm=chart.nuisance(end).get("vertex_mm", jnp.zeros((b, 3))))
  return judge


def plain_emd(images: Float[Array, "b v n n"], drawn: Float[Array, "b v k n n"], draws: str = "mean", *,
              num_pixels: int = emd_lib.REPORTING["num_pixels"]) -> Float[Array, "b v"]:
  """W1 in px between each image and what was drawn for it: the mean over draws, or that of the "best"."""
  report = emd_lib.make_emd(**{**emd_lib.REPORTING, "num_pixels": num_pixels})
  reduce = jnp.min if draws == "best" else jnp.mean

  def one_view(target, of_view):
    prepared = report.prepare_target(target)
    return reduce(jax.vmap(lambda x: report.emd_to_target(x, prepared).value)(of_view))
  return jax.lax.map(lambda pair: jax.vmap(one_view)(*pair), (images, drawn))


def one_track(found: Fitted) -> Fitted:
  """A fit of one track without its axis: momentum [b 3], trajectory [b s 3], starts and ends [b h 3]."""
  return found._replace(momentum_mev=found.momentum_mev[:, 0], trajectory=found.trajectory[:, :, 0],
                        start_momentum_mev=found.start_momentum_mev[:, :, 0],
                        end_momentum_mev=found.end_momentum_mev[:, :, 0])
