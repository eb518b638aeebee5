"""Pictures of score matching and diffusion from closed forms and tiny trained scores: see
launch.score_toy.
"""
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.data.open import open_pictures
from lartpc_jax.diffusion import samplers, time_grids, toy
from lartpc_jax.diffusion.ode import runge_kutta_step
from lartpc_jax.diffusion.samplers.stochastic import PREDICTORS
from lartpc_jax.diffusion.sde import SDE, edm_sde, probability_flow, vp_sde
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.keys import root_key
from lartpc_jax.plotting import scores as figures
from lartpc_jax.tables import markdown_table
from lartpc_jax.train.toy import fit_toy_score

SHOWN_TIMES = (0.0, 0.1, 0.25, 0.5, 1.0)
NUM_POINTS = 800
LEVELS = tuple(np.geomspace(2.5, 0.05,
                            # of annealed Langevin dynamics and denoising score matching
                            10).round(4).tolist())
SHOWN_LEVELS = (0.05, 0.3, 1.0)
PICTURE_DPI = 68


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to draw."""
  out: str | None = setting(None, "Directory of the pictures.", required=True)
  data: str = setting("sample", "Crops for forward_images.png, see lartpc_jax.data.open.")
  num_images: int = setting(1, "Images in it.", lower=1)
  pictures: tuple[str, ...] = setting(
      ("forward", "reverse", "scores", "learned", "langevin", "forward_images"), "Which ones.")
  seed: int = setting(0, "Seed.")


PICTURES = Settings.pictures


class Errors(NamedTuple):
  """Mean cosine between a learned score and the true one at that noise level: near the data, and over the
  whole square.
  """
  name: str
  near: float
  square: float


def run(settings: Settings, console: Console) -> None:
  """Draws, and prints how far learned scores and Langevin dynamics are off."""
  images = open_pictures(settings.data).read(np.arange(settings.num_images))["image"][:, 0]
  paths, errors, shares = draw_all(Path(settings.out), images, seed=settings.seed, names=settings.pictures)
  if errors:
    console.say(markdown_table(("learned score", "cosine with the true one, at the data", "over the square"),
                               [(row.name, f"{row.near:.3f}", f"{row.square:.3f}") for row in errors]))
  if shares:
    console.say("Share of points in the blob (0.3 of the data): "
                + ", ".join(f"{k} {v:.2f}" for k, v in shares.items()))
  console.say("Wrote " + ", ".join(str(path) for path in paths))


def forward_figure(key, mixture: toy.Mixture, sde: SDE):
  """Points under the forward SDE at SHOWN_TIMES."""
  key_data, *keys = jax.random.split(key, 1 + len(SHOWN_TIMES))
  x0 = toy.draw_points(key_data, mixture, NUM_POINTS)
  columns = [np.asarray(x0)] + [np.asarray(_noised(k, sde, x0, t)) for k, t in zip(keys, SHOWN_TIMES[1:])]
  return figures.point_rows({"forward": columns}, [f"t = {t:g}" for t in SHOWN_TIMES])


def _noised(key, sde: SDE, x0, t: float):
  mean, std = sde.marginal_prob(x0, jnp.full(len(x0), t))
  return mean + std[:, None] * jax.random.normal(key, x0.shape)


def reverse_paths(key, sde: SDE, score_fn: Callable, x, times: np.ndarray) -> dict[str, jax.Array]:
  """States [len(times) ...] on the way from x, by the reverse SDE (Euler-Maruyama) and by the flow ODE
  (Runge-Kutta 4).
  """
  predict, inputs = PREDICTORS["euler_maruyama"](sde, times, score_fn, x.dtype)
  flow, grid = probability_flow(sde, score_fn), jnp.asarray(times, x.dtype)
  velocity = lambda x, t: flow(x, jnp.full(x.shape[:1], t))

  @jax.jit
  def both(x, key):
    def sde_step(x, inputs):
      x = predict(x, *inputs)
      return x, x

    def ode_step(x, inputs):
      x = runge_kutta_step(velocity, x, *inputs, "rk4")
      return x, x
    stochastic = jax.lax.scan(sde_step, x, (jax.random.split(key, len(times) - 1), inputs))[1]
    return stochastic, jax.lax.scan(ode_step, x, (grid[:-1], jnp.diff(grid)))[1]
  return {label: jnp.concatenate([x[None], path])
          for label, path in zip(("reverse SDE", "flow ODE"), both(x, key))}


def reverse_figure(key, mixture: toy.Mixture, sde: SDE):
  """The same times backwards, from the same draws of the prior."""
  key_prior, key_steps = jax.random.split(key)
  times = time_grids.uniform_grid(400, t_min=0.0025)
  x = sde.prior_sampling(key_prior, (NUM_POINTS, 2))
  shown = [int(np.argmin(np.abs(times - t))) for t in reversed(SHOWN_TIMES)]
  paths = reverse_paths(key_steps, sde, toy.mixture_score(mixture, sde), x, times)
  return figures.point_rows({label: np.asarray(path[np.array(shown)]) for label, path in paths.items()},
                            [f"t = {times[i]:.2g}" for i in shown])


def score_figures(key, mixture: toy.Mixture):
  """True scores with little and with more noise; learned ones without and with noise; and how far they are
  off.

  Returns:
    Figure of true scores, Figure of learned ones, list of Errors.
  """
  key_bare, key_noisy, *keys = jax.random.split(key, 2 + 2 * len(SHOWN_LEVELS))
  points = {sigma: np.asarray(toy.draw_points(k, mixture._replace(std=float(np.hypot(mixture.std, sigma))),
                                              600))
            for sigma, k in zip(SHOWN_LEVELS, keys)}
  truth = {f"true score, noise {s:g}": jax.jit(toy.score_at_sigma(mixture, s)) for s in SHOWN_LEVELS}
  true_figure = figures.score_fields(truth, {name: points[s] for name, s in zip(truth, SHOWN_LEVELS)})
  bare = fit_toy_score(mixture, key_bare)
  noisy = fit_toy_score(mixture, key_noisy, sigmas=LEVELS)
  learned = {"learned without noise": jax.jit(bare)}
  for sigma in SHOWN_LEVELS:
    learned[f"learned, noise {sigma:g}"] = jax.jit(lambda x, s=sigma: noisy(x, jnp.full(len(x), s)))
  bare_points = np.asarray(toy.draw_points(keys[-1], mixture, 600))
  learned_figure = figures.score_fields(learned, dict(zip(learned, [bare_points, *points.values()])))
  square = figures.grid_points()
  errors = [_errors("without noise", learned["learned without noise"],
                    jax.jit(toy.score_at_sigma(mixture, 0.0)),
                    bare_points, square)]
  for sigma in SHOWN_LEVELS:
    errors.append(_errors(f"noise {sigma:g}", learned[f"learned, noise {sigma:g}"],
                          truth[f"true score, noise {sigma:g}"],
                          points[sigma], square))
  return true_figure, learned_figure, errors


def _errors(name: str, learned: Callable, truth: Callable, near: np.ndarray, square: np.ndarray) -> Errors:
  def cosine(x):
    a, b = (np.asarray(f(jnp.asarray(x)), float) for f in (learned, truth))
    return float(np.mean(np.sum(a * b, 1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + 1e-12)))
  return Errors(name, cosine(near), cosine(square))


def langevin_figure(key, mixture: toy.Mixture):
  """Plain Langevin dynamics at the smallest noise beside annealed dynamics, and the share of points in the
  blob (0.3).
  """
  sde = edm_sde(LEVELS[0])
  score_fn = toy.mixture_score(mixture, sde)
  key_start, key_plain, key_annealed = jax.random.split(key, 3)
  start = jax.random.uniform(key_start, (NUM_POINTS, 2), minval=-figures.LIMIT, maxval=figures.LIMIT)
  times = np.array(LEVELS) / LEVELS[0]
  steps = 60
  plain = samplers.langevin(sde, np.linspace(1.0, times[-1], steps * len(LEVELS) + 1), step_scale=0.2)
  annealed = samplers.annealed_langevin(sde, times, step_scale=0.2, num_corrections=steps)
  ends = {"start": start, "plain Langevin": jax.jit(lambda x, k: plain(score_fn, x, k))(start, key_plain),
          "annealed Langevin": jax.jit(lambda x, k: annealed(score_fn, x, k))(start, key_annealed),
          "data": toy.draw_points(jax.random.fold_in(key, 1), mixture, NUM_POINTS)}
  ends = {name: np.asarray(x) for name, x in ends.items()}
  blob = lambda x: float(np.mean(np.linalg.norm(x - np.array([1.1, -0.8]), axis=1) < 0.6))
  titles = [f"{name}\n{100 * blob(x):.0f} % in the blob" for name, x in ends.items()]
  return figures.point_rows({"": list(ends.values())}, titles), {name: blob(x) for name, x in ends.items()}


def image_figure(key, images_mev: np.ndarray, sde: SDE):
  """Real images (square root of MeV) under the forward SDE at SHOWN_TIMES."""
  scale = float(np.sqrt(images_mev).std())
  x0 = jnp.asarray(np.sqrt(images_mev) / scale)
  keys = jax.random.split(key, len(SHOWN_TIMES))
  rows = {}
  for i in range(len(x0)):
    states = [x0[i]]
    for k, t in zip(keys[1:], SHOWN_TIMES[1:]):
      mean, std = sde.marginal_prob(x0[i][None], jnp.full(1, t))
      states.append(mean[0] + std[0] * jax.random.normal(jax.random.fold_in(k, i), x0[i].shape))
    rows[f"image {i}"] = np.asarray(jnp.stack(states))
  return figures.image_strip(rows, [f"t = {t:g}" for t in SHOWN_TIMES], limit=4.0)


def draw_all(out: Path, images_mev: np.ndarray, *, seed: int, names: Sequence[str] = PICTURES
             ) -> tuple[list[Path], list[Errors], dict[str, float]]:
  """Writes the pictures called `names` to `out`: paths, errors of the learned scores, shares of points in the
  blob.

  "scores" and "learned" come together. Each has a key of its own, so that it does not depend on which others
  are drawn.
  Raises ValueError naming an unknown one.
  """
  unknown = sorted(set(names) - set(PICTURES))
  if unknown or not names:
    raise ValueError(f"Unknown pictures {unknown}; choose from {list(PICTURES)}.")
  sde, mixture = vp_sde(), toy.track_and_shower()
  keys = jax.random.split(root_key(seed), 5)
  drawn, errors, shares = {}, [], {}
  if {"scores", "learned"} & set(names):
    drawn["scores"], drawn["learned"], errors = score_figures(keys[2], mixture)
  if "langevin" in names:
    drawn["langevin"], shares = langevin_figure(keys[3], mixture)
  if "forward" in names:
    drawn["forward"] = forward_figure(keys[0], mixture, sde)
  if "reverse" in names:
    drawn["reverse"] = reverse_figure(keys[1], mixture, sde)
  if "forward_images" in names:
    drawn["forward_images"] = image_figure(keys[4], images_mev, sde)
  return [save_figure(figure, out / f"{name}.png", dpi=PICTURE_DPI)
          for name, figure in drawn.items()], errors, shares
