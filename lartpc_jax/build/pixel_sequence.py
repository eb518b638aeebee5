"""Builders of the autoregressive model of lit pixels: its training task, and the trained model. See
`config`."""
from collections.abc import Mapping
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
from lartpc_jax.config.schema import PriorLoss, Sequences
from lartpc_jax.generators import condition as condition_lib, weights as weight_files
from lartpc_jax.generators.keyed import KeyedModel, features_of
from lartpc_jax.generators.pixel_sequence import FINE, ORDERS, Plane, charge_quantiles, make_sequence_model
from lartpc_jax.generators.sparse_state import GapScale
from lartpc_jax.networks import discrete
from lartpc_jax.networks.causal_transformer import PixelSequence
from lartpc_jax.train.pixel_sequence import pixel_sequence_task
from lartpc_jax.train.task import Drawn, Task, TaskData

NAME = "pixel_sequence"  # of the files of released weights


def _pixels(order: str, side: int) -> np.ndarray:
  if order not in ORDERS:
    raise ValueError(f"Unknown config value sequences.order = {order!r}; choose from {sorted(ORDERS)}.")
  return ORDERS[order](side)


def _build_network(values: Mapping, pixels: np.ndarray, side: int, num_bins: int,
                   condition: condition_lib.Condition) -> discrete.PixelSequenceNetwork:
  values = dict(values)
  check_fields(PixelSequence, values)
  return call_with(discrete.make_pixel_sequence, "network", values, num_bins=num_bins, num_cells=side,
                   num_places=side,
                   rows=tuple((pixels // side).tolist()), columns=tuple((pixels % side).tolist()),
                   num_features=condition_lib.num_features(condition))


def _pixel_task(config: dict) -> Task:
  gap = call_with(GapScale, "state", section(config, "state"))
  sequences = parse(Sequences, "sequences", section(config, "sequences"))
  crops = build_conditional_crops(section(config, "data"), seed=config["seed"],
                                  threshold_mev=gap.threshold_mev)
  condition = condition_lib.make_condition(section(config, "condition"))
  check_condition(condition, crops.table)
  real = np.asarray(crops.holdout["image"])
  side, values = real.shape[1], section(config, "network")
  pixels = _pixels(sequences.order, side)
  network = _build_network(values, pixels, side, sequences.num_bins, condition)
  quantiles = charge_quantiles(crops.training, gap, sequences.num_bins)
  plane = Plane(pixels, side, gap, jnp.asarray(quantiles, jnp.float32))
  table = jax.tree.map(jnp.asarray, crops.table)

  def features(batch):
    told = crop_condition(batch["image"], batch["track_share"], gap.threshold_mev)
    return features_of(condition, told, len(batch["image"]))

  def model(params):
    return make_sequence_model(network, params, plane=plane, condition=condition, table=table,
                               max_pixels=sequences.max_pixels)

  def export(params, directory, done):
    weight_files.save_weights(directory, NAME, params, {
        "network": values, "state": section(config, "state"), "condition": section(config, "condition"),
        "sequences": section(config, "sequences"), "shape": (side, side), "threshold_mev": gap.threshold_mev,
        "quantiles": quantiles.tolist(), "step": done["step"], "cpu_seconds": done.get("cpu_seconds", 0.0),
        "num_holdout_events": config["data"]["num_holdout_events"]}, dtype="int8")
    save_table(directory, crops.table)

  drawn = Drawn(keyed_draws(model, len(real)), make_compare(real), make_figure(real), export)
  return pixel_sequence_task(network, TaskData(crops.batch_fn, crops.holdout), drawn, plane=plane,
                             features=features, sequences=sequences,
                             loss=parse(PriorLoss, "loss", section(config, "loss")))


def is_pixel_sequence(directory: str | Path) -> bool:
  """Whether `directory`, or the bundled weights of that name, hold such a model."""
  return (weight_files.find_weights(directory) / f"{NAME}.json").exists()


def build_pixel_sequence(directory: str | Path) -> tuple[KeyedModel, dict]:
  """The trained model in `directory` (or the bundled one of that name), and the JSON beside it.

  Raises FileNotFoundError or ValueError naming the file that is missing, truncated or does not fit.
  """
  directory = weight_files.find_weights(directory)
  params, info = load_checked(directory, NAME, ("network", "state", "condition", "sequences", "shape",
                                                "quantiles"))
  condition, side = condition_lib.make_condition(info["condition"]), info["shape"][0]
  sequences = parse(Sequences, "sequences", info["sequences"])
  if len(info["quantiles"]) != sequences.num_bins * FINE + 1:
    raise ValueError(f"{directory / NAME}.json: needs {sequences.num_bins * FINE + 1} quantiles; it has "
                     f"{len(info['quantiles'])}.")
  pixels = _pixels(sequences.order, side)
  network = _build_network(info["network"], pixels, side, sequences.num_bins, condition)
  check_fit(params, jax.eval_shape(network.init, jax.random.key(0)), directory, NAME)
  plane = Plane(pixels, side, call_with(GapScale, "state", info["state"]),
                jnp.asarray(info["quantiles"], jnp.float32))
  return make_sequence_model(network, jax.tree.map(jnp.asarray, params), plane=plane, condition=condition,
                             table=load_table(directory), max_pixels=sequences.max_pixels), info


PIXEL_TASKS = {"pixel_sequence": _pixel_task}
PIXEL_TASK_KEYS = {"pixel_sequence": {"state", "condition", "sequences"}}
