"""The exact distance between two images, and the plan that attains it, from POT; for evaluation."""
from typing import NamedTuple

import numpy as np

from lartpc_jax.extras import require_extra

_MAX_ITERATIONS = 1_000_000


class Plan(NamedTuple):
  """k moves of charge that turn one image into another at least cost."""
  source: np.ndarray  # [k 2] row and column of the pixel that charge leaves, px
  target: np.ndarray  # [k 2] where it goes, px
  share: np.ndarray   # [k] share of all charge, above 0; their sum is 1
  value: float        # W1, px: the sum of share times distance


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
  """Exact W1 (power 1) or W2 in px between images [h w], each normalised to unit mass: POT's network simplex.

  Raises:
    ValueError: if POT is missing, the shapes differ, or as `check_images`.
  Not differentiable, numpy only; 0.3 ms for 60 active pixels, growing with about their cube.
  """
  require_extra("eval", "exact_emd")
  import ot
  (_, a), (_, b), squares = _problem(image_a, image_b)
  return float(ot.emd2(a, b, squares ** (power / 2), numItermax=_MAX_ITERATIONS) ** (1.0 / power))


def exact_plan(image_a, image_b) -> Plan:
  """An optimal plan of W1 from image_a to image_b [h w], each normalised to unit mass.

  It has at most one move less than both images have lit pixels together. Raises ValueError as `exact_emd`.
  """
  require_extra("display", "exact_plan")
  import ot
  (points_a, a), (points_b, b), squares = _problem(image_a, image_b)
  moved = ot.emd(a, b, np.sqrt(squares), numItermax=_MAX_ITERATIONS)
  rows, columns = np.nonzero(moved)
  share = moved[rows, columns]
  return Plan(points_a[rows], points_b[columns], share, float(share @ np.sqrt(squares)[rows, columns]))


def _problem(image_a, image_b):
  """Lit pixels [n 2] and shares of the charge [n] of both images, and squares of distances [n m], px^2."""
  image_a, image_b = check_images(image_a, "image_a"), check_images(image_b, "image_b")
  if image_a.ndim != 2 or image_a.shape != image_b.shape:
    raise ValueError(f"exact_emd needs two images of one shape [h w]; got {image_a.shape}, {image_b.shape}.")
  a, b = ((np.argwhere(x > 0).astype(float), x[x > 0].astype(float) / x[x > 0].astype(float).sum())
          for x in (image_a, image_b))
  return a, b, np.sum((a[0][:, None] - b[0][None])**2, axis=-1)
