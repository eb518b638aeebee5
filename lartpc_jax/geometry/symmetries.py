"""The symmetries of liquid argon that map pixels onto pixels: of pictures, labels of pixels, and vectors.

A symmetry is a number from 0 to 15, its code. Bit 1 mirrors the first image axis, 2 the second, 4 then
exchanges the two (together: all flips and quarter turns about the vertex, which is the corner shared by the
four central pixels); 8 mirrors along the line of sight, which changes the sign of the third component of a
vector alone. The first 8 are all that a picture without vectors can tell apart. numpy; exact.
"""
from collections.abc import Collection, Mapping

import numpy as np

NUM_SQUARE = 8  # symmetries of a square picture
NUM_ALL = 16    # with the mirror along the line of sight
# Codes of quarter turns (np.rot90), and of the same, flipped along the first axis.
QUARTER_TURNS = np.array([0, 6, 3, 5, 1, 4, 2, 7])


def turn_pixels(images: np.ndarray, code: np.ndarray) -> np.ndarray:
  """Square pictures or pixel labels [b n n ...] under the symmetries `code` [b]."""
  out = images.copy()
  for axis in (0, 1):
    chosen = code & (1 << axis) != 0
    out[chosen] = np.flip(out[chosen], axis + 1)
  chosen = code & 4 != 0
  out[chosen] = np.swapaxes(out[chosen], 1, 2)
  return out


def turn_vectors(vectors: np.ndarray, code: np.ndarray) -> np.ndarray:
  """Vectors [b 3] (along image axis 0, image axis 1, the line of sight) under the symmetries `code` [b]."""
  out = vectors.copy()
  for axis in (0, 1):
    out[code & (1 << axis) != 0, axis] *= -1
  chosen = code & 4 != 0
  out[chosen] = out[chosen][:, [1, 0, 2]]
  out[code & 8 != 0, 2] *= -1
  return out


def inverse(code: np.ndarray) -> np.ndarray:
  """Codes [b] of the inverse symmetries: where the axes are exchanged, the two flips are."""
  code = np.asarray(code)
  exchanged = (code & 12) | ((code & 1) << 1) | ((code & 2) >> 1)
  return np.where(code & 4 != 0, exchanged, code)


def turn(batch: Mapping[str, np.ndarray], code: np.ndarray, *, pixels: Collection[str],
         vectors: Collection[str]) -> dict:
  """A batch under the symmetries `code` [b]: entries in `pixels` and `vectors` are turned, others stay."""
  turned = dict.fromkeys(pixels, turn_pixels) | dict.fromkeys(vectors, turn_vectors)
  return {name: turned[name](np.asarray(values), code) if name in turned else values for name,
          values in batch.items()}


def random_codes(rng: np.random.Generator, num: int, among: int) -> np.ndarray:
  """Codes [num], evenly from the 8 of a square or all 16. Raises ValueError for another number of them."""
  if among == NUM_SQUARE:
    return QUARTER_TURNS[rng.integers(0, NUM_SQUARE,
                                      num)]  # which draw means which turn: that of all weights so far
  if among == NUM_ALL:
    return rng.integers(NUM_ALL, size=num)
  raise ValueError(f"There are {NUM_SQUARE} or {NUM_ALL} symmetries to draw from; got {among}.")
