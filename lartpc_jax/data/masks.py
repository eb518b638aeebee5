"""Dead pixels of a detector, from a text or a file: what an image does not tell."""
import zipfile
from pathlib import Path

import numpy as np

from lartpc_jax.data.detector_faults import dead_wires

FORMS = ("columns=28:36 (image axis 1, the last one excluded), rows=28:36 (axis 0), wires=0.1 (a share of "
         "the columns, at random in each image), or a .npy or .npz file of [n n] or [N n n], 1 where dead")


def dead_pixels(text: str, num_pixels: int, numbers: np.ndarray, *, seed: int = 0) -> np.ndarray:
  """Dead pixels [b n n] bool of the images of these numbers [b]; one image does not depend on the others.

  Args:
    text: one or more of FORMS, with ; between them: dead is what any of them says.
    num_pixels: n.
    numbers: of the images; a file with a mask for each image is read at these rows.
    seed: of random wires.
  Raises:
    OSError, ValueError: naming the part that is none of these, is out of range, or leaves no pixel alive.
  """
  dead = np.zeros((len(numbers), num_pixels, num_pixels), bool)
  for part in filter(None, (part.strip() for part in text.split(";"))):
    dead |= _part(part, num_pixels, numbers, seed)
  if not dead.any():
    raise ValueError(f"The mask {text!r} says of no pixel that it is dead; give {FORMS}.")
  if dead.all(axis=(1, 2)).any():
    raise ValueError(f"The mask {text!r} leaves image {numbers[dead.all(axis=(1, 2))][0]} no pixel alive.")
  return dead


def _part(part: str, num_pixels: int, numbers: np.ndarray, seed: int) -> np.ndarray:
  """Something that broadcasts to [b n n]."""
  name, _, value = part.partition("=")
  if name in ("columns", "rows"):
    line = _line(part, value, num_pixels)
    return line[None, None, :] if name == "columns" else line[None, :, None]
  if name == "wires":
    share = _number(part, value)
    if not 0.0 < share < 1.0:
      raise ValueError(f"{part!r}: the share of dead wires must lie between 0 and 1.")
    rows = [dead_wires((), num_pixels, share, np.random.default_rng((seed, int(i)))) for i in numbers]
    return np.stack(rows)[:, None, :]
  if Path(part).suffix in (".npy", ".npz"):
    return _file(part, num_pixels, numbers)
  raise ValueError(f"Unknown mask {part!r}; give {FORMS}.")


def _line(part: str, value: str, num_pixels: int) -> np.ndarray:
  try:
    low, high = (int(number) for number in value.split(":"))
  except ValueError as error:
    raise ValueError(f"{part!r} is not NAME=FIRST:LAST, such as columns=28:36.") from error
  if not 0 <= low < high <= num_pixels:
    raise ValueError(f"{part!r}: pixels must rise within 0 and {num_pixels}.")
  line = np.zeros(num_pixels, bool)
  line[low:high] = True
  return line


def _number(part: str, value: str) -> float:
  try:
    return float(value)
  except ValueError as error:
    raise ValueError(f"{part!r} is not NAME=NUMBER, such as wires=0.1.") from error


def _file(path: str, num_pixels: int, numbers: np.ndarray) -> np.ndarray:
  try:
    loaded = np.load(path, allow_pickle=False)
    mask = loaded if isinstance(loaded, np.ndarray) else loaded[sorted(loaded.files)[0]]
  except (zipfile.BadZipFile, ValueError, EOFError, IndexError) as error:
    raise ValueError(f"{path}: not a readable mask ({error}).") from error
  if mask.shape[-2:] != (num_pixels, num_pixels) or mask.ndim not in (2, 3):
    raise ValueError(f"{path}: a mask must have shape ({num_pixels}, {num_pixels}) or (N, {num_pixels}, "
                     f"{num_pixels}); got {mask.shape}.")
  if not np.isin(mask, (0, 1)).all():
    raise ValueError(f"{path}: a mask must hold 1 (dead) and 0; got values {mask.min()} to {mask.max()}.")
  if mask.ndim == 2:
    return mask.astype(bool)[None]
  if len(mask) <= numbers.max(initial=0):
    raise ValueError(f"{path}: holds masks of {len(mask)} images; image {numbers.max()} is asked for.")
  return mask.astype(bool)[numbers]
