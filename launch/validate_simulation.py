r"""The fast simulation against Geant4 and NIST PSTAR: tables and figures.

python -m launch.validate_simulation --reference=protons_geant4_em.npz --out=runs/validate
python -m launch.validate_simulation --reference=protons_geant4_em.npz --input=protons.npz --out=runs/validate

Both files are sparse events of protons of 50 to 100 MeV without nuclear interactions; without --input they are
simulated. Exit code 1 if something lies outside its limit.
"""
import sys
from pathlib import Path

from absl import flags

from lartpc_jax import cli

flags.DEFINE_string("reference", None, "Sparse-event npz of Geant4.")
flags.DEFINE_string("input", None, "Sparse-event npz to compare; default: the fast simulation, now.")
flags.DEFINE_integer("num_events", 40_000, "Events of each sample at most.", lower_bound=1)
flags.DEFINE_integer("seed", 1, "Seed of the fast simulation.")
flags.DEFINE_string("out", None, "Directory of the report and the figures.")


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  for name in ("reference", "out"):
    if not values[name].value:
      raise ValueError(f"Give --{name}; --help says what it may be.")
  import numpy as np

  from lartpc_jax.data.events import load_events, select_events
  from lartpc_jax.experiments import simulate, validate
  from lartpc_jax.plotting import simulation as figures
  first = lambda events: select_events(events, np.arange(min(values.num_events, len(events))))
  reference = first(load_events(values.reference))
  if values.input:
    fast = first(load_events(values.input))
  else:
    request = simulate.Request(out="unused.npz", num_events=values.num_events, nuclear=False, seed=values.seed)
    simulate.check_request(request)
    with cli.progress_bar(values.num_events, description="simulate", unit="event") as bar:
      fast = simulate.fast_backend(request)(0, values.num_events, bar.update)
  validation = validate.compare(reference, fast)
  text = validate.report(validation)
  failed = validate.failures(validation)
  verdict = "Outside their limits:\n\n- " + "\n- ".join(failed) if failed else "Everything is within its limit."
  text += f"\n{verdict}\n"
  print(text)
  out = Path(values.out)
  out.mkdir(parents=True, exist_ok=True)
  with cli.atomic_write(out / "validation.md") as file:
    file.write(text)
  by_quantity = {}
  for c in validation.comparisons:
    by_quantity.setdefault(c.quantity, []).append((c.where, c.edges, c.values, c.errors))
  labels = {"range": ("kinetic energy [MeV]", "range / CSDA"), "straggling": ("kinetic energy [MeV]", "sigma / range"),
            "dE/dx": ("residual range [mm]", "dE/dx [MeV/mm]"), "lateral rms": ("depth [mm]", "rms [mm]")}
  for quantity, (xlabel, ylabel) in labels.items():
    figure = figures.binned_comparison(by_quantity[quantity], limit=validate.LIMITS[quantity], xlabel=xlabel, ylabel=ylabel,
                                       logx=quantity == "dE/dx")
    figure.savefig(out / f"{quantity.replace('/', '').replace(' ', '_').lower()}.png", dpi=120)
  figures.histogram_comparison(validation.histograms).savefig(out / "histograms.png", dpi=120)
  print(f"Wrote {out}/validation.md and five figures.")
  return 1 if failed else 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
