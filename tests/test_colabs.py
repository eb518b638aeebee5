"""The notebooks: every cell parses, every one shows pictures, commands are ones that work, and (slow) they
run from top to bottom as nbmake runs them."""
import ast
import base64
import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from tests.docs_text import REPO

NOTEBOOKS = sorted((REPO / "colabs").glob("*.ipynb"))
SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_BYTES = 1_000_000  # with its pictures
names = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
  cells = json.loads(path.read_text())["cells"]
  return [cell for cell in cells if cell["cell_type"] == "code"]


def python_of(source):
  """A cell without lines of the notebook's own: %magic and !command, which may go on over lines."""
  joined = re.sub(r"\\\n\s*", " ", source)
  return re.sub(r"^(\s*)[%!].*$", r"\1pass", joined, flags=re.M)


def test_there_are_six():
  assert [path.stem[0] for path in NOTEBOOKS] == list("123456")


@names
def test_cells_parse(path):
  for cell in code_cells(path):
    ast.parse(python_of("".join(cell["source"])))


@names
def test_outputs_are_of_one_run_without_an_error(path):
  cells = code_cells(path)
  for cell in cells:
    assert not [o for o in cell["outputs"] if o["output_type"] == "error"], "run it again: make notebooks"
  counts = [cell["execution_count"] for cell in cells]
  assert counts == list(range(1, len(cells) + 1)), "its outputs are not of one run from top to bottom"


@names
def test_pictures_came_out(path):
  """PNG data, not the text `<Figure size ...>` of a figure that nobody drew."""
  pictures = [base64.b64decode(output["data"]["image/png"]) for cell in code_cells(path)
              for output in cell["outputs"] if "image/png" in output.get("data", {})]
  assert len(pictures) >= 2 and all(picture.startswith(SIGNATURE) and len(picture) > 5000
                                    for picture in pictures)
  assert path.stat().st_size < MAX_BYTES
  for cell in code_cells(path):
    if re.search(r"figure\(|image_rows\(|mosaics\(|rows\(", "".join(cell["source"]).splitlines()[-1]):
      assert any("image/png" in output.get("data", {}) for output in cell["outputs"]), cell["source"][-1]


@names
def test_the_first_cell_installs_on_colab_only(path):
  first = "".join(code_cells(path)[0]["source"])
  assert 'if "google.colab" in sys.modules' in first and "%matplotlib inline" in first
  assert re.search(r"^  %pip install -q \"lartpc_jax\[[\w,]+\] @ git\+https", first, re.M)
  assert " -e " not in first


@names
def test_commands_of_a_notebook(path):
  from tests.test_docs_commands import check_lartpc
  for cell in code_cells(path):
    source = re.sub(r"\\\n\s*", " ", "".join(cell["source"]))
    for line in re.findall(r"^!\{sys.executable\} -m lartpc_jax (.*?)(?: 2>&1.*)?$", source, re.M):
      check_lartpc(shlex.split(line))
  for cell in json.loads(path.read_text())["cells"]:
    if cell["cell_type"] == "markdown":
      for code in re.findall(r"`lartpc ([^`]*[^`.])`", "".join(cell["source"])):
        if "..." not in code:
          check_lartpc(shlex.split(code))


@pytest.mark.slow
@names
def test_runs_from_top_to_bottom(path, tmp_path):
  pytest.importorskip("nbmake", reason="needs nbmake, the [notebooks] extra")
  copy = tmp_path / path.name
  copy.write_text(path.read_text())
  command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbmake", "--nbmake-timeout=1200",
             "--rootdir", str(tmp_path), str(copy)]
  done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False,
                        env={**os.environ, "PYTHONPATH": str(REPO), "XLA_FLAGS": ""})
  assert done.returncode == 0, done.stdout[-3000:]
