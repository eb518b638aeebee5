"""Training task of the momentum-conditional latent diffusion model."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax import losses
from lartpc_jax.generator import Diffusion, make_generate, prior_noise
from lartpc_jax.networks.api import DenoiserNetwork
from lartpc_jax.train.task import Task


def latent_diffusion_task(network: DenoiserNetwork, diffusion: Diffusion, *, batch_fn: Callable, holdout_batch: dict,
                          p_mean: float, p_std: float, cond_dropout: float, sampler: Callable, emd: Callable,
                          figure: Callable | None, export: Callable | None) -> Task:
  """Task of denoising score matching on latents of a frozen autoencoder.

  Args:
    network: denoiser.
    diffusion: everything but trained parameters (its params are ignored).
    batch_fn: step -> dict(image [b 1 n n], momentum_mev [b 3]).
    holdout_batch: the same, never trained on, for evaluation and pictures.
    p_mean: mean of log sigma in training.
    p_std: standard deviation of log sigma in training.
    cond_dropout: share of examples trained without condition.
    sampler: for evaluation and pictures.
    emd: (images [b n n], images [b n n]) -> Earth Mover's Distances [b] in pixels.
    figure: (real images, generated images, momentum_mev) -> Figure.
    export: (params, directory, info) -> None.
  """
  encode = jax.jit(diffusion.latent.encode)

  def encoded_batch(step):
    batch = batch_fn(step)
    return {"z": encode(batch["image"][:, 0]), "momentum": batch["momentum_mev"] / diffusion.momentum_scale_mev}

  def losses_of(params, batch, key):
    return losses.edm_denoising(network.apply, params, batch["z"], {"momentum": batch["momentum"]}, key,
                                sigma_data=diffusion.sigma_data, p_mean=p_mean, p_std=p_std,
                                cond_dropout=cond_dropout)

  def loss_fn(params, batch, key):
    values, _ = losses_of(params, batch, key)
    return values.mean(), {}

  images = np.asarray(holdout_batch["image"][:, 0])
  momentum_mev = jnp.asarray(holdout_batch["momentum_mev"])
  held = {"z": encode(images), "momentum": momentum_mev / diffusion.momentum_scale_mev}

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
    return figure(images[:8], np.asarray(generate(params, key))[:8], np.asarray(np.asarray(momentum_mev[:8])))

  return Task(init=lambda key: network.init(key, diffusion.latent_shape), loss_fn=loss_fn, batch_fn=encoded_batch,
              evaluate=evaluate, draw=draw if figure else None, export=export)
