"""AdamW, and Muon for chosen matrices, with gradient clipping and a warmed-up learning rate."""
import dataclasses
import re
from collections.abc import Callable

import jax
import optax

from lartpc_jax.config.schema import Muon, Optim, Other

SCHEDULES = ("cosine", "constant", "wsd")
MUON_RMS = 0.2  # root mean square of an update at rate 1, as AdamW's (Liu et al. 2025, sec. 2.2)


def make_schedule(optim: Optim, num_steps: int) -> optax.Schedule:
  """Builds step -> learning rate: linear warm-up from 0, then one of three shapes.

  Args:
    optim: of which the peak, the warm-up, the shape and the share of the decay count here.
    num_steps: steps of the whole run, at whose end "cosine" and "wsd" reach 0.
  Raises:
    ValueError: naming the setting that is out of range.
  """
  peak, warmup_steps = optim.learning_rate, optim.warmup_steps
  if optim.schedule not in SCHEDULES:
    raise ValueError(f"Unknown optim.schedule {optim.schedule!r}; choose from {sorted(SCHEDULES)}.")
  if not 0.0 < peak < float("inf"):
    raise ValueError(f"optim.learning_rate must be positive and finite; got {peak}.")
  if num_steps < 1 or not 0 <= warmup_steps <= num_steps:
    raise ValueError("Need num_steps >= 1 and 0 <= optim.warmup_steps <= num_steps; "
                     f"got {warmup_steps=}, {num_steps=}.")
  if not 0.0 < optim.decay_fraction <= 1.0:
    raise ValueError(f"optim.decay_fraction must be in (0, 1]; got {optim.decay_fraction}.")
  warmup = optax.linear_schedule(0.0, peak, warmup_steps) if warmup_steps else None
  after = max(num_steps - warmup_steps, 1)
  if optim.schedule == "cosine":
    main = optax.cosine_decay_schedule(peak, after)
  elif optim.schedule == "constant":
    main = optax.constant_schedule(peak)
  else:
    decay_steps = min(max(round(optim.decay_fraction * num_steps), 1), after)
    main = optax.linear_schedule(peak, 0.0, decay_steps, transition_begin=after - decay_steps)
  return optax.join_schedules([warmup, main], [warmup_steps]) if warmup else main


def make_optimizer(optim: Optim, num_steps: int) -> optax.GradientTransformation:
  """AdamW; weight decay touches arrays of two or more axes only, so neither biases nor norm scales.

  With `optim.muon` those matrices whose names match are trained by Muon instead (`optax.contrib.muon`: Jordan
  et al. 2024; update of root mean square 0.2, as Liu et al. 2025), on the same schedule with its own peak.
  The first axis of a matrix is its input, the last its output; axes between count matrices. With
  `optim.other` those parameters whose names match have an Adam and a clipping of their own, on the same
  schedule.

  Args:
    optim: see the schema; its moving average is the training step's.
    num_steps: steps of the whole run.
  Raises:
    ValueError: naming the setting that is out of range.
  """
  b1, b2, norm = optim.b1, optim.b2, optim.grad_clip_norm
  if not (0.0 <= b1 < 1.0 and 0.0 <= b2 < 1.0):
    raise ValueError(f"optim.b1 and optim.b2 must be in [0, 1); got {b1=}, {b2=}.")
  if optim.weight_decay < 0.0:
    raise ValueError(f"optim.weight_decay must be >= 0; got {optim.weight_decay}.")
  if norm is not None and not norm > 0.0:
    raise ValueError(f"optim.grad_clip_norm must be positive, or None for no clipping; got {norm}.")
  mask = lambda params: jax.tree.map(lambda p: p.ndim >= 2, params)
  rate = make_schedule(optim, num_steps)
  update = optax.adamw(rate, b1=b1, b2=b2, weight_decay=optim.weight_decay, mask=mask)
  if optim.muon is not None:
    rate = make_schedule(dataclasses.replace(optim, learning_rate=optim.muon.learning_rate), num_steps)
    update = _with_muon(update, optim.muon, rate)
  clipped = lambda update: update if norm is None else optax.chain(optax.clip_by_global_norm(norm), update)
  if optim.other is None:
    return clipped(update)
  rate = make_schedule(dataclasses.replace(optim, learning_rate=optim.other.learning_rate), num_steps)
  other = optax.adamw(rate, b1=optim.other.b1, b2=optim.other.b2, weight_decay=optim.weight_decay, mask=mask)
  return optax.partition({"other": clipped(other), "rest": clipped(update)}, _labels_by_name(
      optim.other, "other", "rest", "optim.other", 1))


def _labels_by_name(part: Muon | Other, matching: str, rest: str, key: str, min_axes: int) -> Callable:
  """params -> their labels: `matching` for those of so many axes whose names match the pattern."""
  def label(path, leaf):
    name = "/".join(str(entry.key) for entry in path)
    return matching if leaf.ndim >= min_axes and re.search(part.pattern, name) else rest

  def labels(params):
    found = jax.tree_util.tree_map_with_path(label, params)
    if matching not in jax.tree.leaves(found):
      raise ValueError(f"{key}.pattern = {part.pattern!r} matches no matrix of the network.")
    return found
  return labels


def _with_muon(adamw: optax.GradientTransformation, muon: Muon, rate: optax.Schedule
               ) -> optax.GradientTransformation:
  """`adamw` for all parameters but the matrices that match the pattern; see `make_optimizer`."""
  if not muon.weight_decay >= 0.0:
    raise ValueError(f"optim.muon.weight_decay must be >= 0; got {muon.weight_decay}.")

  labels = _labels_by_name(muon, "muon", "adam", "optim.muon", 2)
  axes = optax.contrib.MuonDimensionNumbers(reduction_axis=0, output_axis=-1)
  of_matrices = lambda params: jax.tree.map(lambda _: axes, params)
  matrices = optax.contrib.muon(rate, weight_decay=muon.weight_decay, consistent_rms=MUON_RMS,
                                muon_weight_dimension_numbers=of_matrices)
  return optax.partition({"muon": matrices, "adam": adamw}, labels)
