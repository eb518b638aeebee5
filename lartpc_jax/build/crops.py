"""Crops with the variables that a condition may have, for every generator of crops: batches, a held-out
batch, and a table of the conditions of training crops, from which draws without a condition take theirs."""
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.build.data import build_crop_data
from lartpc_jax.generators import condition as condition_lib, weights as weight_files

TABLE = "conditions"      # weights that hold the conditions of training crops
TABLE_ROWS = 4096


class ConditionalCrops(NamedTuple):
  """Training batches, a held-out batch and a table of conditions, of a config block `data`."""
  batch_fn: Callable   # step -> dict(image [b h w] MeV, track_share [b])
  holdout: dict        # such a batch
  table: dict          # of training crops: name -> [r]
  training: np.ndarray  # [r h w] MeV, those crops, in their own orientation


def crop_condition(image_mev: Float[Array, "b h w"], track_share: Float[Array, " b"],
                   threshold_mev: float) -> dict:
  """What a crop is like, by the names of condition variables: all that a config may declare."""
  lit = image_mev >= threshold_mev
  return {"track_share": track_share,
          "charge_mev": jnp.maximum(jnp.where(lit, image_mev, 0.0).sum((1, 2)), threshold_mev),
          "lit_pixels": jnp.maximum(lit.sum((1, 2)), 1).astype(image_mev.dtype)}


def build_conditional_crops(values: dict, *, threshold_mev: float, seed: int) -> ConditionalCrops:
  """Crops with labels of a config block `data`, in random orientations; pixels below the threshold are
  empty."""
  data = build_crop_data(values, seed=seed, wanted={"track_share": ()}, threshold_mev=threshold_mev)
  num = data.train.num
  rows = data.train.read(
      np.random.default_rng(seed).choice(num, min(TABLE_ROWS, num), replace=False), None, None)
  table = crop_condition(jnp.asarray(rows["image"]), jnp.asarray(rows["track_share"]), threshold_mev)
  return ConditionalCrops(data.batch_fn, data.evaluation(data.settings.num_evaluation),
                          jax.tree.map(np.asarray, table), np.asarray(rows["image"]))


def check_condition(condition: condition_lib.Condition, table: dict) -> None:
  """Raises ValueError naming a variable that crops do not tell, or if none is declared."""
  if not condition.variables:
    raise ValueError("The config block `condition` declares no variable.")
  for name in condition.variables:
    if name not in table:
      raise ValueError(f"Unknown condition variable {name!r}; crops tell {sorted(table)}.")


def save_table(directory: str | Path, table: dict) -> None:
  """Writes the table beside weights, in float32."""
  weight_files.save_weights(directory, TABLE, table, {"rows": len(next(iter(table.values())))},
                            dtype="float32")


def load_table(directory: str | Path) -> dict[str, Array]:
  """The table beside weights; errors as of `generators.weights.load_weights`."""
  return jax.tree.map(jnp.asarray, weight_files.load_weights(directory, TABLE)[0])
