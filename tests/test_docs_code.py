"""The Python of README.md and docs/ runs: the blocks of a page one after the other, in one namespace."""
import pytest

from tests.docs_text import PAGES, blocks, relative

pytestmark = pytest.mark.third_party  # as users run it: without the strict promotion of this session
WITH_CODE = [page for page in PAGES if blocks(page.read_text(), "python")]


def test_the_readme_has_code():
  assert PAGES[0] in WITH_CODE and len(WITH_CODE) > 1


@pytest.mark.parametrize("page", WITH_CODE, ids=relative)
def test_python_runs(page, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)  # what it writes goes there
  namespace = {"__name__": "docs"}
  for block in blocks(page.read_text(), "python"):
    # errors name the line of the page
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    exec(code, namespace)
