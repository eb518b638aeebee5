"""Earth mover's distance between LArTPC charge images: W1 with Euclidean ground cost, in pixels.

Entropic transport (Cuturi 2013) on ott-jax over the brightest pixels of each image, debiased (Feydy et al.
2019, eq. 3), extrapolated to zero regularisation, and differentiable in the pixel values at the price of two
dot products; and the exact value from POT, for evaluation. The only importer of ott (inside functions: the
import takes 1.8 s).
"""
import contextlib
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from lartpc_jax.extras import require_extra

# Chosen on 128 pairs of Geant4 protons (3 mm pixels, W1 of 0.1 to 11 px): median error 1 % and 0.4 %,
# dominated by pairs closer than 0.3 px. launch/benchmark_emd.py repeats it on toy tracks.
DESCENT = dict(ot_epsilon_px=0.05, num_iterations=10, num_pixels=64)
REPORTING = dict(ot_epsilon_px=0.025, num_iterations=40, num_pixels=128)

# Annealed from here by halves, by the power of the cost; a start at 16 px changes nothing for W1 up to 20 px.
_LADDER_START = {1: 2.0, 2: 64.0}
_LEAST_W2_PX = 0.01      # W2 is a root, whose slope at zero is limited here
_MOMENTUM = 1.5          # over-relaxation of Sinkhorn (Thibault et al. 2021); 1.8 diverged on noisy images
_MIN_WEIGHT = 1e-12      # share of the charge below which a pixel counts as empty (float32 ratios)


class EMDResult(NamedTuple):
  """One distance, and how far to trust it."""
  value: Float[Array, ""]            # px (charge term included, if asked for)
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


@contextlib.contextmanager
def _numpy_promotion():
  """ott broadcasts as numpy does, whatever the caller's strictness."""
  with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
    yield


@functools.cache
def _ott_solvers():
  """Imports ott; returns solve_scaling and solve_unbalanced: a fixed number of Sinkhorn iterations."""
  from ott.geometry import geometry
  from ott.problems.linear import linear_problem
  from ott.solvers.linear import acceleration, sinkhorn

  @jax.tree_util.register_pytree_node_class
  class FixedKernel(geometry.Geometry):
    """ott raises its kernel to the power 1.0 before each product, at 16 times the price of it."""

    def apply_kernel(self, vec, eps=None, axis=0):
      return jnp.dot(self.kernel_matrix if axis == 1 else self.kernel_matrix.T, vec)

  def solver(num_iterations, momentum, **kwargs):
    return sinkhorn.Sinkhorn(
        min_iterations=num_iterations, max_iterations=num_iterations, inner_iterations=num_iterations,
        momentum=acceleration.Momentum(value=momentum), **kwargs)

  def solve_scaling(plan, a, b, eps, num_iterations):
    """The g [m] (px) of exp((f + g) / eps) * plan with marginals a [n], b [m]; -inf where b is 0."""
    sinkhorn_solver = solver(num_iterations, _MOMENTUM, lse_mode=False, recenter_potentials=False)
    with _numpy_promotion():
      return sinkhorn_solver(linear_problem.LinearProblem(FixedKernel(kernel_matrix=plan, epsilon=eps), a,
      b)).g

  def solve_unbalanced(cost, a, b, init, eps, tau, num_iterations):
    """The g [m] (px) of the plan exp((f + g - cost) / eps), from init (f, g) of the same kind."""
    with _numpy_promotion():
      problem = linear_problem.LinearProblem(geometry.Geometry(cost, epsilon=eps), a, b, tau_a=tau, tau_b=tau)
      return solver(num_iterations, 1.0, lse_mode=True, recenter_potentials=True)(problem, init=init).g

  return solve_scaling, solve_unbalanced


def _log(weights):
  return jnp.where(weights > _MIN_WEIGHT, jnp.log(jnp.where(weights > 0, weights, 1.0)), -jnp.inf)


def _softmin(cost, potential, log_weights, eps):
  """(c, eps)-transform [n] of a potential [m], px: -eps log sum_m w exp((potential - cost) / eps)."""
  return -eps * jax.nn.logsumexp((log_weights + potential / eps)[None, :] - cost / eps, axis=1)


def _distances(x, y, power=1):
  """Euclidean distances [n m] between points [n 2] and [m 2], px, or their squares; never differentiated."""
  squares = jnp.sum((x[:, None, :] - y[None, :, :])**2, axis=-1)
  return squares if power == 2 else jnp.sqrt(squares)


def _positive(image):
  """Flat image [h*w]; negative values count as zero, with zero derivative; at zero the derivative is one."""
  flat = image.reshape(-1)
  return jnp.where(flat >= 0, flat, 0.0)


def _brightest(image, num_pixels):
  """Points [k 2] (px) and charges [k] of the brightest pixels, total charge, the share left out."""
  charge = _positive(image)
  _, index = lax.top_k(lax.stop_gradient(charge), min(num_pixels, charge.size))
  points = jnp.stack([index // image.shape[1], index % image.shape[1]], axis=-1).astype(image.dtype)
  total = charge.sum()
  return points, charge[index], total, lax.stop_gradient(1.0 - charge[index].sum() / total)


class _Levels(NamedTuple):
  """Regularisations eps (px), their coefficients in the value, the price rho (px; None if balanced)."""
  eps: tuple[float, ...]
  coefficients: tuple[float, ...]
  rho: float | None
  power: int = 1  # of the distance in the cost

  def tau(self, eps):
    return 1.0 if self.rho is None else self.rho / (self.rho + eps)


def _cross_potentials(cost, a, b, ladder, levels, num_iterations):
  """Potentials [l n] and [l m] (px) at the last rungs of the ladder, and the worst L1 marginal error there.

  Scaling iterations cost one matrix-vector product, log-domain ones an exponential per pair of pixels: 6
  times more, measured. The former underflow at cost >> eps unless the potentials found so far are absorbed in
  the kernel (Schmitzer 2019, sec. 3), as is done here at each rung. Unbalanced problems stay in the log
  domain.
  """
  solve_scaling, solve_unbalanced = _ott_solvers()
  log_a, log_b = _log(a), _log(b)

  def rung(potentials, eps):
    f, g = potentials
    tau = levels.tau(eps)
    if levels.rho is None:
      g = _softmin(cost.T, f, log_a, eps)
      f = _softmin(cost, g, log_b, eps)
      plan = jnp.exp(log_a[:, None] + log_b[None, :] + (f[:, None] + g[None, :] - cost) / eps)
      dg = solve_scaling(plan, a, b, eps, num_iterations)
      g = g + jnp.where(jnp.isfinite(dg), dg, 0.0)
    else:  # ott's reference measure is uniform, ours a b: the difference belongs to the cost
      floor_a, floor_b = a + _MIN_WEIGHT, b + _MIN_WEIGHT
      reference = eps * (jnp.log(floor_a)[:, None] + jnp.log(floor_b)[None, :])
      g = solve_unbalanced(cost - reference, floor_a, floor_b, (f, g), eps, tau, num_iterations)
    f = tau * _softmin(cost, g, log_b, eps)
    g_next = tau * _softmin(cost.T, f, log_a, eps)
    error = jnp.sum(b * jnp.abs(jnp.expm1((g - g_next) / (tau * eps))))
    return (f, g_next), (f, g_next, error)

  potentials = jnp.zeros_like(a), jnp.zeros_like(b)
  if levels.rho is None:
    _, found = lax.scan(rung, potentials, jnp.array(ladder, a.dtype))
  else:  # ott compares tau with 1.0 in python: no scan
    found = []
    for eps in ladder:
      potentials, rung_found = rung(potentials, eps)
      found.append(rung_found)
    found = (jnp.stack(x) for x in zip(*found, strict=True))
  f, g, errors = (x[-len(levels.eps):] for x in found)
  return f, g, errors.max()


def _isolated(levels, a):
  """Potentials [l n] (px) of pixels against themselves when none is near, -eps / 2 log a for equal masses.

  The share of an empty pixel is set to 1e-4: its derivative is that of a faint charge. (The first 1e-30 of
  charge would cost less: in the self term it spreads over the track.) With `extrapolate` the share cancels.
  """
  log_a = jnp.log(jnp.maximum(a, 1e-4))
  return jnp.stack([-eps * levels.tau(eps) / (1.0 + levels.tau(eps)) * log_a for eps in levels.eps])


def _self_potentials(cost, a, levels):
  """Potentials [l n] (px) of a against itself, by averaged symmetric updates (Feydy et al. 2019, eq. 25).

  They start from isolated pixels, nearly the answer already for eps below one pixel: these numbers of updates
  leave less than 1e-5 px at eps up to 0.8 px (measured on Geant4 protons).
  """
  log_a, found = _log(a), []
  for eps, isolated in zip(levels.eps, _isolated(levels, a), strict=True):
    tau = levels.tau(eps)
    update = lambda _, f, eps=eps, tau=tau: 0.5 * (f + tau * _softmin(cost, f, log_a, eps))
    f = lax.fori_loop(0, 3 + math.ceil(30.0 * eps), update, isolated)
    extended = tau * _softmin(cost, f, log_a, eps)
    found.append(jnp.where(a > _MIN_WEIGHT, f, jnp.minimum(extended, isolated)))
  return jnp.stack(found)


def _extend(levels, points, source_points, source_weights, potentials):
  """Potentials [l n] (px) at any points from those [l k] of the other marginal: stationarity of the dual."""
  cost, log_weights = _distances(points, source_points, levels.power), _log(source_weights)
  return jnp.stack([levels.tau(eps) * _softmin(cost, potential, log_weights, eps)
                    for eps, potential in zip(levels.eps, potentials, strict=True)])


def _slopes(levels, potentials):
  """Derivatives [n] of the dual objective in the weights, px, from potentials [l n]."""
  if levels.rho is not None:  # rho (1 - exp(-f / rho)) - eps exp(-f / rho)
    eps = jnp.array(levels.eps, potentials.dtype)
    potentials = levels.rho - (levels.rho + eps)[:, None] * jnp.exp(-potentials / levels.rho)
  return jnp.array(levels.coefficients, potentials.dtype) @ potentials


def _mass_term(levels, weights, potentials):
  """Sum of coefficient * eps * transported mass over levels, px; the slopes of both marginals count it."""
  if levels.rho is None:
    return 0.0
  factors = [c * eps for c, eps in zip(levels.coefficients, levels.eps, strict=True)]
  return jnp.array(factors, weights.dtype) @ (jnp.exp(-potentials / levels.rho) @ weights)


def make_emd(
    *, ot_epsilon_px: float, num_iterations: int, num_pixels: int = 128, debiased: bool = True,
    extrapolate: bool = True, all_pixels: bool = False, unbalanced_px: float | None = None,
    charge_weight_px: float = 0.0, charge_smoothing: float = 0.0, power: int = 1,
) -> EMD:
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
      `dropped_charge`. h*w keeps all (a second a pair at 64x64).
    debiased: subtract the self terms; otherwise OT_eps takes the place of S_eps.
    extrapolate: otherwise the value is S_eps (or OT_eps).
    all_pixels: the first image keeps its pixels outside the brightest, to first order, at the price of a few
      (h*w) x num_pixels sums, and its derivative reaches all of them. If False the derivative in pixels
      outside the num_pixels brightest is zero.
    unbalanced_px: price rho of creating or destroying charge (KL penalty; Sejourne et al. 2019, eq. 15), px;
      ott's tau is rho / (rho + eps). Both images are then in units of the target's charge instead of unit
      mass. Runs in the log domain, an iteration 5 times slower. None: equal masses.
    charge_weight_px: adds charge_weight_px * |Q_a - Q_b| / Q_b, with Q the charge of all pixels and b the
      target.
    charge_smoothing: s > 0 makes that smooth at zero: r = |Q_a - Q_b| / Q_b becomes sqrt(r^2 + s^2) - s.
    power: 1 for W1; 2 for W2, of which the cost is |x - y|^2, ot_epsilon_px is in px^2 and the value is the root, in px
      (sqrt(W2^2 + s^2) - s with s = 0.01 px, as the root has no slope at zero).
  Returns:
    EMD, of which `emd_to_target(image, prepare_target(target))` saves the target's own solve. Values are NaN
    for an image without charge (see `check_images`).
  Raises:
    ValueError: if an argument is out of range.
  Differentiable in both images by jax.grad and jax.jvp, also under vmap: the dual objective, linear in the
  weights, is differentiated at fixed potentials (envelope theorem) and through the normalisation; exact once
  converged, in first derivatives only. Negative pixels count as zero.
  """
  for name, number in dict(
      ot_epsilon_px=ot_epsilon_px, num_iterations=num_iterations, num_pixels=num_pixels).items():
    if not number > 0:
      raise ValueError(f"make_emd needs {name} > 0; got {number}.")
  if unbalanced_px is not None and not unbalanced_px > 0.0:
    raise ValueError(f"make_emd needs unbalanced_px > 0, or None for equal masses; got {unbalanced_px}.")
  for name, number in dict(charge_weight_px=charge_weight_px, charge_smoothing=charge_smoothing).items():
    if not number >= 0.0:
      raise ValueError(f"make_emd needs {name} >= 0; got {number}.")
  if power not in _LADDER_START or (power == 2 and unbalanced_px is not None):
    raise ValueError(f"make_emd needs power 1, or 2 with unbalanced_px None; got {power=}, {unbalanced_px=}.")
  eps = ot_epsilon_px
  levels = _Levels((eps,), (1.0,), unbalanced_px, power)
  if extrapolate:
    levels = _Levels((2.0 * eps, eps), (-1.0, 2.0), unbalanced_px, power)
  num_rungs = max(math.ceil(math.log2(_LADDER_START[power] / levels.eps[0])), 0)
  ladder = (*(levels.eps[0] * 2.0**rung for rung in range(num_rungs, 0, -1)), *levels.eps)

  def prepare_target(image: Float[Array, "h w"]) -> EMDTarget:
    points, charge, total, dropped = _brightest(image, num_pixels)
    weights = charge / charge.sum()
    fixed = lax.stop_gradient(weights)
    potentials = jnp.zeros((len(levels.eps), weights.size), weights.dtype)
    if debiased:
      potentials = _self_potentials(_distances(points, points, power), fixed, levels)
    return EMDTarget(points, weights, potentials, total, dropped)

  def emd_to_target(image: Float[Array, "h w"], target: EMDTarget) -> EMDResult:
    points, charge, total, dropped = _brightest(image, num_pixels)
    weights = charge / (charge.sum() if unbalanced_px is None else target.charge)
    a, b = lax.stop_gradient((weights, target.weights))
    f, g, error = _cross_potentials(_distances(points, target.points, power), a, b, ladder, levels, num_iterations)
    self_f = _self_potentials(_distances(points, points, power), a, levels) if debiased else None
    correction = _mass_term(levels, b, g)
    if debiased:
      correction -= 0.5 * (_mass_term(levels, a, self_f) + _mass_term(levels, b, target.self_potentials))
    if all_pixels:
      everywhere = jnp.stack(jnp.divmod(jnp.arange(image.size), image.shape[1]), axis=-1).astype(image.dtype)
      charge = _positive(image)
      weights = charge / (total if unbalanced_px is None else target.charge)
      f = _extend(levels, everywhere, target.points, b, g)
      if debiased:
        self_f = _extend(levels, everywhere, points, a, self_f)
        self_f = jnp.minimum(self_f, _isolated(levels, lax.stop_gradient(weights)))
    slope_a, slope_b = _slopes(levels, f), _slopes(levels, g)
    if debiased:
      slope_a, slope_b = slope_a - _slopes(levels, self_f), slope_b - _slopes(levels, target.self_potentials)
    slope_a, slope_b, correction = lax.stop_gradient((slope_a, slope_b, correction))
    value = weights @ slope_a + target.weights @ slope_b + correction
    if unbalanced_px is not None and not debiased:  # eps m_a m_b; debiasing cancels it
      value += sum(c * e for c, e in zip(levels.coefficients, levels.eps, strict=True)) * weights.sum()
    if power == 2:
      value = jnp.sqrt(jnp.maximum(value, 0.0) + _LEAST_W2_PX**2) - _LEAST_W2_PX
    if charge_weight_px > 0.0:
      value += charge_weight_px * _charge_difference(total, target.charge, charge_smoothing)
    return EMDResult(value, lax.stop_gradient(error), jnp.maximum(dropped, target.dropped_charge))

  def emd(image: Float[Array, "h w"], target_image: Float[Array, "h w"]) -> EMDResult:
    return emd_to_target(image, prepare_target(target_image))

  return EMD(emd, prepare_target, emd_to_target)


def _charge_difference(charge, reference, smoothing):
  """|charge - reference| / reference, dimensionless; with smoothing s, sqrt(r^2 + s^2) - s."""
  ratio = (charge - reference) / reference
  return jnp.sqrt(ratio**2 + smoothing**2) - smoothing if smoothing > 0.0 else jnp.abs(ratio)


def check_images(images, name: str = "images") -> np.ndarray:
  """Returns the images as a numpy array, if a distance between them is defined; not under jit.

  Args:
    images: [h w] or [b h w], charge per pixel, in any unit.
    name: what to call them in the error.
  Raises:
    ValueError: if the shape is another, a pixel is not finite or negative, or an image holds no charge.
  """
  images = np.asarray(images)
  if images.ndim not in (2, 3) or images.size == 0:
    raise ValueError(f"{name} must have shape [h w] or [b h w], none of them 0; got shape {images.shape}.")
  if not np.isfinite(images).all():
    raise ValueError(f"{name} must be finite; got {np.sum(~np.isfinite(images))} NaN or infinite pixels.")
  if images.min() < 0:
    raise ValueError(f"{name} must be >= 0 (charge); the smallest pixel is {images.min()}.")
  totals = images.sum(axis=(-2, -1))
  if np.min(totals) <= 0:
    empty = np.flatnonzero(totals <= 0)[:8].tolist()
    raise ValueError(f"{name} must hold charge; the total charge is 0 at image {empty}.")
  return images


def exact_emd(image_a, image_b, *, power: int = 1) -> float:
  """Exact W1 (power 1) or W2 in px between two images [h w], each normalised to unit mass, by POT's network simplex.

  Raises:
    ValueError: if POT is missing, the shapes differ, or as `check_images`.
  Not differentiable, numpy only; 0.3 ms for 60 active pixels, growing with about their cube.
  """
  require_extra("eval", "exact_emd")
  import ot
  image_a, image_b = check_images(image_a, "image_a"), check_images(image_b, "image_b")
  if image_a.ndim != 2 or image_a.shape != image_b.shape:
    raise ValueError(f"exact_emd needs two images of one shape [h w]; got {image_a.shape}, {image_b.shape}.")
  (points_a, a), (points_b, b) = (
      (np.argwhere(x > 0).astype(float), x[x > 0].astype(float)) for x in (image_a, image_b))
  cost = np.sum((points_a[:, None] - points_b[None])**2, axis=-1) ** (power / 2)
  return float(ot.emd2(a / a.sum(), b / b.sum(), cost, numItermax=1_000_000) ** (1.0 / power))


@functools.partial(jax.jit, static_argnames=("max_iterations",))
def _entropic_value(cost, epsilon, threshold, max_iterations):
  from ott.geometry import epsilon_scheduler, geometry
  from ott.problems.linear import linear_problem
  from ott.solvers.linear import sinkhorn
  with _numpy_promotion():
    start = jnp.maximum(cost.max() / epsilon, 1.0)
    schedule = epsilon_scheduler.Epsilon(target=epsilon, init=start, decay=0.7)
    solver = sinkhorn.Sinkhorn(threshold=threshold, max_iterations=max_iterations)
    out = solver(linear_problem.LinearProblem(geometry.Geometry(cost, epsilon=schedule)))
    plan = jnp.exp((out.f[:, None] + out.g[None, :] - cost) / epsilon)
    error = jnp.maximum(jnp.abs(plan.sum(0) - 1.0 / cost.shape[1]).sum(), jnp.abs(plan.sum(1) - 1.0 / cost.shape[0]).sum())
    return out.f.mean() + out.g.mean(), error


def sinkhorn_divergence(cost_xy, cost_xx, cost_yy, *, epsilon: float, threshold: float = 1e-3, max_iterations: int = 5000,
                        double: bool = False):
  """Sinkhorn divergence between two sets with equal weights: OT_eps(x, y) - OT_eps(x, x) / 2 - OT_eps(y, y) / 2.

  Feydy et al. 2019, eq. 3, on ott-jax, annealed from the largest cost down to epsilon.

  Args:
    cost_xy: costs [n m] between the sets.
    cost_xx: costs [n n] within the first.
    cost_yy: costs [m m] within the second.
    epsilon: regularisation, in the unit of the costs.
    threshold: L1 error of the marginals at which to stop.
    max_iterations: of each of the three problems.
    double: computes in float64; slower, for values that agree to rounding (with a threshold such as 1e-8).
  Returns:
    The divergence, and the worst L1 marginal error of the three: far above `threshold`, the value is not converged.
  Raises:
    ValueError: if epsilon is not positive.
  """
  if not epsilon > 0.0:
    raise ValueError(f"sinkhorn_divergence needs epsilon > 0; got {epsilon}.")
  with jax.enable_x64(True) if double else contextlib.nullcontext():
    parts = [_entropic_value(jnp.asarray(cost, jnp.float64 if double else jnp.float32), epsilon, threshold, max_iterations)
             for cost in (cost_xy, cost_xx, cost_yy)]
  (xy, error_xy), (xx, error_xx), (yy, error_yy) = ((float(v), float(e)) for v, e in parts)
  return xy - 0.5 * (xx + yy), max(error_xy, error_xx, error_yy)
