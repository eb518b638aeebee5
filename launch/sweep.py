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
cli.define_event_flags()
cli.define_start_flag()


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  cli.require_flags("input", "out", "set")
  from lartpc_jax.experiments import infer, sweep
  from lartpc_jax.train.interrupt import stop_requests
  request = infer.Request(**{name: values[name].value for name in infer.Request._fields})
  with stop_requests() as stop:
    stopped = sweep.run_sweep(request, values.config.to_dict(), sweep.parse_settings(values["set"].value), Path(values.out),
                              setup=cli.hold_workdir, progress=cli.progress_bar, stop=stop)
  return 0 if stopped is None else 128 + stopped


if __name__ == "__main__":
  sys.exit(cli.run(main, default_config=CONFIG))
