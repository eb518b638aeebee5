"""Training data of a generator from a config block `data`: pictures with labels, and those that are kept apart."""
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build import data as data_lib
from lartpc_jax.config.blocks import call_with
from lartpc_jax.data import crops as crops_lib, sources
from lartpc_jax.generators.condition import Condition
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.metrics.pixels import ANALYSIS_THRESHOLD_MEV
from lartpc_jax.plotting.images import image_rows, momentum_titles
from lartpc_jax.plotting.pixels import mosaics
from lartpc_jax.train.denoising import Holdout
from lartpc_jax.units import PDG_CODES

SHOWN_WHOLE = 9         # whole images in a picture of a training run
NUM_SCALE_CROPS = 4096  # crops that the normalisation of pixels is measured on
NUM_SHOWN = 8           # images in a row


class TrainingData(NamedTuple):
  """What a training task of a generator takes."""
  batch_fn: Callable       # step -> dict(image [b h w] in MeV, a canonical picture, and labels [b ...])
  holdout: Holdout
  sample: np.ndarray       # [n h w] training pictures, that normalisations are measured on
  told: Callable           # batch -> physical values of the condition's variables, by name
  figure: Callable         # (real, generated, cond) -> Figure
  kept_apart: dict         # the keys of the block that say what was held out


class _Source(NamedTuple):
  """One kind of data, opened."""
  batch_fn: Callable
  holdout: dict            # a batch of canonical pictures and their labels
  images: np.ndarray       # [n m m] of the detector, held out as well
  labels: dict             # of these
  sample: np.ndarray
  figure: Callable


def _rows(real: np.ndarray, generated: np.ndarray, cond: Mapping):
  titles = momentum_titles(cond["momentum_mev"][:NUM_SHOWN]) if "momentum_mev" in cond else None
  return image_rows({"real": real[:NUM_SHOWN], "generated": generated[:NUM_SHOWN]}, titles=titles)


def _squares(real: np.ndarray, generated: np.ndarray, cond: Mapping):
  del cond
  return mosaics({"real": real, "generated": generated})


def _few_squares(real: np.ndarray, generated: np.ndarray, cond: Mapping):
  del cond
  return mosaics({"real": real, "generated": generated}, num_columns=3, max_images=SHOWN_WHOLE, inches=15.0)


def _labels(batch: Mapping) -> dict:
  return {name: value for name, value in batch.items() if name != "image"}


def _events(*, spec: ImageSpec, frame: TrackFrame | None, seed: int, **values) -> _Source:
  """Sparse events with momenta, each turned by a random rotation: pictures of the track frame, or else the xy view."""
  if frame is None:
    many, held = call_with(data_lib.build_view_batches, "data", values, seed=seed, views=("xy",), spec=spec)
    one_view = lambda batch: {**batch, "image": batch["image"][:, 0]}
    held = jax.tree.map(lambda x: x[:data_lib.NUM_EVALUATION_IMAGES], one_view(held))
    batch_fn = lambda step: one_view(many(step))
    return _Source(batch_fn, held, held["image"], _labels(held), np.asarray(batch_fn(0)["image"]), _rows)
  batch_fn, held = call_with(data_lib.build_batches, "data", values, seed=seed, spec=spec, frame=frame)
  return _Source(batch_fn, held["track"], held["image"], {"momentum_mev": held["momentum_mev"]}, held["track"]["image"],
                 _rows)


def _images(*, spec: ImageSpec, frame: TrackFrame | None, seed: int, **values) -> _Source:
  """Images of any source in the pixels of their detector, and what it tells of them."""
  if frame is not None:
    raise ValueError("data.kind = 'images' has no third dimension to make pictures of the track frame from: set frame "
                     "to None, or take sparse events (data.kind = 'events').")
  rows = sources.open_training_source(values.get("path"))
  if not isinstance(rows, sources.ImageRows):
    raise ValueError(f"data.path = {values.get('path')!r} names sparse events; data.kind = 'images' takes images.")
  batch_fn, held = call_with(data_lib.build_image_batches, "data", values, spec=spec, seed=seed, rows=rows)
  return _Source(batch_fn, held, held["image"], _labels(held), np.asarray(batch_fn(0)["image"]), _rows)


def _crops(*, spec: ImageSpec | None, frame: TrackFrame | None, seed: int, **values) -> _Source:
  """Crops of interactions, split by event."""
  del spec, frame
  batch_fn, train, held = call_with(data_lib.build_crops, "data", values, seed=seed)
  sample = crops_lib.images_mev(train, slice(NUM_SCALE_CROPS))
  return _Source(batch_fn, {"image": held}, held, {}, sample, _squares)


def _interactions(*, spec: ImageSpec, frame: TrackFrame | None, seed: int, **values) -> _Source:
  """Whole interactions."""
  del frame
  batch_fn, held, sample = call_with(data_lib.build_interactions, "data", values, spec=spec, seed=seed)
  return _Source(batch_fn, {"image": held}, held, {}, sample, _few_squares)


KINDS = {"events": _events, "images": _images, "crops": _crops, "interactions": _interactions}


def make_told(condition: Condition, available: Mapping) -> Callable:
  """Builds told(batch) -> physical values of the declared variables by name, from labels and from the image itself.

  A variable "particle" is the place of the example's PDG code among its classes; "charge_mev" and "lit_pixels" are those
  of the image, pixels at or above the analysis threshold.

  Args:
    condition: the variables.
    available: a batch, which says what labels there are.
  Raises:
    ValueError: naming a variable that the data do not tell.
  """
  from_image = {
      "charge_mev": lambda image: image.sum((1, 2)),
      "lit_pixels": lambda image: jnp.maximum((image >= ANALYSIS_THRESHOLD_MEV).sum((1, 2)), 1).astype(image.dtype)}
  for name, variable in condition.variables.items():
    if name == "particle":
      unknown = [c for c in variable.classes if c not in PDG_CODES]
      if unknown:
        raise ValueError(f"Unknown particles {unknown} in condition.particle.classes; allowed: {sorted(PDG_CODES)}.")
    if name not in available and name not in from_image and not (name == "particle" and "pdg" in available):
      raise ValueError(f"Unknown condition variable {name!r}: these data tell {sorted(_labels(available))}, and of every "
                       f"image {sorted(from_image)}.")

  def one(name: str, batch: Mapping) -> jax.Array:
    if name in batch:
      return batch[name]
    if name == "particle":
      codes = jnp.asarray([PDG_CODES[c] for c in condition.variables[name].classes])
      return jnp.argmax(batch["pdg"][:, None] == codes[None], axis=1)
    return from_image[name](batch["image"])
  return lambda batch: {name: one(name, batch) for name in condition.variables}


def build_training_data(values: Mapping, *, spec: ImageSpec | None, frame: TrackFrame | None, seed: int,
                        condition: Condition) -> TrainingData:
  """Training data of a config block `data`: `kind` is one of KINDS, the other keys are those of its builder in `build.data`.

  Raises:
    ValueError: naming an unknown kind or key, or a condition variable that the data do not tell.
  """
  if values.get("kind") not in KINDS:
    raise ValueError(f"Unknown config value data.kind = {values.get('kind')!r}; allowed: {sorted(KINDS)}.")
  values = {**values}
  source = KINDS[values.pop("kind")](spec=spec, frame=frame, seed=seed, **values)
  told = make_told(condition, source.holdout)
  images = np.asarray(source.images)
  cond = jax.tree.map(np.asarray, told({"image": jnp.asarray(images), **source.labels}))
  return TrainingData(source.batch_fn, Holdout(source.holdout, images, cond), source.sample, told, source.figure,
                      {name: value for name, value in values.items() if name.startswith("num_holdout")})
