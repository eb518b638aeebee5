"""Training data of a generator from a config block `data`: canonical pictures with labels, and those that are
kept apart."""
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from lartpc_jax.build import data as data_lib
from lartpc_jax.data.batches import first
from lartpc_jax.generators.condition import Condition
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.plotting.images import image_rows, momentum_titles
from lartpc_jax.plotting.pixels import mosaics
from lartpc_jax.train.denoising import Holdout

SHOWN_WHOLE = 9      # whole images in a picture of a training run
NUM_SHOWN = 8        # images in a row
KEPT_APART = ("num_holdout", "scale_mev", "nan")  # of `data`: what tells which events were held out
LARGE_PIXELS = 256   # side from which an image is a whole one


class GeneratorData(NamedTuple):
  """What a training task of a generator takes."""
  batch_fn: Callable       # step -> dict(image [b h w] in MeV, a canonical picture, and labels [b ...])
  holdout: Holdout
  training: Callable       # num -> [n h w] the first training pictures, that normalisations are measured on
  figure: Callable         # (real, generated, cond) -> Figure
  in_track_frame: bool     # whether the pictures are those of the track frame
  kept_apart: dict         # what the weights say of the held-out data


def _figure(real: np.ndarray, generated: np.ndarray, cond: Mapping):
  """Rows with titles for images of known momenta, mosaics for others."""
  if "momentum_mev" in cond:
    return image_rows({"real": real[:NUM_SHOWN], "generated": generated[:NUM_SHOWN]},
                      titles=momentum_titles(cond["momentum_mev"][:NUM_SHOWN]))
  if real.shape[1] >= LARGE_PIXELS:
    return mosaics({"real": real, "generated": generated}, num_columns=3, max_images=SHOWN_WHOLE, inches=15.0)
  return mosaics({"real": real, "generated": generated})


def build_generator_data(values: Mapping, *, spec: ImageSpec | None, frame: TrackFrame | None, seed: int,
                         condition: Condition) -> GeneratorData:
  """Training data of a config block `data`, whatever its path names; see `build.data.build_data`.

  Args:
    values: the block.
    spec: geometry of the detector's images; None for crops, whose pixels have no size.
    frame: track frame of the pictures, or None: those are the images themselves.
    seed: of all that is random.
    condition: whose variables are the labels that batches need.
  Raises:
    ValueError: naming an unknown key, or a variable that the data do not tell.
  """
  wanted = {name: variable.classes for name, variable in condition.variables.items()}
  if spec is None:
    data = data_lib.build_crop_data(values, seed=seed, wanted=wanted)
  else:
    data = data_lib.build_data(values, seed=seed, spec=spec, frame=frame, wanted=wanted)
  batch = jax.tree.map(np.asarray, data.evaluation(data.settings.num_evaluation))
  in_frame = frame is not None and data.kind == "rotated"
  seen = first(data.held, len(batch["image"])) if in_frame else batch
  cond = {name: np.asarray(seen[name]) for name in wanted}
  return GeneratorData(data.batch_fn, Holdout(batch, np.asarray(seen["image"]), cond),
                       lambda num: np.asarray(first(data.train, num)["image"]), _figure, in_frame,
                       {name: getattr(data.settings, name) for name in KEPT_APART})
