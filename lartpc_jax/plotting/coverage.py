"""Pictures of calibration: rank histograms and coverage."""
import numpy as np
from matplotlib.figure import Figure
from scipy import stats


def calibration_figure(ranks: dict, level: np.ndarray) -> Figure:
  """Rank histograms of each component with the 95 % band of a flat one, and coverage against credibility.

  Args:
    ranks: name -> `metrics.coverage.Uniformity`.
    level: credible level [n] of each event.
  """
  figure = Figure(figsize=(3.2 * (len(ranks) + 1), 3.0), layout="constrained")
  *panels, last = figure.subplots(1, len(ranks) + 1)
  for axis, (name, found) in zip(panels, ranks.items(), strict=True):
    expected = found.count.sum() / len(found.count)
    low, high = stats.binom.ppf([0.025, 0.975], found.count.sum(), 1.0 / len(found.count))
    axis.axhspan(low, high, color="tab:blue", alpha=0.15)
    axis.axhline(expected, color="tab:blue", linewidth=1)
    axis.stairs(found.count, found.edges, color="black")
    axis.set(title=f"{name}: chi2/ndf {found.chi2.value:.2f}, p {found.chi2.p_value:.2f}",
             xlabel="rank of the truth", ylim=(0, None))
    axis.title.set_fontsize(9)
  panels[0].set_ylabel("events")
  last.plot([0, 1], [0, 1], color="tab:blue", linewidth=1)
  share = np.linspace(0.0, 1.0, len(level) + 2)
  last.step(np.concatenate([[0.0], np.sort(level), [1.0]]), share, color="black", where="post")
  last.set(xlabel="credibility", ylabel="share of events covered", xlim=(0, 1), ylim=(0, 1))
  return figure
