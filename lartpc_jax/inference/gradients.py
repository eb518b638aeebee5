"""Values and gradients of functions of a few numbers a hypothesis, by forward or by reverse mode.

The condition of the generator has three degrees of freedom, so three tangents pushed forward through the
whole sampler give the gradient at the memory of one evaluation. Reverse mode is there too; both give the same
numbers.
"""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lartpc_jax.inference.imaging import sum_tracks

MODES = ("forward", "reverse")


def make_value_and_grad(objective: Callable, *, mode: str = "forward") -> Callable:
  """Builds value_and_grad(x [b d], tangents [k b d], *args) -> value [b], gradient [b d].

  The gradient is projected on the span of the tangents, which must be orthonormal for each example.

  Args:
    objective: (x [b d], *args) -> [b]; example i of the value may depend on example i of x only.
    mode: "forward" (jax.jvp along each tangent, memory of one evaluation) or "reverse" (jax.grad; memory
      grows with the number of sampler steps unless the sampler rematerialises).
  Raises:
    ValueError: naming an unknown mode.
  """
  if mode not in MODES:
    raise ValueError(f"Unknown gradient mode {mode!r}; choose from {MODES}.")

  def forward(x, tangents, *args):
    push = lambda tangent: jax.jvp(lambda y: objective(y, *args), (x,), (tangent,))
    value, slopes = jax.vmap(push, out_axes=(None, 0))(tangents)
    return value, jnp.einsum("kb,kbd->bd", slopes, tangents)

  def reverse(x, tangents, *args):
    value, pull = jax.vjp(lambda y: objective(y, *args), x)
    (gradient,) = pull(jnp.ones_like(value))
    return value, jnp.einsum("kb,kbd->bd", jnp.einsum("bd,kbd->kb", gradient, tangents), tangents)

  return forward if mode == "forward" else reverse


def make_mixed_value_and_grad(draw: Callable, compare: Callable, num_tracks: int = 1) -> Callable:
  """Builds value_and_grad(x [bt d], tangents [k bt d], targets, noise) -> value [b], gradient [bt d].

  Forward through the generator, for all tracks in one pass; backward through the distance, cheap to
  differentiate at fixed potentials, to the pixels of an event's image, which is the sum over its tracks. The
  gradient is projected on the tangents.

  Args:
    draw: (x [bt d], noise) -> images [bt v k n n] of single tracks, `num_tracks` of an event in a row.
    compare: (images [b v k n n], targets) -> [b].
    num_tracks: t.
  """
  def value_and_grad(x, tangents, targets, noise):
    push = lambda tangent: jax.jvp(lambda y: draw(y, noise), (x,), (tangent,))
    images, pushed = jax.vmap(push, out_axes=(None, 0))(tangents)
    value, pull = jax.vjp(lambda y: compare(y, targets), sum_tracks(images, num_tracks))
    (slope,) = pull(jnp.ones_like(value))
    slopes = jnp.einsum("bp,kbtp->kbt", slope.reshape(len(slope), -1),
                        pushed.reshape(len(tangents), len(slope), num_tracks, -1)).reshape(len(tangents), -1)
    return value, jnp.einsum("kb,kbd->bd", slopes, tangents)
  return value_and_grad


def default_mode() -> str:
  """The faster mode on this backend: forward on CPU (measured, see docs/results/speed.md), reverse
  elsewhere."""
  return "forward" if jax.default_backend() == "cpu" else "reverse"
