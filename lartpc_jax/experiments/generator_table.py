"""One table of all generators: what each costs, beside how good it is, in the form of docs/tables.py."""
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lartpc_jax.experiments.rows import Row
from lartpc_jax.experiments.samples import parse_path
from lartpc_jax.metrics.estimate import Estimate
from lartpc_jax.tables import write_json

COST = "sample.json"  # which launch.sample writes beside its images
COSTS = {"parameters": "parameters", "core_hours": "core-hours of training", "ms_an_image": "ms an image"}
SHOWN = ("SSNet-FID", "SSNet-FID, infinite N", "KPD", "track length [px]: chi2/ndf",
         "track width [px]: chi2/ndf",
         "shower charge: chi2/ndf", "track images, share", "label certainty, mean", "MMD^2, Gaussians",
         "energy distance [MeV]", "AUC, CNN on images", "AUC, boosting on physics",
         "copies of training images, share", "duplicates, share", "precision", "recall", "coverage",
         *COSTS.values())
DIGITS = 4  # significant ones of a value


def cost_rows(generated: Mapping[str, str]) -> dict[tuple[str, str, str], dict[str, Row]]:
  """Rows of a report, (part, name, definition) -> column -> Row, from the costs beside files of generated
  images.

  A file without such a neighbour has none. Raises ValueError naming a cost that is not readable.
  """
  rows = {}
  for column, path in generated.items():
    file = Path(parse_path(path)[0]).parent / COST
    if not file.exists():
      continue
    try:
      found = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
      raise ValueError(f"{file}: not valid JSON (truncated?): {error}") from error
    for key, name in COSTS.items():
      if found.get(key):
        rows.setdefault(("cost", name, "corrected"), {})[column] = Row("cost", name, "corrected", 0,
                                                                       Estimate(float(found[key])))
  return rows


def write_table(rows: Mapping, columns: list[str], counts: Mapping[str, int], environment: str,
                path: Path) -> Path:
  """Writes the rows of SHOWN as a result file of docs/tables.py.

  Args:
    rows: of a report.
    columns: its columns, real against real first.
    counts: images of each.
    environment: lines with the command and the commit, as `Console.environment` gives them.
    path: of the JSON file.
  """
  table = []
  for name in SHOWN:
    for (_, row, definition), found in rows.items():
      if row == name:
        label = f"{name} (published)" if definition == "published" else name
        table.append([label, *(_cell(found.get(column)) for column in columns)])
  told = dict(line.split(": ", 1) for line in environment.splitlines() if ": " in line)
  run = {"commands": [told.get("command", "")], "commit": told.get("commit", "unknown")[:7],
         "machine": told.get("host", "not recorded")}
  sizes = ", ".join(f"{name} {counts[name]:,}" for name in columns)
  return write_json(path, {"title": "Generators of images against the same held-out images", "runs": [run],
                           "columns": ["metric", *columns], "rows": table, "note": f"Images: {sizes}."})


def _cell(row: Any) -> float | list[float] | None:
  """A value, with its error where there is one."""
  if row is None or not math.isfinite(row.estimate.value):
    return None
  value = _rounded(row.estimate.value)
  error = row.estimate.error
  return [value, _rounded(error, 2)] if math.isfinite(error) and error else value


def _rounded(value: float, digits: int = DIGITS) -> float | int:
  rounded = float(f"{value:.{digits}g}")
  return int(rounded) if rounded.is_integer() and abs(rounded) >= 10**(digits - 1) else rounded
