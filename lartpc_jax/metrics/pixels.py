"""Pixel statistics of charge images, compared between samples. Host-side numpy."""
from typing import NamedTuple

import numpy as np

from lartpc_jax.metrics.histograms import Chi2, quantile_bins, two_sample_chi2

# a pixel is active from here on; about a sixth of what a minimum-ionising track leaves in 3 mm
ANALYSIS_THRESHOLD_MEV = 0.1


class PixelStatistics(NamedTuple):
  """What is compared between samples of images."""
  active: np.ndarray    # [n] pixels at or above the threshold
  charge: np.ndarray    # [n] total of those pixels, MeV
  spectrum: np.ndarray  # [m] charge of every active pixel of all images, MeV


def pixel_statistics(images_mev: np.ndarray, *,
                     threshold_mev: float = ANALYSIS_THRESHOLD_MEV) -> PixelStatistics:
  """Active pixels, total charge and charge spectrum of images [n h w]; pixels below the threshold count as
  zero."""
  active = images_mev >= threshold_mev
  kept = np.where(active, images_mev, 0.0)
  return PixelStatistics(active.sum((1, 2)), kept.sum((1, 2), dtype=np.float64), images_mev[active])


def compare(real: np.ndarray, generated: np.ndarray, *, num_bins: int = 20,
            threshold_mev: float = ANALYSIS_THRESHOLD_MEV) -> dict[str, Chi2]:
  """Chi-squared of active pixels, total charge and spectrum of images [n h w] and [m h w]; bins of equal real
  content.

  Of the spectrum one active pixel an image counts, chosen at random: pixels of one image are not independent.
  """
  first, second = (pixel_statistics(x, threshold_mev=threshold_mev) for x in (real, generated))
  spectra = [_one_pixel_each(x, threshold_mev) for x in (real, generated)]
  pairs = {
      "active": (first.active, second.active), "charge": (first.charge, second.charge),
      "spectrum": tuple(spectra)
  }
  bins = {name: quantile_bins(a, num_bins) for name, (a, _) in pairs.items()}
  bins["active"] = np.unique(np.ceil(bins["active"]) - 0.5)  # whole numbers never on an edge
  return {name: two_sample_chi2(a, b, bins[name]) for name, (a, b) in pairs.items()}


def _one_pixel_each(images: np.ndarray, threshold_mev: float, seed: int = 0) -> np.ndarray:
  random, chosen = np.random.default_rng(seed), []
  for image in images:  # one by one: whole interactions are large
    weight = np.where(image >= threshold_mev, random.random(image.shape), -1.0)
    if weight.max() > 0.0:
      chosen.append(image.flat[weight.argmax()])
  return np.array(chosen)
