r"""Is the amortised posterior of momenta calibrated? Coverage, simulation-based ranks and pulls on events of known truth.

python -m launch.calibrate --input=sample --views=xy,xz --out=runs/calibrate
python -m launch.calibrate --input=protons_geant4.npz --first_event=195000 --num_events=4000 --views=xy --out=runs/one_view
python -m launch.calibrate --method=tempered --input=sample --fit_events=100 --out=runs/tempered
"""
import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from lartpc_jax import cli

CONFIG = "configs/protons64_infer.py:amortised"
flags.DEFINE_string("input", "sample", 'File of events with truth, or "sample"; as for launch.infer.')
flags.DEFINE_list("views", ["xy", "xz"], "One view or two.")
flags.DEFINE_integer("num_events", None, "Number of events; default: to the end of the file.", lower_bound=1)
flags.DEFINE_integer("first_event", 0, "Number of the first event.", lower_bound=0)
flags.DEFINE_enum("method", "amortised", ["amortised", "laplace", "nuts", "tempered"],
                  "Draw from the network's density, from Laplace's Gaussian at its maximum, by NUTS (extra [sampling]), "
                  "or weigh draws with the distance of generated images, at a temperature fitted on the first events.")
flags.DEFINE_integer("num_samples", None, "Posterior samples an event; default: 500, 64 for tempered.", lower_bound=20)
config_flags.DEFINE_config_file("config", None, "Inference config of the sampler and the distance, tempered only; default: "
                                f"{CONFIG}.", lock_config=True)
flags.DEFINE_integer("fit_events", 100, "Events that fit the temperature and are not judged; tempered only.", lower_bound=20)
flags.DEFINE_float("power", 0.5, "Power of the amortised density; tempered only.")
flags.DEFINE_string("weights", None, "Directory of weights; default: those of the package.")
flags.DEFINE_string("out", None, "Directory of the results.")
flags.DEFINE_integer("seed", 0, "Seed of the samples.")


def main(argv) -> int:
  del argv
  f = flags.FLAGS
  if not f.out:
    raise ValueError("Give --out; --help says what it may be.")
  from lartpc_jax.experiments import calibrate, tempered
  from lartpc_jax.train.interrupt import stop_requests
  common = dict(weights=f.weights, num_events=f.num_events, seed=f.seed, first_event=f.first_event)
  if f.method == "tempered":
    job = tempered.prepare(f.input, tuple(f.views), f.config, fit_events=f.fit_events, power=f.power,
                           num_samples=f.num_samples or 64, **common)
    with cli.hold_workdir(f.out, job.identity) as out, stop_requests() as stop:
      found = tempered.execute(job, out, progress=cli.progress_bar, stop=stop)
    if isinstance(found, int):
      print("Stopped; what is finished is saved. The same command goes on.")
      return 128 + found
  else:
    with cli.progress_bar(100, description="calibrate", unit="%") as bar:
      found = calibrate.calibrate(f.input, tuple(f.views), method=f.method, num_samples=f.num_samples or 500,
                                  progress=lambda share: bar.update(int(100 * share)), **common)
  print(calibrate.table(found))
  print("Wrote " + ", ".join(str(path) for path in calibrate.write(found, Path(f.out))))
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main, default_config=CONFIG))
