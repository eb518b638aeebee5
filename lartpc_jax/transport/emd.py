"""Earth mover's distance between LArTPC charge images: W1 with Euclidean ground cost, in pixels.

Entropic transport on ott-jax over the brightest pixels of each image, debiased (Feydy et al. 2019, eq. 3),
extrapolated to zero regularisation, and differentiable in the pixel values at the price of two dot products.
The exact value, for evaluation: `transport.exact`.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lartpc_jax.transport import potentials as dual

# Chosen on 128 pairs of Geant4 protons (3 mm pixels, W1 of 0.1 to 11 px): median error 1 % and 0.4 %,
# dominated by pairs closer than 0.3 px. launch/benchmark_emd.py repeats it on toy tracks.
DESCENT = dict(ot_epsilon_px=0.05, num_iterations=10, num_pixels=64)
REPORTING = dict(ot_epsilon_px=0.025, num_iterations=40, num_pixels=128)

_LEAST_W2_PX = 0.01      # W2 is a root, whose slope at zero is limited here


class EMDResult(NamedTuple):
  """One distance, and how far to trust it."""
  value: Float[Array, ""]            # px
  marginal_error: Float[Array, ""]   # L1 error of the plan's marginals, dimensionless; 0 if converged
  dropped_charge: Float[Array, ""]   # larger share of either image's charge outside its brightest pixels


class EMDTarget(NamedTuple):
  """All that depends on the target alone; made once by `EMD.prepare_target`."""
  points: Float[Array, "k 2"]           # row and column of its brightest pixels, px
  weights: Float[Array, " k"]           # their charge, unit sum
  self_potentials: Float[Array, "l k"]  # px, the target against itself, at each regularisation
  charge: Float[Array, ""]              # total charge, in the image's unit
  dropped_charge: Float[Array, ""]


class EMD(NamedTuple):
  """The distance as pure functions of single images [h w]; vmap them for batches. See `make_emd`."""
  emd: Callable              # (image, target image) -> EMDResult
  prepare_target: Callable   # target image -> EMDTarget
  emd_to_target: Callable    # (image, EMDTarget) -> EMDResult


def _brightest(image, num_pixels):
  """Points [k 2] (px) and charges [k] of the brightest pixels, total charge, the share left out.

  Negative values count as zero, with zero derivative; at zero the derivative is one.
  """
  flat = image.reshape(-1)
  charge = jnp.where(flat >= 0, flat, 0.0)
  _, index = lax.top_k(lax.stop_gradient(charge), min(num_pixels, charge.size))
  points = jnp.stack([index // image.shape[1], index % image.shape[1]], axis=-1).astype(image.dtype)
  total = charge.sum()
  return points, charge[index], total, lax.stop_gradient(1.0 - charge[index].sum() / total)


def make_emd(*, ot_epsilon_px: float, num_iterations: int, num_pixels: int = 128, extrapolate: bool = True,
             unbalanced_px: float | None = None, power: int = 1) -> EMD:
  """Builds the distance between single images: `make_emd(**DESCENT)` or `make_emd(**REPORTING)`.

  With S_eps = OT_eps(a, b) - OT_eps(a, a) / 2 - OT_eps(b, b) / 2 (Feydy et al. 2019, eq. 3; cost |x - y|),
  the value is 2 S_eps - S_2eps. For this cost the bias of S_eps is linear in eps and large (-21 % at 0.2 px,
  -4 % at 0.05 px, measured); extrapolated it is +2.5 % at 0.1 px, +1.1 % at 0.05 px, +0.3 % at 0.025 px. Too
  few iterations lower the value; `marginal_error` shows it.

  Args:
    ot_epsilon_px: final entropic regularisation, px; absolute, not in units of the mean cost.
    num_iterations: Sinkhorn iterations at each rung of the ladder ..., 4 eps, 2 eps, eps; fixed, so that
      under vmap no pair waits for another.
    num_pixels: brightest pixels kept of each image, then normalised to unit mass; the rest is reported as
      `dropped_charge`, and the derivative there is zero. h*w keeps all (a second a pair at 64x64).
    extrapolate: otherwise the value is S_eps.
    unbalanced_px: price rho of creating or destroying charge (KL penalty; Sejourne et al. 2019, eq. 15), px;
      ott's tau is rho / (rho + eps). Both images are then in units of the target's charge instead of unit
      mass. Runs in the log domain, an iteration 5 times slower. None: equal masses.
    power: 1 for W1; 2 for W2, of which the cost is |x - y|^2, ot_epsilon_px is in px^2 and the value is the
      root, in px (sqrt(W2^2 + s^2) - s with s = 0.01 px, as the root has no slope at zero).
  Returns:
    EMD, of which `emd_to_target(image, prepare_target(target))` saves the target's own solve. Values are NaN
    for an image without charge (see `exact.check_images`).
  Raises:
    ValueError: if an argument is out of range.
  Differentiable in both images by jax.grad and jax.jvp, also under vmap: the dual objective, linear in the
  weights, is differentiated at fixed potentials (envelope theorem) and through the normalisation; exact once
  converged, in first derivatives only. Negative pixels count as zero.
  """
  _check(ot_epsilon_px=ot_epsilon_px, num_iterations=num_iterations, num_pixels=num_pixels,
         unbalanced_px=unbalanced_px, power=power)
  levels = dual.make_levels(ot_epsilon_px, extrapolate=extrapolate, rho=unbalanced_px, power=power)

  def prepare_target(image: Float[Array, "h w"]) -> EMDTarget:
    points, charge, total, dropped = _brightest(image, num_pixels)
    weights = charge / charge.sum()
    own = dual.self_potentials(dual.costs(points, points, power), lax.stop_gradient(weights), levels)
    return EMDTarget(points, weights, own, total, dropped)

  def emd_to_target(image: Float[Array, "h w"], target: EMDTarget) -> EMDResult:
    points, charge, _, dropped = _brightest(image, num_pixels)
    weights = charge / (charge.sum() if unbalanced_px is None else target.charge)
    value, error = _dual_value(points, weights, target, levels, num_iterations)
    if power == 2:
      value = jnp.sqrt(jnp.maximum(value, 0.0) + _LEAST_W2_PX**2) - _LEAST_W2_PX
    return EMDResult(value, lax.stop_gradient(error), jnp.maximum(dropped, target.dropped_charge))

  def emd(image: Float[Array, "h w"], target_image: Float[Array, "h w"]) -> EMDResult:
    return emd_to_target(image, prepare_target(target_image))

  return EMD(emd, prepare_target, emd_to_target)


def _check(*, unbalanced_px, power, **positive) -> None:
  for name, number in positive.items():
    if not number > 0:
      raise ValueError(f"make_emd needs {name} > 0; got {number}.")
  if unbalanced_px is not None and not unbalanced_px > 0.0:
    raise ValueError(f"make_emd needs unbalanced_px > 0, or None for equal masses; got {unbalanced_px}.")
  if power not in dual.LADDER_START or (power == 2 and unbalanced_px is not None):
    raise ValueError(f"make_emd needs power 1, or 2 with unbalanced_px None; got {power=}, {unbalanced_px=}.")


def _dual_value(points, weights, target: EMDTarget, levels: dual.Levels, num_iterations: int):
  """Debiased dual objective, px (W2: px^2), linear in the weights at fixed potentials; marginal error."""
  a, b = lax.stop_gradient((weights, target.weights))
  cost = dual.costs(points, target.points, levels.power)
  f, g, error = dual.cross_potentials(cost, a, b, levels, num_iterations)
  own = dual.self_potentials(dual.costs(points, points, levels.power), a, levels)
  correction = dual.mass_term(levels, b, g)
  correction -= 0.5 * (dual.mass_term(levels, a, own) + dual.mass_term(levels, b, target.self_potentials))
  slope_a = dual.slopes(levels, f) - dual.slopes(levels, own)
  slope_b = dual.slopes(levels, g) - dual.slopes(levels, target.self_potentials)
  slope_a, slope_b, correction = lax.stop_gradient((slope_a, slope_b, correction))
  return weights @ slope_a + target.weights @ slope_b + correction, error
