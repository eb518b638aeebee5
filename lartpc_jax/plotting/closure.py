"""Figures of generated against simulated protons."""
import numpy as np
from matplotlib.figure import Figure

from lartpc_jax.plotting.style import draw_within, log_axis


def quantity_against_energy(kinetic_mev: np.ndarray, values: dict[str, np.ndarray],
                            errors: dict[str, np.ndarray] | None, *, ylabel: str, band: float) -> Figure:
  """One panel a direction: values[name] [2 e] (simulated, generated), and below their ratio with +-band
  shaded."""
  figure = Figure(figsize=(3.6 * len(values), 4.6), layout="constrained")
  axes = figure.subplots(2, len(values), sharex=True, squeeze=False, height_ratios=(3, 1))
  for column, (name, (simulated, generated)) in enumerate(values.items()):
    top, bottom = axes[:, column]
    error = None if errors is None else errors[name]
    top.errorbar(kinetic_mev, simulated, yerr=None if error is None else error[0], fmt="o-", color="k",
                 label="Geant4")
    top.errorbar(kinetic_mev, generated, yerr=None if error is None else error[1], fmt="s--", color="tab:red",
                 label="generated")
    top.set_title(name)
    bottom.axhspan(1 - band, 1 + band, color="0.85")
    limits = (1 - 2.5 * band, 1 + 2.5 * band)
    draw_within(bottom, kinetic_mev, generated / simulated, *limits, marker="s", color="tab:red")
    bottom.set(xlabel="kinetic energy [MeV]", ylim=limits)
  axes[0, 0].set_ylabel(ylabel)
  axes[1, 0].set_ylabel("generated / Geant4")
  axes[0, 0].legend(frameon=False)
  return figure


def bragg_curve(edges_mm: np.ndarray, curves: dict[str, np.ndarray], pstar: np.ndarray) -> Figure:
  """Mean dE/dx against residual range: curves[name] [bins] in MeV/mm, and the PSTAR means of the same
  bins."""
  figure = Figure(figsize=(6, 4.2), layout="constrained")
  axis = figure.subplots()
  centre = 0.5 * (edges_mm[1:] + edges_mm[:-1])
  axis.stairs(pstar, edges_mm, color="0.6", label="NIST PSTAR (no smearing, no pixels)")
  for (name, curve), style in zip(curves.items(), ("ko-", "rs--", "b^:"), strict=False):
    axis.plot(centre, curve, style, label=name, markersize=4)
  axis.set(xlabel="residual range [mm]", ylabel="dE/dx [MeV/mm]")
  log_axis(axis, "x")
  axis.legend(frameon=False)
  return figure
