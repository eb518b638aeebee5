"""Physics quantities of single-proton images whose direction is known: image [n n] in MeV, direction [2],
edges_mm [bins + 1]. Host-side numpy."""
import contextlib

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

# Stopping power of protons in liquid argon (NIST PSTAR) as means over bins of residual range: edges in mm,
# MeV/mm.
PSTAR_RESIDUAL_EDGES_MM = np.array([3, 5, 7, 10, 15, 20, 30, 40, 50, 60], float)
PSTAR_DEDX_MEV_PER_MM = np.array([2.666, 2.220, 1.903, 1.607, 1.383, 1.187, 1.024, 0.920, 0.845])


def track_length_mm(image: np.ndarray, *, pitch_mm: float = 3.0, threshold_mev: float = 0.1) -> float:
  """Largest distance between pixels of the largest cluster, in mm: the diameter of its convex hull.

  A cluster is a connected set (8 neighbours) of pixels above threshold: neutron blips and the like stay out.
  0 for a cluster of fewer than two pixels.
  """
  labels, count = ndimage.label(image > threshold_mev, structure=np.ones((3, 3)))
  if count == 0:
    return 0.0
  points = np.argwhere(labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])).astype(float)
  return diameter(points) * pitch_mm


def diameter(points: np.ndarray) -> float:
  """Largest distance between points [m 2], in their unit: that between two vertices of the convex hull; 0 for
  one point."""
  if len(points) < 2:
    return 0.0
  with contextlib.suppress(QhullError):  # raised when all points lie on one line, or for two
    points = points[ConvexHull(points).vertices]
  return float(pdist(points).max())


def cumulative_charge(image: np.ndarray, direction: np.ndarray, *, pitch_mm: float = 3.0
                      ) -> tuple[np.ndarray, np.ndarray]:
  """Distance from the vertex along the in-plane `direction` [2] in mm, and charge in MeV up to there.

  Each pixel's charge is spread evenly over the pixel's extent along the direction. The grid has steps of 0.25
  mm.
  """
  n = image.shape[0]
  first, second = np.nonzero(image)
  unit = np.asarray(direction, float) / np.linalg.norm(direction)
  along = ((first + 0.5 - n / 2) * unit[0] + (second + 0.5 - n / 2) * unit[1]) * pitch_mm
  extent = pitch_mm * np.abs(unit).max()
  reach = n * pitch_mm
  position = np.linspace(-reach, reach, int(8 * reach) + 1)
  share = np.clip((position[:, None] - along[None, :]) / extent + 0.5, 0.0, 1.0)
  return position, share @ image[first, second]


def residual_dedx(image: np.ndarray, direction: np.ndarray, edges_mm: np.ndarray = PSTAR_RESIDUAL_EDGES_MM, *,
                  pitch_mm: float = 3.0, end_charge_mev: float = 4.0) -> np.ndarray:
  """Mean charge per mm of path in bins of residual range, for a track in the image plane.

  The end is where the last `end_charge_mev` begin, moved on by the range of a proton of that energy; so it
  does not hang on single pixels. Bins that reach back behind the vertex are NaN. Smearing and pixels round
  the peak off: compare with images, and with PSTAR only above about 5 mm.
  """
  position, charge = cumulative_charge(image, direction, pitch_mm=pitch_mm)
  # mm; CSDA range of a 4 MeV proton in liquid argon, NIST PSTAR
  residual_at_end = 0.19 * end_charge_mev / 4.0
  end = np.interp(charge[-1] - end_charge_mev, charge, position) + residual_at_end
  edges_mm = np.asarray(edges_mm, float)
  at = np.interp(end - edges_mm, position, charge)
  return np.where(edges_mm[1:] <= end, -np.diff(at) / np.diff(edges_mm), np.nan)
