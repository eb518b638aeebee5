"""Event displays: charge images side by side, on one colour scale a column."""
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

WINDOW_PX = 29  # half-width drawn around the vertex: protons up to 100 MeV reach 26 pixels


def image_rows(rows: dict[str, np.ndarray], *, titles: Sequence[str] | None = None,
               half_width_px: int = WINDOW_PX) -> Figure:
  """Figure with one row of images [b n n] (MeV) for each entry of `rows`; colours follow the square root of
  charge."""
  num = len(next(iter(rows.values())))
  figure = Figure(figsize=(1.5 * num + 0.8, 1.6 * len(rows) + 0.3), layout="constrained")
  axes = figure.subplots(len(rows), num, squeeze=False)
  for column in range(num):
    top = max(float(images[column].max()) for images in rows.values())
    for row, (label, images) in enumerate(rows.items()):
      axis = axes[row, column]
      show_image(axis, images[column], top=top, half_width_px=half_width_px)
      if column == 0:
        axis.set_ylabel(label)
      if row == 0 and titles is not None:
        axis.set_title(titles[column], fontsize=8)
  return figure


def charge_norm(top: float) -> matplotlib.colors.Normalize:
  """Colours that follow the square root of charge, from 0 to `top` MeV."""
  return matplotlib.colors.PowerNorm(0.5, vmin=0.0, vmax=top)


def show_image(axis, image: np.ndarray, *, top: float | None = None, half_width_px: int = WINDOW_PX,
               signed: bool = False) -> None:
  """Draws one image [n n] in MeV with image axis 0 to the right and axis 1 up, vertex in the middle.

  A `signed` one, such as a difference, gets colours linear in charge, white at zero.
  """
  n = image.shape[0]
  low, high = max(0, n // 2 - half_width_px), min(n, n // 2 + half_width_px)
  top = max(top or float(image.max()), 1e-6)
  norm = matplotlib.colors.Normalize(-top, top) if signed else charge_norm(top)
  extent = (low - n / 2, high - n / 2, low - n / 2, high - n / 2)
  axis.imshow(image[low:high, low:high].T, origin="lower", norm=norm, cmap="RdBu_r" if signed else "magma",
              extent=extent, interpolation="nearest")
  axis.set_xticks([])
  axis.set_yticks([])


def label_rows(images: np.ndarray, labels: dict[str, np.ndarray], classes: Sequence[str]) -> Figure:
  """Figure with a row of images [b n n] (MeV) and one of pixel classes [b n n] for each entry of `labels`."""
  num = len(images)
  figure = Figure(figsize=(1.5 * num + 0.8, 1.6 * (len(labels) + 1) + 0.4), layout="constrained")
  axes = figure.subplots(len(labels) + 1, num, squeeze=False)
  colours = matplotlib.colors.ListedColormap(["white", "tab:blue", "tab:red", "tab:green",
                                              "tab:orange"][:len(classes)])
  for column in range(num):
    show_image(axes[0, column], images[column], half_width_px=images.shape[1] // 2)
    for axis, label in zip(axes[1:, column], labels.values(), strict=True):
      axis.imshow(label[column].T, origin="lower", cmap=colours, vmin=-0.5, vmax=len(classes) - 0.5,
                  interpolation="nearest")
      axis.set_xticks([])
      axis.set_yticks([])
  for axis, name in zip(axes[:, 0], ["charge", *labels], strict=True):
    axis.set_ylabel(name)
  figure.supxlabel(
      "blue: track, red: shower" + (", green: delta, orange: Michel" if len(classes) > 3 else ""), fontsize=8)
  return figure


def momentum_titles(momentum_mev: np.ndarray) -> list[str]:
  """One short label "(px, py, pz)" in MeV/c for each momentum [b 3]."""
  return ["({:.0f}, {:.0f}, {:.0f})".format(*p) for p in momentum_mev]
