"""Pictures of whole interactions with a class for every pixel, from labelled voxels. numpy."""
import os
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

from lartpc_jax.geometry.rasterize import PROTONS512, ImageSpec, view_axes

NUM_CLASSES = 5  # 0 background, 1 track, 2 shower, 3 delta ray, 4 Michel electron


class Interactions(NamedTuple):
  """n events with m voxels in all, around their vertices. Event i owns voxels offsets[i]:offsets[i + 1]."""
  offsets: np.ndarray   # [n + 1] int64
  voxel: np.ndarray     # [m 3] int16; the vertex is in voxel (0, 0, 0)
  label: np.ndarray     # [m] uint8, see NUM_CLASSES
  edep_mev: np.ndarray  # [m] float32
  voxel_mm: float

  def __len__(self) -> int:  # number of events, not of fields
    return len(self.offsets) - 1


FIELDS = {"offsets": (1, "iu"), "voxel": (2, "i"), "vlabel": (1, "u"), "edep": (1, "f"), "voxel_mm": (0, "f")}


def load_interactions(path: str | os.PathLike) -> Interactions:
  """Reads `offsets`, `voxel`, `vlabel`, `edep` and `voxel_mm` of an npz, as launch.simulate --backend=geant4 writes them.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: naming file and field, if it is truncated, lacks one, or has another shape, dtype or values.
  """
  if not os.path.exists(path):
    raise FileNotFoundError(f"No event file at {os.fspath(path)!r}.")
  arrays = {}
  for name, (axes, kinds) in FIELDS.items():
    try:
      with np.load(path, allow_pickle=False) as npz:
        arrays[name] = npz[name]
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, ValueError) as error:
      raise ValueError(f"{path}: field {name!r} is not readable (truncated?): {error}.") from error
    if arrays[name].ndim != axes or arrays[name].dtype.kind not in kinds:
      raise ValueError(f"{path}: field {name!r} must have {axes} axes and a dtype of kind {kinds}; got {arrays[name].dtype} "
                       f"of shape {arrays[name].shape}.")
  offsets, num = arrays["offsets"].astype(np.int64), len(arrays["edep"])
  if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != num or np.any(np.diff(offsets) < 0):
    raise ValueError(f"{path}: field 'offsets' must rise from 0 to the number of voxels {num}.")
  for name, shape in (("voxel", (num, 3)), ("vlabel", (num,))):
    if arrays[name].shape != shape:
      raise ValueError(f"{path}: field {name!r} must have shape {shape}; got {arrays[name].shape}.")
  if num and arrays["vlabel"].max() >= NUM_CLASSES:
    raise ValueError(f"{path}: field 'vlabel' must be below {NUM_CLASSES}; largest is {arrays['vlabel'].max()}.")
  return Interactions(offsets, arrays["voxel"], arrays["vlabel"], arrays["edep"], float(arrays["voxel_mm"]))


def interaction_image(events: Interactions, number: int, *, view: str = "xy", spec: ImageSpec = PROTONS512
                      ) -> tuple[np.ndarray, np.ndarray]:
  """Charge [n n] in MeV and classes [n n] uint8 of one event, its vertex in the middle.

  A voxel's charge goes into the pixel of its centre, unsmeared: exact where pixels are as large as voxels. A pixel has the
  class with the most charge in it; pixels below spec.threshold_mev are zero, and background. Charge outside is lost.
  """
  rows, inside, pixels, place = _project(events, number, view, spec)
  label, energy = events.label[rows][inside].astype(np.int64), events.edep_mev[rows][inside].astype(np.float64)
  by_class = np.bincount(place * NUM_CLASSES + label, energy, minlength=len(pixels) * NUM_CLASSES)
  by_class = by_class.reshape(-1, NUM_CLASSES)
  total = by_class.sum(axis=1)
  lit = total >= spec.threshold_mev
  image, classes = np.zeros(spec.shape, np.float32), np.zeros(spec.shape, np.uint8)
  image.reshape(-1)[pixels[lit]] = total[lit]
  classes.reshape(-1)[pixels[lit]] = by_class[lit].argmax(axis=1)
  return image, classes


def lit_pixels(events: Interactions, number: int, *, view: str = "xy", spec: ImageSpec = PROTONS512
               ) -> tuple[np.ndarray, np.ndarray]:
  """Pixels [k 2] of the picture of `interaction_image` that are not zero, and their charge [k] in MeV."""
  rows, inside, pixels, place = _project(events, number, view, spec)
  total = np.bincount(place, events.edep_mev[rows][inside].astype(np.float64), minlength=len(pixels))
  lit = total >= spec.threshold_mev
  return np.stack(np.unravel_index(pixels[lit], spec.shape), axis=1), total[lit].astype(np.float32)


def _project(events: Interactions, number: int, view: str, spec: ImageSpec):
  """Rows of the event's voxels, which lie in the window, the pixels of those (flat, each once), and which one is whose."""
  rows = slice(events.offsets[number], events.offsets[number + 1])
  first, second, _ = view_axes(view)
  centre_mm = (events.voxel[rows].astype(np.float64)[:, [first, second]] + 0.5) * events.voxel_mm
  pixel = np.floor(centre_mm / spec.pitch_mm + spec.num_pixels / 2).astype(np.int64)
  inside = np.all((pixel >= 0) & (pixel < spec.num_pixels), axis=1)
  flat = np.ravel_multi_index(tuple(pixel[inside].T), spec.shape)
  return rows, inside, *np.unique(flat, return_inverse=True)  # few of the n^2 are lit
