"""The classical estimator: momentum from total charge and charge-weighted centroids. No generator, no fit."""
import numpy as np

from lartpc_jax.geometry.rasterize import view_matrix
from lartpc_jax.inference.errors import hidden_direction
from lartpc_jax.units import PROTON_MASS_MEV


def classical_momentum(images_mev: np.ndarray, views: tuple[str, ...], *,
                       pitch_mm: float = 3.0) -> np.ndarray:
  """Momenta [b 3] in MeV/c from images [b v n n].

  |p| from the kinetic energy = mean over the views of the total charge (no recombination in these images, the
  proton stops); direction from the charge-weighted centroid of each view relative to the vertex at the image
  centre.
  With one view the third component is what |p| leaves of it, with positive sign.
  """
  n = images_mev.shape[-1]
  centre = np.arange(n) + 0.5 - n / 2
  total = np.maximum(images_mev.sum((2, 3)), 1e-6)
  kinetic = total.mean(axis=1)
  magnitude = np.sqrt(kinetic * (kinetic + 2.0 * PROTON_MASS_MEV))
  # [b v 2]
  seen = np.stack([images_mev.sum(3) @ centre, images_mev.sum(2) @ centre], axis=-1) / total[..., None]
  # [2v 3]
  directions = np.concatenate([view_matrix(view)[:2] for view in views])
  # least squares; 0 along what no view sees
  centroid = seen.reshape(len(seen), -1) @ np.linalg.pinv(directions).T
  hidden = hidden_direction(views)
  if hidden is None:
    return magnitude[:, None] * centroid / np.maximum(np.linalg.norm(centroid, axis=1, keepdims=True), 1e-9)
  return _single_view(centroid, magnitude, hidden, pitch_mm)


def _single_view(centroid, magnitude, hidden: np.ndarray, pitch_mm: float) -> np.ndarray:
  """One view: in-plane momentum from the projected depth of the charge against the depth at this energy."""
  # Charge-weighted mean depth of a stopping proton against its range, and the range itself (mm), from the
  # power law R = a T^p (Bragg-Kleeman): fitted to NIST PSTAR in liquid argon, 2.15 g/cm2 at 40 MeV, 10.92 at
  # 100 MeV, 1.396 g/cm3.
  kinetic = np.sqrt(magnitude**2 + PROTON_MASS_MEV**2) - PROTON_MASS_MEV
  power = np.log(10.92 / 2.159) / np.log(100.0 / 40.0)
  range_px = 10.92 / 1.396 * 10.0 / pitch_mm * (kinetic / 100.0) ** power
  # dT/ds of the power law gives a charge-weighted mean depth of R p / (p + 1)
  depth_px = range_px * power / (power + 1.0)
  projected = np.linalg.norm(centroid, axis=1)
  sine = np.clip(projected / depth_px, 0.0, 1.0)
  momentum = magnitude[:, None] * sine[:, None] * centroid / np.maximum(projected, 1e-9)[:, None]
  return momentum + (magnitude * np.sqrt(1.0 - sine**2))[:, None] * hidden
