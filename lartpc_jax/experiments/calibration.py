"""What a calibration found: judged draws of posteriors on events whose truth is known, as a table, JSON and a
figure.
"""
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.images import ImageSet
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.inference.errors import error_summary, hidden_direction
from lartpc_jax.metrics import coverage
from lartpc_jax.plotting.coverage import calibration_figure
from lartpc_jax.tables import markdown_table, write_json

CREDIBILITIES = (0.68, 0.95)


class Calibrated(NamedTuple):
  """What the posterior says of n events whose truth is known, and how that holds."""
  num_events: int
  errors: dict                 # of the point estimate, see `errors.error_summary`
  coverage: dict               # credibility -> Estimate
  ranks: dict                  # component -> coverage.Uniformity
  # component -> standard deviation of the pulls between their 2.5 and 97.5 % quantiles
  pull_width: dict
  level: np.ndarray            # [n]
  # one view: mean share of samples with the sign that is rarer, of events with two modes
  signs: float | None
  num_failed: int              # events without a posterior (Laplace: no maximum), which count as not covered
  divergent: float             # share of the steps of NUTS that diverged; 0 for the other methods
  temperature_px: float | None = None  # the tempered distance: temperature that was fitted on other events
  effective: float | None = None       # and the median effective number of its draws


def judge(data: ImageSet, views: tuple[str, ...], estimate: np.ndarray, samples: np.ndarray,
          level: np.ndarray,
          found: np.ndarray) -> Calibrated:
  """Coverage, ranks and pulls of n events.

  Args:
    data: the events, with truth.
    views: names.
    estimate: momenta [n 3], MeV/c.
    samples: momenta [s n 3] of the posteriors.
    level: [n], see `coverage.credible_level`.
    found: [n] bool, events with a posterior.
  """
  samples, true_mev = samples[:, found], data.momentum_mev[found]
  components = dict(zip(("px", "py", "pz"), (samples[..., i] for i in range(3)), strict=True))
  truth = dict(zip(components, true_mev.T, strict=True))
  components["|p|"], truth["|p|"] = np.linalg.norm(samples, axis=-1), np.linalg.norm(true_mev, axis=1)
  bins = min(20, int(found.sum()) // 5)
  width = lambda x: float(np.diff(np.quantile(x, [0.16, 0.84]))[0] / 2)
  return Calibrated(
      len(estimate), error_summary(estimate, data.momentum_mev, views, data.clean),
      {c: coverage.coverage(level, c) for c in CREDIBILITIES},
      {name: coverage.rank_uniformity(x, truth[name], num_bins=bins) for name, x in components.items()},
      {name: width(coverage.pulls(x, truth[name])) for name, x in components.items()}, level,
      _sign_balance(samples, views), int((~found).sum()), 0.0)


def _sign_balance(samples: np.ndarray, views: tuple[str, ...]) -> float | None:
  hidden = hidden_direction(views)
  if hidden is None:
    return None
  positive = (samples @ hidden > 0).mean(0)
  return float(np.minimum(positive, 1.0 - positive).mean())


def calibration_table(found: Calibrated) -> str:
  """What the terminal shows, as Markdown."""
  lines = [f"{found.num_events} events; median |dp| of the point estimate "
           f"{found.errors['median_dp_mev']:.1f} MeV/c", "",
           markdown_table(("credibility", "covered"),
                          [(f"{100 * c:g} %", f"{100 * e.value:.1f} +- {100 * e.error:.1f} %")
                           for c, e in found.coverage.items()]), "",
           markdown_table(("component", "ranks: chi2/ndf", "p", "half the central 68 % of the pulls"),
                          [(name, f"{u.chi2.value:.2f}", f"{u.chi2.p_value:.3f}",
                            f"{found.pull_width[name]:.2f}")
                           for name, u in found.ranks.items()])]
  if found.temperature_px is not None:
    lines += ["",
              f"Temperature {found.temperature_px:.3g} px, fitted on other events; effective draws an event, "
              f"median: {found.effective:.0f}"]
  if found.num_failed:
    lines += ["",
              f"WARNING: {found.num_failed} events have no posterior; they count as not covered, and not in "
              "the ranks."]
  if found.divergent:
    lines += ["", f"WARNING: {100 * found.divergent:.2g} % of the steps of NUTS diverged."]
  if found.signs is not None:
    lines += ["", "Share of samples with the rarer sign of the hidden component, mean: "
              f"{found.signs:.2f} (0.5: two equal modes)"]
  return "\n".join(lines)


def write_calibration(found: Calibrated, out: Path) -> list[Path]:
  """Writes calibration.json and calibration.png into `out`; each whole or not at all."""
  out.mkdir(parents=True, exist_ok=True)
  content = found._asdict() | {
      "coverage": {str(c): e._asdict() for c, e in found.coverage.items()}, "level": found.level.tolist(),
      "ranks": {name: {"count": u.count.tolist(), **u.chi2._asdict()} for name, u in found.ranks.items()}}
  return [write_json(out / "calibration.json", content),
          save_figure(calibration_figure(found.ranks, found.level), out / "calibration.png")]
