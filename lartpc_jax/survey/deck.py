"""The images of a survey as PNG files that tell only what they show, and the draws of a participant."""
import hashlib
import secrets
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lartpc_jax.plotting.png import charge_levels, indexed_png, palette

REAL = "real"
TOP_QUANTILE = 0.98  # of the lit pixels of real images: where the colours end


class Deck(NamedTuple):
  """n images of s sources."""
  sources: tuple[str, ...]      # names; the first is REAL, the others are generators
  source: np.ndarray            # [n] index into `sources`
  pictures: tuple[bytes, ...]   # n PNG files of one length
  scale: bytes                  # PNG of the colours from 0 to `top_mev`, from left to right
  top_mev: float                # charge of a pixel where the colours end
  num_pixels: int               # along a side
  digest: str                   # of the pictures and their sources


def make_deck(images_mev: Mapping[str, np.ndarray], *, colours: str, top_mev: float = 0.0) -> Deck:
  """All images on one scale of colours.

  Args:
    images_mev: name of a source -> images [n h h] in MeV; REAL among them.
    colours: name of a colour map, see `plotting.png`.
    top_mev: charge of a pixel where the colours end; 0: the 98 % quantile of lit pixels of real images.
  Raises:
    ValueError: naming the source, if shapes differ, there is no generator, or nothing is lit.
  """
  others = [name for name in images_mev if name != REAL]
  if REAL not in images_mev or not others:
    raise ValueError(f"A survey needs images called {REAL!r} and of one generator or more; got "
                     f"{sorted(images_mev)}.")
  side = images_mev[REAL].shape[1]
  for name, images in images_mev.items():
    if images.ndim != 3 or images.shape[1:] != (side, side):
      raise ValueError(f"{name}: images must have the shape of the real ones, (n, {side}, {side}), or the "
                       f"shape would tell; got {images.shape}.")
  lit = images_mev[REAL][images_mev[REAL] > 0]
  if not lit.size:
    raise ValueError("The real images hold no charge above the threshold.")
  top_mev = top_mev or float(np.quantile(lit, TOP_QUANTILE))
  shown, names = palette(colours), (REAL, *others)
  pictures, source = [], []
  for number, name in enumerate(names):
    # axis 0 to the right, axis 1 up, as in all pictures of the house
    levels = charge_levels(images_mev[name], top_mev).swapaxes(1, 2)[:, ::-1]
    pictures += [indexed_png(np.ascontiguousarray(image), shown) for image in levels]
    source += [number] * len(levels)
  digest = hashlib.sha256(b"".join(pictures) + repr((names, source)).encode()).hexdigest()
  scale = indexed_png(np.arange(len(shown), dtype=np.uint8)[None], shown)
  return Deck(names, np.array(source), tuple(pictures), scale, top_mev, side, digest)


def draw_images(deck: Deck, num: int) -> list[int]:
  """Numbers of the images of one participant, in their order; none comes twice.

  Each is real with probability 1/2, whatever the others are, else of a generator that is drawn too. So
  whoever cannot tell is right with probability 1/2 each time, whatever he answers and counts, and the number
  of right answers is binomial. The randomness is that of the operating system: no seed foretells an order.

  Raises:
    ValueError: naming the source that has fewer than `num` images, which could run out.
  """
  check_size(deck, num)
  random = secrets.SystemRandom()
  pools = [np.flatnonzero(deck.source == number).tolist() for number in range(len(deck.sources))]
  chosen = []
  for _ in range(num):
    pool = pools[0] if random.random() < 0.5 else pools[1 + random.randrange(len(pools) - 1)]
    chosen.append(pool.pop(random.randrange(len(pool))))
  return chosen


def check_size(deck: Deck, num: int) -> None:
  """Raises ValueError naming a source that has fewer than `num` images."""
  for number, name in enumerate(deck.sources):
    if (have := int(np.sum(deck.source == number))) < num:
      raise ValueError(f"{name}: has {have} images with charge, but a participant may meet {num} of them "
                       "(--images_each); draw more, or ask for fewer.")
