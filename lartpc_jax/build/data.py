"""Builders of training data from config blocks `data`: batches, and examples that are never trained on."""
import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import jax
import numpy as np

from lartpc_jax.config.blocks import parse
from lartpc_jax.config.schema import DataSettings, defaults
from lartpc_jax.data import labels as labels_lib, pictures
from lartpc_jax.data.batches import (
  Pool,
  first,
  image_pool,
  make_batches,
  rotated_pool,
  still_pool,
  voxel_pool,
)
from lartpc_jax.data.events import Events
from lartpc_jax.data.image_source import Images, with_classes
from lartpc_jax.data.open import SAMPLE, SAMPLE_CROPS, open_data, open_events, open_pictures
from lartpc_jax.data.split import split_by_event
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.geometry.symmetries import NUM_ALL, NUM_SQUARE
from lartpc_jax.geometry.windows import Windows
from lartpc_jax.simulation.readout import ReadoutParams, make_view_readout, nominal_params

Wanted = Mapping[str, Collection[str]]  # label -> names of its classes, empty for numbers


OF_ROTATED, OF_VOXELS = {"contained_only", "readout"}, {"crop_px"}
OF_IMAGES = {"order", "symmetries", "scale_mev", "nan", "five_classes", "delta", "michel"}


class TrainingData(NamedTuple):
  """What a task needs of its data."""
  batch_fn: Callable          # step -> batch: a dict of `image` in MeV and of labels
  evaluation: Callable        # num (None: all) -> held-out examples in the form of a batch
  train: Pool                 # the examples as they are, without rotations or symmetries
  held: Pool
  settings: DataSettings
  kind: str                   # "rotated", "voxels" or "images"
  classes: tuple[str, ...]    # of pixel labels


def parse_data(values: Mapping) -> DataSettings:
  """Config block `data`. Raises ValueError naming a missing or unknown key."""
  values = dict(values)
  if "num_holdout_events" in values:  # as configs of crops call it
    values["num_holdout"] = values.pop("num_holdout_events")
  return parse(DataSettings, "data", values)


def build_data(values: Mapping, *, seed: int, spec: ImageSpec, frame: TrackFrame | None = None,
               wanted: Wanted | None = None) -> TrainingData:
  """Batches of whatever data.path names, with labels by name: the data of a generator with any condition.

  Single particles in 3D are rotated: in the track frame if there is one, else in detector pixels. Events are
  drawn voxel by voxel where image.sigma_mm is 0. Images are turned and flipped.

  Args:
    values: config block `data`.
    seed: of all that is random.
    spec: geometry of the detector's images.
    frame: track frame, for a generator that works in it.
    wanted: label (see `data.labels`) -> names of its classes; None: the momentum if it is known.
  Raises:
    ValueError: naming a key that does not fit the data, or a label that they do not have.
  """
  settings = parse_data(values)
  opened = open_data(settings.path, scale_mev=settings.scale_mev, nan=settings.nan)
  if isinstance(opened, Images):
    if "label" in opened.labels:
      table = labels_lib.pixel_table(five_classes=settings.five_classes, delta=settings.delta,
                                     michel=settings.michel)
      opened = with_classes(opened, *table)
    return image_data(settings, opened, seed=seed, spec=spec, wanted=wanted)
  if spec.sigma_mm == 0.0:
    return voxel_data(settings, opened, seed=seed, spec=spec, wanted={} if wanted is None else wanted)
  wanted = {"momentum_mev": ()} if wanted is None else wanted
  return rotated_data(settings, opened, seed=seed, spec=spec, frame=frame, wanted=wanted)


def build_rotated_data(values: Mapping, *, seed: int, spec: ImageSpec, frame: TrackFrame | None = None,
                       views: tuple[str, ...] | None = None) -> TrainingData:
  """Batches of rotated events with their momenta, for tasks that need all three dimensions.

  Images have no third dimension to rotate in, and their pixels and smearing are coarser than those of the
  track frame, so a generator that was trained on them in the track frame would blur everything twice. Raises
  ValueError for them.
  """
  settings = parse_data(values)
  return rotated_data(settings, open_events(settings.path), seed=seed, spec=spec, frame=frame, views=views,
                      wanted={"momentum_mev": ()})


def build_voxel_data(values: Mapping, *, seed: int, spec: ImageSpec) -> TrainingData:
  """Batches of exact pictures of sparse events, or crops of them, without labels; not for images."""
  settings = parse_data(values)
  return voxel_data(settings, open_events(settings.path), seed=seed, spec=spec, wanted={})


def build_crop_data(values: Mapping, *, seed: int, wanted: Wanted,
                    threshold_mev: float = 0.0) -> TrainingData:
  """Batches of images in the eight orientations of a square, drawn with replacement; of events: as they are.

  Args:
    values: config block `data`.
    seed: of order and orientations.
    wanted: label -> names of its classes. For pixel labels, "sample" names the crops of the package: the name
      it had for them.
    threshold_mev: of labels that are measured on the picture.
  """
  settings = parse_data(values)
  if {"label", "track_share"} & set(wanted):
    images = open_labelled(settings.path, scale_mev=settings.scale_mev, five_classes=settings.five_classes,
                           delta=settings.delta, michel=settings.michel)
  else:
    images = open_pictures(settings.path, scale_mev=settings.scale_mev)
  return image_data(dataclasses.replace(settings, order=settings.order or "replacement"), images, seed=seed,
                    wanted=wanted, num_symmetries=NUM_SQUARE, threshold_mev=threshold_mev)


def rotated_data(settings: DataSettings, events: Events, *, seed: int, spec: ImageSpec, wanted: Wanted,
                 frame: TrackFrame | None = None, views: tuple[str, ...] | None = None) -> TrainingData:
  """Events rotated in 3D: images [b h w] in the track frame, [b n n] in detector pixels or [b v n n] of
  `views`."""
  _check_applies(settings, OF_ROTATED, "sparse events that are rotated")
  if settings.contained_only:
    events = pictures.keep_contained(events, spec)
  train, held = split_by_event(events, num_holdout=settings.num_holdout)
  respond = build_readout(settings.readout, voxel_mm=events.voxel_mm)
  if frame is not None and respond is not None:
    raise ValueError("data.readout needs images in detector pixels: in the track frame there is no direction "
                     "of the drift.")
  draw = functools.partial(pictures.rotated_images, frame=frame) if frame is not None else functools.partial(
      pictures.rotated_views, views=views or ("xy",), spec=spec,
      readout=respond and respond(views or ("xy",), spec))
  one_view = frame is None and views is None

  def batches(events, size, ahead):
    return make_batches(
        rotated_pool(events, _first_view(draw) if one_view else draw, wanted), batch_size=size, seed=seed,
        prefetch_batches=ahead)

  def evaluation(num=None):
    batch = batches(held, settings.num_evaluation if num is None else num, 0)(0)
    return jax.tree.map(np.asarray, batch)

  def still(events):
    seen = lambda numbers: pictures.images_of(events, numbers, views=views or ("xy",), spec=spec)
    return still_pool(events, seen if views else lambda numbers: seen(numbers)[:, 0], wanted)
  return TrainingData(batches(train, settings.batch_size, settings.prefetch_batches), evaluation,
                      still(train), still(held), settings, "rotated", ())


def voxel_data(settings: DataSettings, events: Events, *, seed: int, spec: ImageSpec,
               wanted: Wanted, windows: Windows | None = None,
               reduce: Callable | None = None) -> TrainingData:
  """Exact pictures of events, or crops of them; of `windows` and with them their margins; `reduce`d to
  maps."""
  _check_applies(settings, OF_VOXELS, "sparse events that are drawn voxel by voxel (image.sigma_mm = 0)")
  train, held = split_by_event(events, num_holdout=settings.num_holdout)

  def batches(events, size, ahead):
    return make_batches(
        voxel_pool(events, spec=spec, wanted=wanted, crop_px=settings.crop_px, windows=windows,
                   reduce=reduce),
        batch_size=size, seed=seed, num_symmetries=_num_symmetries(wanted), prefetch_batches=ahead)

  still = lambda events: voxel_pool(events, spec=spec, wanted=wanted, view="xy", reduce=reduce)

  def evaluation(num=None):
    if settings.crop_px or windows:
      return batches(held, settings.num_evaluation if num is None else num, 0)(0)
    return first(still(held), num)
  return TrainingData(batches(train, settings.batch_size, settings.prefetch_batches), evaluation,
                      still(train), still(held), settings, "voxels", labels_lib.PIXEL_CLASSES)


def image_data(settings: DataSettings, images: Images, *, seed: int, wanted: Wanted | None,
               spec: ImageSpec | None = None, num_symmetries: int = NUM_ALL,
               threshold_mev: float | None = None) -> TrainingData:
  """Images in detector pixels; `spec` says how many pixels they must have, None: any number."""
  _check_applies(settings, OF_IMAGES, images.kind)
  if spec is not None and images.num_pixels != spec.num_pixels:
    raise ValueError(f"data.path = {settings.path!r} names {images.kind}, of {images.num_pixels} x "
                     f"{images.num_pixels} pixels; image.num_pixels is {spec.num_pixels}.")
  if wanted is None:
    wanted = {"momentum_mev": ()} if "momentum_mev" in images.labels else {}
  if threshold_mev is None:
    threshold_mev = 0.0 if spec is None else spec.threshold_mev
  train, held = (image_pool(part, wanted, threshold_mev=threshold_mev)
                 for part in split_by_event(images, num_holdout=settings.num_holdout))
  batch_fn = make_batches(train, batch_size=settings.batch_size, seed=seed, order=settings.order or "epochs",
                          num_symmetries=num_symmetries if settings.symmetries else 1,
                          prefetch_batches=settings.prefetch_batches)
  return TrainingData(batch_fn, functools.partial(first, held), train, held, settings, "images",
                      images.classes)


def build_readout(values: Mapping, *, voxel_mm: float) -> Callable | None:
  """Detector response of a config block `data.readout`: (views, spec) -> readout of `make_view_readout`.

  Keys: on (False: None is returned), recombination, drift_mm, and any of the fields of
  `simulation.readout.ReadoutParams` (electron_lifetime_us, transverse_diffusion_mm2_us, noise_electrons,
  threshold_electrons ...); those that are None or missing are nominal.

  Raises:
    ValueError: naming an unknown key, or a value out of range.
  """
  values = {key: value for key, value in values.items() if value is not None}
  if not values.pop("on", True):
    return None
  chosen = {key: value for key, value in values.items() if key in ReadoutParams._fields}
  rest = {key: value for key, value in values.items() if key not in chosen}
  for key in sorted(set(rest) - {"recombination", "drift_mm"}):
    raise ValueError(f"Unknown config key data.readout.{key} = {rest[key]!r}; allowed: "
                     f"{sorted({'on', 'recombination', 'drift_mm', *ReadoutParams._fields})}.")
  params = nominal_params()._replace(**chosen)
  return lambda views, spec: make_view_readout(params, views=views, spec=spec, voxel_mm=voxel_mm, **rest)


def open_labelled(path: str, *, five_classes: bool = False, delta: str = "shower", michel: str = "shower",
                  **options) -> Images:
  """Images with labels of pixels, mapped to classes by `data.labels.pixel_table`; "sample": the package's
  crops.

  The protons that "sample" names elsewhere have no such labels, so it has always meant these crops where they
  are needed; "sample_crops" says so. Raises ValueError if there are none; `options` are those of
  `data.open.open_data`.
  """
  images = open_data(SAMPLE_CROPS if path == SAMPLE else path, **options)
  if isinstance(images, Events):
    raise ValueError(f"data.path = {path!r} names sparse events; this needs images with labels of their "
                     "pixels.")
  return with_classes(images, *labels_lib.pixel_table(five_classes=five_classes, delta=delta, michel=michel))


def _first_view(draw: Callable) -> Callable:
  """The same for the first view alone."""
  def one(*args):
    images, momentum_mev = draw(*args)
    return images[:, 0], momentum_mev
  return one


def _num_symmetries(wanted: Wanted) -> int:
  """Of exact pictures: the mirror along the line of sight shows in vectors alone."""
  return NUM_ALL if set(labels_lib.VECTORS) & set(wanted) else NUM_SQUARE


def _check_applies(settings: DataSettings, allowed: Collection[str], kind: str) -> None:
  unset = defaults(DataSettings)
  for name in sorted((OF_ROTATED | OF_VOXELS | OF_IMAGES) - set(allowed)):
    value = getattr(settings, name)
    if value.get("on", True) if name == "readout" else value != unset[name]:
      raise ValueError(f"data.{name} = {getattr(settings, name)!r} does not apply to {kind}, which data.path "
                       f"= {settings.path!r} names.")
