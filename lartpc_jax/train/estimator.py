"""Training task of the momentum estimator."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.inference import estimator as lib
from lartpc_jax.inference.errors import momentum_error
from lartpc_jax.networks.api import EstimatorNetwork
from lartpc_jax.train.task import Task


def estimator_task(network: EstimatorNetwork, *, views: tuple[str, ...], spec: ImageSpec,
                   kinetic_range_mev: tuple[float, float], batch_fn: Callable, holdout: dict,
                   export: Callable | None) -> Task:
  """Task of maximum likelihood of the true momentum.

  Args:
    network: conditional mixture density.
    views: one view or two.
    spec: geometry of the images.
    kinetic_range_mev: energies of the data.
    batch_fn: step -> dict(image [b v n n] MeV, momentum_mev [b 3]).
    holdout: such a batch, never trained on.
    export: (params, directory, info) -> None.
  """
  even = len(views) == 1

  @jax.jit
  def observe(images, momentum_mev):
    observed = lib.observe(images, views, spec)
    return {"observed": observed, "target": lib.to_coordinates(observed, momentum_mev)}

  def log_density(params, batch):
    mixture = lib.mixture_of(network.apply(params, batch["observed"].features), batch["observed"])
    return lib.log_density(mixture, batch["target"], even=even)

  def loss_fn(params, batch, key):
    del key
    return -log_density(params, batch).mean(), {}

  images, true_mev = holdout["image"], np.asarray(holdout["momentum_mev"])
  held = observe(images, jnp.asarray(true_mev))
  held_loss = jax.jit(lambda params: -log_density(params, held).mean())

  @jax.jit
  def estimate(params, images):  # images as an argument: XLA would fold the sorting of constants, for minutes
    return lib.make_estimator(network.apply, params, num_views=len(views),
                              kinetic_range_mev=kinetic_range_mev, spec=spec).estimate(images, views)

  def evaluate(params, key):
    del key
    found = np.asarray(estimate(params, images))
    error = momentum_error(found, true_mev, views)
    seen = np.linalg.norm((found - true_mev)[:, :2], axis=1)
    return {
        "eval/loss": float(held_loss(params)), "eval/median_dp_mev": float(np.median(error)),
        "eval/q95_dp_mev": float(np.quantile(error, 0.95)), "eval/median_dp_xy_mev": float(np.median(seen))
    }

  def observed_batch(step):
    batch = batch_fn(step)
    return observe(batch["image"], batch["momentum_mev"])

  return Task(init=lambda key: network.init(key, held["observed"].features.shape[1]), loss_fn=loss_fn,
              batch_fn=observed_batch, evaluate=evaluate, export=export)
