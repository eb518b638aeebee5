"""Metrics of a run on disk: metrics.jsonl, TensorBoard, pictures."""
import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from lartpc_jax.files import atomic_write
from lartpc_jax.tables import json_value

logger = logging.getLogger(__name__)


class MetricLog(NamedTuple):
  """Writes metrics and pictures; from `open_metric_log`."""
  write: Callable    # (step, dict[str, float]) -> None: one line of metrics.jsonl and TensorBoard scalars
  picture: Callable  # (step, name, figure, path: Path) -> None: a PNG and a TensorBoard image
  history: Callable  # (name) -> (steps, values), over all restarts


def read_metrics(path: Path, *, last_step: int | None = None) -> list[dict]:
  """Lines of a metrics.jsonl up to `last_step`; a last line cut short by a killed process is left out."""
  if not Path(path).exists():
    return []
  rows = []
  for line in Path(path).read_text(encoding="utf-8").splitlines():
    try:
      row = json.loads(line)
    except json.JSONDecodeError:
      logger.warning("Left out an unreadable line of %s: %.60s", path, line)
      continue
    if last_step is None or row["step"] <= last_step:
      rows.append(row)
  return rows


@contextlib.contextmanager
def open_metric_log(workdir: Path, *, start_step: int) -> Iterator[MetricLog]:
  """Opens the logs of a run that has done `start_step` steps; lines of later steps are dropped.

  Args:
    workdir: gets metrics.jsonl (one flat JSON object a line) and tensorboard/.
    start_step: the restored step, 0 for a new run.
  """
  path = Path(workdir) / "metrics.jsonl"
  rows = read_metrics(path, last_step=start_step)
  with atomic_write(path) as file:
    file.writelines(_line(row) for row in rows)
  board = _open_tensorboard(Path(workdir) / "tensorboard", start_step)
  with open(path, "a", encoding="utf-8") as file:
    def write(step: int, metrics: dict) -> None:
      row = {"step": step, **{name: float(value) for name, value in metrics.items()}}
      rows.append(row)
      file.write(_line(row))
      file.flush()
      if board is not None:
        for name, value in metrics.items():
          board.add_scalar(name, float(value), step)
        board.flush()

    def picture(step: int, name: str, figure, path: Path) -> None:
      path.parent.mkdir(parents=True, exist_ok=True)
      with atomic_write(path, "wb") as png:
        figure.savefig(png, format="png", dpi=100)
      if board is not None:
        board.add_figure(name, figure, step)

    def history(name: str) -> tuple[list[int], list[float]]:
      found = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
      return [step for step, _ in found], [value for _, value in found]

    try:
      yield MetricLog(write, picture, history)
    finally:
      if board is not None:
        board.close()


def _line(row: dict) -> str:
  """One JSON line; NaN and infinities, which JSON lacks, become null."""
  return json.dumps(json_value(row), allow_nan=False) + "\n"


def _open_tensorboard(directory: Path, start_step: int):
  try:
    from tensorboardX import SummaryWriter
  except ImportError:
    logger.warning("No TensorBoard logs: tensorboardX is not installed (pip install tensorboardX). "
                   "metrics.jsonl has everything.")
    return None
  return SummaryWriter(str(directory), purge_step=start_step + 1 if start_step else None)
