"""House rules that no linter knows; the import rules themselves are in setup.cfg under [importlinter]."""
import ast
import configparser
import importlib
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lartpc_jax

REPO = Path(__file__).resolve().parent.parent
PACKAGE = sorted((REPO / "lartpc_jax").rglob("*.py"))
SCRIPTS = sorted((REPO / "launch").rglob("*.py"))
CONFIGS = sorted(p for p in (REPO / "configs").glob("*.py") if p.stem not in ("__init__", "common"))
TEXT = {".py", ".md", ".cfg", ".toml", ".sh", ".ipynb", ".json", ".txt", ".yml", ".yaml", ".tex", ""}

MAX_MODULE_LINES = 350
MAX_SCRIPT_LINES = 40
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 8
# Installed under another name than they are imported by.
IMPORT_NAMES = {
    "absl-py": "absl", "apache-beam": "apache_beam", "geant4-pybind": "geant4_pybind",
    "ml-collections": "ml_collections", "orbax-checkpoint": "orbax", "ott-jax": "ott", "pillow": "PIL",
    "pot": "ot", "scikit-learn": "sklearn", "tensorboardx": "tensorboardX",
    "tensorflow-datasets": "tensorflow_datasets"
}
# extras for work on the code, not for its use
TOOLS = ("test", "lint", "docs", "notebooks", "release", "browser")
FREE_FOR_ALL = {"jax", "jaxtyping", "numpy", "scipy"}


def relative(path) -> str:
  return str(path.relative_to(REPO))


def tracked_files() -> list[Path]:
  """What git has or would add; skips where the source is no clone."""
  command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
  result = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
  if result.returncode:
    pytest.skip(f"not a git clone: {result.stderr.strip()}")
  return [REPO / name for name in result.stdout.split("\0") if name and (REPO / name).is_file()]


def settings() -> configparser.ConfigParser:
  parser = configparser.ConfigParser()
  parser.read(REPO / "setup.cfg")
  return parser


def lines_of(value: str) -> list[str]:
  return [line.strip() for line in value.splitlines() if line.strip() and not line.strip().startswith("#")]


def import_names(requirements: str) -> set[str]:
  """Import names of the distributions in a block of setup.cfg."""
  names = {re.match(r"[\w.-]+", line).group().lower() for line in lines_of(requirements)}
  return {IMPORT_NAMES.get(name, name) for name in names}


def third_party_imports(nodes) -> set[str]:
  """Top-level names of what these nodes of a syntax tree import from outside the project and Python."""
  names = set()
  for node in nodes:
    if isinstance(node, ast.Import):
      names |= {alias.name.split(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and not node.level:
      names.add(node.module.split(".")[0])
  return names - set(sys.stdlib_module_names) - {"lartpc_jax", "launch", "configs"}


@pytest.mark.parametrize("paths,limit", [(PACKAGE, MAX_MODULE_LINES), (SCRIPTS, MAX_SCRIPT_LINES)],
                         ids=["lartpc_jax", "launch"])
def test_files_are_short(paths, limit):
  counts = {relative(p): len(p.read_text().splitlines()) for p in paths}
  too_long = {name: count for name, count in counts.items() if count > limit}
  assert not too_long, f"Over {limit} lines, so more than one concept: {too_long}"


def exceptions():
  """(path below lartpc_jax, function) of the table in CONTRIBUTING."""
  rows = re.findall(r"^\| `([\w/]+\.py)`: (.*?) \|", (REPO / "CONTRIBUTING.md").read_text(), re.M)
  return {(path, name) for path, names in rows for name in re.findall(r"`(\w+)`", names)}


def test_functions_are_short_with_few_parameters():
  """But for those that CONTRIBUTING names with their reason, each of which must still need it."""
  large = set()
  for path in PACKAGE + SCRIPTS + CONFIGS:
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.FunctionDef):
        found = node.args
        parameters = [*found.posonlyargs, *found.args, *found.kwonlyargs, found.vararg, found.kwarg]
        if (node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
            or sum(p is not None for p in parameters) > MAX_PARAMETERS):
          large.add((relative(path).removeprefix("lartpc_jax/"), node.name))
  assert large == exceptions()


def test_named_lambdas_are_one_line():
  long = [f"{relative(path)}:{node.lineno}" for path in PACKAGE + SCRIPTS
          for node in ast.walk(ast.parse(path.read_text()))
          if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda)
          and node.value.end_lineno > node.value.lineno]
  assert not long, f"Make them functions: {long}"


@pytest.mark.parametrize("path", [p for p in PACKAGE if p.read_text().strip()], ids=relative)
def test_public_functions_have_docstrings(path):
  module = ast.parse(path.read_text())
  public = [node for node in module.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")]
  missing = [f"{relative(path)}:{node.lineno} {node.name}" for node in public if not ast.get_docstring(node)]
  if not ast.get_docstring(module):
    missing.append(relative(path))
  assert not missing, f"No docstring: {missing}"


NUMERICS = ("diffusion", "generators", "geometry", "inference", "metrics", "transport", "simulation",
            "plotting")
SHAPE = r"\[[\w\s.,*+/-]+\]"  # [b h w 1], [n + 1], [...]


@pytest.mark.parametrize("room", NUMERICS)
def test_arrays_have_their_shapes_said(room):
  """A parameter that is annotated as an array of any shape has its shape in the docstring: the function's
  own, or that of the module, where it stands behind the parameter's name.
  """
  missing = []
  for path in sorted((REPO / "lartpc_jax" / room).rglob("*.py")):
    module = ast.parse(path.read_text())
    shared = ast.get_docstring(module) or ""
    for node in module.body:
      if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        arrays = [a.arg for a in arguments if a.annotation is not None and re.search(
            r"\b(np\.ndarray|jax\.Array)\b", ast.unparse(a.annotation))]
        said = re.search(SHAPE + "|scalar", ast.get_docstring(node) or "")
        if not said and not all(re.search(rf"\b{name}\s{SHAPE}", shared) for name in arrays):
          missing.append(f"{relative(path)}:{node.lineno} {node.name}({', '.join(arrays)})")
  assert not missing, f"No shapes in the docstring: {missing}"


def test_imports_are_declared():
  """At module level only what a base install brings; inside functions the extras too."""
  options = settings()["options"]
  base = import_names(options["install_requires"])
  extras = settings()["options.extras_require"]
  optional = base.union(*(import_names(extras[name]) for name in extras if name not in TOOLS))
  for path in PACKAGE + SCRIPTS:
    module = ast.parse(path.read_text())
    eager = third_party_imports(module.body)
    assert eager <= base, f"{relative(path)} needs {eager - base}, which [options] install_requires lacks."
    every = third_party_imports(ast.walk(module))
    assert every <= optional, f"{relative(path)} needs {every - optional}, which setup.cfg does not declare."


def test_every_third_party_has_a_home():
  homes = set(lines_of(settings()["importlinter:contract:homes"]["forbidden_modules"]))
  for path in PACKAGE:
    homeless = third_party_imports(ast.walk(ast.parse(path.read_text()))) - homes - FREE_FOR_ALL
    assert not homeless, f"{relative(path)} imports {homeless}: add it under [importlinter:contract:homes]."


def test_import_contracts():
  """In a process of its own, as import-linter reconfigures logging."""
  pytest.importorskip("importlinter", reason="needs import-linter, the [lint] extra")
  code = "import sys; from importlinter import cli; sys.exit(cli.lint_imports('setup.cfg', no_cache=True))"
  result = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False)
  assert result.returncode == 0, result.stdout[result.stdout.rfind("Broken contracts"):] + result.stderr


def test_no_machine_paths():
  """No path that exists on one machine only."""
  pattern = re.compile(r"(?<![\w.$~-])/(?:home|Users|root|work|scratch|global|cvmfs)/[\w.-]+|/tmp/w/")
  found = []
  for path in tracked_files():
    if path.suffix not in TEXT or path == Path(__file__).resolve():
      continue
    for number, line in enumerate(path.read_text(errors="ignore").splitlines(), 1):
      found += [f"{relative(path)}:{number}: {match.group()}" for match in pattern.finditer(line)]
  assert not found, "\n".join(found)


def load_config(path):
  spec = importlib.util.spec_from_file_location(f"config_under_test_{path.stem}", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize("path", CONFIGS, ids=relative)
def test_config_docstring_gives_the_command(path):
  text = ast.get_docstring(ast.parse(path.read_text())) or ""
  commands = re.findall(r"python -m launch\.(\w+)", text)
  assert commands, f"{relative(path)}: the docstring must give its `python -m launch...` command."
  for script in commands:
    assert (REPO / "launch" / f"{script}.py").is_file(), f"{relative(path)}: there is no launch.{script}."
  for name in re.findall(r"configs/\w+\.py", text):
    assert (REPO / name).is_file(), f"{relative(path)}: there is no {name}."
  assert relative(path) in text, f"{relative(path)}: the command must name this config."


@pytest.mark.parametrize("path", CONFIGS, ids=relative)
def test_config_variants(path):
  module = load_config(path)
  base, tiny = module.get_config(), module.get_config("tiny")
  assert sorted(base) == sorted(tiny), f"{relative(path)}: base and tiny differ in their blocks."
  with pytest.raises(ValueError, match="no_such_variant"):
    module.get_config("no_such_variant")


def test_version():
  assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", lartpc_jax.__version__)
  try:
    installed = importlib.metadata.version("lartpc_jax")
  except importlib.metadata.PackageNotFoundError:
    pytest.skip("lartpc_jax is not installed")
  assert installed == lartpc_jax.__version__, "Reinstall: pip install -e ."


def test_assets_ship_with_the_package():
  patterns = lines_of(settings()["options.package_data"]["lartpc_jax"])
  # Unlike setuptools, Path.glob takes a trailing ** to mean folders only.
  shipped = {path for pattern in patterns
             for path in (REPO / "lartpc_jax").glob(re.sub(r"\*\*$", "**/*", pattern))}
  files = {path for path in (REPO / "lartpc_jax").rglob("*")
           if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts}
  assert files <= shipped, f"Not in [options.package_data]: {sorted(relative(p) for p in files - shipped)}"
