"""AdamW with gradient clipping and a warmed-up learning rate, from plain numbers."""
import jax
import optax

SCHEDULES = ("cosine", "constant", "wsd")


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
  if not learning_rate > 0.0:
    raise ValueError(f"optim.learning_rate must be positive; got {learning_rate}.")
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
                   grad_clip_norm: float | None = 1.0) -> optax.GradientTransformation:
  """AdamW; weight decay touches arrays of two or more axes only, so neither biases nor norm scales.

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
  adamw = optax.adamw(rate, b1=b1, b2=b2, weight_decay=weight_decay, mask=mask)
  return adamw if grad_clip_norm is None else optax.chain(optax.clip_by_global_norm(grad_clip_norm), adamw)
