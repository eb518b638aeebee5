r"""launch.infer with every combination of some config values, and one table; the same command again goes on.

python -m launch.sweep --input=sample --num_events=64 --start=amortised --config=configs/protons64_infer.py:amortised \
    --set=inference.second_steps=4,8 --set=inference.prior_weight_px=0.0,0.3 --out=runs/sweep

--out gets a directory of launch.infer for each combination, sweep.json and sweep.md. Other flags as for launch.infer.
"""
import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from lartpc_jax import cli

CONFIG = "configs/protons64_infer.py"
config_flags.DEFINE_config_file("config", None, f"The config file, with :variant if wanted; default: {CONFIG}.",
                                lock_config=True)
flags.DEFINE_multi_string("set", [], "Config key and its values: key=value,value. May be given several times.")
flags.DEFINE_string("input", None, 'File of events or images, or "sample".')
flags.DEFINE_list("views", ["xy", "xz"], "Views, in the order of the images.")
flags.DEFINE_integer("num_events", None, "Number of events; default: to the end of the file.", lower_bound=1)
flags.DEFINE_integer("first_event", 0, "Number of the first event.", lower_bound=0)
flags.DEFINE_string("out", None, "Directory of the results.")
flags.DEFINE_string("weights", None, "Directory of weights; default: those of the package.")
flags.DEFINE_enum("start", "random", ["random", "classical", "amortised"], "Where the descent starts.")
flags.DEFINE_integer("chunk_size", 8, "Events a device works on at once.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the candidates and the noise.")


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  for name in ("input", "out", "set"):
    if not values[name].value:
      raise ValueError(f"Give --{name}; --help says what it may be.")
  from lartpc_jax.runs import infer, sweep
  from lartpc_jax.train.interrupt import stop_requests
  request = infer.Request(**{name: values[name].value for name in infer.Request._fields})
  with stop_requests() as stop:
    stopped = sweep.run_sweep(request, values.config.to_dict(), sweep.parse_settings(values["set"].value), Path(values.out),
                              setup=cli.setup_workdir, progress=cli.progress_bar, stop=stop)
  return 0 if stopped is None else 128 + stopped


if __name__ == "__main__":
  sys.exit(cli.run(main, default_config=CONFIG))
