"""Training task of every diffusion: denoising of the states of a generator, with or without a condition."""
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.config.schema import Loss
from lartpc_jax.diffusion import losses
from lartpc_jax.generators.generator import (
  Generator,
  denoise_fn,
  make_draw,
  network_cond,
  replace_params,
  state_score,
)
from lartpc_jax.metrics.pixels import compare, pixel_statistics
from lartpc_jax.train.held_out import compare_charge
from lartpc_jax.train.task import Task, TaskData

CURVE_SIGMAS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # noise levels of the held-out loss curve, in state units


class Holdout(NamedTuple):
  """What a run never trains on."""
  batch: dict            # as batch_fn gives it: canonical pictures `image` [b h w] and labels, for the loss
  images: np.ndarray     # [n m m] MeV, as the detector sees them, for comparison with generated ones
  # physical values of those images by name, in the frame of the view; {} without a condition
  cond: dict


def make_objective(apply_fn: Callable, generator: Generator, loss: Loss) -> Callable:
  """objective(params, state [b h w c], cond, key) -> value [b], noise level or time [b]; cond:
  `network_cond`.

  Args:
    apply_fn: raw network.
    generator: everything but trained parameters.
    loss: by its name: "edm" (log-normal noise levels, EDM target), "prediction" (the target of the
      generator's prediction, t uniform), "score" (score matching, weight std^2) or "likelihood" (the same
      with weight g^2).
  Raises:
    ValueError: naming an unknown objective, or one that does not fit the other keys.
  """
  denoiser = generator.denoiser
  if loss.name == "edm":
    if denoiser.prediction != "edm":
      raise ValueError(f"loss.name = 'edm' needs prediction.name = 'edm'; got {denoiser.prediction!r}.")
    if not 0.0 <= loss.cond_dropout < 1.0:
      raise ValueError(f"loss.cond_dropout must be in [0, 1); got {loss.cond_dropout}.")
    return lambda params, x, cond, key: losses.edm_denoising(
        functools.partial(apply_fn, params), x, cond, key, sigma_data=denoiser.sigma_data, p_mean=loss.p_mean,
        p_std=loss.p_std, cond_dropout=loss.cond_dropout)
  if loss.cond_dropout:
    raise ValueError(f"loss.cond_dropout = {loss.cond_dropout} needs loss.name = 'edm'; got {loss.name!r}.")
  if loss.name == "prediction":
    return lambda params, x, cond, key: losses.prediction_matching(
        functools.partial(apply_fn, params), x, cond or None, key, sde=denoiser.sde,
        prediction=denoiser.prediction, sigma_data=denoiser.sigma_data, t_min=loss.t_min)
  if loss.name not in ("score", "likelihood"):
    raise ValueError(f"Unknown loss.name {loss.name!r}; choose from ['edm', 'likelihood', 'prediction', "
                     "'score'].")
  return lambda params, x, cond, key: losses.score_matching(
      denoiser.sde, state_score(denoiser._replace(params=params), cond), x, key, t_min=loss.t_min,
      likelihood_weighting=loss.name == "likelihood")


def denoising_task(init: Callable, generator: Generator, data: TaskData, *, objective: Callable,
                   sampler: Callable, distance: Callable | None = None, figure: Callable | None = None,
                   export: Callable | None = None) -> Task:
  """Task of denoising score matching on the states of a generator.

  Args:
    init: (key, state shape) -> params of the network.
    generator: everything but trained parameters (those of its denoiser are ignored).
    data: batches dict(image [b h w] in MeV, a canonical picture, and the variables of the condition [b ...]),
      and a `Holdout`.
    objective: see `make_objective`.
    sampler: for evaluation and pictures; sample(score_fn, noise, key).
    distance: (images [n m m], images) -> Earth Mover's Distances [n] in pixels, for generators with a
      condition: between a real image and one generated with its condition.
    figure: (real images, generated images, cond) -> Figure.
    export: (params, directory, info) -> None.
  """
  @jax.jit
  def prepare(batch: dict) -> dict:
    cond = {name: batch[name] for name in generator.condition.variables}
    return {"state": generator.codec.encode(batch["image"], cond), **network_cond(generator, cond)}

  def split(batch: dict) -> tuple[jax.Array, dict]:
    return batch["state"], {name: value for name, value in batch.items() if name != "state"}

  def loss_fn(params, batch, key):
    values, _ = objective(params, *split(batch), key)
    return values.mean(), {}

  holdout = data.holdout
  images, cond = np.asarray(holdout.images), jax.tree.map(jnp.asarray, holdout.cond)
  held = prepare(holdout.batch)
  generate = jax.jit(lambda params, key: make_draw(
      replace_params(generator, params), sampler)(key, len(images), cond))

  @jax.jit
  def held_losses(params, key):
    keys, (state, told_of) = jax.random.split(key, 1 + len(CURVE_SIGMAS)), split(held)
    denoise = denoise_fn(replace_params(generator, params).denoiser, told_of)
    error = lambda level: losses.denoising_error(denoise, state, *level).mean()
    # A loop: six copies of the network compile long.
    curve = jax.lax.map(error, (jnp.array(CURVE_SIGMAS), keys[1:]))
    return objective(params, state, told_of, keys[0])[0].mean(), curve

  def evaluate(params, key):
    key_generate, key_loss = jax.random.split(key)
    loss, curve = held_losses(params, key_loss)
    metrics = {"eval/loss": loss, **{f"eval/mse_at_{s:g}": value for s, value in zip(CURVE_SIGMAS, curve)},
               **compare_images(images, np.asarray(generate(params, key_generate)), distance)}
    return {name: float(value) for name, value in metrics.items()}

  def draw(params, key):
    return figure(images, np.asarray(generate(params, key)), holdout.cond)

  return Task(init=lambda key: init(key, generator.codec.state_shape), loss_fn=loss_fn,
              batch_fn=lambda step: prepare(data.batch_fn(step)), evaluate=evaluate,
              draw=draw if figure else None, export=export)


def compare_images(real: np.ndarray, generated: np.ndarray, distance: Callable | None) -> dict[str, float]:
  """Metrics `eval/...` of generated images [n m m] against as many real ones; with `distance`, also one
  against one."""
  of_real, of_generated = pixel_statistics(real), pixel_statistics(generated)
  metrics = {"eval/active_ratio": of_generated.active.mean() / of_real.active.mean(),
             "eval/charge_ratio": of_generated.charge.mean() / of_real.charge.mean()}
  if len(of_generated.spectrum):
    metrics |= {f"eval/chi2_{name}": chi2.reduced for name, chi2 in compare(real, generated).items()
                if np.isfinite(chi2.reduced)}  # too few images, or all alike: not known
  if distance is not None:
    ratio, distances = compare_charge(generated, real, distance)
    metrics["eval/lost"] = np.mean(ratio == 0.0)
    if len(distances):
      metrics |= {"eval/emd": distances.mean(), "eval/emd_median": np.median(distances),
                  "eval/charge_ratio_median": np.median(ratio)}
  return metrics
