"""Pictures of the objective over two components of the momentum."""
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lartpc_jax.plotting.inference import mark_points


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
    xlim, ylim = (first[0], first[-1]), (second[0], second[-1])
    mark_points(axis, points, xlim, ylim)
    axis.set(xlabel=labels[0], ylabel=labels[1], xlim=xlim, ylim=ylim, aspect="equal")
  if points:
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False,
                  fontsize=8)
  return figure
