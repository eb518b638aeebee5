"""Training task of the KL autoencoder."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.config.schema import AutoencoderLoss
from lartpc_jax.diffusion import losses
from lartpc_jax.generators.codec import LatentScale, autoencoder_codec, measure_latent_scale
from lartpc_jax.geometry.charge import ChargeTransform
from lartpc_jax.networks.api import AutoencoderNetwork
from lartpc_jax.train.held_out import compare_charge
from lartpc_jax.train.task import Task, TaskData


def autoencoder_task(network: AutoencoderNetwork, data: TaskData, loss: AutoencoderLoss, *,
                     transform: ChargeTransform, threshold_mev: float, emd: Callable, figure: Callable | None,
                     export: Callable | None) -> Task:
  """Task whose loss is reconstruction + kl_weight KL + charge_weight (relative error of the total charge)^2.

  Args:
    network: autoencoder.
    data: batches dict(image [b h w], ...), and one never trained on, for evaluation and pictures.
    loss: the weights.
    transform: charge transform.
    threshold_mev: pixels below are zero, in the data and after decoding.
    emd: (images [b h w], images [b h w]) -> Earth Mover's Distances [b] in pixels.
    figure: (images, reconstructions) -> Figure.
    export: (params, directory, info, scale) -> None; scale is the LatentScale measured on the holdout.
  """
  def loss_fn(params, batch, key):
    terms = losses.autoencoder_terms(network.encode, network.decode, params, batch["image"], key,
                                     transform=transform)
    metrics = {name: value.mean() for name, value in terms._asdict().items()}
    metrics["charge"] = jnp.sqrt(metrics["charge"])  # rms relative error
    values = terms.reconstruction + loss.kl_weight * terms.kl + loss.charge_weight * terms.charge
    return values.mean(), metrics

  holdout = jnp.asarray(data.holdout["image"])
  shape = holdout.shape[1:]

  @jax.jit
  def reconstruct(params):
    one = jnp.ones(1)
    codec = autoencoder_codec(network.encode, network.decode, params, LatentScale(0 * one, one), shape=shape,
                              transform=transform, threshold_mev=threshold_mev)
    latent = codec.encode(holdout)
    return latent, codec.decode(latent)

  def evaluate(params, key):
    del key
    _, images = reconstruct(params)
    charge, distances = compare_charge(images, holdout, emd)
    if not len(charge):
      return {}
    metrics = {"eval/lost": float(np.mean(charge == 0.0)), "eval/charge_bias": float(charge.mean() - 1.0),
               "eval/charge_std": float(charge.std())}
    return metrics | ({"eval/emd": float(np.median(distances))} if len(distances) else {})

  def draw(params, key):
    del key
    return figure(np.asarray(holdout[:8]), np.asarray(reconstruct(params)[1][:8]))

  def export_weights(params, directory, info):
    latent, _ = reconstruct(params)
    export(params, directory, info, measure_latent_scale(latent))

  return Task(init=lambda key: network.init(key, shape), loss_fn=loss_fn, batch_fn=data.batch_fn,
              evaluate=evaluate, draw=draw if figure else None, export=export_weights if export else None)
