"""Tables as Markdown and CSV, and JSON: each written whole or not at all, and strict, so that any program
reads them.
"""
import csv
import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lartpc_jax.files import atomic_write


def markdown_table(head: Sequence[str], rows: Iterable[Sequence]) -> str:
  """A Markdown table of cells, which are written as str() has them; no newline at its end.

  Raises:
    ValueError: if a row has more or fewer cells than the head.
  """
  lines = [[str(cell) for cell in row] for row in rows]
  for line in lines:
    if len(line) != len(head):
      raise ValueError(f"A row of a table has {len(line)} cells, its head {len(head)}: {line}.")
  line_of = lambda cells: "| " + " | ".join(cells) + " |"
  return "\n".join([line_of(head), "|" + " --- |" * len(head), *map(line_of, lines)])


def measured(value: float, error: float = float("nan")) -> str:
  """A number with its error, to the digits that the error allows: "14.1 +- 7.1", "0.5012 +- 0.0063", two
  digits of the error; four of the value where it has none; "-" where there is no value.
  """
  if not math.isfinite(value):
    return "-"
  if not math.isfinite(error) or error <= 0:
    return f"{value:.4g}"
  decimals = 1 - math.floor(math.log10(error))
  decimals = 1 - math.floor(math.log10(round(error, decimals)))  # 0.0996 is 0.10
  if decimals > 6 or error >= 1e6:
    return f"{value:.4g} +- {error:.2g}"
  return f"{round(value, decimals):.{max(decimals, 0)}f} +- {round(error, decimals):.{max(decimals, 0)}f}"


def write_text(path: str | os.PathLike, text: str) -> Path:
  """Writes a text, with a newline at its end; returns the path."""
  with atomic_write(path) as file:
    file.write(text if text.endswith("\n") else text + "\n")
  return Path(path)


def write_csv(path: str | os.PathLike, columns: Mapping[str, Any]) -> Path:
  """Writes columns of one length, as arrays or lists; floats with four decimals. Returns the path."""
  cells = [np.asarray(column).tolist() for column in columns.values()]
  shown = lambda x: f"{x:.4f}" if isinstance(x, float) else x
  with atomic_write(path) as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([shown(x) for x in row] for row in zip(*cells, strict=True))
  return Path(path)


def json_value(value: Any) -> Any:
  """What JSON holds of a value: arrays as lists, named tuples and dataclasses as objects, NaN and infinities
  as null.

  Raises:
    TypeError: for anything else that JSON does not know.
  """
  if isinstance(value, Mapping):
    return {str(key): json_value(x) for key, x in value.items()}
  if hasattr(value, "_asdict"):
    return json_value(value._asdict())
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    return json_value(dataclasses.asdict(value))
  if isinstance(value, list | tuple):
    return [json_value(x) for x in value]
  if hasattr(value, "tolist"):  # arrays and scalars of numpy and jax
    return json_value(value.tolist())
  if isinstance(value, float):
    return value if math.isfinite(value) else None
  if value is None or isinstance(value, str | int):
    return value
  raise TypeError(f"JSON holds no {type(value).__name__}: {value!r}.")


def write_json(path: str | os.PathLike, content: Any) -> Path:
  """Writes `json_value` of the content; returns the path."""
  return write_text(path, json.dumps(json_value(content), indent=1, allow_nan=False))
