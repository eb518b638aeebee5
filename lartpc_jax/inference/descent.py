"""Gradient descent of the momentum objective over many hypotheses at once."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from lartpc_jax.inference import chart
from lartpc_jax.inference.gradients import make_value_and_grad
from lartpc_jax.inference.sphere_adam import sphere_adam

OPTIMIZERS = ("adam", "sgd")


class Descent(NamedTuple):
  """Result of a descent from b hypotheses in s steps."""
  hypothesis: Float[Array, "b d"]    # mean of the last iterates
  trajectory: Float[Array, "s b 3"]  # momentum at which each value was taken, MeV/c
  values: Float[Array, "s b"]        # objective there, pixels
  spread: Float[Array, " b"]         # rms distance of the averaged iterates from their mean, MeV/c


def check_rates(block: str, settings) -> None:
  """Raises ValueError naming the config key of `block` unless both rates are positive and the second is not the larger."""
  first, second = settings.learning_rate, settings.second_learning_rate
  for key, rate in (("learning_rate", first), ("second_learning_rate", second)):
    if not 0.0 < rate < float("inf"):
      raise ValueError(f"{block}.{key} must be positive and finite; got {rate}.")
  if second > first:
    raise ValueError(f"{block}.second_learning_rate = {second} must not exceed {block}.learning_rate = {first}.")


def make_descent(objective: Callable | None, *, kinetic_range_mev: tuple[float, float], num_steps: int, learning_rate: float,
                 final_learning_rate: float, num_averaged: int, mode: str, energy_factor: float = 1.0,
                 coordinates: chart.Chart | None = None, optimizer: str = "adam",
                 value_and_grad: Callable | None = None) -> Callable:
  """Builds descend(hypothesis [b d], *args, per_step=()) -> Descent: Adam on sphere x energy, cosine learning rate.

  Args:
    objective: (momentum_mev [b 3], *args, *per_step) -> [b]; examples must not mix. Leaves of `per_step` have a leading
      axis of num_steps, of which each step sees its own entry: fresh noise makes the descent stochastic.
    kinetic_range_mev: range of the chart.
    num_steps: Adam steps.
    learning_rate: of the first step, in radians for the direction and in logits for the energy.
    final_learning_rate: of the last step.
    num_averaged: last iterates averaged: fixed noise leaves kinks as wide as the last steps.
    mode: see `make_value_and_grad`.
    energy_factor: of the learning rates, for the energy.
    coordinates: in place of the sphere chart of that range; what its `nuisance` says is passed to the objective by name.
    optimizer: "adam", which needs a direction in the first three coordinates, or "sgd".
    value_and_grad: (hypothesis [b d], tangents [k b d], *args, *per_step) -> values [b], gradients [b d], in place of those
      of `objective`, for hypotheses that share a value (see `inference.tracks`).
  Raises:
    ValueError: if num_averaged does not lie between 1 and num_steps, a rate is not positive, or the optimizer is unknown.
  """
  if optimizer not in OPTIMIZERS:
    raise ValueError(f"Unknown optimizer {optimizer!r}; choose from {OPTIMIZERS}.")
  if not 1 <= num_averaged <= num_steps or not 0.0 < final_learning_rate <= learning_rate:
    raise ValueError("Need 1 <= num_averaged <= num_steps and 0 < final_learning_rate <= learning_rate; got "
                     f"{num_averaged=}, {num_steps=}, {learning_rate=}, {final_learning_rate=}.")
  rate = optax.cosine_decay_schedule(learning_rate, num_steps, alpha=final_learning_rate / learning_rate)
  # Short memories: a descent has some ten steps, and with Adam's usual 0.9 it overshoots (measured on tabulated surfaces of
  # 96 events, 12 steps: median distance from the minimum 0.6 MeV/c; 3.7 with 0.8 and 0.95, 5.8 with 0.9 and 0.99).
  tx = (sphere_adam(rate, b1=0.5, b2=0.9, clip=1.5, energy_factor=energy_factor) if optimizer == "adam"
        else optax.sgd(rate))
  own_chart = chart.sphere_chart(kinetic_range_mev) if coordinates is None else coordinates
  if value_and_grad is None:
    value_and_grad = make_value_and_grad(
        lambda hypothesis, *args: objective(own_chart.to_momentum(hypothesis), *args, **own_chart.nuisance(hypothesis)),
        mode=mode)

  def descend(hypothesis: Float[Array, "b d"], *args, per_step: tuple = ()) -> Descent:
    def step(carry, own):
      hypothesis, state = carry
      value, gradient = value_and_grad(hypothesis, own_chart.tangent_basis(hypothesis), *args, *own)
      update, state = tx.update(gradient, state, hypothesis)
      momentum = own_chart.to_momentum(hypothesis)
      return (own_chart.retract(hypothesis + update), state), (hypothesis, momentum, value)

    hypothesis = own_chart.retract(hypothesis)
    (last, _), (path, momentum, values) = jax.lax.scan(
        step, (hypothesis, tx.init(hypothesis)), per_step, length=num_steps)
    tail = jnp.concatenate([path[1:], last[None]])[-num_averaged:]
    mean = own_chart.retract(tail.mean(0))
    ends = jax.vmap(own_chart.to_momentum)(tail)
    centre = own_chart.to_momentum(mean)
    spread = jnp.sqrt(jnp.mean(jnp.sum((ends - centre[None]) ** 2, -1), 0))
    return Descent(mean, momentum, values, spread)
  return descend


def best_start(values: Float[Array, "s bh"], num_starts: int) -> Int[Array, " b"]:
  """Of each event's starts, `num_starts` in a row, the number of the one with the lowest mean value over the last steps."""
  late = values[-3:].mean(0).reshape(-1, num_starts)
  return jnp.argmin(jnp.where(jnp.isnan(late), jnp.inf, late), axis=1)  # argmin takes NaN for the smallest
