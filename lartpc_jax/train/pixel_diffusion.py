"""Training task of unconditional score-based diffusion of images, on pixels or latents."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.diffusion import losses
from lartpc_jax.generators.pixel_generator import ImageDiffusion, image_denoiser, image_score, make_draw
from lartpc_jax.metrics.pixels import compare, pixel_statistics
from lartpc_jax.networks.api import DenoiserNetwork
from lartpc_jax.train.task import Task

CURVE_SIGMAS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # noise levels of the held-out loss curve, in units of the state


def make_objective(network: DenoiserNetwork, diffusion: ImageDiffusion, *, name: str = "edm", p_mean: float = 0.0,
                   p_std: float = 1.4, t_min: float = 1e-5) -> Callable:
  """objective(params, state [b h w c], key) -> value [b], noise level or time [b].

  Args:
    network: raw network.
    diffusion: everything but trained parameters.
    name: "edm" (log-normal noise levels, EDM target), "prediction" (the target of `diffusion.prediction`, t uniform),
      "score" (score matching, weight std^2) or "likelihood" (score matching, weight g^2).
    p_mean: of log sigma, "edm" only.
    p_std: of log sigma, "edm" only.
    t_min: smallest time, all others.
  Raises:
    ValueError: naming an unknown objective, or "edm" with a network that predicts something else.
  """
  if name == "edm":
    if diffusion.prediction != "edm":
      raise ValueError(f"loss.name = 'edm' needs prediction.name = 'edm'; got {diffusion.prediction!r}.")
    return lambda params, x, key: losses.edm_denoising(
        network.apply, params, x, {}, key, sigma_data=diffusion.sigma_data, p_mean=p_mean, p_std=p_std, cond_dropout=0.0)
  if name == "prediction":
    return lambda params, x, key: losses.prediction_matching(
        network.apply, params, x, None, key, sde=diffusion.sde, prediction=diffusion.prediction,
        sigma_data=diffusion.sigma_data, t_min=t_min)
  if name not in ("score", "likelihood"):
    raise ValueError(f"Unknown loss.name {name!r}; choose from ['edm', 'likelihood', 'prediction', 'score'].")
  return lambda params, x, key: losses.score_matching(
      diffusion.sde, image_score(diffusion._replace(params=params)), x, key, t_min=t_min,
      likelihood_weighting=name == "likelihood")


def pixel_diffusion_task(network: DenoiserNetwork, diffusion: ImageDiffusion, *, batch_fn: Callable, holdout: np.ndarray,
                         objective: Callable, sampler: Callable, figure: Callable | None, export: Callable | None) -> Task:
  """Task of score matching on pixels or latents.

  Args:
    network: raw network.
    diffusion: everything but trained parameters (its params are ignored).
    batch_fn: step -> dict(image [b h w] MeV).
    holdout: images [n h w] MeV never trained on, for evaluation and pictures.
    objective: see `make_objective`.
    sampler: for evaluation and pictures; sample(score_fn, x, key).
    figure: (real images, generated images) -> Figure.
    export: (params, directory, info) -> None.
  """
  def loss_fn(params, batch, key):
    values, _ = objective(params, diffusion.space.encode(jnp.asarray(batch["image"])), key)
    return values.mean(), {}

  held = jax.jit(diffusion.space.encode)(jnp.asarray(holdout))
  generate = jax.jit(lambda params, key: make_draw(diffusion._replace(params=params), sampler, len(holdout))(key))

  @jax.jit
  def held_losses(params, key):
    keys = jax.random.split(key, 1 + len(CURVE_SIGMAS))
    denoise_fn = image_denoiser(diffusion._replace(params=params))
    error = lambda level: losses.denoising_error(denoise_fn, held, *level).mean()
    curve = jax.lax.map(error, (jnp.array(CURVE_SIGMAS), keys[1:]))  # a loop: six copies of the network compile for long
    return objective(params, held, keys[0])[0].mean(), curve

  def evaluate(params, key):
    key_generate, key_loss = jax.random.split(key)
    loss, curve = held_losses(params, key_loss)
    generated = np.asarray(generate(params, key_generate))
    real, fake = pixel_statistics(np.asarray(holdout)), pixel_statistics(generated)
    metrics = {"eval/loss": loss, **{f"eval/mse_at_{s:g}": value for s, value in zip(CURVE_SIGMAS, curve)},
               "eval/active_ratio": fake.active.mean() / real.active.mean(),
               "eval/charge_ratio": fake.charge.mean() / real.charge.mean()}
    if len(fake.spectrum):
      metrics |= {f"eval/chi2_{name}": chi2.reduced for name, chi2 in compare(np.asarray(holdout), generated).items()}
    return {name: float(value) for name, value in metrics.items()}

  def draw(params, key):
    return figure(np.asarray(holdout), np.asarray(generate(params, key)))

  return Task(init=lambda key: network.init(key, diffusion.state_shape), loss_fn=loss_fn, batch_fn=batch_fn,
              evaluate=evaluate, draw=draw if figure else None, export=export)
