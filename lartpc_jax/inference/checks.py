"""Which images inference is defined on."""
import numpy as np


def check_target_images(images: np.ndarray, *, num_views: int, num_pixels: int,
                        numbers: np.ndarray | None = None) -> np.ndarray:
  """Images as float32 [b v n n] if inference is defined on them; errors name events by their `numbers` [b],
  or from 0.

  Raises:
    ValueError: naming what is wrong: the shape, NaN, negative pixels or an image without charge, and where.
  """
  images = np.asarray(images)
  if images.ndim == 3 and num_views == 1:
    images = images[:, None]
  want = (num_views, num_pixels, num_pixels)
  if images.ndim != 4 or images.shape[1:] != want or not len(images):
    raise ValueError(
        f"images must have shape (N, {num_views}, {num_pixels}, {num_pixels}), N >= 1; got {images.shape}.")
  images = images.astype(np.float32)
  for test, text in ((np.isnan(images), "NaN pixels"), (np.isinf(images), "infinite pixels"),
                     (images < 0, "negative pixels (MeV)"),
                     (images.sum((2, 3), keepdims=True) <= 0, "no charge")):
    bad = np.argwhere(np.any(test, axis=(2, 3)))
    if len(bad):
      event = bad[0][0] if numbers is None else numbers[bad[0][0]]
      raise ValueError(f"images hold {text} in event {event}, view {bad[0][1]} ({len(bad)} such images "
                       "in all).")
  return images
