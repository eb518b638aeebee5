"""What readers hand over, and the checks they share. A reader opens a path and returns one of the two sources
below."""
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

MEV, GREY = "MeV", "grey level"  # units of pixel values


class ImageSource(NamedTuple):
  """n events of v views, read piece by piece."""
  num: int
  num_views: int
  read: Callable                      # (start, stop) -> images [b v p p] float32, in `unit`
  extra: dict[str, Callable]          # name -> (start, stop) -> array [b ...]; "momentum" [b 3] is MeV/c
  note: str = ""                      # what a user should know about the values
  unit: str = MEV                     # of a pixel value; another one than MeV has no calibration
  class_names: tuple[str, ...] = ()   # of the numbers of the extra field "class", a class of the whole image


class RawEvent(NamedTuple):
  """One event as its file tells it: m deposits, each spread evenly from start to stop (equal for points)."""
  number: int                         # of the event in its file
  start_mm: np.ndarray                # [m 3]
  stop_mm: np.ndarray                 # [m 3]
  edep_mev: np.ndarray                # [m]
  vertices_mm: np.ndarray             # [k 3], k = 0 if the file tells none
  # [j 3] of the primary particles, j = 0 if the file tells none; NaN: unknown
  momenta_mev: np.ndarray
  label: np.ndarray | None = None     # [m] uint8, see LABELS
  # [m] when deposits begin, in any unit; None: they are in the order of their times
  time: np.ndarray | None = None
  pdg: np.ndarray | None = None       # [j] PDG codes of the primaries, 0 where unknown
  kinetic_mev: np.ndarray | None = None  # [j] of the primaries, NaN where unknown


class EventSource(NamedTuple):
  """Events in 3D, in the order of the file; `iterate()` starts anew."""
  num: int | None                     # number of events, None if only reading the file tells
  voxel_mm: float                     # voxel edge that suits the file
  iterate: Callable                   # () -> iterator of RawEvent
  note: str = ""                      # what a user should know, such as what was taken for granted


class ImageLayout(NamedTuple):
  """Where an array of images has its axes; the pixels are square."""
  num_views: int
  num_pixels: int
  views_last: bool


# `vlabel` of converted events; 0 to 4 as in the labelled images of the package. 5: low-energy scatters of
# PILArNet.
LABELS = {"background": 0, "track": 1, "shower": 2, "delta": 3, "michel": 4, "low_energy": 5}


def image_layout(shape: tuple[int, ...], source: str, field: str = "images") -> ImageLayout:
  """The layout of images of shape (n, p, p), (n, views, p, p) or (n, p, p, views), which all files may have.

  Raises:
    ValueError: naming file and field, for any other shape.
  """
  if len(shape) == 3 and shape[1] == shape[2]:
    return ImageLayout(1, shape[2], False)
  if len(shape) == 4 and shape[2] == shape[3]:
    return ImageLayout(shape[1], shape[3], False)
  if len(shape) == 4 and shape[1] == shape[2]:
    return ImageLayout(shape[3], shape[2], True)
  raise ValueError(
      f"{source}: field {field!r} must have shape (n, p, p), (n, views, p, p) or (n, p, p, views); got "
      f"{tuple(shape)}.")


def views_first(images: np.ndarray, source: str, field: str = "images") -> np.ndarray:
  """The same images as [n v p p], whatever their layout; nothing is copied. Raises ValueError as
  `image_layout`."""
  layout = image_layout(images.shape, source, field)
  if images.ndim == 3:
    return images[:, None]
  return np.moveaxis(images, -1, 1) if layout.views_last else images


def load_extra(module: str, extra: str = "io"):
  """Imports an optional package. Raises ValueError (an ImportError's message would not say what to
  install)."""
  try:
    return importlib.import_module(module)
  except ImportError as error:
    raise ValueError(
        f"This needs {module.split('.')[0]}, which is not installed ({error}). Install the extra "
        f"{extra!r}: pip install 'lartpc_jax[{extra}]'.") from error


def existing(path: str | os.PathLike) -> Path:
  """The path, if there is such a file or directory and it is not an empty file."""
  path = Path(path)
  if not path.exists():
    raise FileNotFoundError(f"No input at {str(path)!r}.")
  if path.is_file() and not path.stat().st_size:
    raise ValueError(f"{path}: is empty (0 bytes).")
  return path


def check_values(array: np.ndarray, source: str, field: str, *, minimum: float | None = None,
                 maximum: float | None = None) -> np.ndarray:
  """The array, if it is finite and within the limits; else ValueError naming file, field and the bad
  value."""
  if not np.isfinite(array).all():
    raise ValueError(f"{source}: field {field!r} holds NaN or infinity.")
  if minimum is not None and array.size and array.min() < minimum:
    raise ValueError(f"{source}: field {field!r} must not be below {minimum:g}; smallest is {array.min():g}.")
  if maximum is not None and array.size and array.max() > maximum:
    raise ValueError(f"{source}: field {field!r} must not be above {maximum:g}; largest is {array.max():g}.")
  return array
