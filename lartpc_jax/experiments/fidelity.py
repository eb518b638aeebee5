"""Generated protons against Geant4 at fixed energies and directions: length, charge, Bragg curve; table and
figures.
"""
import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from lartpc_jax.build.generators import build_generate, build_generator
from lartpc_jax.config.blocks import section
from lartpc_jax.data.events import select_events
from lartpc_jax.data.open import open_events
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.generators.generator import prior_noise
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.keys import root_key
from lartpc_jax.metrics import closure, proton
from lartpc_jax.plotting import closure as figures
from lartpc_jax.tables import markdown_table, write_json, write_text

ENERGIES_MEV = (50.0, 60.0, 70.0, 80.0, 90.0, 100.0)
BATCH = 64  # images drawn at once
HEAD = ("T [MeV]", "direction", "events", "length Geant4 [mm]", "generated [mm]", "ratio", "charge/T Geant4",
        "generated", "median Geant4", "median generated")
CURVE_HEAD = ("residual range [mm]", "Geant4 [MeV/mm]", "generated [MeV/mm]", "ratio", "PSTAR")


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to compare."""
  input: str = setting("sample", "Sparse-event npz, or 'sample' for the events of the package.")
  first_event: int = setting(0, "Use events from this one on (the ones never trained on).")
  out: str | None = setting(None, "Directory for the results.", required=True)
  weights: str | None = setting(None, "Weights directory; default: the ones of the package.")
  window_mev: float = setting(0.0,
                              "Half-width in energy of the matched events; 0: 1 MeV, for small files 3 MeV.")
  max_events: int = setting(200, "Events at each energy and direction.")
  num_steps: int = setting(0, "Sampler steps; 0: as inference takes.", lower=0)
  seed: int = setting(0, "Seed of rolls and noise.")


def run(settings: Settings, inference: Mapping, console: Console) -> None:
  """Compares draws by the sampler of an inference config, and writes tables and figures."""
  events = open_events(settings.input)
  events = select_events(events, np.arange(settings.first_event, len(events)))
  out = Path(settings.out)
  out.mkdir(parents=True, exist_ok=True)
  total = len(ENERGIES_MEV) * len(closure.DIRECTIONS)
  with console.progress(total, unit="sample") as progress:
    table = closure.closure_table(
        events, _make_generate(settings, inference), kinetic_mev=ENERGIES_MEV,
        max_events=settings.max_events, seed=settings.seed,
        window_mev=settings.window_mev or (1.0 if len(events) >= 2000 else 3.0), spec=ImageSpec(),
        progress=progress.update)
  curves = np.nanmean([row.dedx for row in table if np.isfinite(row.dedx).any()], axis=0)
  text = "\n".join([markdown_table(HEAD, map(_row, table)), "", _curve_table(curves)])
  console.say(text)
  _draw(table, curves, out)
  write_text(out / "fidelity.md", text)
  write_json(out / "fidelity.json", table)
  console.say(f"Wrote {out}/fidelity.md, fidelity.json, length.png, charge.png, bragg.png")


def _make_generate(settings: Settings, inference: Mapping) -> Callable:
  """momentum_mev [n 3] -> images [n p p], in batches."""
  generator = build_generator(settings.weights).generator
  steps = {"num_steps": settings.num_steps} if settings.num_steps else {}
  sampler = {**section(inference, "sampler"), **steps}
  one_batch = jax.jit(build_generate({**inference, "sampler": sampler}, generator))

  def generate(momentum_mev):
    images = []
    for start in range(0, len(momentum_mev), BATCH):
      index = np.minimum(np.arange(start, start + BATCH), len(momentum_mev) - 1)
      key = jax.random.fold_in(root_key(settings.seed), start)
      noise = prior_noise(generator, key, BATCH)
      images.append(np.asarray(one_batch(noise, {"momentum_mev": momentum_mev[index]})))
    return np.concatenate(images)[:len(momentum_mev)]
  return generate


def _row(row) -> list[str]:
  (real, fake), (e_real, e_fake) = row.length_mm, row.length_error_mm
  return [f"{row.kinetic_mev:.0f}", row.direction, str(row.num_events), f"{real:.1f} +- {e_real:.1f}",
          f"{fake:.1f} +- {e_fake:.1f}", f"{fake / real:.3f}",
          *(f"{x:.3f}" for x in (*row.charge_ratio, *row.charge_median))]


def _curve_table(curves: np.ndarray) -> str:
  edges, pstar = proton.PSTAR_RESIDUAL_EDGES_MM, proton.PSTAR_DEDX_MEV_PER_MM
  return markdown_table(CURVE_HEAD, [
      (f"{edges[i]:.0f}-{edges[i + 1]:.0f}", f"{a:.3f}", f"{b:.3f}", f"{b / a:.3f}", f"{pstar[i]:.3f}")
      for i, (a, b) in enumerate(curves.T)])


def _draw(table: list, curves: np.ndarray, out: Path) -> None:
  by_direction = {name: [row for row in table if row.direction == name] for name in closure.DIRECTIONS}

  def collect(field):
    return {name: np.array([getattr(r, field) for r in rows]).T
            for name, rows in by_direction.items()}

  draw = functools.partial(figures.quantity_against_energy, np.array(ENERGIES_MEV), band=0.03)
  lengths = draw(collect("length_mm"), collect("length_error_mm"), ylabel="track length [mm]")
  save_figure(lengths, out / "length.png", dpi=120)
  save_figure(draw(collect("charge_median"), None, ylabel="median charge / kinetic energy"),
              out / "charge.png", dpi=120)
  bragg = figures.bragg_curve(proton.PSTAR_RESIDUAL_EDGES_MM,
                              {"Geant4 images": curves[0], "generated": curves[1]},
                              proton.PSTAR_DEDX_MEV_PER_MM)
  save_figure(bragg, out / "bragg.png", dpi=120)
