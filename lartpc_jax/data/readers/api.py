"""What readers hand over, and the checks they share. A reader opens a path and returns one of the two sources below."""
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

NUM_PIXELS = 64  # of every published image format here, and of data.rasterize.ImageSpec


class ImageSource(NamedTuple):
  """n events of v views, read piece by piece."""
  num: int
  num_views: int
  read: Callable                      # (start, stop) -> images [b v p p] float32, MeV (grey levels for 8-bit formats)
  extra: dict[str, Callable]          # name -> (start, stop) -> array [b ...]; "momentum" [b 3] is MeV/c
  note: str = ""                      # what a user should know about the values


class RawEvent(NamedTuple):
  """One event as its file tells it: m deposits, each spread evenly from start to stop (equal for points)."""
  number: int                         # of the event in its file
  start_mm: np.ndarray                # [m 3]
  stop_mm: np.ndarray                 # [m 3]
  edep_mev: np.ndarray                # [m]
  vertices_mm: np.ndarray             # [k 3], k = 0 if the file tells none
  momenta_mev: np.ndarray             # [j 3] of the primary particles, j = 0 if the file tells none
  label: np.ndarray | None = None     # [m] uint8, see LABELS


class EventSource(NamedTuple):
  """Events in 3D, in the order of the file; `iterate()` starts anew."""
  num: int | None                     # number of events, None if only reading the file tells
  voxel_mm: float                     # voxel edge that suits the file
  iterate: Callable                   # () -> iterator of RawEvent
  note: str = ""


# `vlabel` of converted events; 0 to 4 as in the labelled images of the package. 5: low-energy scatters of PILArNet.
LABELS = {"background": 0, "track": 1, "shower": 2, "delta": 3, "michel": 4, "low_energy": 5}


def load_extra(module: str, extra: str = "io"):
  """Imports an optional package. Raises ValueError (an ImportError's message would not say what to install)."""
  try:
    return importlib.import_module(module)
  except ImportError as error:
    raise ValueError(f"This needs {module.split('.')[0]}, which is not installed ({error}). Install the extra "
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
  """The array, if it is finite and within the limits; else ValueError naming file, field and the bad value."""
  if not np.isfinite(array).all():
    raise ValueError(f"{source}: field {field!r} holds NaN or infinity.")
  if minimum is not None and array.size and array.min() < minimum:
    raise ValueError(f"{source}: field {field!r} must not be below {minimum:g}; smallest is {array.min():g}.")
  if maximum is not None and array.size and array.max() > maximum:
    raise ValueError(f"{source}: field {field!r} must not be above {maximum:g}; largest is {array.max():g}.")
  return array
