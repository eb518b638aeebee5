"""How many of the brightest pixels of an image a distance must see, and how much charge it then leaves out.

The cost of a transport distance grows with the square of the number of pixels, so a fixed number of the
brightest is compared. It is chosen from the images themselves, out of few values: each is a program of its
own.
"""
from collections.abc import Sequence

import numpy as np

CHOICES = (64, 128, 256, 512, 1024, 2048)
LEAST_DROPPED = 1e-3  # share of the charge below which nothing need be said
_MAX_DROPPED = 0.05   # share of the charge that may stay outside ...
_SHARE = 0.95         # ... in so many of the images
_A_SIDE = 4           # at most so many pixels for each of a side: noise lights all of them
_CHUNK = 64           # events sorted together


def dropped_charge(images_mev: np.ndarray, num_pixels: int) -> np.ndarray:
  """Share [n] of the charge of images [n v p p] outside the brightest pixels of a view, in the worst view.

  Args:
    images_mev: at least 0; a view without charge drops nothing.
    num_pixels: brightest pixels that are kept of each view.
  """
  return _dropped(images_mev, (num_pixels,))[:, :, 0].max(axis=1)


def choose_num_pixels(images_mev: np.ndarray) -> int:
  """Least number of CHOICES that leaves at most 5 % of the charge out, in 95 % of the images [n v p p].

  At most four times their side: a track lights a few pixels for each that it crosses.
  """
  allowed = [number for number in CHOICES if number <= max(_A_SIDE * images_mev.shape[-1], CHOICES[0])]
  dropped = _dropped(images_mev, allowed).reshape(-1, len(allowed))
  enough = np.quantile(dropped, _SHARE, axis=0) <= _MAX_DROPPED
  return allowed[int(np.argmax(enough)) if enough.any() else -1]


def _dropped(images_mev: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
  """Share [n v c] of the charge outside the brightest pixels, for each of c numbers of them."""
  shares = []
  for start in range(0, len(images_mev), _CHUNK):
    flat = np.asarray(images_mev[start:start + _CHUNK])
    flat = flat.reshape(*flat.shape[:2], -1)
    total = flat.sum(-1, dtype=np.float64)
    kept = np.cumsum(-np.sort(-flat, axis=-1), axis=-1, dtype=np.float64)
    found = np.stack([kept[..., min(number, flat.shape[-1]) - 1] for number in numbers], axis=-1)
    shares.append(np.maximum(1.0 - found / np.where(total > 0, total, 1.0)[..., None], 0.0)
                  * (total > 0)[..., None])
  return np.concatenate(shares)
