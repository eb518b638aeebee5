"""The exact distance on a translation, and what it refuses."""
import sys

import numpy as np
import pytest

from lartpc_jax.transport.exact import check_images, exact_emd
from tests.test_transport_emd import track


def test_exact_of_a_translation_is_its_length():
  image = track(np.random.default_rng(0), length=10.0)
  assert exact_emd(image, np.roll(image, (3, -4), axis=(0, 1))) == pytest.approx(5.0, rel=1e-6)


@pytest.mark.parametrize("images,match", [
    (np.ones(4), r"mine must have shape \[h w\] or \[b h w\].*got shape \(4,\)"),
    (np.ones((0, 4, 4)), r"got shape \(0, 4, 4\)"),
    (np.array([[1.0, np.nan]]), "mine must be finite; got 1 NaN or infinite"),
    (np.array([[1.0, -2.0]]), "mine must be >= 0.*smallest pixel is -2.0"),
    (np.stack([np.ones((2, 2)), np.zeros((2, 2))]), r"mine must hold charge; .* 0 at image \[1\]"),
])
def test_bad_images_are_named(images, match):
  with pytest.raises(ValueError, match=match):
    check_images(images, name="mine")


def test_good_images_pass():
  images = np.ones((2, 3, 3), np.float32)
  assert check_images(images) is images


def test_exact_checks_its_images():
  with pytest.raises(ValueError, match=r"one shape \[h w\]; got \(2, 2\), \(3, 3\)"):
    exact_emd(np.ones((2, 2)), np.ones((3, 3)))
  with pytest.raises(ValueError, match="image_b must hold charge"):
    exact_emd(np.ones((2, 2)), np.zeros((2, 2)))


def test_exact_names_the_missing_package(monkeypatch):
  monkeypatch.setitem(sys.modules, "ot", None)
  with pytest.raises(ValueError, match=r"exact_emd needs POT, of the extra \[eval\]: pip install POT"):
    exact_emd(np.ones((2, 2)), np.ones((2, 2)))
