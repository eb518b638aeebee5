"""Builders of training data from config blocks `data`: batches, and examples that are never trained on."""
from collections.abc import Callable

import jax
import numpy as np

from lartpc_jax.data import crop_labels, crops as crops_lib, interaction_batches, pipeline, sources
from lartpc_jax.data.events import Events
from lartpc_jax.data.prefetch import prefetch
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec

NUM_EVALUATION_IMAGES = 128
NUM_EVALUATED = 2_048  # by the estimator
SCALE_IMAGES = 128     # whole images that the normalisation of latents is measured on


def build_batches(*, spec: ImageSpec, frame: TrackFrame, seed: int, path: str, num_holdout: int, batch_size: int,
                  contained_only: bool, prefetch_batches: int = 2, events: Events | None = None) -> tuple[Callable, dict]:
  """batch_fn over the training events of a config block `data`, and held-out ones: see `latent_diffusion_task`.

  Raises:
    ValueError: if `path` names images. They have no third dimension to rotate in, and their pixels and smearing are coarser
      than those of the track frame, so a generator trained on them would blur everything twice.
  """
  events = sources.open_training_source(path) if events is None else events
  if not isinstance(events, Events):
    raise ValueError(f"data.path = {path!r} names {events.kind}: images in detector pixels, from which no pictures in the "
                     "track frame can be made. This task needs sparse events (npz with `voxel`); images train the "
                     "autoencoder alone.")
  if contained_only:
    events = pipeline.keep_contained(events, spec)
  train = pipeline.split_events(events, "train", num_holdout=num_holdout)
  holdout = pipeline.split_events(events, "holdout", num_holdout=num_holdout)
  batch_fn = prefetch(pipeline.make_batches(train, batch_size=batch_size, seed=seed, frame=frame), depth=prefetch_batches)
  track = pipeline.make_batches(holdout, batch_size=NUM_EVALUATION_IMAGES, seed=seed, frame=frame)(0)
  chosen = np.arange(min(NUM_EVALUATION_IMAGES, len(holdout)))
  images = pipeline.images_of(holdout, chosen, views=("xy",), spec=spec)[:, 0]
  return batch_fn, {"track": jax.tree.map(np.asarray, track), "image": images, "momentum_mev": holdout.momentum_mev[chosen]}


def build_image_batches(*, spec: ImageSpec, seed: int, rows: sources.ImageRows, path: str, num_holdout: int, batch_size: int,
                        contained_only: bool, symmetries: bool = True, prefetch_batches: int = 2) -> tuple[Callable, dict]:
  """batch_fn over the training images of a config block `data` in detector pixels, and held-out ones.

  Raises:
    ValueError: naming a key that does not fit the images.
  """
  if rows.num_pixels != spec.num_pixels:
    raise ValueError(f"data.path = {path!r} names {rows.kind}, of {rows.num_pixels} x {rows.num_pixels} pixels; "
                     f"image.num_pixels is {spec.num_pixels}.")
  if contained_only:
    raise ValueError(f"data.contained_only needs sparse events, but data.path = {path!r} names {rows.kind}.")
  train, held = sources.split_rows(rows, num_holdout=num_holdout)
  batch_fn = sources.make_image_batches(train, batch_size=batch_size, seed=seed, symmetries=symmetries)
  batch_fn = prefetch(batch_fn, depth=prefetch_batches)
  return batch_fn, sources.read_images(held, np.arange(min(NUM_EVALUATION_IMAGES, held.num * len(held.views))))


def build_labelled_crops(*, seed: int, path: str, num_holdout_events: int, batch_size: int, five_classes: bool,
                         delta: str, michel: str) -> tuple[Callable, dict, tuple[str, ...]]:
  """batch_fn over labelled training crops of a config block `data`, all held-out ones, and the names of the classes."""
  labelled = crop_labels.open_labelled_crops(path, five_classes=five_classes, delta=delta, michel=michel)
  train, held = (crop_labels.split_labelled(labelled, split, num_holdout_events=num_holdout_events)
                 for split in ("train", "holdout"))
  holdout = {"image": crops_lib.images_mev(held.crops), "label": held.label.astype(np.int32)}
  return crop_labels.make_labelled_batches(train, batch_size=batch_size, seed=seed), holdout, labelled.classes


def build_view_batches(*, seed: int, views: tuple[str, ...], spec: ImageSpec, path: str, num_holdout: int, batch_size: int,
                       prefetch_batches: int = 2):
  """batch_fn over the training events of a config block `data` in the given views, and a batch of held-out ones.

  Raises:
    ValueError: if `path` names images, which cannot be rotated in 3D.
  """
  events = sources.open_training_source(path)
  if not isinstance(events, Events):
    raise ValueError(f"data.path = {path!r} names {events.kind}; this task needs sparse events (npz with `voxel`), which it "
                     "rotates in 3D.")
  train, held = (pipeline.split_events(events, split, num_holdout=num_holdout) for split in ("train", "holdout"))
  batch_fn = pipeline.make_view_batches(train, batch_size=batch_size, seed=seed, views=views, spec=spec)
  num = min(NUM_EVALUATED, 16 * len(held))  # rotated freshly, an event serves often
  holdout = pipeline.make_view_batches(held, batch_size=num, seed=seed, views=views, spec=spec)(0)
  return prefetch(batch_fn, depth=prefetch_batches), jax.tree.map(np.asarray, holdout)


def build_crops(*, path: str, num_holdout_events: int, batch_size: int, num_evaluation: int, seed: int,
                scale_mev: float = 0.0) -> tuple[Callable, crops_lib.Crops, np.ndarray]:
  """batch_fn over the training crops of a config block `data`, those crops, and the first held-out images in MeV.

  `scale_mev` is the MeV of value 1 of a file without calibration, 0 for files in MeV.
  """
  crops = crops_lib.open_crops(path, scale_mev=scale_mev or None)
  train = crops_lib.split_crops(crops, "train", num_holdout_events=num_holdout_events)
  holdout = crops_lib.split_crops(crops, "holdout", num_holdout_events=num_holdout_events)
  batch_fn = crops_lib.make_crop_batches(train, batch_size=batch_size, seed=seed)
  return batch_fn, train, crops_lib.images_mev(holdout, slice(num_evaluation))


def build_interactions(*, spec: ImageSpec, seed: int, path: str, num_holdout: int, batch_size: int, num_evaluation: int,
                       crop_px: int = 0, prefetch_batches: int = 2) -> tuple[Callable, np.ndarray, np.ndarray]:
  """batch_fn over training interactions of a config block `data`, and held-out and training images in MeV.

  The images are whole ones, as they lie in the file, or with crop_px crops; num_evaluation of the held-out ones at most,
  and SCALE_IMAGES of the training ones.
  """
  events = interaction_batches.open_interactions(path)
  train, held = interaction_batches.split_numbers(events, num_holdout=num_holdout)
  batches = lambda numbers, size: interaction_batches.make_interaction_batches(
      events, numbers, batch_size=size, seed=seed, spec=spec, crop_px=crop_px)
  batch_fn = prefetch(batches(train, batch_size), depth=prefetch_batches)
  if crop_px:
    return batch_fn, batches(held, num_evaluation)(0)["image"], batches(train, num_evaluation)(0)["image"]
  whole = lambda numbers: interaction_batches.whole_images(events, numbers, spec=spec)
  return batch_fn, whole(held[:num_evaluation]), whole(train[:SCALE_IMAGES])
