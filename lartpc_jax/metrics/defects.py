"""Planted defects of known size, to see which metric finds what: images [n h w] (MeV) to such images;
training [n h w] too."""
from collections.abc import Callable

import numpy as np
from scipy import ndimage


def shifted(images: np.ndarray, seed: int, *, pixels: int = 1) -> np.ndarray:
  """Every image moved by `pixels` along its first axis, zeros moving in."""
  del seed
  out = np.zeros_like(images)
  out[:, pixels:] = images[:, :-pixels]
  return out


def charge_scaled(images: np.ndarray, seed: int, *, factor: float = 1.05) -> np.ndarray:
  """All charge times `factor`."""
  del seed
  return images * np.float32(factor)


def duplicated(images: np.ndarray, seed: int, *, share: float = 0.1) -> np.ndarray:
  """`share` of the images replaced by copies of others of the set."""
  draw = np.random.default_rng(seed)
  out = images.copy()
  chosen = draw.permutation(len(images))
  count = int(share * len(images))
  out[chosen[:count]] = images[chosen[count:2 * count]]
  return out


def blurred(images: np.ndarray, seed: int, *, sigma: float = 0.5, threshold: float = 0.0) -> np.ndarray:
  """Gaussian blur of `sigma` pixels; what falls below the threshold is zero again."""
  del seed
  out = ndimage.gaussian_filter(images, (0.0, sigma, sigma))
  return np.where(out > threshold, out, 0).astype(images.dtype)


def dead_pixels(images: np.ndarray, seed: int, *, share: float = 0.01) -> np.ndarray:
  """`share` of the pixels dead, the same ones in all images."""
  draw = np.random.default_rng(seed)
  dead = draw.uniform(size=images.shape[1:]) < share
  return np.where(dead[None], 0, images)


def make_memorised(training: np.ndarray) -> Callable:
  """A defect that replaces the set by images of the training set."""
  def memorised(images: np.ndarray, seed: int) -> np.ndarray:
    chosen = np.random.default_rng(seed).permutation(len(training))[:len(images)]
    return training[chosen].copy()
  return memorised


DEFECTS = {
    "shift": shifted, "charge": charge_scaled, "duplicates": duplicated, "blur": blurred, "dead": dead_pixels
}
NAMES = {
    "shift": "shifted by 1 px", "charge": "charge +5 %", "duplicates": "10 % duplicates",
    "blur": "blurred 0.5 px", "dead": "1 % dead pixels", "memorised": "memorised"
}
