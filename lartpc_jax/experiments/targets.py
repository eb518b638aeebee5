"""Target images of a run: read, checked and named, for every run that fits something to them."""
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from lartpc_jax.data.images import ImageSet, open_images
from lartpc_jax.data.open import SAMPLE
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.inference.checks import check_target_images


def open_targets(path: str, *, views: Sequence[str], spec: ImageSpec, first: int = 0, num: int | None = None) -> ImageSet:
  """Events first ... first + num - 1 of a file (None: to its end), fit to be inferred from.

  Raises:
    OSError, ValueError: as `data.images.open_images` and `inference.checks.check_target_images`.
  """
  data = open_images(path, views=tuple(views), spec=spec, first=first, num=num)
  images = check_target_images(data.images, num_views=len(views), num_pixels=spec.num_pixels, first_event=first)
  return data._replace(images=images)


def describe_images(images: np.ndarray) -> str:
  """Shape and hash of images, for the identity of a run."""
  digest = hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()
  return f"{'x'.join(map(str, images.shape))}, sha256 {digest[:16]}"


def describe_input(path: str) -> str:
  """Name and hash of an input file."""
  if path == SAMPLE:
    content = (resources.files("lartpc_jax") / "assets" / "sample_protons.npz").read_bytes()
    return f"{path}, sha256 {hashlib.sha256(content).hexdigest()[:16]}"
  with open(path, "rb") as file:
    return f"{Path(path).name}, sha256 {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
