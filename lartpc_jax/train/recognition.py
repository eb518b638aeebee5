"""Training task of a guide: labels of states that are seen through noise of every level."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lartpc_jax.config.schema import GuideLoss
from lartpc_jax.diffusion import losses
from lartpc_jax.diffusion.sde import batch_mul
from lartpc_jax.generators.guide import Guide, log_density, readings, scaled
from lartpc_jax.networks.api import RecogniserNetwork
from lartpc_jax.train.task import Task, TaskData

SIGMAS = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)  # noise levels of the held-out numbers, in state units


def recognition_task(network: RecogniserNetwork, guide: Guide, data: TaskData, loss: GuideLoss, *,
                     encode: Callable, state_shape: tuple[int, int, int], export: Callable | None) -> Task:
  """Task of maximum likelihood of labels given noisy states.

  Args:
    network: reader of noisy states.
    guide: everything but trained parameters.
    data: batches dict(image [b h w] MeV and the labels [b ...]), and one never trained on.
    loss: noise levels.
    encode: images -> states [b h w c].
    state_shape: of a state.
    export: (params, directory, info) -> None.
  """
  @jax.jit
  def prepare(batch: dict) -> dict:
    return {"state": encode(batch["image"]), **{name: batch[name] for name in guide.labels.variables}}

  def labels_of(batch: dict) -> dict:
    return {name: batch[name] for name in guide.labels.variables}

  def loss_fn(params, batch, key):
    density = log_density(guide._replace(params=params), labels_of(batch))
    values, _ = losses.noisy_likelihood(density, batch["state"], key, p_mean=loss.p_mean, p_std=loss.p_std)
    return values.mean(), {}

  held = prepare(data.holdout)

  @jax.jit
  def evaluated(params, key):
    keys = jax.random.split(key, 1 + len(SIGMAS))
    trained = guide._replace(params=params)

    def at(level):
      sigma, key = level
      levels = jnp.full(len(held["state"]), sigma)
      noisy = held["state"] + batch_mul(levels, jax.random.normal(key, held["state"].shape))
      found = readings(trained, noisy, levels)
      return {name: _right(trained, name, values, held[name]) for name, values in found.items()}
    return loss_fn(params, held, keys[0])[0], jax.lax.map(at, (jnp.array(SIGMAS), keys[1:]))

  def evaluate(params, key):
    value, at = evaluated(params, key)
    found = {"eval/loss": float(value)}
    for name, values in at.items():
      kind = "accuracy" if guide.labels.variables[name].kind == "label" else "rms"
      found |= {f"eval/{name}_{kind}_at_{s:g}": float(x) for s, x in zip(SIGMAS, values, strict=True)}
    return found

  return Task(init=lambda key: network.init(key, state_shape), loss_fn=loss_fn,
              batch_fn=lambda step: prepare(data.batch_fn(step)), evaluate=evaluate, export=export)


def _right(guide: Guide, name: str, found: jax.Array, truth: jax.Array) -> jax.Array:
  """Share of right classes, or the root mean square error of a scaled value."""
  if guide.labels.variables[name].kind == "label":
    return jnp.mean(found.argmax(-1) == truth)
  return jnp.sqrt(jnp.mean((found[:, 0] - scaled(guide.labels, name, truth))**2))
