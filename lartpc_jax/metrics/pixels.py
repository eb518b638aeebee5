"""Pixel statistics of charge images, and a two-sample chi-squared. Host-side numpy."""
from typing import NamedTuple

import numpy as np
from scipy import stats

ANALYSIS_THRESHOLD_MEV = 0.1  # a pixel is active from here on; about a sixth of what a minimum-ionising track leaves in 3 mm


class PixelStatistics(NamedTuple):
  """What is compared between samples of images."""
  active: np.ndarray    # [n] pixels at or above the threshold
  charge: np.ndarray    # [n] total of those pixels, MeV
  spectrum: np.ndarray  # [m] charge of every active pixel of all images, MeV


class Chi2(NamedTuple):
  """A two-sample chi-squared; `reduced` is chi2 / ndf, about 1 for samples of one population."""
  chi2: float
  ndf: int
  p_value: float
  reduced: float


def pixel_statistics(images_mev: np.ndarray, *, threshold_mev: float = ANALYSIS_THRESHOLD_MEV) -> PixelStatistics:
  """Active pixels, total charge and charge spectrum of images [n h w]; pixels below the threshold count as zero."""
  active = images_mev >= threshold_mev
  kept = np.where(active, images_mev, 0.0)
  return PixelStatistics(active.sum((1, 2)), kept.sum((1, 2), dtype=np.float64), images_mev[active])


def two_sample_chi2(a: np.ndarray, b: np.ndarray, bins: np.ndarray) -> Chi2:
  """Chi-squared of the hypothesis that histograms of two samples [n], [m] come from one population.

  sum (sqrt(B/A) a_i - sqrt(A/B) b_i)^2 / (a_i + b_i), A and B the totals, with both samples' errors (Gagunashvili 2010,
  Nucl. Instrum. Meth. A 614, 287, eq. 3); ndf is the number of bins filled in either, less one. Values
  outside the bins go to the first and last. Entries must be independent: for pixels of common images the value is too
  large, so compare it with two real samples of the same size.
  """
  bins = np.asarray(bins, float)
  if bins.ndim != 1 or len(bins) < 3 or not np.all(np.diff(bins) > 0):
    raise ValueError(f"two_sample_chi2 needs rising bin edges, three at least; got {bins}.")
  if not len(a) or not len(b):
    raise ValueError(f"two_sample_chi2 needs entries in both samples; got {len(a)} and {len(b)}.")
  counts_a, counts_b = (np.histogram(np.clip(x, bins[0], bins[-1]), bins)[0].astype(float) for x in (a, b))
  total_a, total_b = counts_a.sum(), counts_b.sum()
  filled = counts_a + counts_b > 0
  difference = np.sqrt(total_b / total_a) * counts_a - np.sqrt(total_a / total_b) * counts_b
  chi2 = float(np.sum(difference[filled] ** 2 / (counts_a + counts_b)[filled]))
  ndf = int(filled.sum()) - 1
  return Chi2(chi2, ndf, float(stats.chi2.sf(chi2, ndf)), chi2 / max(ndf, 1))


def quantile_bins(values: np.ndarray, num: int) -> np.ndarray:
  """Edges of at most `num` bins of about equal content of `values`; fewer where values repeat."""
  return np.unique(np.quantile(np.asarray(values, float), np.linspace(0.0, 1.0, num + 1)))


def compare(real: np.ndarray, generated: np.ndarray, *, num_bins: int = 20, threshold_mev: float = ANALYSIS_THRESHOLD_MEV
            ) -> dict[str, Chi2]:
  """Chi-squared of active pixels, total charge and spectrum of images [n h w] and [m h w]; bins of equal real content.

  Of the spectrum one active pixel an image counts, chosen at random: pixels of one image are not independent.
  """
  first, second = (pixel_statistics(x, threshold_mev=threshold_mev) for x in (real, generated))
  spectra = [_one_pixel_each(x, threshold_mev) for x in (real, generated)]
  pairs = {"active": (first.active, second.active), "charge": (first.charge, second.charge), "spectrum": tuple(spectra)}
  bins = {name: quantile_bins(a, num_bins) for name, (a, _) in pairs.items()}
  bins["active"] = np.unique(np.ceil(bins["active"]) - 0.5)  # whole numbers never on an edge
  return {name: two_sample_chi2(a, b, bins[name]) for name, (a, b) in pairs.items()}


def _one_pixel_each(images: np.ndarray, threshold_mev: float, seed: int = 0) -> np.ndarray:
  weight = np.where(images >= threshold_mev, np.random.default_rng(seed).random(images.shape), -1.0).reshape(len(images), -1)
  chosen = np.argmax(weight, axis=1)
  rows = np.arange(len(images))
  has = weight[rows, chosen] > 0.0
  return images.reshape(len(images), -1)[rows, chosen][has]
