"""Pictures of a training run."""
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lartpc_jax.plotting.style import log_axis


def loss_curve(steps: Sequence[int], values: Sequence[float], *, label: str = "training loss") -> Figure:
  """Loss against step, logarithmic if all are positive, with a running mean once there are 20 points.

  Args:
    steps: step numbers [n].
    values: losses [n].
    label: of the vertical axis.
  Raises:
    ValueError: if the lengths differ.
  """
  x, y = np.asarray(steps, float), np.asarray(values, float)
  if x.shape != y.shape:
    raise ValueError(f"steps and values must have one shape; got {x.shape} and {y.shape}.")
  figure = Figure(figsize=(6, 4), layout="constrained")
  axes = figure.subplots()
  many = len(x) >= 20
  axes.plot(x, y, color="tab:blue", alpha=0.3 if many else 1.0, linewidth=1,
            marker="o" if len(x) == 1 else None)
  if many:
    width = max(len(y) // 20, 3)
    mean = np.convolve(y, np.full(width, 1.0 / width), mode="valid")
    axes.plot(x[width - 1:], mean, color="tab:blue", label=f"mean of {width} points")
    axes.legend(frameon=False)
  if len(y) and np.all(y > 0):
    log_axis(axes, "y")
  axes.set(xlabel="step", ylabel=label)
  axes.grid(alpha=0.3, which="both")
  return figure
