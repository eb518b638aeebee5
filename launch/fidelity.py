r"""Generated protons against Geant4 at fixed energies and directions: length, charge, Bragg curve; table and figures.

python -m launch.fidelity --input=protons_geant4.npz --first_event=195000 --out=runs/fidelity
python -m launch.fidelity --out=runs/fidelity                  (the 500 events of the package; larger errors)
"""
import functools
from pathlib import Path

import numpy as np
from absl import flags

from lartpc_jax import cli
from lartpc_jax.files import write_json

flags.DEFINE_string("input", "sample", "Sparse-event npz, or 'sample' for the events of the package.")
flags.DEFINE_integer("first_event", 0, "Use events from this one on (the ones never trained on).")
flags.DEFINE_string("out", None, "Directory for the results.", required=True)
flags.DEFINE_string("weights", None, "Weights directory; default: the ones of the package.")
flags.DEFINE_float("window_mev", 0.0, "Half-width in energy of the matched events; 0: 1 MeV, for small files 3 MeV.")
flags.DEFINE_integer("max_events", 200, "Events at each energy and direction.")
flags.DEFINE_integer("num_steps", 12, "Sampler steps.")
flags.DEFINE_integer("seed", 0, "Seed of rolls and noise.")
ENERGIES_MEV = (50.0, 60.0, 70.0, 80.0, 90.0, 100.0)
COLUMNS = ("T [MeV]", "direction", "events", "length Geant4 [mm]", "generated [mm]", "ratio", "charge/T Geant4",
           "generated", "median Geant4", "median generated")


def table_lines(table) -> list[str]:
  """The closure table in Markdown."""
  lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
  for row in table:
    (real, fake), (e_real, e_fake) = row.length_mm, row.length_error_mm
    lines.append(f"| {row.kinetic_mev:.0f} | {row.direction} | {row.num_events} | {real:.1f} +- {e_real:.1f} | "
                 f"{fake:.1f} +- {e_fake:.1f} | {fake / real:.3f} | {row.charge_ratio[0]:.3f} | {row.charge_ratio[1]:.3f} "
                 f"| {row.charge_median[0]:.3f} | {row.charge_median[1]:.3f} |")
  return lines


def main(argv) -> None:
  del argv
  import jax

  from lartpc_jax.build import tasks as config
  from lartpc_jax.data import pipeline
  from lartpc_jax.data.events import select_events
  from lartpc_jax.generators.generator import make_generate, prior_noise
  from lartpc_jax.geometry.rasterize import ImageSpec
  from lartpc_jax.keys import root_key
  from lartpc_jax.metrics import closure, proton
  from lartpc_jax.plotting import closure as figures
  f = flags.FLAGS
  events = pipeline.open_events(f.input)
  events = select_events(events, np.arange(f.first_event, len(events)))
  window = f.window_mev or (1.0 if len(events) >= 2000 else 3.0)
  diffusion, _ = config.build_diffusion(f.weights)
  sampler = config.build_sampler(diffusion.sde, num_steps=f.num_steps)
  one_batch = jax.jit(make_generate(diffusion, sampler))
  out = Path(f.out)
  out.mkdir(parents=True, exist_ok=True)

  def generate(momentum_mev):
    size, images = 64, []
    for start in range(0, len(momentum_mev), size):
      index = np.minimum(np.arange(start, start + size), len(momentum_mev) - 1)
      key = jax.random.fold_in(root_key(f.seed), start)
      images.append(np.asarray(one_batch(prior_noise(diffusion, key, size), momentum_mev[index])))
    return np.concatenate(images)[:len(momentum_mev)]

  total = len(ENERGIES_MEV) * len(closure.DIRECTIONS)
  with cli.progress_bar(total, unit="sample") as progress:
    table = closure.closure_table(events, generate, kinetic_mev=ENERGIES_MEV, window_mev=window, max_events=f.max_events,
                                  seed=f.seed, spec=ImageSpec(), progress=progress.update)
  lines = table_lines(table)
  curves = np.nanmean([row.dedx for row in table if np.isfinite(row.dedx).any()], axis=0)
  edges = proton.PSTAR_RESIDUAL_EDGES_MM
  lines += ["", "| residual range [mm] | Geant4 [MeV/mm] | generated [MeV/mm] | ratio | PSTAR |", "|" + " --- |" * 5]
  pstar = proton.PSTAR_DEDX_MEV_PER_MM
  lines += [f"| {edges[i]:.0f}-{edges[i + 1]:.0f} | {a:.3f} | {b:.3f} | {b / a:.3f} | {pstar[i]:.3f} |"
            for i, (a, b) in enumerate(curves.T)]
  print("\n".join(lines))
  by_direction = {name: [row for row in table if row.direction == name] for name in closure.DIRECTIONS}
  collect = lambda field: {name: np.array([getattr(r, field) for r in rows]).T for name, rows in by_direction.items()}
  draw = functools.partial(figures.quantity_against_energy, np.array(ENERGIES_MEV), band=0.03)
  draw(collect("length_mm"), collect("length_error_mm"), ylabel="track length [mm]").savefig(out / "length.png", dpi=120)
  draw(collect("charge_median"), None, ylabel="median charge / kinetic energy").savefig(out / "charge.png", dpi=120)
  bragg = figures.bragg_curve(edges, {"Geant4 images": curves[0], "generated": curves[1]}, proton.PSTAR_DEDX_MEV_PER_MM)
  bragg.savefig(out / "bragg.png", dpi=120)
  with cli.atomic_write(out / "fidelity.md") as file:
    file.write("\n".join(lines) + "\n")
  write_json(out / "fidelity.json", [row._asdict() for row in table])
  print(f"Wrote {out}/fidelity.md, fidelity.json, length.png, charge.png, bragg.png")


if __name__ == "__main__":
  cli.run(main)
