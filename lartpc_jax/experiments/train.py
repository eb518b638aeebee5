"""Trains the model that a config describes."""
import dataclasses
import json
from collections.abc import Mapping

from lartpc_jax.build import tasks as config_lib
from lartpc_jax.experiments.allocator import restart_with_huge_pages
from lartpc_jax.experiments.protocol import Console, exit_code, setting
from lartpc_jax.parallel import device_summary
from lartpc_jax.plotting.training import loss_curve
from lartpc_jax.train import loop, optimizer, summary
from lartpc_jax.train.settings import settings as training_settings


@dataclasses.dataclass(frozen=True)
class Settings:
  """Where to, or whether only to say what it would cost."""
  workdir: str | None = setting(None, "Directory of the run: config, logs, checkpoints, pictures, weights.")
  dry_run: bool = setting(False, "Print config, parameter count and cost of a step; write nothing.")
  huge_pages: bool = setting(False,
                             "Linux: restart with glibc's allocator set for huge pages and memory that is "
                             "kept.")


def run(settings: Settings, config: Mapping | None, console: Console) -> int:
  """Trains, or resumes, or says what it would cost."""
  if config is None:
    raise ValueError("Give a config: --config=configs/NAME.py[:variant].")
  if not (settings.dry_run or settings.workdir):
    raise ValueError("Give a directory for the run: --workdir=runs/name.")
  if settings.huge_pages:
    restart_with_huge_pages()
  training = training_settings(config)
  tx = optimizer.make_optimizer(training.optim, training.train.num_steps)
  console.say(f"Devices: {device_summary()}")
  if settings.dry_run:
    console.say(json.dumps(config, indent=2, default=str))
    summary.dry_run(config_lib.build_task(config), tx, training)
    return 0
  console.check(settings.workdir, config)
  task = config_lib.build_task(config)  # before the workdir is made: it may find a mistake in the config
  with console.workdir(settings.workdir, config) as workdir:
    result = loop.train(task, tx, training, workdir=workdir, config=config, plot_loss=loss_curve,
                        progress=console.progress)
  return exit_code(None if result.completed else result.stop_signal)
