"""Batches of images for training, drawn from sparse events. A batch is a pure function of (seed, step)."""
import functools
import os
from collections.abc import Callable
from importlib import resources

import jax
import numpy as np

from lartpc_jax.data.events import Events, load_events, pad_events, select_events
from lartpc_jax.geometry import rasterize as raster
from lartpc_jax.geometry.frames import TrackFrame, to_track_frame, track_images
from lartpc_jax.keys import root_key

SAMPLE = "sample"  # the path that names the events shipped with the package


def open_events(path: str | os.PathLike) -> Events:
  """Sparse events from an npz, or those shipped with the package for path "sample"."""
  if path == SAMPLE:
    with resources.as_file(resources.files("lartpc_jax") / "assets" / "sample_protons.npz") as file:
      return load_events(file)
  if not path:
    raise ValueError(f"data.path is not set; give a sparse-event npz, or {SAMPLE!r} for the events of the package.")
  return load_events(path)


def split_events(events: Events, split: str, *, num_holdout: int) -> Events:
  """The "train" (all but the last num_holdout) or "holdout" (the last num_holdout) events."""
  n = len(events)
  if not 0 < num_holdout < n:
    raise ValueError(f"data.num_holdout must lie between 1 and {n - 1}, the number of events less one; got {num_holdout}.")
  if split not in ("train", "holdout"):
    raise ValueError(f"Unknown split {split!r}; choose from ['holdout', 'train'].")
  return select_events(events, np.arange(n - num_holdout) if split == "train" else np.arange(n - num_holdout, n))


def keep_contained(events: Events, spec: raster.ImageSpec) -> Events:
  """Drops events with a deposit farther from the vertex than half the window: contained in every view and rotation.

  A rotation-invariant form of the published cut (no charge outside the window), which needs the view to be fixed.
  """
  radius_mm = np.linalg.norm((events.voxel.astype(np.float32) + 0.5) * np.float32(events.voxel_mm), axis=1)
  inside = radius_mm <= 0.5 * spec.num_pixels * spec.pitch_mm
  escaped = np.add.reduceat(np.append(~inside, False).astype(np.int64), events.offsets[:-1])
  escaped[np.diff(events.offsets) == 0] = 0
  return select_events(events, np.flatnonzero(escaped == 0))


@functools.partial(jax.jit, static_argnames="frame")
def rotated_images(key, position_mm, edep_mev, momentum_mev, *, frame: TrackFrame):
  """Track-frame images [b h w] and momenta [b 3] of events turned by random rotations: the medium is isotropic."""
  rotations = raster.random_rotations(key, momentum_mev.shape[0])
  position_mm, momentum_mev = to_track_frame(raster.rotate(position_mm, rotations), raster.rotate(momentum_mev, rotations))
  return track_images(position_mm, edep_mev, frame), momentum_mev


@functools.partial(jax.jit, static_argnames=("views", "spec"))
def rotated_views(key, position_mm, edep_mev, momentum_mev, *, views: tuple[str, ...], spec: raster.ImageSpec):
  """Images [b v n n] in detector pixels and momenta [b 3] of events turned by random rotations."""
  rotations = raster.random_rotations(key, momentum_mev.shape[0])
  position_mm, momentum_mev = raster.rotate(position_mm, rotations), raster.rotate(momentum_mev, rotations)
  return raster.rasterize_views(position_mm, edep_mev, views, spec), momentum_mev


def make_batches(events: Events, *, batch_size: int, seed: int, frame: TrackFrame) -> Callable:
  """Builds batch_fn(step) -> dict(image [b h w] MeV, momentum_mev [b 3]), both in the track frame, by `rotated_images`.

  Events are drawn with replacement: with a rotation each, no image is ever seen twice.
  """
  return _rotated_batches(events, batch_size, seed, functools.partial(rotated_images, frame=frame))


def make_view_batches(events: Events, *, batch_size: int, seed: int, views: tuple[str, ...], spec: raster.ImageSpec
                      ) -> Callable:
  """Builds batch_fn(step) -> dict(image [b v n n] MeV, momentum_mev [b 3]) in detector pixels, by `rotated_views`."""
  return _rotated_batches(events, batch_size, seed, functools.partial(rotated_views, views=views, spec=spec))


def _rotated_batches(events: Events, batch_size: int, seed: int, draw: Callable) -> Callable:
  if batch_size < 1:
    raise ValueError(f"data.batch_size must be at least 1; got {batch_size}.")
  unknown = np.flatnonzero(~np.any(events.momentum_mev != 0, axis=1))
  if len(unknown):
    raise ValueError(f"{len(unknown)} events have no momentum (zero means unknown), the first is number {unknown[0]}; "
                     "training needs it.")
  key = root_key(seed)

  def batch_fn(step: int) -> dict:
    indices = np.random.default_rng((seed, step)).integers(0, len(events), batch_size)
    batch = pad_events(events, indices)
    images, momentum_mev = draw(jax.random.fold_in(key, step), batch.position_mm, batch.edep_mev, batch.momentum_mev)
    return {"image": images, "momentum_mev": momentum_mev}
  return batch_fn


def images_of(events: Events, indices: np.ndarray, *, views: tuple[str, ...], spec: raster.ImageSpec,
              chunk: int = 256) -> np.ndarray:
  """Images [b k n n] in MeV of the events as they are, without rotation."""
  draw = jax.jit(lambda x, e: raster.rasterize_views(x, e, views, spec))
  chunks = [pad_events(events, indices[i:i + chunk]) for i in range(0, len(indices), chunk)]
  return np.concatenate([np.asarray(draw(c.position_mm, c.edep_mev)) for c in chunks])
