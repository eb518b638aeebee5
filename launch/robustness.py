r"""What the inference bears: nuclear interactions, noise, miscalibration, dead wires, a vertex that is off; a table.

python -m launch.robustness --config=configs/protons64_infer.py:amortised --start=amortised --input=protons_geant4.npz \
    --first_event=195000 --num_events=200 --out=runs/robustness

The same clean events in every row but the one of nuclear interactions. "Flagged" are events that did not converge. The last
two rows fit the vertex, by the variant `vertex` of configs/protons64_infer.py, from the classical estimate: a vertex that
is off leads the amortised one astray. The same command again goes on.
"""
import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from lartpc_jax import cli

CONFIG = "configs/protons64_infer.py"
config_flags.DEFINE_config_file("config", None, f"The config file, with :variant if wanted; default: {CONFIG}.",
                                lock_config=True)
flags.DEFINE_string("input", "sample", 'File of sparse events, or "sample".')
flags.DEFINE_list("views", ["xy", "xz"], "Views.")
flags.DEFINE_integer("num_events", 32, "Events a row.", lower_bound=1)
flags.DEFINE_integer("first_event", 0, "Number of the first event.", lower_bound=0)
flags.DEFINE_string("out", None, "Directory of the results.")
flags.DEFINE_string("weights", None, "Directory of weights; default: those of the package.")
flags.DEFINE_enum("start", "random", ["random", "classical", "amortised"], "Where the descent starts.")
flags.DEFINE_enum("vertex_start", "classical", ["random", "classical", "amortised"], "The same where the vertex is fitted.")
flags.DEFINE_string("vertex_variant", "vertex", f"Variant of {CONFIG} that fits the vertex.")
flags.DEFINE_bool("fit", True, "Descend; otherwise the classical and the amortised estimates alone.")
flags.DEFINE_integer("chunk_size", 8, "Events a device works on at once.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of faults, candidates and noise.")


def main(argv) -> int:
  del argv
  f = flags.FLAGS
  if not f.out:
    raise ValueError("Give --out; --help says what it may be.")
  from configs import protons64_infer
  from lartpc_jax.experiments import infer, robustness
  from lartpc_jax.train.interrupt import stop_requests
  request = infer.Request(**{name: f[name].value for name in infer.Request._fields})
  with stop_requests() as stop:
    stopped = robustness.run(request, Path(f.out), f.config, protons64_infer.get_config(f.vertex_variant), fit=f.fit,
                             vertex_start=f.vertex_start, setup=cli.hold_workdir, progress=cli.progress_bar, stop=stop)
  return 0 if stopped is None else 128 + stopped


if __name__ == "__main__":
  sys.exit(cli.run(main, default_config=CONFIG))
