"""Pictures of unconditional samples: mosaics of crops, side by side."""
import textwrap

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

LETTERS_PER_INCH = 10  # of a title that is not to reach beyond its picture


def mosaic(images: np.ndarray, num_columns: int, *, gap_px: int = 1) -> np.ndarray:
  """Images [n h w] as one array of ceil(n / num_columns) rows, axis 0 of an image to the right, axis 1 up;
  gaps are NaN."""
  n, h, w = images.shape
  num_rows = -(-n // num_columns)
  out = np.full((num_rows, num_columns, w + gap_px, h + gap_px), np.nan, np.float32)
  out.reshape(-1, w + gap_px, h + gap_px)[:n, :w, :h] = images.transpose(0, 2, 1)[:, ::-1]
  rows = out.transpose(0, 2, 1, 3).reshape(num_rows * (w + gap_px), num_columns * (h + gap_px))
  return rows[:-gap_px, :-gap_px] if gap_px else rows


def mosaics(samples: dict[str, np.ndarray], *, num_columns: int = 8, max_images: int = 64,
            top_mev: float = 3.0, inches: float = 5.0) -> Figure:
  """One mosaic for each entry label -> images [n h w] (MeV), on one colour scale that follows the square root
  of charge."""
  figure = Figure(figsize=(inches * len(samples) + 0.7, inches + 0.3), layout="constrained")
  axes = figure.subplots(1, len(samples), squeeze=False)[0]
  for axis, (label, images) in zip(axes, samples.items(), strict=True):
    shown = axis.imshow(mosaic(images[:max_images], num_columns), norm=PowerNorm(0.5, vmin=0.0, vmax=top_mev),
                        cmap="magma", interpolation="nearest")
    axis.set_title(textwrap.fill(label, int(LETTERS_PER_INCH * inches)))
    axis.set(xticks=[], yticks=[])
  figure.colorbar(shown, ax=axes.tolist(), shrink=0.7, label="MeV per pixel")
  return figure
