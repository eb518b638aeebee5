"""Several protons from one vertex: the image is the sum of what the generator draws for each momentum.

Sets of tracks are found in a library of single ones that the generator draws once: sums of their images are compared with
every event, which tells how many tracks there are (see `inference.counting`) and where to start. All momenta of a set are
then refined together. Three tangents a track go forward through the sampler, for all tracks in one pass; the distance, cheap
to differentiate at fixed potentials, goes backward to the pixels of the sum.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lartpc_jax.inference import chart, screening
from lartpc_jax.inference.descent import best_start, check_rates, make_descent
from lartpc_jax.inference.infer import plain_emd
from lartpc_jax.inference.objective import antithetic_noise, generate_views, make_objective
from lartpc_jax.transport import emd as emd_lib

MAX_TRACKS = 4
POOL = 4             # screening compares images of pixels pooled 4 x 4
PIXELS_A_TRACK = 64  # brightest pixels that the distance keeps
MAX_PIXELS = 128


class TracksSettings(NamedTuple):
  """Knobs of the fit of N tracks; a config block `tracks` has the same keys."""
  num_candidates: int = 2048       # single tracks of the library
  beam: int = 256                  # sets that a further track is added to
  num_screened: int = 32           # best sets on pooled images, compared by the full distance
  num_starts: int = 1              # best of them refined in the first stage
  first_steps: int = 8
  first_draws: int = 1             # network draws a view, step and track; each gives two images, mirrored
  second_steps: int = 8            # the best of the first stage goes on
  second_draws: int = 2
  learning_rate: float = 0.08      # radians of direction, logits of energy
  second_learning_rate: float = 0.04
  num_averaged: int = 4
  first_vertex_power: float = 0.0  # see `objective.vertex_weights`
  vertex_power: float = 1.0
  vertex_radius_px: float = 2.0
  charge_weight_px: float = 10.0
  charge_tolerance: float = 0.05
  kinetic_margin_mev: float = 2.0
  report_draws: int = 4            # network draws of the values that are reported
  max_emd_px: float = 3.0          # a fit that ends above this, in any view, has not converged
  max_spread_mev: float = 25.0     # nor one of which the last iterates of a track scatter by more


class Screened(NamedTuple):
  """The best sets of N tracks of the library for each of b events, the best first."""
  momentum_mev: Float[Array, "b h t 3"]  # MeV/c
  objective: Float[Array, "b h"]         # px, unweighted distance and charge term, summed over views


class TracksFound(NamedTuple):
  """The refined hypothesis of N tracks for each of b events."""
  momentum_mev: Float[Array, "b t 3"]    # MeV/c
  objective: Float[Array, " b"]          # px, unweighted distance and charge term, summed over views, on fresh draws
  emd: Float[Array, "b v"]               # px, plain W1 on the same draws
  spread: Float[Array, " b"]             # rms scatter of the last iterates of the worst track, MeV/c
  converged: Array                       # [b], see max_emd_px and max_spread_mev
  trajectory: Float[Array, "s b t 3"]    # second stage, MeV/c
  values: Float[Array, "s b"]            # px, its objective
  images: Float[Array, "b v n n"]        # one generated draw at the end, MeV


class TracksFit(NamedTuple):
  """Pure functions; jit them. See `make_tracks_fit`."""
  draw_candidates: Callable  # key -> Candidates
  screen: Callable           # (images [b v n n], Candidates) -> Screened
  refine: Callable           # (images [b v n n], momentum [b h t 3], key) -> TracksFound


def make_sum_value_and_grad(draw: Callable, compare: Callable, num_tracks: int) -> Callable:
  """Builds value_and_grad for `make_descent`, of hypotheses of which each `num_tracks` in a row make one image.

  Args:
    draw: (hypothesis [bt 4], noise) -> images [bt v k n n].
    compare: (images [b v k n n], targets) -> [b].
    num_tracks: t.
  Returns:
    (hypothesis [bt 4], tangents [m bt 4], targets, noise) -> values [bt], an event's repeated for its tracks, and the
    gradient [bt 4] projected on the tangents.
  """
  def value_and_grad(hypothesis, tangents, targets, noise):
    push = lambda tangent: jax.jvp(lambda x: draw(x, noise), (hypothesis,), (tangent,))
    images, pushed = jax.vmap(push, out_axes=(None, 0))(tangents)
    value, pull = jax.vjp(lambda x: compare(x, targets), sum_tracks(images, num_tracks))
    (slope,) = pull(jnp.ones_like(value))
    slopes = jnp.einsum("bp,mbtp->mbt", slope.reshape(len(slope), -1),
                        pushed.reshape(len(tangents), len(slope), num_tracks, -1)).reshape(len(tangents), -1)
    return jnp.repeat(value, num_tracks), jnp.einsum("mb,mbd->bd", slopes, tangents)
  return value_and_grad


def sum_tracks(images: Float[Array, "bt v k n n"], num_tracks: int) -> Float[Array, "b v k n n"]:
  """Images of events from those of their tracks, `num_tracks` in a row."""
  return images.reshape(-1, num_tracks, *images.shape[1:]).sum(1)


def screen_sets(target: Float[Array, " p"], candidates: Float[Array, "m p"], num_tracks: int, *, beam: int, keep: int
                ) -> Int[Array, "s t"]:
  """Indices of the `keep` sets of `num_tracks` candidates whose sums are nearest to a target by squares, by beam search.

  |y - s - c|^2 needs nothing but dot products, so that all pairs cost one matrix. The first candidate of a set of two has
  the smaller index; each set is extended by its best candidate, and the `beam` best of them go on.
  """
  gram, overlap = candidates @ candidates.T, candidates @ target
  cost_one = jnp.diag(gram) - 2.0 * overlap
  m = len(candidates)
  if num_tracks == 1:
    return jax.lax.top_k(-cost_one, keep)[1][:, None]
  pairs = cost_one[:, None] + cost_one[None, :] + 2.0 * gram
  pairs = jnp.where(jnp.arange(m)[None, :] > jnp.arange(m)[:, None], pairs, jnp.inf)
  second = jnp.argmin(pairs, axis=1)
  sets, cost = jnp.stack([jnp.arange(m), second], axis=1), pairs.min(axis=1)
  for _ in range(num_tracks - 2):
    chosen = jax.lax.top_k(-cost, min(beam, m))[1]
    sets, cost = sets[chosen], cost[chosen]
    extended = cost[:, None] + cost_one[None, :] + 2.0 * gram[sets].sum(1)
    sets = jnp.concatenate([sets, jnp.argmin(extended, axis=1)[:, None]], axis=1)
    cost = extended.min(axis=1)
  return sets[jax.lax.top_k(-cost, keep)[1]]


def is_repeated(sets: Int[Array, "s t"]) -> Array:
  """True [s] for a set that an earlier row holds, in whatever order."""
  ordered = jnp.sort(sets, axis=1)
  same = jnp.all(ordered[:, None] == ordered[None], axis=-1)
  return jnp.any(same & (jnp.arange(len(sets))[None] < jnp.arange(len(sets))[:, None]), axis=1)


def make_tracks_fit(generate: Callable, generate_fast: Callable, *, num_tracks: int, latent_shape: tuple[int, int, int],
                    num_pixels: int, kinetic_range_mev: tuple[float, float], views: tuple[str, ...],
                    settings: TracksSettings = TracksSettings()) -> TracksFit:
  """Builds the fit of `num_tracks` protons from one vertex to images in the given views.

  Args:
    generate: (noise [n h w c], momentum_mev [n 3]) -> images [n m n n] in MeV of single tracks; used in the descent.
    generate_fast: the same with fewer sampler steps, one image a draw; draws the candidates.
    num_tracks: N, 1 to 4.
    latent_shape: (h, w, c) of the noise.
    num_pixels: image size.
    kinetic_range_mev: energies that the generator was trained on.
    views: names of the views, in the order of the images.
    settings: knobs.
  Raises:
    ValueError: for another number of tracks.
  """
  if not 1 <= num_tracks <= MAX_TRACKS:
    raise ValueError(f"The number of tracks must be 1 to {MAX_TRACKS}; got {num_tracks}.")
  check_rates("tracks", settings)
  s, t = settings, num_tracks
  bounds = (kinetic_range_mev[0] - s.kinetic_margin_mev, kinetic_range_mev[1] + s.kinetic_margin_mev)
  distance = emd_lib.make_emd(**{**emd_lib.DESCENT, "num_pixels": min(PIXELS_A_TRACK * t, MAX_PIXELS)})
  build = lambda power: make_objective(
      generate, distance, views=views, num_pixels=num_pixels, vertex_power=power, vertex_radius_px=s.vertex_radius_px,
      charge_weight_px=s.charge_weight_px, charge_tolerance=s.charge_tolerance)
  whole, objectives = build(0.0), (build(s.first_vertex_power), build(s.vertex_power))
  draw = lambda hypothesis, noise: generate_views(generate, noise, chart.to_momentum(hypothesis, bounds), views)
  first, second = (make_descent(
      None, kinetic_range_mev=bounds, num_steps=steps, learning_rate=rate, final_learning_rate=final, num_averaged=averaged,
      mode="forward", value_and_grad=make_sum_value_and_grad(draw, objective.compare, t))
      for objective, steps, rate, final, averaged in (
          (objectives[0], s.first_steps, s.learning_rate, s.second_learning_rate, 1),
          (objectives[1], s.second_steps, s.second_learning_rate, 0.1 * s.second_learning_rate, s.num_averaged)))

  def noise_of(key, draws):  # tracks scatter independently
    return jax.vmap(lambda k: antithetic_noise(k, len(views), draws, latent_shape))(jax.random.split(key, t))

  noise_of_steps = lambda key, steps, draws: jax.vmap(lambda k: noise_of(k, draws))(jax.random.split(key, steps))

  def screen(images: Float[Array, "b v n n"], candidates: screening.Candidates) -> Screened:
    pooled = candidates.pooled.reshape(len(candidates.pooled), -1)

    def one(inputs):
      image, target = inputs
      sets = screen_sets(screening.pool(image, POOL).reshape(-1), pooled, t, beam=s.beam, keep=s.num_screened)
      drawn = candidates.images[sets].sum(1)[:, :, None]
      values = whole.compare(drawn, jax.tree.map(lambda x: jnp.repeat(x[None], s.num_screened, axis=0), target))
      values = jnp.where(jnp.isnan(values) | is_repeated(sets), jnp.inf, values)
      best = jax.lax.top_k(-values, s.num_starts)[1]
      return sets[best], values[best]
    sets, values = jax.lax.map(one, (images, whole.prepare(images)))
    momentum = chart.to_momentum(candidates.hypothesis[sets.reshape(-1)], bounds)
    return Screened(momentum.reshape(*sets.shape, 3), values)

  def choose(images, starts, key):
    """Of each event's starts [b h t 4] the one that the first stage takes farthest down, and where to: [bt 4]."""
    b, h = starts.shape[:2]
    repeated = jax.tree.map(lambda x: jnp.repeat(x, h, axis=0), objectives[0].prepare(images))
    out = first(starts.reshape(-1, 4), repeated, per_step=(noise_of_steps(key, s.first_steps, s.first_draws),))
    best = best_start(out.values[:, ::t], h)
    return out.hypothesis.reshape(b, h, t, 4)[jnp.arange(b), best].reshape(b * t, 4)

  def refine(images: Float[Array, "b v n n"], start_mev: Float[Array, "b h t 3"], key) -> TracksFound:
    key_first, key_second, key_report = jax.random.split(key, 3)
    b = len(images)
    starts = chart.from_momentum(start_mev.reshape(-1, 3), bounds).reshape(*start_mev.shape[:3], 4)
    out = second(choose(images, starts, key_first), objectives[1].prepare(images),
                 per_step=(noise_of_steps(key_second, s.second_steps, s.second_draws),))
    drawn = sum_tracks(draw(out.hypothesis, noise_of(key_report, s.report_draws)), t)
    momentum, distances = chart.to_momentum(out.hypothesis, bounds).reshape(b, t, 3), plain_emd(images, drawn)
    spread = out.spread.reshape(b, t).max(1)
    converged = ((distances.max(axis=1) <= s.max_emd_px) & (spread <= s.max_spread_mev)
                 & jnp.all(jnp.isfinite(momentum), axis=(1, 2)))
    return TracksFound(
        momentum_mev=momentum, objective=whole.compare(drawn, whole.prepare(images)), emd=distances, spread=spread,
        converged=converged,
        trajectory=out.trajectory.reshape(-1, b, t, 3), values=out.values[:, ::t], images=drawn[:, :, 0])

  return TracksFit(lambda key: screening.draw_candidates(
      key, generate_fast, num=s.num_candidates, views=views, kinetic_range_mev=bounds, latent_shape=latent_shape,
      factor=POOL), screen, refine)
