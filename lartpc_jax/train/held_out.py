"""Made images against the held-out ones they stand for, where either may hold no charge."""
from collections.abc import Callable

import numpy as np


def compare_charge(made, real, emd: Callable) -> tuple[np.ndarray, np.ndarray]:
  """Ratios of the total charge [c], and Earth Mover's Distances [d] in pixels.

  Ratios are of the pairs whose real image holds charge; of those, distances where the made one does too: to
  an image without charge there is none, and one such event must not void the mean of all.

  Args:
    made: images [b h w].
    real: images [b h w].
    emd: (images [b h w], images [b h w]) -> distances [b].
  """
  made_charge, real_charge = (np.asarray(images.sum((1, 2))) for images in (made, real))
  charged = real_charge > 0.0
  ratio = made_charge[charged] / real_charge[charged]
  return ratio, np.asarray(emd(made, real))[charged][ratio > 0.0]
