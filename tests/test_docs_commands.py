"""Every command line of README.md, docs/ and docstrings is one that works: module, flags, config, variant,
keys.

The launch scripts run in this process up to the point where absl has read the command line, so the parsers
that judge are theirs: config files are loaded, variants chosen and overrides set, and nothing else happens.
"""
import ast
import configparser
import re
import runpy
import shlex
import sys

import pytest
from absl import app, flags
from absl.testing import flagsaver

from lartpc_jax import cli
from tests.docs_text import CONFIGS, PAGES, REPO, inline_code, page_commands, relative, shell_lines

# of ml_collections, on Python 3.11
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
SCRIPTS = sorted(path.stem for path in (REPO / "launch").glob("*.py") if path.stem != "__init__")


# imported here, as it defines --debug once in a process: before flags are saved and taken away again
assert cli


class ReadError(Exception):
  """A command line that does not work, and why."""


class Parsed(BaseException):
  """Raised in place of running a command: the values of its flags."""


def read_values(flags_parser):
  """Flag names and values of sys.argv."""
  surplus = flags_parser(sys.argv)[1:]
  if surplus:
    raise ValueError(f"Unexpected arguments {surplus}.")
  values = {name: flags.FLAGS[name].value for name in flags.FLAGS}
  if values.get("config") is not None:
    values["config"].to_dict()  # a config file that is not there is an error only when it is looked at
  return values


def parse(script, arguments, read=read_values):
  """What `read` finds when `python -m launch.SCRIPT ARGUMENTS` would parse its flags; ReadError if the script
  refuses."""
  if script not in SCRIPTS:
    raise ReadError(f"there is no launch.{script}")

  def read_only(main, argv=None, flags_parser=None):
    del main, argv
    raise Parsed(read(flags_parser or flags.FLAGS))

  saved = flagsaver.save_flag_values()
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(REPO)
    patch.setattr(sys, "argv", [f"launch/{script}.py", *arguments])
    patch.setattr(app, "run", read_only)
    try:
      runpy.run_module(f"launch.{script}", run_name="__main__")
    except Parsed as parsed:
      return parsed.args[0]
    except (SystemExit, flags.Error, ValueError) as error:
      raise ReadError(f"launch.{script} refuses {arguments}") from error
    finally:
      flagsaver.restore_flag_values(saved)
      flags.FLAGS.unparse_flags()
  raise ReadError(f"launch.{script} does not go through cli.run")


def flag_names(script):
  """Names of the flags of a launch script."""
  return parse(script, [], lambda flags_parser: set(flags.FLAGS))


def check_sweep(values):
  """Keys of --set=KEY=VALUES are keys of the config."""
  for setting in values.get("set") or []:
    key = setting.partition("=")[0]
    block = values["config"].to_dict()
    for part in key.split("."):
      if not isinstance(block, dict) or part not in block:
        raise ReadError(f"--set={setting}: the config has no key {key}")
      block = block[part]


def check_python(words):
  if words[:1] == ["-c"]:
    ast.parse(words[1])
  elif words[:1] == ["-m"] and words[1].startswith("launch."):
    check_sweep(parse(words[1].removeprefix("launch."), words[2:]))
  elif not (words and (REPO / words[0]).is_file()):
    raise ReadError(f"there is no python {' '.join(words)}")


def check_make(words):
  targets = re.findall(r"^([a-z][\w-]*):", (REPO / "Makefile").read_text(), re.M)
  unknown = [word for word in words if "=" not in word and word not in targets]
  if unknown or not words:
    raise ReadError(f"the Makefile has no target {unknown}; it has {targets}")


def check_bash(words):
  if not words or not (REPO / words[0]).is_file():
    raise ReadError(f"there is no script {words[:1]}")
  if words[0] == "launch/slurm/submit.sh":
    parse("simulate", words[1:])


def check_pip(words):
  parser = configparser.ConfigParser()
  parser.read(REPO / "setup.cfg")
  for extra in re.findall(r"(?:\.|lartpc_jax)\[([\w,]+)\]", " ".join(words)):
    unknown = set(extra.split(",")) - set(parser["options.extras_require"])
    if unknown:
      raise ReadError(f"there is no extra {unknown}")


def check_lartpc(words):
  if words not in (["--help"], ["--version"]):
    check_python(["-m", f"launch.{words[0]}", *words[1:]])


CHECKS = {
    "python": check_python, "make": check_make, "bash": check_bash, "pip": check_pip, "lartpc": check_lartpc,
    "source": lambda words: None
}


def check(words):
  """Raises ReadError if a command line does not work."""
  while words and re.match(r"[A-Z_]+=", words[0]):  # values of the environment
    words = words[1:]
  words = words[1:] if words[:1] == ["exec"] else words
  if not words or words[0] not in CHECKS:
    raise ReadError(f"no test knows how to check {words}")
  CHECKS[words[0]](words[1:])


def failures(commands):
  found = []
  for words in commands:
    try:
      check(words)
    except ReadError as error:
      found.append(f"{shlex.join(words)}: {error}")
  return found


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_commands_of_a_page(page, capsys):
  found = failures(page_commands(page.read_text()))
  assert not found, "\n".join([f"{relative(page)}:", *found, capsys.readouterr().err])


def test_most_pages_have_commands():
  assert sum(bool(page_commands(page.read_text())) for page in PAGES) > len(PAGES) // 2


@pytest.mark.parametrize("path", CONFIGS + [REPO / "launch" / f"{script}.py" for script in SCRIPTS],
                         ids=relative)
def test_commands_of_a_docstring(path, capsys):
  """Those of configs and launch scripts, in which a remark may follow in parentheses and [--FLAG=VALUE] may
  be left out."""
  text = ast.get_docstring(ast.parse(path.read_text()))
  lines = re.findall(r"^python (?:.*\\\n)*.*$", text, re.M)
  assert lines, f"{relative(path)}: the docstring has no command."
  plain = [re.sub(r"\[(--.*?)\](?= |$)", r"\1", re.sub(r" {2,}\(.*\)$", "", line)) for line in lines]
  found = failures([words for line in plain for words in shell_lines(line)])
  assert not found, "\n".join([f"{relative(path)}:", *found, capsys.readouterr().err])


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_refuses_unknown_flags(script):
  with pytest.raises(ReadError, match="refuses"):
    parse(script, ["--no_such_flag"])


def test_flags_in_the_text_exist():
  known = {"help", "check"}.union(*(flag_names(script) for script in SCRIPTS))  # --check: docs/tables.py
  for page in PAGES:
    for code in inline_code(page.read_text()):
      for name in re.findall(r"^--(\w+)", code):
        assert name.removeprefix(
            "no") in known or name in known, f"{relative(page)}: no command has the flag of `{code}`."


@pytest.mark.parametrize("command,message", [
    ("python -m launch.no_such_script", "there is no launch.no_such_script"),
    ("python -m launch.infer --input=sample --oout=x", "refuses"),
    ("python -m launch.infer --input=sample --num_events=many", "refuses"),
    ("python -m launch.infer --config=configs/protons64_infer.py:no_such_variant", "refuses"),
    ("python -m launch.infer --config=configs/no_such_config.py", "refuses"),
    ("python -m launch.infer --config.inference.no_such_key=1", "refuses"),
    ("python -m launch.infer sample", "refuses"),
    ("python -m launch.sweep --input=sample --set=inference.no_such_key=1,2",
     "has no key inference.no_such_key"),
    ("lartpc infr --input=sample", "there is no launch.infr"),
    ("lartpc train --config=protons64_autoencoder:tiny --workdri=w", "refuses"),
    ("lartpc train --config=no_such_config --workdir=w", "refuses"),
    ("python no_such_file.py", "there is no python"),
    ("make no_such_target", "has no target"),
    ("bash launch/no_such_script.sh", "there is no script"),
    ("NUM_PARTS=2 bash launch/slurm/submit.sh --no_such_flag", "refuses"),
    ("pip install -e '.[no_such_extra]'", "there is no extra"),
    ("frobnicate", "no test knows"),
])
def test_mistakes_are_found(command, message):
  with pytest.raises(ReadError, match=message):
    check(shlex.split(command))


def test_the_session_keeps_its_flags():
  before = set(flags.FLAGS)
  values = parse("infer", ["--input=sample", "--out=x", "--config.distance.name=w2"])
  assert values["input"] == "sample" and values["config"].distance.name == "w2"
  assert set(flags.FLAGS) == before


def test_commands_of_the_measuring_script():
  """launch/measure_general.sh, with 1 for each variable."""
  text = (REPO / "launch" / "measure_general.sh").read_text()
  text = text.replace('"${types[@]}"', re.search(r"types=\((.*)\)", text)[1])
  commands = [words[1:] for words in shell_lines(re.sub(r"\$\{?\w+\}?", "1", text)) if words[0] == "run"]
  assert len(commands) == 10
  for script, *arguments in commands:
    parse(script.removeprefix("launch."), arguments)
