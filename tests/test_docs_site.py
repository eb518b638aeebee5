"""The documentation site: every paper that is cited has its reference, docstrings become text that Sphinx
reads without a warning, and every page and room has its place. `make docs` builds it."""
import importlib.util
import re

import pytest

from tests.docs_text import CONFIGS, PAGES, REPO

# Names and a year: "Song et al. 2021", "Ho & Salimans 2022", "Cuturi 2013", "van der Maaten & Hinton 2008".
AUTHOR = r"(?:van de[nr] )?[A-Z][\w'-]+(?: Collaboration)?"
CITATION = re.compile(
    rf"(?<!\w)({AUTHOR}(?:, {AUTHOR})*(?: (?:&|and) {AUTHOR})?(?: et al\.)?) (1[89]\d\d|20[012]\d)\b")
NO_PAPER = re.compile(r"(?:January|February|March|April|May|June|July|August|September|October|November|"
                      r"December|NPML|Since|In|Until|Before) \d{4}")


def load_conf():
  """docs/conf.py as a module."""
  pytest.importorskip("lartpc_jax")
  spec = importlib.util.spec_from_file_location("docs_conf", REPO / "docs" / "conf.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


conf = load_conf()


def citations(text):
  """What a text cites, with line breaks and comment signs gone."""
  flat = re.sub(r"\s*\n\s*#?\s*", " ", text)
  return {found for found in (f"{m[1]} {m[2]}" for m in CITATION.finditer(flat))
          if not NO_PAPER.fullmatch(found)}


def sources():
  pages = [page for page in PAGES if "docs" in page.parts]
  return [*sorted((REPO / "lartpc_jax").rglob("*.py")), *CONFIGS, *pages]


def test_every_paper_that_is_cited_has_a_reference():
  missing = []
  for path in sources():
    for found in citations(path.read_text()):
      # a find may begin too early, "SSNet, Domine & Terao 2020", or too late, "Group 2024"
      if not any(found.endswith(form) or form.endswith(found) for form in conf.CITATIONS):
        missing.append(f"{path.relative_to(REPO)}: {found}")
  assert not missing, f"docs/references.bib lacks {missing}"


@pytest.mark.parametrize("text,found", [
    ("(Song et al. 2021, eq. 3)", {"Song et al. 2021"}), ("Song et\n  # al. 2021", {"Song et al. 2021"}),
    ("Ho & Salimans 2022; Cuturi 2013", {"Ho & Salimans 2022", "Cuturi 2013"}),
    ("before April 2023", set()), ("2,048 images of 2021", set()),
])
def test_citations_are_found(text, found):
  assert citations(text) == found


def test_docstrings_become_plain_text():
  plain = conf.as_restructured("|dp| of `x * y_` and cond_ for **kwargs, [n 2] *or* so\nand 2 * 3")
  assert plain == "\\|dp\\| of `x * y_` and cond\\_ for \\*\\*kwargs, [n 2] \\*or\\* so\nand 2 \\* 3"
  table = conf.as_restructured("Forms:\n| a | b |\n| --- | --- |\nafter")
  assert table.split("\n") == ["Forms:", "", ".. code-block:: text", "", "   | a | b |", "   | --- | --- |",
                               "", "after"]


def test_citations_become_links():
  lines = ["The score (Song et", "al. 2021, eq. 3)."]
  conf.before_napoleon(None, "function", "f", None, None, lines)
  assert lines == ["The score (Song et", "al. 2021 :cite:p:`Song2021`, eq. 3)."]


def test_every_page_is_in_the_sidebar_or_below_an_index():
  listed = [name for names in conf.SIDEBAR.values() for name in names]
  assert len(set(listed)) == len(listed)
  for page in PAGES:
    name = str(page.relative_to(REPO).with_suffix("")).removeprefix("docs/")
    folder = name.rpartition("/")[0]
    assert name in {*listed, "index"} or folder in conf.NESTED.values(), f"docs/conf.py: no place for {name}"
