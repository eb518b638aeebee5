"""Writes the tables of measured numbers into README.md and the pages of docs/, from docs/results/*.json.

python docs/tables.py            writes them (`make tables`)
python docs/tables.py --check    writes nothing; exit code 1 and the names of the pages that are out of date

A result file holds `title`, `runs` (each with the `commands` that measured, the `commit` that brought the
numbers into the repository and the `machine`), `columns` and `rows`, and if wanted a `note` and a `headline`.
A cell is a number, written as it stands in the file, a pair [value, error], a text, or null. A page asks for
the table of docs/results/NAME.json by a line `<!-- table NAME -->` and a line `<!-- end -->`; what stands
between them is replaced. `<!-- headlines -->` asks for the headline numbers. Needs Python alone.
"""
import json
import os
import re
import sys
from decimal import Decimal
from pathlib import Path

DOCS = Path(__file__).resolve().parent
REQUIRED = {"title": str, "runs": list, "columns": list, "rows": list}
OPTIONAL = {"note": str, "headline": dict}
RUN = {"commands": list, "commit": str, "machine": str}
HEADLINE = {"order": Decimal, "quantity": str, "value": str, "cells": list, "page": str}
MARK = re.compile(r"<!-- (?:table (?P<name>\w+)|headlines) -->")
END = "<!-- end -->"


def check_keys(where: str, found: object, required: dict, optional: dict | None = None) -> None:
  """Raises ValueError naming the file and the key that is missing, unknown or of the wrong type."""
  if not isinstance(found, dict):
    raise ValueError(f"{where}: must be an object; got {found!r}.")
  allowed = {**required, **(optional or {})}
  for key in required:
    if key not in found:
      raise ValueError(f"{where}: the key {key!r} is missing; it has {sorted(found)}.")
  for key, value in found.items():
    if key not in allowed:
      raise ValueError(f"{where}: unknown key {key!r}; allowed: {sorted(allowed)}.")
    if not isinstance(value, allowed[key]):
      raise ValueError(f"{where}: {key!r} must be a {allowed[key].__name__}; got {value!r}.")


def check_result(name: str, result: object) -> None:
  """Raises ValueError naming file, key and value, if a result has not the form of the module's docstring."""
  check_keys(name, result, REQUIRED, OPTIONAL)
  if not result["runs"]:
    raise ValueError(f"{name}: 'runs' is empty; a number needs the command that measured it.")
  for run in result["runs"]:
    check_keys(f"{name}: a run", run, RUN)
    if not run["commands"]:
      raise ValueError(f"{name}: 'commands' of a run is empty; a number needs its command.")
  columns = result["columns"]
  if len(set(columns)) < len(columns):
    raise ValueError(f"{name}: 'columns' holds a name twice: {columns}.")
  for row in result["rows"]:
    if len(row) != len(columns):
      raise ValueError(f"{name}: a row has {len(row)} cells for {len(columns)} columns: {row!r}.")
    for cell in row:
      cell_text(cell)
  if "headline" in result:
    check_keys(f"{name}: 'headline'", result["headline"], HEADLINE)
    for row, column in result["headline"]["cells"]:
      if not (0 <= row < len(result["rows"]) and 0 <= column < len(columns)):
        raise ValueError(f"{name}: 'headline' names cell [{row}, {column}] of {len(result['rows'])} rows and "
                         f"{len(columns)} columns.")


def load_results(folder: Path = DOCS / "results") -> dict[str, dict]:
  """{name: result} of every JSON file of a folder, checked. Numbers are Decimal, so they keep their digits.

  Raises:
    ValueError: naming the file that is no JSON, or that lacks a key.
  """
  results = {}
  for path in sorted(folder.glob("*.json")):
    try:
      text = path.read_text(encoding="utf-8")
      results[path.stem] = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except json.JSONDecodeError as error:
      raise ValueError(f"{path.name}: not readable as JSON: {error}.") from error
    check_result(path.name, results[path.stem])
  return results


def cell_text(cell: object) -> str:
  """A cell as Markdown: 200,000; 0.80; 68.4 ± 2.1; a text; nothing for null. Raises ValueError for all
  else."""
  if cell is None:
    return ""
  if isinstance(cell, Decimal):
    return f"{cell:,}"
  if isinstance(cell, str):
    return cell.replace("|", "\\|")
  if isinstance(cell, list) and len(cell) == 2 and all(isinstance(part, Decimal) for part in cell):
    return f"{cell_text(cell[0])} ± {cell_text(cell[1])}"
  raise ValueError(f"A cell must be a number, [value, error], a text or null; got {cell!r}.")


def markdown(head: list[str], rows: list[list[str]]) -> list[str]:
  """Lines of a Markdown table."""
  return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def table_lines(name: str, result: dict, page: Path, folder: Path) -> list[str]:
  """A result as it stands in `page`: title, table, note, and where the numbers come from."""
  link = os.path.relpath(folder / f"{name}.json", page.parent)
  lines = [f"**{result['title']}** ([{name}.json]({link}))", ""]
  lines += markdown([cell_text(column) for column in result["columns"]],
                    [[cell_text(cell) for cell in row] for row in result["rows"]])
  if "note" in result:
    lines += ["", result["note"]]
  for run in result["runs"]:
    lines += ["", f"Measured at commit `{run['commit']}` on: {run['machine']}.", ""]
    lines += ["```bash", *run["commands"], "```"]
  return lines


def headline_lines(results: dict[str, dict], page: Path) -> list[str]:
  """The headline numbers, in their order, each with a link to the page that says how it was measured."""
  chosen = sorted((result for result in results.values() if "headline" in result),
                  key=lambda result: result["headline"]["order"])
  rows = []
  for result in chosen:
    headline = result["headline"]
    cells = [cell_text(result["rows"][int(row)][int(column)]) for row, column in headline["cells"]]
    link = os.path.relpath(DOCS / headline["page"], page.parent)
    rows.append([f"[{headline['quantity']}]({link})", headline["value"].format(*cells)])
  return markdown(["measured", "value"], rows)


def fill(text: str, results: dict[str, dict], page: Path, folder: Path = DOCS / "results") -> str:
  """The text of a page with its tables as the results give them.

  Raises:
    ValueError: naming the page, for a table that is not there or a mark without its end.
  """
  lines, opened = [], None
  for line in text.split("\n"):
    mark = MARK.fullmatch(line)
    if mark and opened:
      raise ValueError(f"{page}: {opened} has no {END} before {line}.")
    if mark:
      opened, name = line, mark["name"]
      if name and name not in results:
        raise ValueError(f"{page}: asks for table {name!r}, but there is no {folder / name}.json.")
      table = table_lines(name, results[name], page, folder) if name else headline_lines(results, page)
      lines += [line, *table]
    elif line == END:
      if not opened:
        raise ValueError(f"{page}: {END} without a mark before it.")
      lines, opened = [*lines, END], None
    elif not opened:
      lines.append(line)
  if opened:
    raise ValueError(f"{page}: {opened} has no {END}.")
  return "\n".join(lines)


def pages() -> list[Path]:
  """README.md and every page of docs/."""
  return [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]


def main(arguments: list[str]) -> int:
  """Writes the pages, or with --check names those that are out of date."""
  if arguments not in ([], ["--check"]):
    print(f"Unexpected arguments {arguments}; there is --check alone.", file=sys.stderr)
    return 2
  try:
    results = load_results()
    filled = {page: fill(page.read_text(encoding="utf-8"), results, page) for page in pages()}
  except ValueError as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  stale = [page for page, text in filled.items() if text != page.read_text(encoding="utf-8")]
  for page in stale:
    state = "out of date; run `make tables`" if arguments else "written"
    print(f"{os.path.relpath(page, DOCS.parent)}: {state}")
    if not arguments:
      temporary = page.with_name(f"{page.name}.partial")
      temporary.write_text(filled[page], encoding="utf-8")
      os.replace(temporary, page)
  return 1 if arguments and stale else 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
