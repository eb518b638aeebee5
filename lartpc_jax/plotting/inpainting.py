"""Images that were completed: what was there, what was seen, and what was drawn in its place."""
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from lartpc_jax.plotting.images import show_image

SHOWN_DRAWS = 2


def inpainting_figure(truth: np.ndarray | None, given: np.ndarray, hidden: np.ndarray, draws: np.ndarray,
                      mean: np.ndarray, spread: np.ndarray) -> Figure:
  """A column for each image [b n n] in MeV, on one colour scale: truth (if known), seen with the dead pixels
  in grey, two draws of [b k n n], and the mean and the standard deviation of all of them.
  """
  rows = {} if truth is None else {"truth": truth}
  rows |= {"seen": given, **{f"draw {i + 1}": draws[:, i] for i in range(SHOWN_DRAWS)},
           "mean of the draws": mean, "spread": spread}
  num, side = len(given), given.shape[1]
  figure = Figure(figsize=(1.5 * num + 0.8, 1.6 * len(rows) + 0.3), layout="constrained")
  axes = figure.subplots(len(rows), num, squeeze=False)
  for column in range(num):
    shown = mean if truth is None else truth
    top = float(max(shown[column].max(), given[column].max()))
    for row, (label, images) in enumerate(rows.items()):
      axis = axes[row, column]
      show_image(axis, np.maximum(images[column], 0.0), top=top, half_width_px=side // 2)
      if label == "seen":
        grey = np.ma.masked_where(hidden[column] == 0, np.full_like(hidden[column], 0.5))
        axis.imshow(grey.T, origin="lower", cmap=matplotlib.colormaps["Greys"], vmin=0.0, vmax=1.0,
                    extent=(-side / 2, side / 2, -side / 2, side / 2), interpolation="nearest")
      if column == 0:
        axis.set_ylabel(label, fontsize=8)
  return figure
