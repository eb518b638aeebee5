"""Sphinx configuration of the documentation site: `make docs` builds it, with warnings as errors.

The source folder is the repository, so that links between README, pages and notebooks are the same here and
on the web page of the repository. API pages are written before the build, one for each room of the package.
"""
import importlib.metadata
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
API = ROOT / "docs" / "api"  # written here, not committed
ROOMS = sorted(path.parent.name for path in (ROOT / "lartpc_jax").glob("*/__init__.py"))

project = "lartpc_jax"
author = "The lartpc_jax authors"
copyright = "The lartpc_jax authors, Apache-2.0"
release = version = importlib.metadata.version("lartpc_jax")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode",
              "sphinxcontrib.bibtex", "sphinx_copybutton"]
root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**", "colabs/*"]
exclude_patterns = ["docs/results/*.json", "**/.ipynb_checkpoints", "docs/site/**"]
html_theme = "furo"
html_title = "lartpc_jax"
html_extra_path = ["site"]  # index.html, which leads to the front page
html_theme_options = {"sidebar_hide_name": False}
html_show_sphinx = False
templates_path = []

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # `make notebooks` executes them; their outputs are committed
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
default_role = "code"  # docstrings write `name`, as Markdown does
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring, napoleon_numpy_docstring = True, False
# Names in annotations that are no pages of ours, and duplicate descriptions of fields in named tuples.
suppress_warnings = ["autodoc.import_cycle", "ref.python"]

SIDEBAR = {
    "Begin here": ["README", "start", "data", "concepts", "score_matching", "notebooks"],
    "Guides": ["commands"],
    "What is known": ["results/index", "models/index", "notes", "references"],
    "For developers": ["CONTRIBUTING", "CHANGELOG", "release", "api/index"],
}
TITLES = {"README": "Overview </README>"}  # else two entries of one name
# Every other page: guides in their place, the rest after what is known.
SIDEBAR["Guides"] = [*sorted(f"guides/{path.stem}" for path in (ROOT / "docs" / "guides").glob("*.md")),
                     *SIDEBAR["Guides"]]
SIDEBAR["What is known"] += sorted(
    {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"} - {name for names in SIDEBAR.values()
                                                                       for name in names})
NESTED = {"docs/results/index": "results", "docs/models/index": "models"}


def read_citations() -> dict[str, str]:
  """Form in which the text cites a paper -> its key in references.bib."""
  text = (ROOT / "docs" / "references.bib").read_text(encoding="utf-8")
  found = {}
  for key, body in re.findall(r"@\w+\{(\w+),(.*?)\n\}", text, re.S):
    for form in re.search(r"cited = \{(.*?)\}", body)[1].split(";"):
      found[form.strip()] = key
  return dict(sorted(found.items(), key=lambda item: -len(item[0])))


CITATIONS = read_citations()


def as_restructured(text: str) -> str:
  """A docstring with what reStructuredText would read as markup made plain; tables and commands verbatim."""
  lines, block = [], False
  for line in text.split("\n"):
    indent = line[:len(line) - len(line.lstrip())]
    verbatim = line.lstrip().startswith(("| ", "|-", "python -m ", "lartpc "))
    if verbatim and not block:
      lines += ["", f"{indent}.. code-block:: text", ""]
    if verbatim or (block and lines and lines[-1].endswith("\\")):
      lines.append(f"   {line}")
      block = True
      continue
    if block:
      lines.append("")
      block = False
    parts = re.split(r"(`[^`]*`)", line)
    parts[::2] = [re.sub(r"(?<![\\*\w])(\*+)(?=[\w(])|([|*])|(?<=\w)(_)(?!\w)",
                         lambda m: "\\" + "\\".join(m.group()), part) for part in parts[::2]]
    lines.append("".join(parts))
  return "\n".join(lines)


def before_napoleon(app, what, name, obj, options, lines) -> None:
  """autodoc-process-docstring: plain text, with citations as links."""
  text = as_restructured("\n".join(lines))
  for form, key in CITATIONS.items():
    pattern = r"\s+".join(map(re.escape, form.split())) + r"(?![\w`])"
    text = re.sub(pattern, lambda match, key=key: f"{match.group()} :cite:p:`{key}`", text)
  lines[:] = text.split("\n")


def write_api(app, config) -> None:
  """config-inited: a page for each room, and their index."""
  API.mkdir(exist_ok=True)
  write = lambda path, text: None if path.is_file() and path.read_text() == text else path.write_text(text)
  package = ROOT / "lartpc_jax"
  for room in ROOMS:
    text = [room, "=" * len(room), ""]
    for path in sorted((package / room).rglob("*.py")):
      name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
      if path.read_text().strip():
        # what a package gathers from its modules stands there
        text += [name, "-" * len(name), "", f".. automodule:: {name}", "   :ignore-module-all:", ""]
    write(API / f"{room}.rst", "\n".join(text))
  shared = sorted(p.stem for p in package.glob("*.py") if not p.stem.startswith("__"))
  text = ["shared", "======", ""]
  for stem in shared:
    name = f"lartpc_jax.{stem}"
    text += [name, "-" * len(name), "", f".. automodule:: {name}", ""]
  write(API / "shared.rst", "\n".join(text))
  entries = "\n".join(f"   {room}" for room in (*ROOMS, "shared"))
  write(API / "index.rst", "API\n===\n\nModules by room, from their docstrings; :doc:`/CONTRIBUTING` says "
        f"what a room is for.\n\n.. toctree::\n   :maxdepth: 1\n\n{entries}\n")


def add_sidebar(app, docname, source) -> None:
  """source-read: the tables of contents, which the pages themselves say in words."""
  if docname == root_doc:
    for caption, names in SIDEBAR.items():
      place = lambda name: f"/{name}" if name.isupper() else f"/docs/{name}"
      entries = "\n".join(TITLES.get(name, place(name)) for name in names)
      source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n"
  if docname in NESTED:
    folder = ROOT / "docs" / NESTED[docname]
    entries = "\n".join(sorted(path.stem for path in folder.glob("*.md") if path.stem != "index"))
    source[0] += f"\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"
  if docname == "docs/notebooks":
    entries = "\n".join(f"/colabs/{path.stem}" for path in sorted((ROOT / "colabs").glob("*.ipynb")))
    source[0] += f"\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"


def setup(app) -> dict:
  """Connects the functions above; Sphinx calls it."""
  app.connect("config-inited", write_api)
  app.connect("source-read", add_sidebar)
  app.connect("autodoc-process-docstring", before_napoleon, priority=400)
  return {"parallel_read_safe": True, "parallel_write_safe": True}
