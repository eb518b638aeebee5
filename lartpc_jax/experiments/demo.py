"""Inference of the first sample events, always anew: what a newcomer sees first."""
import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

from lartpc_jax import parallel
from lartpc_jax.experiments import infer
from lartpc_jax.experiments.protocol import Console, exit_code, setting
from lartpc_jax.files import hold_lock


@dataclasses.dataclass(frozen=True)
class Settings:
  """How many events of the package, and where to."""
  out: str = setting("demo", "Directory of the results; its chunks/ and events/ are replaced.")
  weights: str | None = setting(None, "Directory of weights; default: those of the package.")
  variant: str = setting("base", "Variant of configs/protons64_infer.py.")
  num_events: int = setting(16, "Events.", lower=1)
  num_pictures: int = setting(4, "Events drawn.", lower=0)


def run(settings: Settings, config: Mapping, console: Console) -> int:
  """As `infer.run` on sample events, but without what is there."""
  job = infer.prepare(infer.Settings("sample", num_events=settings.num_events, weights=settings.weights,
                                     num_pictures=settings.num_pictures), config)
  out = Path(settings.out)
  out.mkdir(parents=True, exist_ok=True)
  with hold_lock(out / "lock", busy=f"Another process is writing {out}."):
    _clear(out)
    with console.workdir(out, job.identity):
      console.say(f"Momenta of {settings.num_events} sample protons from two images each, on "
                  f"{parallel.device_summary()}")
      return exit_code(infer.execute(job, out, console))


def _clear(out: Path) -> None:
  """Removes what an earlier demo left, and nothing else."""
  for path in (*out.glob("chunks/chunk_*.npz"), *out.glob("events/event_*.png")):
    path.unlink()
  shutil.rmtree(out / "chunks", ignore_errors=True)
  (out / "config.json").unlink(missing_ok=True)
