"""Training task of the KL autoencoder."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.diffusion import losses
from lartpc_jax.generators.codec import LatentScale, autoencoder_codec, measure_latent_scale
from lartpc_jax.geometry.charge import ChargeTransform
from lartpc_jax.networks.api import AutoencoderNetwork
from lartpc_jax.train.held_out import compare_charge
from lartpc_jax.train.task import Task


def autoencoder_task(network: AutoencoderNetwork, *, transform: ChargeTransform, threshold_mev: float,
                     shape: tuple[int, int], batch_fn: Callable, holdout_batch: dict, kl_weight: float, charge_weight: float,
                     emd: Callable, figure: Callable | None, export: Callable | None) -> Task:
  """Task whose loss is reconstruction + kl_weight KL + charge_weight (relative error of the total charge)^2.

  Args:
    network: autoencoder.
    transform: charge transform.
    threshold_mev: pixels below are zero, in the data and after decoding.
    shape: (h, w) of the images.
    batch_fn: step -> dict(image [b h w], ...).
    holdout_batch: images [b h w] never trained on, for evaluation and pictures.
    kl_weight: weight of the KL term, in nats, against the summed squared error.
    charge_weight: weight of the charge term.
    emd: (images [b h w], images [b h w]) -> Earth Mover's Distances [b] in pixels.
    figure: (images, reconstructions) -> Figure.
    export: (params, directory, info, scale) -> None; scale is the LatentScale measured on the holdout.
  """
  def loss_fn(params, batch, key):
    terms = losses.autoencoder_terms(network.encode, network.decode, params, batch["image"], key,
                                     transform=transform)
    metrics = {name: value.mean() for name, value in terms._asdict().items()}
    metrics["charge"] = jnp.sqrt(metrics["charge"])  # rms relative error
    return jnp.mean(terms.reconstruction + kl_weight * terms.kl + charge_weight * terms.charge), metrics

  holdout = jnp.asarray(holdout_batch["image"])

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

  return Task(init=lambda key: network.init(key, shape), loss_fn=loss_fn, batch_fn=batch_fn, evaluate=evaluate,
              draw=draw if figure else None, export=export_weights if export else None)
