"""How far inferred momenta are from the true ones, host-side; with one view, up to the sign that no image
tells."""
import numpy as np

from lartpc_jax.geometry.rasterize import view_matrix
from lartpc_jax.units import kinetic_energy

LARGE_ERROR_MEV = 50.0
EDGE = 0.01  # inferred energies within this share of the range of its ends count as at the edge


def hidden_direction(views: tuple[str, ...]) -> np.ndarray | None:
  """Unit vector [3] along the line of sight that all views share, along which images know the size and not
  the sign.

  None where there are views of different lines of sight.
  """
  sight = np.stack([view_matrix(view)[2] for view in views])
  return sight[0] if np.allclose(np.abs(sight @ sight[0]), 1.0) else None


def hidden_name(views: tuple[str, ...]) -> str | None:
  """What to call the component along `hidden_direction`: its axis, or "_along_wires"."""
  direction = hidden_direction(views)
  if direction is None:
    return None
  axis = int(np.argmax(np.abs(direction)))
  return "xyz"[axis] if np.isclose(np.abs(direction[axis]), 1.0) else "_along_wires"


def fold(momentum_mev: np.ndarray, views: tuple[str, ...], like: np.ndarray | None = None) -> np.ndarray:
  """Momenta [... 3], mirrored where needed so that what is hidden is positive, or on the side of the momentum
  `like` [3]."""
  p, direction = np.asarray(momentum_mev), hidden_direction(views)
  if direction is None:
    return p
  along = p @ direction
  side = 1.0 if like is None or like @ direction >= 0.0 else -1.0
  return p + (side * np.abs(along) - along)[..., None] * direction


def momentum_error(momentum_mev: np.ndarray, true_mev: np.ndarray, views: tuple[str, ...]) -> np.ndarray:
  """|dp| [n] in MeV/c between momenta [n 3]; with one view the component along the line of sight counts
  without sign."""
  return np.linalg.norm(fold(momentum_mev, views) - fold(true_mev, views), axis=1)


def magnitude_error(momentum_mev: np.ndarray, true_mev: np.ndarray) -> np.ndarray:
  """|d|p|| [n] in MeV/c."""
  return np.abs(np.linalg.norm(momentum_mev, axis=1) - np.linalg.norm(true_mev, axis=1))


def outside_range(momentum_mev: np.ndarray, kinetic_range_mev: tuple[float, float], *,
                  margin: float = 0.0) -> np.ndarray:
  """True [n] where the energy is outside the range, or within `margin` times its width of an end."""
  low, high = kinetic_range_mev
  kinetic, edge = kinetic_energy(momentum_mev), margin * (high - low)
  return ~((kinetic >= low + edge) & (kinetic <= high - edge))  # NaN is outside


def line_of_sight_angle(momentum_mev: np.ndarray, views: tuple[str, ...]) -> np.ndarray:
  """Angle [n] in degrees, 0 to 90, between momenta [n 3] and the nearest line of sight of the views."""
  along = np.abs(momentum_mev @ np.stack([view_matrix(view)[2] for view in views], axis=1)).max(axis=1)
  return np.degrees(
      np.arccos(np.clip(along / np.maximum(np.linalg.norm(momentum_mev, axis=1), 1e-9), 0.0, 1.0)))


def error_summary(momentum_mev: np.ndarray, true_mev: np.ndarray, views: tuple[str, ...],
                  clean: np.ndarray | None) -> dict:
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
