"""Histograms of pixel statistics of generated images beside real ones."""
import numpy as np
from matplotlib.figure import Figure

from lartpc_jax.plotting.style import colours, legend_above, log_axis, share_outside

LABELS = {
    "active": "active pixels", "charge": "total charge, MeV", "spectrum": "charge of an active pixel, MeV"
}


def statistics_figure(real, generated: dict[str, object], chi2: dict[str, dict], *,
                      num_bins: int = 40) -> Figure:
  """One panel each of active pixels, total charge and pixel spectrum.

  Args:
    real: `metrics.pixels.PixelStatistics` of the data.
    generated: label -> the same of a sample.
    chi2: label -> name -> `metrics.histograms.Chi2`, for the legend.
  """
  figure = Figure(figsize=(13, 3.8), layout="constrained")
  styles = colours(["real", *generated])
  for axis, (name, label) in zip(figure.subplots(1, 3), LABELS.items(), strict=True):
    values = getattr(real, name)
    low, high = np.quantile(values, (0.0, 0.995)) if len(values) else (0.0, 1.0)
    low = max(low, 1e-3) if name == "spectrum" else low
    high = high if high > low else low + 1.0  # all alike
    edges = np.geomspace(low, high, num_bins +
                         1) if name == "spectrum" else np.linspace(low, high, num_bins + 1)
    density = lambda x, edges=edges: np.histogram(x, edges)[0] / max(len(x), 1) / np.diff(edges)
    axis.stairs(density(values), edges, fill=True, color="0.8", label="real")
    for sample, statistics in generated.items():
      outside = share_outside(getattr(statistics, name), edges)
      axis.stairs(density(getattr(statistics, name)), edges, **styles[sample],
                  label=f"{sample}, chi2/ndf {chi2[sample][name].reduced:.2f}"
                  + (f", {100 * outside:.0f} % outside" if outside >= 0.01 else ""))
    axis.set(xlabel=label, ylabel="share per unit")
    log_axis(axis, "y")
    if name == "spectrum":
      log_axis(axis, "x")
    legend_above(axis)
  return figure
