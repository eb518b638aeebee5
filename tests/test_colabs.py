"""The notebooks: every cell parses, and (slow) they run from top to bottom."""
import ast
import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "colabs").glob("*.ipynb"))


def code_cells(path):
  cells = json.loads(path.read_text())["cells"]
  return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_there_is_a_notebook():
  assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_parse_and_carry_no_output(path):
  for source in code_cells(path):
    ast.parse(source)
  for cell in json.loads(path.read_text())["cells"]:
    assert not cell.get("outputs"), "clear the outputs before committing"


@pytest.mark.slow
@pytest.mark.third_party  # as users run it
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(path):
  namespace = {}
  for source in code_cells(path):
    exec(compile(source, str(path), "exec"), namespace)
