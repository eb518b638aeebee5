"""Fidelity against diversity over guidance scales, and what the draws look like."""
import numpy as np
from matplotlib.figure import Figure

from lartpc_jax.plotting.images import show_image

NUM_SHOWN = 8


def scan_figure(real, rows: dict, images: np.ndarray, drawn: dict[str, np.ndarray]) -> Figure:
  """Three panels over a mosaic: precision and recall, the energy, and the distance of draws of one condition,
  each against the guidance scale; then real images and draws of their conditions, a row a scale.

  Args:
    real: row (see `experiments.judged.ScanRow`) of real images.
    rows: guidance scale, or what else made the draws -> row; only scales are in the panels.
    images: real ones [n h w].
    drawn: the same -> [n 2 h w].
  """
  num = min(NUM_SHOWN, len(images))
  figure = Figure(figsize=(1.4 * num + 1.0, 3.2 + 1.45 * (1 + len(drawn))), layout="constrained")
  parts = figure.subfigures(2, 1, squeeze=False, height_ratios=(3.2, 1.45 * (1 + len(drawn))))
  above, below = np.asarray(parts).ravel()
  panels, scanned = above.subplots(1, 3), [row for label, row in rows.items() if _is_number(label)]
  scales = [float(label) for label in rows if _is_number(label)]

  def line(axis, name, values, floor):
    value, error = ([getattr(x, part) for x in values] for part in ("value", "error"))
    drawn_line = axis.errorbar(scales, value, yerr=error, fmt="o-", markersize=4, label=name)
    if floor is not None:
      axis.axhline(floor.value, color=drawn_line[0].get_color(), linestyle=":", linewidth=1)

  line(panels[0], "precision", [row.precision for row in scanned], real.precision)
  line(panels[0], "recall", [row.recall for row in scanned], real.recall)
  if real.purity is not None:
    line(panels[0], "types as asked", [row.purity for row in scanned], real.purity)
  panels[0].legend(frameon=False, fontsize=8)
  line(panels[1], "energy", [row.energy.median for row in scanned], real.energy.median)
  panels[1].axhspan(0.98, 1.02, color="0.9")
  line(panels[2], "distance", [row.pair_distance for row in scanned], None)
  titles = ("dotted: real images", "energy, measured over asked", "distance of two draws of one condition")
  for axis, title in zip(panels, titles, strict=True):
    axis.set_xlabel("guidance scale")
    axis.set_title(title, fontsize=9)
  axes = below.subplots(1 + len(drawn), num, squeeze=False)
  shown = {"real": images, **{label: found[:, 0] for label, found in drawn.items()}}
  for row, (label, some) in enumerate(shown.items()):
    for column in range(num):
      show_image(axes[row, column], some[column], top=float(images[column].max()))
    axes[row, 0].set_ylabel(label, fontsize=8)
  return figure


def _is_number(text: str) -> bool:
  return text.replace(".", "", 1).lstrip("-").isdigit()
