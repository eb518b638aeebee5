"""From sparse events to pictures: smeared ones, of events as they are or rotated in 3D, and exact ones of
voxels."""
import functools
from collections.abc import Callable

import jax
import numpy as np

from lartpc_jax.data.events import Events, pad_events, select_events
from lartpc_jax.data.readers.api import LABELS
from lartpc_jax.geometry import rasterize as raster
from lartpc_jax.geometry.frames import TrackFrame, to_track_frame, track_images
from lartpc_jax.geometry.rotations import random_rotations, rotate

NUM_CLASSES = 5  # of pixels: the first of LABELS. Low-energy scatters of PILArNet count as showers
CLASS_OF = np.array([LABELS["shower"] if name == "low_energy" else label for name, label in LABELS.items()])


def keep_contained(events: Events, spec: raster.ImageSpec) -> Events:
  """Drops events with a deposit farther from the vertex than half the window: contained however they are
  turned.

  A rotation-invariant form of the published cut (no charge outside the window), which needs the view to be
  fixed.
  """
  radius_mm = np.linalg.norm((events.voxel.astype(np.float32) + 0.5) * np.float32(events.voxel_mm), axis=1)
  inside = radius_mm <= 0.5 * spec.num_pixels * spec.pitch_mm
  escaped = np.add.reduceat(np.append(~inside, False).astype(np.int64), events.offsets[:-1])
  escaped[np.diff(events.offsets) == 0] = 0
  return select_events(events, np.flatnonzero(escaped == 0))


def charge_inside(events: Events, views: tuple[str, ...], spec: raster.ImageSpec) -> np.ndarray:
  """Charge [n v] in MeV of the voxels whose centres lie in the window of each view, before any smearing."""
  centre_mm = (events.voxel.astype(np.float32) + 0.5) * np.float32(events.voxel_mm)
  inside = np.abs(centre_mm) < 0.5 * spec.num_pixels * spec.pitch_mm
  number = np.repeat(np.arange(len(events)), np.diff(events.offsets))
  total = lambda seen: np.bincount(number[seen], events.edep_mev[seen], minlength=len(events))
  return np.stack([total(inside[:, list(raster.view_axes(view)[:2])].all(axis=1)) for view in views], axis=1)


@functools.partial(jax.jit, static_argnames="frame")
def rotated_images(key, position_mm, edep_mev, momentum_mev, *, frame: TrackFrame):
  """Track-frame images [b h w] and momenta [b 3] of events in random rotations: the medium is isotropic."""
  rotations = random_rotations(key, momentum_mev.shape[0])
  position_mm, momentum_mev = to_track_frame(rotate(position_mm, rotations), rotate(momentum_mev, rotations))
  return track_images(position_mm, edep_mev, frame), momentum_mev


@functools.partial(jax.jit, static_argnames=("views", "spec", "readout"))
def rotated_views(key, position_mm, edep_mev, momentum_mev, *, views: tuple[str, ...], spec: raster.ImageSpec,
                  readout: Callable | None = None):
  """Images [b v n n] in detector pixels and momenta [b 3] of events turned by random rotations.

  `readout`: (key, position_mm [b v 3], edep_mev [b v]) -> such images, in place of smearing and threshold
  alone; see `simulation.readout.make_view_readout`.
  """
  rotations = random_rotations(key, momentum_mev.shape[0])
  position_mm, momentum_mev = rotate(position_mm, rotations), rotate(momentum_mev, rotations)
  if readout is not None:
    return readout(jax.random.fold_in(key, 1), position_mm, edep_mev), momentum_mev
  return raster.rasterize_views(position_mm, edep_mev, views, spec), momentum_mev


def images_of(events: Events, indices: np.ndarray, *, views: tuple[str, ...], spec: raster.ImageSpec,
              chunk: int = 256) -> np.ndarray:
  """Images [b k n n] in MeV of the events as they are, without rotation."""
  draw = jax.jit(lambda x, e: raster.rasterize_views(x, e, views, spec))
  chunks = [pad_events(events, indices[i:i + chunk]) for i in range(0, len(indices), chunk)]
  return np.concatenate([np.asarray(draw(c.position_mm, c.edep_mev)) for c in chunks])


def voxel_image(events: Events, number: int, *, view: str = "xy", spec: raster.ImageSpec = raster.PROTONS512
                ) -> tuple[np.ndarray, np.ndarray]:
  """Charge [n n] in MeV and classes [n n] uint8 of a labelled event, its vertex in the middle; see
  `lit_pixels`.

  Raises ValueError if the events have no labels.
  """
  if events.label is None:
    raise ValueError("These events have no classes of their voxels (field 'vlabel').")
  pixels, charge, classes = lit_pixels(events, number, view=view, spec=spec, with_classes=True)
  image, label = np.zeros(spec.shape, np.float32), np.zeros(spec.shape, np.uint8)
  image[tuple(pixels.T)], label[tuple(pixels.T)] = charge, classes
  return image, label


def voxel_images(events: Events, numbers: np.ndarray, *, spec: raster.ImageSpec,
                 view: str = "xy") -> np.ndarray:
  """Pictures [b n n] float32 in MeV of whole events, their vertices in the middle; see `lit_pixels`."""
  images = np.zeros((len(numbers), *spec.shape), np.float32)
  for image, number in zip(images, numbers, strict=True):
    pixels, charge, _ = lit_pixels(events, int(number), view=view, spec=spec)
    image[tuple(pixels.T)] = charge
  return images


def lit_pixels(events: Events, number: int, *, view: str, spec: raster.ImageSpec, with_classes: bool = False
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
  """Pixels [k 2] of the picture of an event that are not zero, their charge [k] in MeV and class [k], if
  asked for.

  A voxel's charge goes into the pixel of its centre, unsmeared: exact where pixels are as large as voxels. A
  pixel has the class with the most charge in it; pixels below spec.threshold_mev are zero, and background.
  Charge outside is lost.
  """
  rows = slice(events.offsets[number], events.offsets[number + 1])
  first, second, _ = raster.view_axes(view)
  centre_mm = (events.voxel[rows].astype(np.float64)[:, [first, second]] + 0.5) * events.voxel_mm
  pixel = np.floor(centre_mm / spec.pitch_mm + spec.num_pixels / 2).astype(np.int64)
  inside = np.all((pixel >= 0) & (pixel < spec.num_pixels), axis=1)
  flat, place = np.unique(np.ravel_multi_index(tuple(pixel[inside].T), spec.shape), return_inverse=True)
  energy = events.edep_mev[rows][inside].astype(np.float64)
  total = np.bincount(place, energy, minlength=len(flat))
  lit = total >= spec.threshold_mev
  classes = None
  if with_classes:
    kind = place * NUM_CLASSES + CLASS_OF[events.label[rows][inside]]
    by_class = np.bincount(kind, energy, minlength=len(flat) * NUM_CLASSES).reshape(-1, NUM_CLASSES)
    classes = by_class[lit].argmax(axis=1).astype(np.uint8)
  return np.stack(np.unravel_index(flat[lit], spec.shape), axis=1), total[lit].astype(np.float32), classes
