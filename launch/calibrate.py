r"""Is the amortised posterior of momenta calibrated? Coverage, simulation-based ranks and pulls on events of known truth.

python -m launch.calibrate --input=sample --views=xy,xz --out=runs/calibrate
python -m launch.calibrate --input=protons_geant4.npz --first_event=195000 --num_events=4000 --views=xy --out=runs/one_view
"""
import sys
from pathlib import Path

from absl import flags

from lartpc_jax import cli

flags.DEFINE_string("input", "sample", 'File of events with truth, or "sample"; as for launch.infer.')
flags.DEFINE_list("views", ["xy", "xz"], "One view or two.")
flags.DEFINE_integer("num_events", None, "Number of events; default: to the end of the file.", lower_bound=1)
flags.DEFINE_integer("first_event", 0, "Number of the first event.", lower_bound=0)
flags.DEFINE_enum("method", "amortised", ["amortised", "laplace", "nuts"],
                  "Draw from the network's density, from Laplace's Gaussian at its maximum, or by NUTS (extra [sampling]).")
flags.DEFINE_integer("num_samples", 500, "Posterior samples an event.", lower_bound=20)
flags.DEFINE_string("weights", None, "Directory of weights; default: those of the package.")
flags.DEFINE_string("out", None, "Directory of the results.")
flags.DEFINE_integer("seed", 0, "Seed of the samples.")


def main(argv) -> int:
  del argv
  f = flags.FLAGS
  if not f.out:
    raise ValueError("Give --out; --help says what it may be.")
  from lartpc_jax.runs import calibrate
  with cli.progress_bar(100, description="calibrate", unit="%") as bar:
    found = calibrate.calibrate(f.input, tuple(f.views), weights=f.weights, num_events=f.num_events, seed=f.seed,
                                first_event=f.first_event, num_samples=f.num_samples, method=f.method,
                                progress=lambda share: bar.update(int(100 * share)))
  print(calibrate.table(found))
  print("Wrote " + ", ".join(str(path) for path in calibrate.write(found, Path(f.out))))
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
