r"""Trains the model that a config describes; the same command again resumes.

python -m launch.train --config=configs/protons64_autoencoder.py:tiny --workdir=runs/a
python -m launch.train --config=configs/protons64_autoencoder.py --workdir=runs/b \
    --config.optim.learning_rate=1e-3
python -m launch.train --config=configs/protons64_autoencoder.py --dry_run      (says what it would cost)
"""
import json
import sys

from absl import flags
from ml_collections import config_flags

from lartpc_jax import cli

config_flags.DEFINE_config_file("config", None, "The config file, with :variant if wanted.", lock_config=True)
flags.DEFINE_string("workdir", None, "Directory of the run: config, logs, checkpoints, pictures, weights.")
flags.DEFINE_bool("dry_run", False, "Print config, parameter count and cost of a step; write nothing.")


def main(argv) -> int:
  del argv
  if flags.FLAGS.config is None:
    raise ValueError("Give a config: --config=configs/NAME.py[:variant].")
  config = flags.FLAGS.config.to_dict()
  if not (flags.FLAGS.dry_run or flags.FLAGS.workdir):
    raise ValueError("Give a directory for the run: --workdir=runs/name.")  # before the imports, which take seconds
  from lartpc_jax.train.settings import settings
  optim, train = settings(config)
  from lartpc_jax.build import tasks as config_lib
  from lartpc_jax.plotting.training import loss_curve
  from lartpc_jax.train import loop, optimizer, summary
  tx = optimizer.make_optimizer(**optim)
  print(f"Devices: {cli.device_summary()}", flush=True)
  if flags.FLAGS.dry_run:
    print(json.dumps(config, indent=2, default=str))
    task = config_lib.build_task(flags.FLAGS.config)
    summary.dry_run(task, tx, ema_decay=train["ema_decay"], seed=train["seed"])
    return 0
  cli.check_workdir(flags.FLAGS.workdir, config)
  task = config_lib.build_task(flags.FLAGS.config)  # before the workdir is made: it may find a mistake in the config
  with cli.hold_workdir(flags.FLAGS.workdir, config) as workdir:
    result = loop.train(task, tx, workdir=workdir, config=config, plot_loss=loss_curve, progress=cli.progress_bar, **train)
  return 0 if result.completed else 128 + result.stop_signal


if __name__ == "__main__":
  sys.exit(cli.run(main))
