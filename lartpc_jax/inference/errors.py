"""How far inferred momenta are from the true ones, host-side; with one view, up to the sign that no image tells."""
import numpy as np

from lartpc_jax.data.rasterize import view_axes
from lartpc_jax.units import kinetic_energy

LARGE_ERROR_MEV = 50.0
EDGE = 0.01  # inferred energies within this share of the range of its ends count as at the edge


def hidden_axis(views: tuple[str, ...]) -> int | None:
  """The axis along the line of sight of a single view, of which images know the size and not the sign; else None."""
  return view_axes(views[0])[2] if len(views) == 1 else None


def momentum_error(momentum_mev: np.ndarray, true_mev: np.ndarray, views: tuple[str, ...]) -> np.ndarray:
  """|dp| [n] in MeV/c between momenta [n 3]; with one view the component along the line of sight counts without sign."""
  fold = lambda p: np.where(np.arange(3) == hidden_axis(views), np.abs(p), p) if len(views) == 1 else np.asarray(p)
  return np.linalg.norm(fold(momentum_mev) - fold(true_mev), axis=1)


def magnitude_error(momentum_mev: np.ndarray, true_mev: np.ndarray) -> np.ndarray:
  """|d|p|| [n] in MeV/c."""
  return np.abs(np.linalg.norm(momentum_mev, axis=1) - np.linalg.norm(true_mev, axis=1))


def outside_range(momentum_mev: np.ndarray, kinetic_range_mev: tuple[float, float], *, margin: float = 0.0) -> np.ndarray:
  """True [n] where the energy is outside the range, or within `margin` times its width of an end."""
  low, high = kinetic_range_mev
  kinetic, edge = kinetic_energy(momentum_mev), margin * (high - low)
  return ~((kinetic >= low + edge) & (kinetic <= high - edge))  # NaN is outside


def line_of_sight_angle(momentum_mev: np.ndarray, views: tuple[str, ...]) -> np.ndarray:
  """Angle [n] in degrees, 0 to 90, between momenta [n 3] and the nearest line of sight of the views."""
  along = np.abs(momentum_mev[:, [view_axes(view)[2] for view in views]]).max(axis=1)
  return np.degrees(np.arccos(np.clip(along / np.maximum(np.linalg.norm(momentum_mev, axis=1), 1e-9), 0.0, 1.0)))


def error_summary(momentum_mev: np.ndarray, true_mev: np.ndarray, views: tuple[str, ...], clean: np.ndarray | None) -> dict:
  """Quantiles of |dp| and the median of |d|p|| in MeV/c, and the shares of |dp| above 50 MeV/c.

  Args:
    momentum_mev: [n 3].
    true_mev: [n 3].
    views: names of the views.
    clean: contained and non-interacting events [n]; None if not known.
  """
  error = momentum_error(momentum_mev, true_mev, views)
  quantile = lambda q: float(np.quantile(error, q))
  summary = {"median_dp_mev": quantile(0.5), "q68_dp_mev": quantile(0.68), "q95_dp_mev": quantile(0.95),
             "median_abs_dp_magnitude_mev": float(np.median(magnitude_error(momentum_mev, true_mev))),
             "share_above_50_mev": float(np.mean(~(error <= LARGE_ERROR_MEV)))}
  if clean is not None and np.any(clean):
    summary["share_above_50_mev_clean"] = float(np.mean(~(error[clean] <= LARGE_ERROR_MEV)))
  return summary
