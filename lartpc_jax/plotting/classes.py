"""Pictures of how well classes are told."""
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure


def confusion_figure(counts: Mapping[str, np.ndarray], classes: Sequence[str],
                     reliability: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
  """Figure with a confusion matrix for each method, in per cent of the true class, and their reliability.

  Args:
    counts: method -> events [k k] of the class of the row that are called that of the column.
    classes: names.
    reliability: method -> mean stated probability and share that was right, each [bins].
  """
  figure = Figure(figsize=(4.2 * (len(counts) + 1), 3.9), layout="constrained")
  axes = figure.subplots(1, len(counts) + 1)
  for axis, (name, values) in zip(axes, counts.items(), strict=False):
    shares = 100 * values / np.maximum(values.sum(1, keepdims=True), 1)
    axis.imshow(shares, vmin=0, vmax=100, cmap="Blues")
    for i, j in np.ndindex(*shares.shape):
      axis.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", fontsize=8,
                color="white" if shares[i, j] > 60 else "black")
    ticks = range(len(classes))
    axis.set(title=f"{name}, % of the truth", xlabel="called", ylabel="true", xticks=ticks, yticks=ticks)
    axis.set_xticklabels(classes, fontsize=8)
    axis.set_yticklabels(classes, fontsize=8)
  axes[-1].plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
  for name, (stated, found) in reliability.items():
    axes[-1].plot(stated, found, marker="o", markersize=4, label=name)
  axes[-1].set(title="reliability", xlabel="stated probability", ylabel="share right", xlim=(0, 1),
               ylim=(0, 1))
  axes[-1].legend(frameon=False, fontsize=8)
  axes[-1].grid(alpha=0.3)
  return figure
