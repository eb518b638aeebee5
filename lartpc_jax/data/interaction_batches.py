"""Training pictures of whole interactions and crops of them, in every rotation that maps pixels onto pixels. numpy.

Voxels are as large as pixels, so a picture of an event turned by any angle would have to spread each voxel first. The
rotations and reflections of the cube need none: 24 exact pictures an event, three views in eight orientations each.
"""
from collections.abc import Callable

import numpy as np

from lartpc_jax.data.crops import NUM_ORIENTATIONS, orient
from lartpc_jax.data.interactions import Interactions, lit_pixels, load_interactions
from lartpc_jax.data.pipeline import SAMPLE, open_events
from lartpc_jax.geometry.rasterize import VIEWS, ImageSpec

MAX_DRAWS = 200  # events in a row without charge in the window, before the data are taken to be wrong
TRACK = 1         # class of every voxel of the single protons of the package


def open_interactions(path: str) -> Interactions:
  """Events of an npz (see `load_interactions`), or for path "sample" the single protons of the package."""
  if not path:
    raise ValueError(f"data.path is not set; give an npz of interactions, or {SAMPLE!r} for the protons of the package.")
  if path != SAMPLE:
    return load_interactions(path)
  events = open_events(SAMPLE)
  return Interactions(events.offsets, events.voxel.astype(np.int16), np.full(len(events.voxel), TRACK, np.uint8),
                      events.edep_mev, events.voxel_mm)


def split_numbers(events: Interactions, *, num_holdout: int) -> tuple[np.ndarray, np.ndarray]:
  """Numbers of the training events, and of the last num_holdout, which are never trained on."""
  n = len(events)
  if not 0 < num_holdout < n:
    raise ValueError(f"data.num_holdout must lie between 1 and {n - 1}, the number of events less one; got {num_holdout}.")
  return np.arange(n - num_holdout), np.arange(n - num_holdout, n)


def whole_images(events: Interactions, numbers: np.ndarray, *, spec: ImageSpec, view: str = "xy") -> np.ndarray:
  """Pictures [b n n] float32 in MeV of the events as they are, their vertices in the middle."""
  images = np.zeros((len(numbers), *spec.shape), np.float32)
  for image, number in zip(images, numbers, strict=True):
    pixels, charge = lit_pixels(events, int(number), view=view, spec=spec)
    image[tuple(pixels.T)] = charge
  return images


def make_interaction_batches(events: Interactions, numbers: np.ndarray, *, batch_size: int, seed: int, spec: ImageSpec,
                             crop_px: int = 0) -> Callable:
  """Builds batch_fn(step) -> dict(image [b n n] MeV): events drawn with replacement, each in a view and an orientation.

  Args:
    events: the events.
    numbers: those to draw from.
    batch_size: pictures a batch.
    seed: of the draws; a batch is a function of (seed, step).
    spec: geometry of the whole picture; sigma_mm must be 0, as voxels are not smeared.
    crop_px: if not 0, a square of so many pixels in place of the whole: around a random pixel with charge, which lies
      anywhere in it.
  Raises:
    ValueError: naming the key that is out of range.
  """
  if batch_size < 1:
    raise ValueError(f"data.batch_size must be at least 1; got {batch_size}.")
  if crop_px < 0 or crop_px > spec.num_pixels:
    raise ValueError(f"data.crop_px must lie between 0 (none) and image.num_pixels = {spec.num_pixels}; got {crop_px}.")
  if spec.sigma_mm != 0.0:
    raise ValueError(f"Interactions are drawn without smearing: image.sigma_mm must be 0; got {spec.sigma_mm}.")

  def batch_fn(step: int) -> dict:
    random = np.random.default_rng((seed, step))
    size = crop_px or spec.num_pixels
    images = np.zeros((batch_size, size, size), np.float32)
    for image in images:
      pixels, charge = _lit_event(events, numbers, spec, random)
      if crop_px:
        anchor = pixels[random.integers(len(pixels))]
        corner = np.clip(anchor - random.integers(0, crop_px, 2), 0, spec.num_pixels - crop_px)
        inside = np.all((pixels >= corner) & (pixels < corner + crop_px), axis=1)
        pixels, charge = pixels[inside] - corner, charge[inside]
      image[tuple(pixels.T)] = charge
    return {"image": orient(images, random.integers(0, NUM_ORIENTATIONS, batch_size))}
  return batch_fn


def _lit_event(events: Interactions, numbers: np.ndarray, spec: ImageSpec, random) -> tuple[np.ndarray, np.ndarray]:
  for _ in range(MAX_DRAWS):
    pixels, charge = lit_pixels(events, int(random.choice(numbers)), view=str(random.choice(list(VIEWS))), spec=spec)
    if len(pixels):
      return pixels, charge
  raise ValueError(f"{MAX_DRAWS} events in a row have no pixel of {spec.threshold_mev} MeV in the window; check data.path "
                   "and image.threshold_mev.")
