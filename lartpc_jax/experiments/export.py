"""Released weights from any checkpoint of a training run."""
import dataclasses

from lartpc_jax.build import tasks as config_lib
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.train.export import export_checkpoint


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of which run, which step."""
  workdir: str | None = setting(None, "Directory of the training run.", required=True)
  step: int | None = setting(None, "Which checkpoint; default: the newest.", lower=0)
  out: str | None = setting(None, "Directory of the weights.", required=True)


def run(settings: Settings, console: Console) -> None:
  """Writes the weights."""
  step = export_checkpoint(config_lib.build_task, settings.workdir, settings.out, step=settings.step)
  console.say(f"Wrote the weights of step {step} to {settings.out}.")
