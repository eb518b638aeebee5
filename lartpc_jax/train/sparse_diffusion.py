"""Training task of one stage of a cascade: conditional diffusion of block maps, or of pixels given block
maps."""
import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.config.schema import StageLoss
from lartpc_jax.diffusion import losses
from lartpc_jax.diffusion.prediction import make_denoiser
from lartpc_jax.networks.api import DenoiserNetwork
from lartpc_jax.train.task import Task

# noise levels of the held-out loss curve, in units of the state
CURVE_SIGMAS = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 16.0)
UNCERTAINTY_FREQUENCIES = 2.0 ** np.linspace(-1.5, 1.5, 8)  # of log sigma


def uncertainty(weights: dict, sigma: jax.Array) -> jax.Array:
  """u(sigma) [b], the learned logarithm of the expected loss at a noise level (Karras et al. 2024, sec. 3.1
  and eq. 21).

  Minimising loss exp(-u) + u makes every noise level count the same. Linear in sines and cosines of log
  sigma.
  """
  log_sigma = jnp.log(sigma)[:, None]
  angles = log_sigma * jnp.asarray(UNCERTAINTY_FREQUENCIES, log_sigma.dtype)[None]
  features = jnp.concatenate([log_sigma / 3.0, jnp.sin(angles), jnp.cos(angles)], axis=-1)
  return features @ weights["kernel"] + weights["bias"]


def initial_uncertainty() -> dict:
  """Weights of u = 0."""
  return {"kernel": jnp.zeros(1 + 2 * len(UNCERTAINTY_FREQUENCIES)), "bias": jnp.zeros(())}


def stage_task(network: DenoiserNetwork, state_shape: tuple[int, int, int], *, encode: Callable,
               batch_fn: Callable,
               holdout: dict, export: Callable | None, loss: StageLoss, chunk_size: int = 64) -> Task:
  """Denoising with EDM preconditioning, log-normal noise levels and uncertainty weights.

  Args:
    network: raw network, with cond "features" and "keep" besides what encode gives.
    state_shape: (h, w, c) of what is diffused.
    encode: (batch, key) -> state [b h w c], cond of the network without "keep".
    batch_fn: step -> batch for encode.
    holdout: such a batch, never trained on, for the loss curve.
    export: (params of the network, directory, info) -> None.
    loss: noise levels, and dropout of the features.
    chunk_size: examples of the loss curve at once.
  """
  def loss_fn(params, batch, key):
    key_encode, key_loss = jax.random.split(key)
    state, cond = encode(batch, key_encode)
    raw = functools.partial(network.apply, params["network"])
    values, sigma = losses.edm_denoising(raw, state, cond, key_loss, sigma_data=1.0,
                                         **dataclasses.asdict(loss))
    u = uncertainty(params["uncertainty"], sigma)
    return jnp.mean(values * jnp.exp(-u) + u), {"edm_loss": values.mean()}

  num = len(next(iter(holdout.values())))
  chunk_size = min(chunk_size, num)
  chunks = num // chunk_size
  chunked = jax.tree.map(lambda x: np.reshape(x[:chunks * chunk_size], (chunks, chunk_size, *x.shape[1:])),
                         holdout)

  @jax.jit
  def held_losses(params, key):
    def of_chunk(batch, key):
      key_encode, *keys = jax.random.split(key, 1 + len(CURVE_SIGMAS))
      state, cond = encode(batch, key_encode)
      denoise_fn = make_denoiser(network.apply, params, {**cond, "keep": jnp.ones(chunk_size)})
      # a loop: a copy of the network for each level compiles for long
      return jax.lax.map(lambda level: losses.denoising_error(denoise_fn, state, *level).mean(),
                         (jnp.array(CURVE_SIGMAS), jnp.stack(keys)))
    return jax.lax.map(lambda inputs: of_chunk(*inputs), (chunked, jax.random.split(key, chunks))).mean(0)

  def evaluate(params, key):
    return {
        f"eval/mse_at_{s:g}": float(value)
        for s, value in zip(CURVE_SIGMAS, held_losses(params["network"], key))
    }

  init = lambda key: {"network": network.init(key, state_shape), "uncertainty": initial_uncertainty()}
  return Task(init=init, loss_fn=loss_fn, batch_fn=batch_fn, evaluate=evaluate,
              export=export and (lambda params, *args: export(params["network"], *args)))
