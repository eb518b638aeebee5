"""Figures of a simulation against another one."""
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lartpc_jax.plotting.style import draw_within, log_axis


def binned_comparison(panels: Sequence[tuple], *, limit: float, xlabel: str, ylabel: str,
                      logx: bool = False) -> Figure:
  """Values in bins and below their ratio, with the limit shaded.

  Args:
    panels: (title, edges [bins + 1], values [2 bins], errors [2 bins]); reference first.
    limit: of the ratio's deviation from 1.
  """
  figure = Figure(figsize=(4.2 * len(panels), 4.8), layout="constrained")
  axes = figure.subplots(2, len(panels), sharex="col", squeeze=False, height_ratios=(3, 1))
  for (top, bottom), (title, edges, values, errors) in zip(axes.T, panels, strict=True):
    centre, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    for i, (label, style) in enumerate((("Geant4", "ko"), ("fast", "rs"))):
      top.errorbar(centre, values[i], xerr=half, yerr=errors[i], fmt=style, markersize=4, label=label)
    ratio = values[1] / values[0]
    bottom.axhspan(1 - limit, 1 + limit, color="0.88")
    limits = (1 - 2 * limit, 1 + 2 * limit)
    bottom.errorbar(centre, ratio, xerr=half,
                    yerr=ratio * np.hypot(errors[0] / values[0], errors[1] / values[1]), fmt="none",
                    color="r")
    draw_within(bottom, centre, ratio, *limits, linestyle="none", marker="s", markersize=4, color="r")
    bottom.set(xlabel=xlabel, ylim=limits)
    top.set_title(title)
    if logx:
      log_axis(top, "x")
      log_axis(top, "y")
  axes[0, 0].set_ylabel(ylabel)
  axes[1, 0].set_ylabel("fast / Geant4")
  axes[0, 0].legend(frameon=False)
  return figure


def histogram_comparison(histograms: dict[str, tuple]) -> Figure:
  """Histograms of two samples: name -> (edges, reference [n], fast [n], Chi2)."""
  figure = Figure(figsize=(5 * len(histograms), 4), layout="constrained")
  for axis, (name, (edges, reference, fast, chi2)) in zip(
      figure.subplots(1, len(histograms), squeeze=False)[0], histograms.items(), strict=True):
    counts = np.histogram(reference, edges)[0]
    axis.errorbar(0.5 * (edges[1:] + edges[:-1]), counts, np.sqrt(counts), fmt="ko", markersize=3,
                  label="Geant4")
    axis.stairs(
        np.histogram(fast, edges)[0] * (len(reference) / len(fast)), edges, color="tab:red", label="fast")
    axis.set(xlabel=name, ylabel="events", title=f"chi2/ndf = {chi2.chi2:.1f}/{chi2.ndf}")
    axis.legend(frameon=False)
  return figure
