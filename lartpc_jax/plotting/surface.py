"""Pictures of the objective over two components of the momentum."""
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lartpc_jax.plotting.inference import MARKERS


def surface_figure(first: np.ndarray, second: np.ndarray, maps: dict[str, np.ndarray], *,
                   labels: Sequence[str], points: dict[str,
                                                       np.ndarray], trajectory: np.ndarray | None) -> Figure:
  """Figure with each map, contours of the first, the marked momenta, and the path of a descent.

  Args:
    first: [c] MeV/c, to the right.
    second: [r] MeV/c, up.
    maps: label -> [r c].
    labels: of the two axes.
    points: name of `plotting.inference.MARKERS` -> [2] MeV/c.
    trajectory: [s 2] MeV/c, or None.
  """
  figure = Figure(figsize=(5.2 * len(maps), 4.3), layout="constrained")
  axes = figure.subplots(1, len(maps), squeeze=False)[0]
  for axis, (label, values), contours in zip(axes, maps.items(), [True] + [False] * (len(maps) - 1),
                                             strict=True):
    drawn = np.ma.masked_invalid(values)
    filled = axis.pcolormesh(first, second, drawn, cmap="viridis", shading="nearest")
    if contours:
      axis.contour(first, second, drawn, levels=10, colors="white", linewidths=0.4)
    figure.colorbar(filled, ax=axis, label=label)
    if trajectory is not None:
      axis.plot(*trajectory.T, color="white", linewidth=1, marker=".", markersize=3)
    for name, point in points.items():
      marker, colour = MARKERS[name]
      axis.plot(*point, marker=marker, color=colour, markeredgecolor="black", markersize=9, linestyle="none",
                label=name)
    axis.set(xlabel=labels[0], ylabel=labels[1], xlim=(first[0], first[-1]), ylim=(second[0], second[-1]),
             aspect="equal")
    if points:
      axis.legend(fontsize=7, loc="upper right")
  return figure
