"""The fast simulation against Geant4 events and NIST PSTAR: tables and figures."""
import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.events import Events, load_events, select_events
from lartpc_jax.experiments import simulate
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.metrics import tracks
from lartpc_jax.metrics.histograms import two_sample_chi2
from lartpc_jax.plotting import simulation as figures
from lartpc_jax.simulation import pstar, stopping
from lartpc_jax.tables import markdown_table, write_text

ENERGY_EDGES_MEV = np.arange(50.0, 101.0, 10.0)
RESIDUAL_EDGES_MM = np.array([2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 70], float)
# Energies in MeV and depths in mm of the lateral spread; the last depths end before the first tracks do.
LATERAL = {"50-60 MeV": ((50.0, 60.0), np.array([6, 10, 14, 18, 22], float)),
           "60-80 MeV": ((60.0, 80.0), np.array([10, 15, 20, 25, 30], float)),
           "80-100 MeV": ((80.0, 100.0), np.array([15, 25, 35, 45], float)),
           "90-100 MeV": ((90.0, 100.0), np.array([45, 55, 63], float))}
LENGTH_EDGES_MM = np.arange(15.0, 85.0, 2.0)
ANGLE_EDGES_DEG = np.arange(0.0, 12.0, 0.4)
LIMITS = {"range": 0.005, "straggling": 0.10, "dE/dx": 0.02, "lateral rms": 0.05, "chi2/ndf": 1.5}


HEAD = ("quantity", "bin", "Geant4", "fast", "ratio", "limit")
PSTAR_HEAD = ("T [MeV]", "PSTAR S [MeV cm2/g]", "formula / PSTAR", "PSTAR R [g/cm2]", "formula / PSTAR",
              "as simulated / PSTAR")
LABELS = {"range": ("kinetic energy [MeV]", "range / CSDA"),
          "straggling": ("kinetic energy [MeV]", "sigma / range"),
          "dE/dx": ("residual range [mm]", "dE/dx [MeV/mm]"), "lateral rms": ("depth [mm]", "rms [mm]")}


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to compare."""
  reference: str | None = setting(None, "Sparse-event npz of Geant4.", required=True)
  input: str | None = setting(None, "Sparse-event npz to compare; default: the fast simulation, now.")
  num_events: int = setting(40_000, "Events of each sample at most.", lower=1)
  seed: int = setting(1, "Seed of the fast simulation.")
  out: str | None = setting(None, "Directory of the report and the figures.", required=True)


class Comparison(NamedTuple):
  """One quantity in bins: the same rule applied to both samples, with statistical errors where they are
  known.
  """
  quantity: str        # a key of LIMITS
  where: str           # "" or what the bins belong to
  edges: np.ndarray    # [bins + 1]
  unit: str            # of the edges
  values: np.ndarray   # [2 bins], reference and fast
  errors: np.ndarray   # [2 bins]


class Validation(NamedTuple):
  """Everything `report` and the figures need."""
  comparisons: list[Comparison]
  histograms: dict[str, tuple]  # name -> (edges, reference values [n], fast values [n], Chi2)


def run(settings: Settings, console: Console) -> int:
  """Compares, prints and writes the report. Exit code 1 if something lies outside its limit."""
  first = lambda events: select_events(events, np.arange(min(settings.num_events, len(events))))
  reference = first(load_events(settings.reference))
  fast = first(load_events(settings.input)) if settings.input else _simulate(settings, console)
  validation = compare_simulations(reference, fast)
  failed = failures(validation)
  verdict = "Everything is within its limit."
  if failed:
    verdict = "\n- ".join(["Outside their limits:\n", *failed])
  text = f"{validation_table(validation)}\n{verdict}\n"
  console.say(text)
  out = Path(settings.out)
  out.mkdir(parents=True, exist_ok=True)
  write_text(out / "validation.md", text)
  _draw(validation, out)
  console.say(f"Wrote {out}/validation.md and five figures.")
  return 1 if failed else 0


def _simulate(settings: Settings, console: Console) -> Events:
  wanted = simulate.Settings(out="unused.npz", num_events=settings.num_events, nuclear=False,
                             seed=settings.seed)
  simulate.check_simulation(wanted)
  with console.progress(settings.num_events, description="simulate", unit="event") as bar:
    return simulate.fast_backend(wanted)(0, settings.num_events, bar.update)


def _draw(validation: "Validation", out: Path) -> None:
  by_quantity = {}
  for c in validation.comparisons:
    by_quantity.setdefault(c.quantity, []).append((c.where, c.edges, c.values, c.errors))
  for quantity, (xlabel, ylabel) in LABELS.items():
    figure = figures.binned_comparison(by_quantity[quantity], limit=LIMITS[quantity], xlabel=xlabel,
                                       ylabel=ylabel,
                                       logx=quantity == "dE/dx")
    save_figure(figure, out / f"{quantity.replace('/', '').replace(' ', '_').lower()}.png", dpi=120)
  save_figure(figures.histogram_comparison(validation.histograms), out / "histograms.png", dpi=120)


def end_to_stop_mm(particle: stopping.Particle) -> float:
  """Distance from the centroid of the last `tracks.END_MEV` to the end of a track: the mean of R over that
  energy.
  """
  energies = (np.arange(2000) + 0.5) * (tracks.END_MEV / 2000)
  return float(np.mean(stopping.csda_range(energies, particle)))


def compare_simulations(reference: Events, fast: Events, *, num_histogram: int = 20_000) -> Validation:
  """Both samples through the same rules; protons without nuclear interactions, kinetic energies 50 to 100
  MeV.

  Args:
    num_histogram: events in the histograms at most: chi-squared grows with it.
  Raises:
    ValueError: if a sample has no events in one of the bins of energy.
  """
  proton = stopping.PARTICLES["proton"]
  shift = end_to_stop_mm(proton)
  samples = []
  for name, events in (("reference", reference), ("fast", fast)):
    depths = tracks.voxel_depths(events)
    ends = tracks.track_ends(events, depths)
    counts = np.histogram(ends.kinetic_mev, ENERGY_EDGES_MEV)[0]
    if counts.min() < 100:
      raise ValueError(f"The {name} sample needs at least 100 events in each bin of energy "
                       f"{ENERGY_EDGES_MEV.tolist()} MeV; got {counts.tolist()}.")
    samples.append((events, depths, ends))
  comparisons = []
  def add(quantity, where, edges, unit, rows):
    values, errors = (np.array(column) for column in zip(*rows, strict=True))
    comparisons.append(Comparison(quantity, where, np.asarray(edges), unit, values, errors))
  # depth of the last 20 MeV's centroid against what CSDA says, so that bins of energy need not be thin
  expected = lambda kinetic: stopping.csda_range(kinetic, proton) - shift
  ranges = [tracks.binned_range(ends, ENERGY_EDGES_MEV, expected) for _, _, ends in samples]
  counts = [np.histogram(ends.kinetic_mev, ENERGY_EDGES_MEV)[0] for _, _, ends in samples]
  add("range", "", ENERGY_EDGES_MEV, "MeV", [(mean, error) for mean, error, _ in ranges])
  add("straggling", "", ENERGY_EDGES_MEV, "MeV",
      [(spread, spread / np.sqrt(2.0 * n)) for (_, _, spread), n in zip(ranges, counts, strict=True)])
  curves = [tracks.residual_curve(events, depths, ends, RESIDUAL_EDGES_MM, shift)
            for events, depths, ends in samples]
  add("dE/dx", "", RESIDUAL_EDGES_MM, "mm", [(curve, np.zeros_like(curve)) for curve in curves])
  for name, ((low, high), edges) in LATERAL.items():
    add("lateral rms", name, edges, "mm",
        [tracks.lateral_spread(events, depths, (ends.kinetic_mev >= low) & (ends.kinetic_mev < high), edges)
         for events, depths, ends in samples])
  histograms = {}
  for name, edges, values in (
      ("track length [mm]", LENGTH_EDGES_MM,
       [np.linalg.norm(ends.position_mm, axis=1) for _, _, ends in samples]),
      ("angle [deg]", ANGLE_EDGES_DEG, [tracks.angle_deg(events, ends) for events, _, ends in samples])):
    values = [value[:num_histogram] for value in values]
    histograms[name] = (edges, *values, two_sample_chi2(*values, edges))
  return Validation(comparisons, histograms)


def failures(validation: Validation) -> list[str]:
  """What lies outside its limit, in words; statistical errors are not counted in its favour."""
  found = []
  for c in validation.comparisons:
    ratio = c.values[1] / c.values[0]
    found += [f"{c.quantity} {c.where} {c.edges[i]:g}-{c.edges[i + 1]:g} {c.unit}: ratio {ratio[i]:.4f}"
              for i in np.flatnonzero(~(np.abs(ratio - 1.0) <= LIMITS[c.quantity]))]
  found += [f"{name}: chi2/ndf {chi2.chi2:.1f}/{chi2.ndf}"
            for name, (*_, chi2) in validation.histograms.items()
            if not chi2.reduced <= LIMITS["chi2/ndf"]]
  return found


def validation_table(validation: Validation) -> str:
  """Markdown tables of all comparisons, and of the stopping power against PSTAR."""
  rows = []
  for c in validation.comparisons:
    for i, (a, b) in enumerate(c.values.T):
      error = np.hypot(c.errors[0, i] / a, c.errors[1, i] / b) * b / a
      shown = f"{b / a:.4f}" + (f" +- {error:.4f}" if error else "")
      rows.append((c.quantity, f"{c.where} {c.edges[i]:g}-{c.edges[i + 1]:g} {c.unit}", f"{a:.4g}",
                   f"{b:.4g}", shown,
                   f"{100 * LIMITS[c.quantity]:g} %"))
  rows += [(name, f"{len(a)} and {len(b)} events", "", "",
            f"chi2/ndf {chi2.chi2:.1f}/{chi2.ndf} = {chi2.reduced:.2f}",
            LIMITS["chi2/ndf"]) for name, (_, a, b, chi2) in validation.histograms.items()]
  note = ("Range: depth of the centroid of the last 20 MeV, over its CSDA value for the unscaled formula; "
          "straggling: its spread. dE/dx in MeV/mm, lateral rms in mm.")
  lines = [markdown_table(HEAD, rows), "", note, "", pstar_table()]
  return "\n".join(lines) + "\n"


def pstar_table() -> str:
  """Markdown table of the formula, and of what the fast simulation uses, against PSTAR."""
  proton, density = stopping.PARTICLES["proton"], stopping.LIQUID_ARGON.density
  energy, loss, range_gcm2 = pstar.TABLE.T
  ours = 10.0 * stopping.stopping_power(energy, proton) / density / loss
  scale = stopping.GEANT4_SCALE
  rows = []
  for i, t in enumerate(energy):
    ranges = [0.1 * density * stopping.csda_range(t, proton, scale=s) / range_gcm2[i] for s in (1.0, scale)]
    rows.append((f"{t:g}", f"{loss[i]:g}", f"{ours[i]:.4f}", f"{range_gcm2[i]:g}",
                 *(f"{x:.4f}" for x in ranges)))
  return markdown_table(PSTAR_HEAD, rows)
