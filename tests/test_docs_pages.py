"""README.md and docs/: tables that are up to date and say where they come from, links that lead somewhere,
size."""
import configparser
import json
import pkgutil
import re
import runpy
import subprocess

import pytest

from lartpc_jax.data.readers.formats import FORMATS
from tests.docs_text import CONFIGS, PAGES, PATTERN, REPO, anchors, inline_code, load_tables, relative

tables = load_tables()
GOOD = {"title": "t", "runs": [{"commands": ["make demo"], "commit": "abc1234", "machine": "one core"}],
        "columns": ["what", "value"], "rows": [["a|b", 0.80], ["c", [12345, 0.5]], ["d", None]]}
FILES = (".npz", ".json", ".png", ".csv")
MAX_README_BYTES = 8 * 1024


def write(folder, **changes):
  folder.mkdir(exist_ok=True)
  (folder / "x.json").write_text(
      json.dumps({**GOOD, **changes}).replace("0.8,", "0.80,").replace("0.8]", "0.80]"))
  return folder


def test_readme_is_short():
  assert len((REPO / "README.md").read_bytes()) <= MAX_README_BYTES


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_tables_are_up_to_date(page):
  text = page.read_text()
  assert tables.fill(text, tables.load_results(), page) == text, f"{relative(page)}: run `make tables`."


def test_every_result_is_on_one_page_and_its_commits_are_in_the_history():
  text = {page: page.read_text() for page in PAGES}
  for name, result in tables.load_results().items():
    pages = [relative(page) for page in PAGES if f"<!-- table {name} -->" in text[page]]
    assert len(pages) == 1, f"docs/results/{name}.json is shown by {pages}; it should be one page."
    for run in result["runs"]:
      command = ["git", "cat-file", "-e", f"{run['commit']}^{{commit}}"]
      found = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
      if found.returncode and not (REPO / ".git").exists():
        pytest.skip("not a git clone")
      assert not found.returncode, f"docs/results/{name}.json: no commit {run['commit']}. {found.stderr}"


def test_headlines_stand_on_the_page_that_they_link_to():
  chosen = {name: r["headline"] for name, r in tables.load_results().items() if "headline" in r}
  assert sorted(int(headline["order"]) for headline in chosen.values()) == list(range(1, len(chosen) + 1))
  for name, headline in chosen.items():
    assert f"<!-- table {name} -->" in (REPO / "docs" / headline["page"]).read_text()


def test_a_table_as_it_is_written(tmp_path):
  results = tables.load_results(write(tmp_path / "results"))
  page = tmp_path / "guides" / "page.md"
  text = tables.fill("before\n<!-- table x -->\nold\n<!-- end -->\nafter", results, page,
                     tmp_path / "results")
  assert text.splitlines() == [
      "before", "<!-- table x -->", "**t** ([x.json](../results/x.json))", "", "| what | value |",
      "| --- | --- |", "| a\\|b | 0.80 |", "| c | 12,345 ± 0.5 |", "| d |  |", "",
      "Measured at commit `abc1234` on: one core.", "", "```bash", "make demo", "```", "<!-- end -->", "after"
  ]
  assert tables.fill(text, results, page, tmp_path / "results") == text


def test_headlines_are_cells_in_their_order(tmp_path):
  headline = {"order": 2, "quantity": "second", "value": "{} px", "cells": [[1, 1]], "page": "results/p.md"}
  results = tables.load_results(write(tmp_path, headline=headline))
  results["y"] = {**results["x"], "headline": {**headline, "order": 1, "quantity": "first"}}
  assert tables.headline_lines(results, REPO / "README.md")[2:] == [
      "| [first](docs/results/p.md) | 12,345 ± 0.5 px |",
      "| [second](docs/results/p.md) | 12,345 ± 0.5 px |"]


@pytest.mark.parametrize("changes,message", [
    ({"runs": []}, "x.json: 'runs' is empty"),
    ({"runs": [{"commands": [], "commit": "a", "machine": "b"}]}, "x.json: 'commands' of a run is empty"),
    ({"runs": [{"commands": ["a"], "machine": "b"}]}, "the key 'commit' is missing"),
    ({"columns": "what"}, "'columns' must be a list; got 'what'"),
    ({"columns": ["what", "what"]}, "'columns' holds a name twice"),
    ({"rows": [["a"]]}, "a row has 1 cells for 2 columns"),
    ({"rows": [["a", {"b": 1}]]}, "A cell must be a number"),
    ({"source": "x"}, "unknown key 'source'; allowed: .*'title'"),
    ({"headline": {"order": 1, "quantity": "q", "value": "{}", "cells": [[3, 0]], "page": "p"}},
     "names cell .3, 0."),
], ids=lambda value: value if isinstance(value, str) else None)
def test_bad_results_are_named(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    tables.load_results(write(tmp_path, **changes))


def test_a_file_cut_short_is_named(tmp_path):
  (tmp_path / "x.json").write_text('{"title": ')
  with pytest.raises(ValueError, match="x.json: not readable as JSON"):
    tables.load_results(tmp_path)


@pytest.mark.parametrize("text,message", [
    ("<!-- table y -->\n<!-- end -->", "asks for table 'y', but there is no"),
    ("<!-- table x -->\n| a |", "has no <!-- end -->"),
    ("<!-- table x -->\n<!-- headlines -->\n<!-- end -->", "has no <!-- end --> before"),
    ("<!-- end -->", "without a mark before it"),
], ids=["unknown", "open", "nested", "no start"])
def test_bad_marks_are_named(tmp_path, text, message):
  results = tables.load_results(write(tmp_path))
  with pytest.raises(ValueError, match=message):
    tables.fill(text, results, REPO / "docs" / "page.md")


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page):
  text = page.read_text()
  for target in re.findall(r"\]\(([^)\s]+)\)", text):
    if re.match(r"\w+://", target):
      continue
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    assert file.exists(), f"{relative(page)}: the link {target} leads nowhere."
    assert not anchor or anchor in anchors(file.read_text()), f"{relative(page)}: {target}: no such heading."


def test_every_page_and_figure_is_reached():
  linked = {(page.parent / target.partition("#")[0]).resolve() for page in PAGES
            for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in target}
  wanted = {*PAGES, *(REPO / "docs" / "figures").iterdir()} - {REPO / "README.md"}
  assert wanted <= linked, f"No page links to {sorted(relative(path) for path in wanted - linked)}."


def test_every_extra_is_explained():
  parser = configparser.ConfigParser()
  parser.read(REPO / "setup.cfg")
  explained = set(re.findall(r"^\| `\[(\w+)\]` \|", (REPO / "docs" / "start.md").read_text(), re.M))
  assert explained == set(parser["options.extras_require"])


def test_every_weight_file_has_a_card():
  cards = " ".join(page.read_text() for page in (REPO / "docs" / "models").glob("*.md"))
  for weights in (REPO / "lartpc_jax" / "assets").glob("*/*.npz"):
    name = f"{weights.parent.name}/{weights.stem}"
    assert name in cards or weights.parent.name in cards and len(list(
        weights.parent.glob("*.npz"))) == 1, name


def test_every_command_is_in_the_table():
  text = (REPO / "docs" / "commands.md").read_text()
  for script in (REPO / "launch").glob("*.py"):
    if script.stem != "__init__":
      assert f"python -m launch.{script.stem}" in text, f"docs/commands.md lacks launch.{script.stem}."


def test_every_format_is_explained():
  text = (REPO / "docs" / "data.md").read_text()
  missing = [name for name in FORMATS if not re.search(rf"^\| [^|]*`{name}`[^|]* \|", text, re.M)]
  assert not missing, f"docs/data.md has no row for the formats {missing} of launch.convert."


def test_every_config_and_variant_is_in_the_guide():
  text = (REPO / "docs" / "guides" / "train.md").read_text()
  for path in CONFIGS:
    variants = set(runpy.run_path(str(path))["VARIANTS"])
    row = re.search(rf"^\| `{relative(path)}` \|.*\|$", text, re.M)
    assert row and variants <= set(re.findall(r"`(\w+)`",
                                              row[0])), f"docs/guides/train.md: {relative(path)}: {variants}"


def keys_of(block, prefix=""):
  """Keys of a config with those of its blocks: "loss", "loss.p_mean"."""
  found = set()
  for key, value in block.items():
    found |= {prefix + key} | (keys_of(value, f"{prefix}{key}.") if isinstance(value, dict) else set())
  return found


def test_config_keys_that_are_named_exist():
  """Inline code such as `loss.p_mean = 0.8`, if it begins with a block of any config."""
  modules = [runpy.run_path(str(path)) for path in CONFIGS]
  known = set().union(*(keys_of(module["get_config"](variant).to_dict()) for module in modules
                        for variant in module["VARIANTS"]))
  checked = 0
  for page in PAGES:
    for code in inline_code(page.read_text()):
      match = re.match(r"(\w+)((?:\.\w+)+)(?: ?= ?\S+)?$", code)
      if match and match[1] in known and not code.endswith(FILES):
        assert match[1] + match[2] in known, f"{relative(page)}: no config has the key of `{code}`."
        checked += 1
  assert checked > 10


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_names_of_the_package_exist(page):
  for code in inline_code(page.read_text()):
    for name in re.findall(r"(?<![\w/.])lartpc_jax(?:\.\w+)+", code):
      try:
        pkgutil.resolve_name(name)
      except (ImportError, AttributeError) as error:
        pytest.fail(f"{relative(page)}: `{code}`: {error}")


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_files_that_are_named_exist(page):
  for code in (code for code in inline_code(page.read_text()) if not PATTERN.search(code)):
    for path in re.findall(r"(?<![\w/])(?:configs|launch|tests|docs|colabs|lartpc_jax)/[\w./-]*\w", code):
      assert (REPO / path).exists(), f"{relative(page)}: `{code}`: there is no {path}."
