"""AdamW, and Muon for chosen matrices, with gradient clipping and a warmed-up learning rate, from plain numbers."""
import re
from collections.abc import Callable

import jax
import optax

from lartpc_jax.config.compare import keywords_for

SCHEDULES = ("cosine", "constant", "wsd")
MUON_RMS = 0.2  # root mean square of an update at rate 1, as AdamW's (Liu et al. 2025, sec. 2.2)


def make_schedule(learning_rate: float, *, schedule: str, warmup_steps: int, num_steps: int,
                  decay_fraction: float = 0.1) -> optax.Schedule:
  """Builds step -> learning rate: linear warm-up from 0, then one of three shapes.

  Args:
    learning_rate: the peak.
    schedule: "cosine" (to 0 at num_steps), "constant", or "wsd" (warm-up, stable, then linear decay to 0).
    warmup_steps: steps of the warm-up; 0 for none.
    num_steps: steps of the whole run.
    decay_fraction: "wsd" only: the share of num_steps spent in the decay, in (0, 1].
  Raises:
    ValueError: naming the argument that is out of range.
  """
  if schedule not in SCHEDULES:
    raise ValueError(f"Unknown optim.schedule {schedule!r}; choose from {sorted(SCHEDULES)}.")
  if not 0.0 < learning_rate < float("inf"):
    raise ValueError(f"optim.learning_rate must be positive and finite; got {learning_rate}.")
  if num_steps < 1 or not 0 <= warmup_steps <= num_steps:
    raise ValueError("Need num_steps >= 1 and 0 <= optim.warmup_steps <= num_steps; "
                     f"got {warmup_steps=}, {num_steps=}.")
  if not 0.0 < decay_fraction <= 1.0:
    raise ValueError(f"optim.decay_fraction must be in (0, 1]; got {decay_fraction}.")
  warmup = optax.linear_schedule(0.0, learning_rate, warmup_steps) if warmup_steps else None
  after = max(num_steps - warmup_steps, 1)
  if schedule == "cosine":
    main = optax.cosine_decay_schedule(learning_rate, after)
  elif schedule == "constant":
    main = optax.constant_schedule(learning_rate)
  else:
    decay_steps = min(max(round(decay_fraction * num_steps), 1), after)
    main = optax.linear_schedule(learning_rate, 0.0, decay_steps, transition_begin=after - decay_steps)
  return optax.join_schedules([warmup, main], [warmup_steps]) if warmup else main


def make_optimizer(*, learning_rate: float, warmup_steps: int, num_steps: int, schedule: str = "cosine",
                   decay_fraction: float = 0.1, b1: float = 0.9, b2: float = 0.999, weight_decay: float = 0.0,
                   grad_clip_norm: float | None = 1.0, muon: dict | None = None) -> optax.GradientTransformation:
  """AdamW; weight decay touches arrays of two or more axes only, so neither biases nor norm scales.

  With `muon` those matrices whose names match are trained by Muon instead (`optax.contrib.muon`: Jordan et al. 2024; update
  of root mean square 0.2, as Liu et al. 2025), on the same schedule with a peak of its own.

  Args:
    learning_rate: peak learning rate.
    warmup_steps: steps of linear warm-up.
    num_steps: steps of the whole run; see `make_schedule`.
    schedule: "cosine", "constant" or "wsd".
    decay_fraction: share of the run spent decaying under "wsd".
    b1: decay of Adam's first moment.
    b2: decay of Adam's second moment.
    weight_decay: decoupled weight decay, times the learning rate each step.
    grad_clip_norm: largest global gradient norm; None for no clipping.
    muon: None, or pattern (a regular expression for names as "block_0/qkv/kernel"), learning_rate, and optionally
      weight_decay. The first axis of a matrix is its input, the last its output; axes between count matrices.
  Raises:
    ValueError: naming the argument that is out of range.
  """
  if not (0.0 <= b1 < 1.0 and 0.0 <= b2 < 1.0):
    raise ValueError(f"optim.b1 and optim.b2 must be in [0, 1); got {b1=}, {b2=}.")
  if weight_decay < 0.0:
    raise ValueError(f"optim.weight_decay must be >= 0; got {weight_decay}.")
  if grad_clip_norm is not None and not grad_clip_norm > 0.0:
    raise ValueError(f"optim.grad_clip_norm must be positive, or None for no clipping; got {grad_clip_norm}.")
  rate = make_schedule(learning_rate, schedule=schedule, warmup_steps=warmup_steps, num_steps=num_steps,
                       decay_fraction=decay_fraction)
  mask = lambda params: jax.tree.map(lambda p: p.ndim >= 2, params)
  update = optax.adamw(rate, b1=b1, b2=b2, weight_decay=weight_decay, mask=mask)
  if muon is not None:
    update = _with_muon(update, lambda peak: make_schedule(
        peak, schedule=schedule, warmup_steps=warmup_steps, num_steps=num_steps, decay_fraction=decay_fraction),
        **keywords_for(_with_muon, "optim.muon", muon))
  return update if grad_clip_norm is None else optax.chain(optax.clip_by_global_norm(grad_clip_norm), update)


def _with_muon(adamw: optax.GradientTransformation, rate_of: Callable, *, pattern: str, learning_rate: float,
               weight_decay: float = 0.0) -> optax.GradientTransformation:
  """`adamw` for all parameters but the matrices that match `pattern`; see `make_optimizer`."""
  if not weight_decay >= 0.0:
    raise ValueError(f"optim.muon.weight_decay must be >= 0; got {weight_decay}.")

  def label(path, leaf):
    name = "/".join(str(entry.key) for entry in path)
    return "muon" if leaf.ndim >= 2 and re.search(pattern, name) else "adam"

  def labels(params):
    found = jax.tree_util.tree_map_with_path(label, params)
    if "muon" not in jax.tree.leaves(found):
      raise ValueError(f"optim.muon.pattern = {pattern!r} matches no matrix of the network.")
    return found

  axes = optax.contrib.MuonDimensionNumbers(reduction_axis=0, output_axis=-1)
  matrices = optax.contrib.muon(rate_of(learning_rate), weight_decay=weight_decay, consistent_rms=MUON_RMS,
                                muon_weight_dimension_numbers=lambda params: jax.tree.map(lambda _: axes, params))
  return optax.partition({"muon": matrices, "adam": adamw}, labels)
