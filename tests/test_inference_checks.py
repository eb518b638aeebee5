"""What images inference refuses, and what it makes of those it takes."""
import numpy as np
import pytest

from lartpc_jax.inference.checks import check_target_images

GOOD = np.ones((3, 2, 8, 8), np.float32)


def with_pixel(value):
  images = GOOD.copy()
  images[1, 1, 3, 4] = value
  return images


@pytest.mark.parametrize("images,message", [
    (GOOD[0], r"shape \(N, 2, 8, 8\), N >= 1; got \(2, 8, 8\)"),
    (GOOD[:, :1], r"got \(3, 1, 8, 8\)"),
    (GOOD[:, :, :7], r"got \(3, 2, 7, 8\)"),
    (GOOD[:0], r"got \(0, 2, 8, 8\)"),
    (with_pixel(np.nan), r"NaN pixels in event 41, view 1 \(1 such"),
    (with_pixel(np.inf), r"infinite pixels in event 41, view 1"),
    (with_pixel(-np.inf), r"infinite pixels in event 41, view 1"),
    (with_pixel(-0.1), r"negative pixels \(MeV\) in event 41, view 1"),
    (GOOD * np.array([1.0, 1.0, 0.0])[:, None, None, None], r"no charge in event 42, view 0 \(2 such"),
], ids=["dimensions", "views", "pixels", "none", "nan", "inf", "minus_inf", "negative", "empty"])
def test_bad_images_are_named(images, message):
  with pytest.raises(ValueError, match=message):
    check_target_images(images, num_views=2, num_pixels=8, numbers=np.arange(40, 40 + len(images)))


def test_good_images_pass():
  checked = check_target_images(GOOD.astype(np.float64), num_views=2, num_pixels=8)
  assert checked.dtype == np.float32 and checked.shape == GOOD.shape
  assert check_target_images(GOOD[:, 0], num_views=1, num_pixels=8).shape == (3, 1, 8, 8)
  assert check_target_images(np.ones((1, 1, 8, 8), int), num_views=1, num_pixels=8).dtype == np.float32
