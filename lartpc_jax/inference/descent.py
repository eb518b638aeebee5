"""Gradient descent of the momentum objective over many hypotheses at once."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from lartpc_jax.inference.chart import Chart
from lartpc_jax.inference.settings import Stage
from lartpc_jax.inference.sphere_adam import sphere_adam

OPTIMIZERS = ("adam", "sgd")


class Descent(NamedTuple):
  """Result of a descent in s steps from the hypotheses of n tracks, which make the images of b events."""
  hypothesis: Float[Array, "n d"]    # mean of the last iterates
  trajectory: Float[Array, "n s 3"]  # momentum at which each value was taken, MeV/c
  values: Float[Array, "b s"]        # objective there, pixels
  spread: Float[Array, " n"]         # rms distance of the averaged iterates from their mean, MeV/c


def on_chart(evaluate: Callable, chart: Chart) -> Callable:
  """`evaluate(momentum_mev [n 3], *args, **nuisance)` as a function of the hypothesis [n d] and `args`."""
  return lambda x, *args: evaluate(chart.to_momentum(x), *args, **chart.nuisance(x))


def make_descent(value_and_grad: Callable, chart: Chart, stage: Stage, *, optimizer: str = "adam"
                 ) -> Callable:
  """Builds descend(hypothesis [n d], *args, per_step=()) -> Descent: Adam on sphere x energy, cosine rate.

  Args:
    value_and_grad: (hypothesis [n d], tangents [k n d], *args, *per_step) -> values [b], gradients [n d] on
      the span of the tangents; see `inference.gradients`. Leaves of `per_step` have a leading axis of
      num_steps, of which each step sees its own entry: fresh noise makes the descent stochastic.
    chart: of the hypotheses.
    stage: steps, rates, and how many of the last iterates are averaged: fixed noise leaves kinks as wide as
      the last steps.
    optimizer: "adam", which needs a direction in the first three coordinates, or "sgd".
  Raises:
    ValueError: if num_averaged does not lie between 1 and num_steps, a rate is not positive, its share lies
      outside (0, 1], or the optimizer is unknown.
  """
  tx = _make_optimizer(stage, optimizer)

  def descend(hypothesis: Float[Array, "n d"], *args, per_step: tuple = ()) -> Descent:
    def step(carry, own):
      hypothesis, state = carry
      value, gradient = value_and_grad(hypothesis, chart.tangent_basis(hypothesis), *args, *own)
      update, state = tx.update(gradient, state, hypothesis)
      momentum = chart.to_momentum(hypothesis)
      return (chart.retract(hypothesis + update), state), (hypothesis, momentum, value)

    hypothesis = chart.retract(hypothesis)
    (last, _), (path, momentum, values) = jax.lax.scan(
        step, (hypothesis, tx.init(hypothesis)), per_step, length=stage.num_steps)
    tail = jnp.concatenate([path[1:], last[None]])[-stage.num_averaged:]
    mean = chart.retract(tail.mean(0))
    ends = jax.vmap(chart.to_momentum)(tail)
    centre = chart.to_momentum(mean)
    spread = jnp.sqrt(jnp.mean(jnp.sum((ends - centre[None]) ** 2, -1), 0))
    return Descent(mean, momentum.swapaxes(0, 1), values.T, spread)
  return descend


def _make_optimizer(stage: Stage, optimizer: str) -> optax.GradientTransformation:
  if optimizer not in OPTIMIZERS:
    raise ValueError(f"Unknown optimizer {optimizer!r}; choose from {OPTIMIZERS}.")
  if (not 1 <= stage.num_averaged <= stage.num_steps or not stage.learning_rate > 0.0
      or not 0.0 < stage.final_rate_share <= 1.0):
    raise ValueError(
        "Need 1 <= num_averaged <= num_steps, learning_rate > 0 and 0 < final_rate_share <= 1; got "
        f"num_averaged={stage.num_averaged}, num_steps={stage.num_steps}, "
        f"learning_rate={stage.learning_rate}, final_rate_share={stage.final_rate_share}.")
  rate = optax.cosine_decay_schedule(stage.learning_rate, stage.num_steps, alpha=stage.final_rate_share)
  # Short memories: a descent has some ten steps, and with Adam's usual 0.9 it overshoots (measured on
  # tabulated surfaces of 96 events, 12 steps: median distance from the minimum 0.6 MeV/c; 3.7 with 0.8 and
  # 0.95, 5.8 with 0.9 and 0.99).
  if optimizer == "sgd":
    return optax.sgd(rate)
  return sphere_adam(rate, b1=0.5, b2=0.9, clip=1.5, energy_factor=stage.energy_factor)


def best_start(values: Float[Array, "bh s"], num_starts: int) -> Int[Array, " b"]:
  """Of each event's starts, `num_starts` in a row, the number of the one lowest over its last steps."""
  late = values[:, -3:].mean(1).reshape(-1, num_starts)
  return jnp.argmin(jnp.where(jnp.isnan(late), jnp.inf, late), axis=1)  # argmin takes NaN for the smallest
