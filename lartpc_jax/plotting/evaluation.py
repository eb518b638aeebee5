"""Figures of a report on generators."""
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from lartpc_jax.plotting import style
from lartpc_jax.plotting.images import charge_norm, show_image


def histogram_grid(histograms: Mapping[str, tuple[np.ndarray, Mapping[str, np.ndarray]]],
                   styles: Mapping[str, dict]) -> Figure:
  """One panel a quantity: name -> (edges [bins + 1], column -> values); the first column is drawn with its
  errors.

  All are scaled to the number of entries of the first. Where a few bins tower over the rest the axis is
  logarithmic; what lies outside of the edges is told in the panel.

  Args:
    histograms: as above.
    styles: of the lines of each column but the first, as of `style.colours`.
  """
  columns = 3
  lines = -(-len(histograms) // columns)
  figure = Figure(figsize=(4.4 * columns, 3.3 * lines), layout="constrained")
  axes = figure.subplots(lines, columns, squeeze=False).ravel()
  for axis in axes[len(histograms):]:
    axis.set_axis_off()
  for axis, (name, (edges, samples)) in zip(axes, histograms.items(), strict=False):
    _histogram_panel(axis, edges, samples, styles)
    axis.set(xlabel=name, ylabel="images / unit")
  figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", frameon=False, fontsize=8,
                ncols=6)
  return figure


def _histogram_panel(axis, edges, samples, styles) -> None:
  first, towers = None, False
  for label, values in samples.items():
    counts = np.histogram(values, edges)[0].astype(float)
    density = counts / np.diff(edges)
    if first is None:
      first, towers = max(len(values), 1), style.is_squashed(density)
      axis.errorbar(0.5 * (edges[1:] + edges[:-1]), density,
                    np.sqrt(counts) / np.diff(edges), fmt="ko", markersize=3, label=label)
    else:
      axis.stairs(density * first / max(len(values), 1), edges, label=label, **styles[label])
  if towers:
    style.log_axis(axis, "y")
    axis.set_ylim(bottom=0.5 / float(np.diff(edges).max()))  # half an image a bin
  outside = style.outside_text({label: style.share_outside(x, edges) for label, x in samples.items()})
  axis.set_title(textwrap.fill(outside, 60), fontsize=7, loc="right")


def reliability_grid(curves: Mapping[str, Mapping[str, tuple]], styles: Mapping[str, dict]) -> Figure:
  """ROC curves and reliability: classifier -> column -> (Calibration, probability [n + m], number of real
  ones); `styles` as for `histogram_grid`."""
  figure = Figure(figsize=(8.4, 3.6 * max(len(curves), 1)), layout="constrained")
  axes = figure.subplots(max(len(curves), 1), 2, squeeze=False)
  for (left, right), (name, samples) in zip(axes, curves.items(), strict=False):
    for label, (calibration, probability, num_real) in samples.items():
      cuts = np.quantile(probability, np.linspace(0, 1, 101))
      real, fake = probability[:num_real], probability[num_real:]
      left.plot([(real >= c).mean() for c in cuts], [(fake >= c).mean() for c in cuts], label=label,
                **styles[label])
      right.plot(calibration.confidence, calibration.accuracy, marker="o", markersize=3, **styles[label])
    for axis in (left, right):
      axis.plot([0, 1], [0, 1], "k:", linewidth=1)
    left.set(xlabel="real taken for generated", ylabel="generated recognised", title=name)
    right.set(xlabel="stated probability of being generated", ylabel="share generated")
    left.legend(frameon=False, fontsize=7)
  return figure


def maps(points: Mapping[str, np.ndarray], is_track: np.ndarray, charge: np.ndarray,
         titles: Mapping[str, str]) -> Figure:
  """t-SNE maps [n 2] of each distance: above by class, below by charge."""
  figure = Figure(figsize=(3.6 * len(points), 6.8), layout="constrained")
  axes = figure.subplots(2, len(points), squeeze=False)
  for (top, bottom), (name, xy) in zip(axes.T, points.items(), strict=True):
    for label, chosen, colour in (("track", is_track, style.CYCLE[1]), ("shower", ~is_track, style.CYCLE[0])):
      top.scatter(*xy[chosen].T, s=7, color=colour, label=label)
    coloured = bottom.scatter(*xy.T, s=7, c=np.log10(np.maximum(charge, 1e-3)), cmap="viridis")
    top.set_title(titles[name], fontsize=9)
    for axis in (top, bottom):
      axis.set_xticks([])
      axis.set_yticks([])
  figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False,
                fontsize=8)
  figure.colorbar(coloured, ax=list(axes[1]), label="log10 charge / MeV")
  return figure


def mosaic(samples: Mapping[str, np.ndarray]) -> Figure:
  """A row of images [b n n] (MeV) for each sample, all on the colours of the first one."""
  num = min(len(images) for images in samples.values())
  figure = Figure(figsize=(1.3 * num + 1.2, 1.35 * len(samples)), layout="constrained")
  axes = figure.subplots(len(samples), num, squeeze=False)
  top = float(np.max(next(iter(samples.values()))[:num]))
  for line, (name, images) in zip(axes, samples.items(), strict=True):
    for axis, image in zip(line, images, strict=False):
      show_image(axis, image, top=top, half_width_px=image.shape[0] // 2)
    line[0].set_ylabel(name, fontsize=7)
  figure.colorbar(ScalarMappable(charge_norm(top), "magma"), ax=axes.ravel().tolist(), extend="max",
                  label="MeV per pixel", shrink=min(1.0, 3.0 / len(samples)))
  return figure


def neighbour_grid(queries: np.ndarray, images: np.ndarray, distances: np.ndarray, *,
                   max_queries: int = 5) -> Figure:
  """Queries [q n n] in the first column, their nearest training images [q k n n] beside them, EMD [q k]
  above."""
  queries = queries[:max_queries]
  width = images.shape[1] + 1
  figure = Figure(figsize=(1.35 * width, 1.5 * len(queries)), layout="constrained")
  axes = figure.subplots(len(queries), width, squeeze=False)
  for line, query, near, distance in zip(axes, queries, images, distances, strict=False):
    show_image(line[0], query, half_width_px=query.shape[0] // 2)
    line[0].set_title("generated", fontsize=7)
    for axis, image, d in zip(line[1:], near, distance, strict=True):
      show_image(axis, image, half_width_px=image.shape[0] // 2)
      axis.set_title(f"{d:.2f} px", fontsize=7)
  return figure


def significance_map(names: Sequence[str], columns: Sequence[str], sigma: np.ndarray) -> Figure:
  """Standard errors above the floor [rows, columns], from 0 to 10, as colours with numbers; NaN is blank."""
  figure = Figure(figsize=(2.6 + 1.0 * len(columns), 1.0 + 0.24 * len(names)), layout="constrained")
  axis = figure.subplots()
  shown = axis.imshow(np.clip(sigma, 0, 10), cmap="Reds", aspect="auto", vmin=0, vmax=10)
  for i, line in enumerate(sigma):
    for j, value in enumerate(line):
      if np.isfinite(value):
        axis.text(j, i, f"{value:.1f}" if abs(value) < 99.5 else ">99", ha="center", va="center", fontsize=6,
                  color="white" if value > 6 else "black")
  axis.set_xticks(range(len(columns)), columns, rotation=40, ha="right", fontsize=7)
  axis.set_yticks(range(len(names)), names, fontsize=7)
  figure.colorbar(shown, ax=axis, label="standard errors above the floor")
  return figure
