"""Training task of the momentum-conditional latent diffusion model."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.diffusion import losses
from lartpc_jax.generators.generator import Diffusion, condition_of, make_generate, prior_noise, to_state
from lartpc_jax.networks.api import DenoiserNetwork
from lartpc_jax.train.task import Task


def latent_diffusion_task(network: DenoiserNetwork, diffusion: Diffusion, *, batch_fn: Callable, holdout: dict,
                          p_mean: float, p_std: float, cond_dropout: float, sampler: Callable, emd: Callable,
                          figure: Callable | None, export: Callable | None) -> Task:
  """Task of denoising score matching on latents of a frozen autoencoder.

  Args:
    network: denoiser.
    diffusion: everything but trained parameters (its params are ignored).
    batch_fn: step -> dict(image [b h w], momentum_mev [b 3]) in the track frame.
    holdout: dict(track: such a batch, image [b n n], momentum_mev [b 3] as in the detector), never trained on, for
      evaluation and pictures.
    p_mean: mean of log sigma in training.
    p_std: standard deviation of log sigma in training.
    cond_dropout: share of examples trained without condition.
    sampler: for evaluation and pictures.
    emd: (images [b n n], images [b n n]) -> Earth Mover's Distances [b] in pixels.
    figure: (real images, generated images, momentum_mev) -> Figure.
    export: (params, directory, info) -> None.
  """
  @jax.jit
  def encode(images, momentum_mev):
    return {"z": to_state(diffusion, images, momentum_mev), **condition_of(diffusion, momentum_mev)}

  encoded = lambda batch: encode(batch["image"], batch["momentum_mev"])

  def losses_of(params, batch, key):
    cond = {name: batch[name] for name in ("momentum", "end")}
    return losses.edm_denoising(network.apply, params, batch["z"], cond, key,
                                sigma_data=diffusion.sigma_data, p_mean=p_mean, p_std=p_std,
                                cond_dropout=cond_dropout)

  def loss_fn(params, batch, key):
    values, _ = losses_of(params, batch, key)
    return values.mean(), {}

  images, momentum_mev = np.asarray(holdout["image"]), jnp.asarray(holdout["momentum_mev"])
  held = encoded(holdout["track"])

  @jax.jit
  def generate(params, key):
    noise = prior_noise(diffusion, key, len(images))
    return make_generate(diffusion._replace(params=params), sampler)(noise, momentum_mev)

  held_loss = jax.jit(lambda params, key: losses_of(params, held, key)[0].mean())

  def evaluate(params, key):
    key_generate, key_loss = jax.random.split(key)
    generated = generate(params, key_generate)
    charge = np.asarray(generated.sum((1, 2))) / images.sum((1, 2))
    distances = np.asarray(emd(generated, images))
    return {"eval/loss": float(held_loss(params, key_loss)), "eval/emd": float(np.mean(distances)),
            "eval/emd_median": float(np.median(distances)), "eval/charge_ratio_median": float(np.median(charge))}

  def draw(params, key):
    return figure(images[:8], np.asarray(generate(params, key))[:8], np.asarray(momentum_mev[:8]))

  return Task(init=lambda key: network.init(key, diffusion.latent_shape), loss_fn=loss_fn,
              batch_fn=lambda step: encoded(batch_fn(step)), evaluate=evaluate, draw=draw if figure else None, export=export)
