"""Images drawn for a report, of any weights that launch.sample takes."""
from collections.abc import Sequence
from pathlib import Path

from lartpc_jax.experiments import sample
from lartpc_jax.experiments.protocol import Console
from lartpc_jax.experiments.samples import name_columns


def draw_columns(weights: Sequence[str], num: int, out: str | Path, console: Console) -> dict[str, str]:
  """Draws `num` images of each "NAME=WEIGHTS" into `out`/NAME, as launch.sample does by default.

  Returns name -> file. Errors as of `samples.name_columns` and `models.open_model`.
  """
  columns = {}
  for name, directory in name_columns(weights).items():
    target = Path(out) / name
    sample.run(sample.Settings(weights=directory, num=num, out=str(target)), console)
    columns[name] = str(target / "images.npz")
  return columns
