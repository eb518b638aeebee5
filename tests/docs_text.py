"""What the tests read out of README.md, CONTRIBUTING.md and docs/: code blocks, inline code, links,
commands."""
import importlib.util
import re
import shlex
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parent.parent
PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", REPO / "CHANGELOG.md",
         *sorted((REPO / "docs").rglob("*.md"))]
CONFIGS = sorted(path for path in (REPO / "configs").glob("*.py") if path.stem not in ("__init__", "common"))
PATTERN = re.compile(r"\.\.\.|NAME")  # inline code that stands for many: `launch/NAME.py`
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


class Block(NamedTuple):
  """A fenced block of code."""
  language: str
  line: int    # of its first line, from 1
  text: str


def relative(path: Path) -> str:
  return str(path.relative_to(REPO))


def blocks(text: str, language: str) -> list[Block]:
  """The fenced blocks of a language, in their order."""
  return [Block(match[1], text.count("\n", 0, match.start()) + 2, match[2])
          for match in FENCE.finditer(text) if match[1] == language]


def inline_code(text: str) -> list[str]:
  """What stands in backticks outside of fenced blocks."""
  return [code.replace("\\|", "|") for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", text))]


def shell_lines(script: str) -> list[list[str]]:
  """The commands of a shell script as words: continued lines joined, comments gone, `$NAME` of a for loop
  replaced.

  Loops count once, with their first value.
  """
  commands, loop = [], {}
  for line in script.replace("\\\n", " ").splitlines():
    for name, value in loop.items():
      line = line.replace(f"${name}", value)
    words = shlex.split(line, comments=True)
    if words[:1] == ["for"]:
      loop[words[1]] = words[3].rstrip(";")
    elif words[:1] == ["done"]:
      loop.clear()
    elif words:
      commands.append(words)
  return commands


def page_commands(text: str) -> list[list[str]]:
  """Every command line of a page: those of its bash blocks, and inline code that begins like one."""
  commands = [words for block in blocks(text, "bash") for words in shell_lines(block.text)]
  starts = ("python ", "make ", "bash ", "pip ", "lartpc ")
  return commands + [shlex.split(code) for code in inline_code(text)
                     if code.startswith(starts) and not PATTERN.search(code)]


def anchors(text: str) -> set[str]:
  """The anchors that GitHub and MyST give to the headings of a page."""
  headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.M)
  return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def load_tables():
  """docs/tables.py as a module; it is a script, not part of a package."""
  spec = importlib.util.spec_from_file_location("docs_tables", REPO / "docs" / "tables.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module
