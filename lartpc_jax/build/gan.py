"""Builders of GANs for crops: their training task, and the trained generator. See `config`."""
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build.crops import (
  build_conditional_crops,
  check_condition,
  crop_condition,
  load_table,
  save_table,
)
from lartpc_jax.build.draws import keyed_draws, make_compare, make_figure
from lartpc_jax.build.models import check_fields, check_fit, load_checked
from lartpc_jax.config.blocks import call_with, parse, section
from lartpc_jax.config.schema import GanLoss
from lartpc_jax.generators import condition as condition_lib, weights as weight_files
from lartpc_jax.generators.gan import make_gan
from lartpc_jax.generators.keyed import KeyedModel, features_of
from lartpc_jax.generators.sparse_state import GapScale, gap_state
from lartpc_jax.networks import api as networks
from lartpc_jax.networks.gan import PAIRS
from lartpc_jax.train.adversarial import adversarial_task
from lartpc_jax.train.task import Drawn, Task

NAME = "gan"  # of the files of released weights


def _build_network(values: dict, condition: condition_lib.Condition, side: int) -> networks.GanNetwork:
  for module, block in zip(PAIRS.get(values.get("name"), ()), ("generator", "discriminator")):
    check_fields(module, values.get(block, {}))
  return call_with(networks.make_gan, "network", values, side=side,
                   num_features=condition_lib.num_features(condition))


def gan_task(config: dict) -> Task:
  """Training task of a whole config with task = "gan"."""
  gap = call_with(GapScale, "state", section(config, "state"))
  crops = build_conditional_crops(section(config, "data"), seed=config["seed"],
                                  threshold_mev=gap.threshold_mev)
  condition = condition_lib.make_condition(section(config, "condition"))
  if condition.variables:
    check_condition(condition, crops.table)
  real = np.asarray(crops.holdout["image"])
  values, side = section(config, "network"), real.shape[1]
  network = _build_network(values, condition, side)
  table = jax.tree.map(jnp.asarray, crops.table)

  def encode(batch):
    told = crop_condition(batch["image"], batch["track_share"], gap.threshold_mev)
    return gap_state(batch["image"], gap), features_of(condition, told, len(batch["image"]))

  def model(params):
    return make_gan(network.generate, params, latent=values["latent"], side=side, gap=gap,
                    condition=condition,
                    table=table)

  def export(params, directory, done):
    kept = {name: params[name] for name in ("generator", "batch_stats") if params[name]}
    weight_files.save_weights(directory, NAME, kept, {
        "network": values, "state": section(config, "state"), "condition": section(config, "condition"),
        "shape": (side, side), "threshold_mev": gap.threshold_mev, "step": done["step"],
        "cpu_seconds": done.get("cpu_seconds", 0.0),
        "num_holdout_events": config["data"]["num_holdout_events"]}, dtype="float16")
    save_table(directory, crops.table)

  drawn = Drawn(keyed_draws(model, len(real)), make_compare(real), make_figure(real), export)
  return adversarial_task(network, drawn, gap=gap, encode=encode, batch_fn=crops.batch_fn,
                          latent=values["latent"], side=side,
                          loss=parse(GanLoss, "loss", section(config, "loss")))


def is_gan(directory: str | Path) -> bool:
  """Whether `directory`, or the bundled weights of that name, hold a GAN."""
  return (weight_files.find_weights(directory) / f"{NAME}.json").exists()


def build_gan(directory: str | Path) -> tuple[KeyedModel, dict]:
  """The trained generator in `directory` (or the bundled one of that name), and the JSON beside it.

  Raises FileNotFoundError or ValueError naming the file that is missing, truncated or does not fit.
  """
  directory = weight_files.find_weights(directory)
  params, info = load_checked(directory, NAME, ("network", "state", "condition", "shape"))
  condition, side = condition_lib.make_condition(info["condition"]), info["shape"][0]
  network = _build_network(info["network"], condition, side)
  wanted = jax.eval_shape(network.init, jax.random.key(0))
  check_fit(params, {name: wanted[name] for name in ("generator", "batch_stats") if wanted[name]}, directory,
            NAME)
  params = {"batch_stats": {}, **jax.tree.map(jnp.asarray, params)}
  return make_gan(network.generate, params, latent=info["network"]["latent"], side=side,
                  gap=call_with(GapScale, "state", info["state"]), condition=condition,
                  table=load_table(directory)), info


GAN_TASKS = {"gan": gan_task}
GAN_TASK_KEYS = {"gan": {"state", "condition"}}
