"""Training data of a stage of a cascade: crops with labels, or whole interactions and windows of them."""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lartpc_jax.build.crops import TABLE_ROWS, build_conditional_crops, check_condition, crop_condition
from lartpc_jax.build.data import parse_data, voxel_data
from lartpc_jax.data.labels import event_labels, scalars_of
from lartpc_jax.data.open import open_events
from lartpc_jax.data.split import split_by_event
from lartpc_jax.generators.condition import Condition
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.geometry.windows import Windows


class StageData(NamedTuple):
  """Training batches, a held-out batch and a table of conditions, of a config block `data`."""
  batch_fn: Callable      # step -> dict(image [b h w] MeV, labels)
  holdout: dict           # such a batch
  table: dict             # of training images: name -> [r]
  condition_of: Callable  # batch -> physical conditions by name
  kept_apart: dict        # what the weights say of the data


def build_crop_stage_data(values: dict, *, threshold_mev: float, seed: int,
                          condition: Condition) -> StageData:
  """Crops, see `build.crops`. Raises ValueError naming a variable that crops do not tell, or if there is
  none."""
  crops = build_conditional_crops(values, seed=seed, threshold_mev=threshold_mev)
  check_condition(condition, crops.table)
  return StageData(crops.batch_fn, crops.holdout, crops.table,
                   lambda batch: crop_condition(batch["image"], batch["track_share"], threshold_mev),
                   {"num_holdout_events": values["num_holdout_events"]})


def build_interaction_stage_data(values: dict, *, spec: ImageSpec, windows: Windows | None, seed: int,
                                 condition: Condition, reduce: Callable | None) -> StageData:
  """Whole interactions of a config block `data` in all their exact views, or random windows of them with
  their margins; labels as the condition asks.

  With `reduce` batches hold `map`, not `image`; see `data.batches.voxel_pool`. Raises ValueError naming a
  variable that interactions do not tell of themselves.
  """
  settings = parse_data(values)
  events = open_events(settings.path)
  train, _ = split_by_event(events, num_holdout=settings.num_holdout)
  wanted = {name: variable.classes for name, variable in condition.variables.items()}
  known = sorted(set(event_labels(events)) - {"label", "momentum_mev"})
  for name in wanted:
    if name not in known:
      raise ValueError(f"Unknown condition variable {name!r}; these events tell {known}.")
  data = voxel_data(settings, events, seed=seed, spec=spec, wanted=wanted, windows=windows, reduce=reduce)
  rows = np.random.default_rng(seed).choice(len(train), min(TABLE_ROWS, len(train)), replace=False)
  table = {name: values[rows] for name, values in scalars_of(train, wanted).items()}
  return StageData(data.batch_fn, data.evaluation(settings.num_evaluation), table,
                   lambda batch: {name: batch[name] for name in wanted},
                   {"image": spec._asdict(), "data": {"num_holdout": settings.num_holdout}})
