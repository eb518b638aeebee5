"""Released weights from any checkpoint of a training run."""
import dataclasses

from lartpc_jax.build import tasks as config_lib
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.train.export import export_checkpoint


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of which run, which step."""
  workdir: str | None = setting(None, "Directory of the training run.")
  weights: str | None = setting(None, "In place of it: weights, a directory or a name, to store anew.")
  step: int | None = setting(None, "Which checkpoint; default: the newest.", lower=0)
  dtype: str | None = setting(None, "Store numbers as that; int8: matrices, with a scale for each output "
                              "channel; default: as training does.",
                              choices=("float32", "float16", "int8"))
  out: str | None = setting(None, "Directory of the weights.", required=True)


def run(settings: Settings, console: Console) -> None:
  """Writes the weights."""
  if (settings.workdir is None) == (settings.weights is None):
    raise ValueError(f"Give --workdir, a training run, or --weights; got {settings.workdir} and "
                     f"{settings.weights}.")
  if settings.workdir is not None:
    step = export_checkpoint(config_lib.build_task, settings.workdir, settings.out, step=settings.step)
    console.say(f"Wrote the weights of step {step} to {settings.out}.")
  if settings.dtype is not None or settings.weights is not None:
    source = settings.out if settings.weights is None else weight_files.find_weights(settings.weights)
    names = weight_files.store_as(source, settings.out, settings.dtype or weight_files.STORED_DTYPE)
    console.say(f"Stored {', '.join(names)} as {settings.dtype or weight_files.STORED_DTYPE} in "
                f"{settings.out}.")
