"""Images as PNG of a palette, each file as long as any other of its shape: its length tells nothing of what
it shows."""
import struct
import zlib

import matplotlib
import numpy as np

COLOURS = ("viridis", "cividis", "gray")  # of even lightness, so safe for the colour-blind
LEVELS = 256
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTH, _PALETTE = 8, 3  # bits a pixel, colour type: PNG specification (third edition), table 11.1


def palette(name: str) -> np.ndarray:
  """Red, green and blue [256 3] uint8 of a colour map, dark for little. Raises ValueError for another than
  COLOURS."""
  if name not in COLOURS:
    raise ValueError(f"colours must be one of {', '.join(COLOURS)}; got {name!r}.")
  return np.round(255 * matplotlib.colormaps[name](np.arange(LEVELS))[:, :3]).astype(np.uint8)


def charge_levels(images_mev: np.ndarray, top_mev: float) -> np.ndarray:
  """Levels [... h w] uint8 of images in MeV: the square root of charge, full at `top_mev` and above."""
  return np.round((LEVELS - 1) * np.sqrt(np.clip(images_mev / top_mev, 0.0, 1.0))).astype(np.uint8)


def indexed_png(levels: np.ndarray, colours: np.ndarray) -> bytes:
  """A PNG of rows of levels [h w] uint8 in the colours [256 3] uint8, the first row on top.

  It is stored, not compressed, and holds neither time nor text, so its length depends on the shape alone.
  """
  height, width = levels.shape
  rows = np.concatenate([np.zeros((height, 1), np.uint8), levels], axis=1)  # each begins with filter 0: none
  header = struct.pack(">IIBBBBB", width, height, _DEPTH, _PALETTE, 0, 0, 0)
  return _SIGNATURE + b"".join(_chunk(name, content) for name, content in (
      (b"IHDR", header), (b"PLTE", colours.tobytes()), (b"IDAT", zlib.compress(rows.tobytes(), 0)),
      (b"IEND", b"")))


def _chunk(name: bytes, content: bytes) -> bytes:
  return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
