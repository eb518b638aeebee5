"""Where the launch scripts and the configs are, in a clone and in an installed package, and what arguments of
the command line mean before any flag is read."""
import difflib
import os
import re
import runpy
import sys
from pathlib import Path


def root() -> Path:
  """The folder with `launch` and `configs`: of the clone, or that of an installed package."""
  package = Path(__file__).resolve().parent
  shipped = package / "shipped"
  return shipped if shipped.is_dir() else package.parent


def config_names() -> list[str]:
  """Names of the configs that ship, such as "protons64_infer"."""
  return sorted(path.stem for path in (root() / "configs").glob("*.py")
                if path.stem not in ("__init__", "common"))


def find_config(value: str) -> str:
  """The file that --config=NAME[:VARIANT] means, with the variant behind it.

  A file of that name, from the working directory, comes first; then a config that ships, by name
  ("protons64_infer:amortised") or by its place in a clone ("configs/protons64_infer.py"), so that the same
  command works in any directory.

  Raises:
    ValueError: if it looks like a name and no config has it, with those that do.
  """
  path, colon, variant = value.partition(":")
  name = re.fullmatch(r"(?:configs/)?(\w+)(?:\.py)?", path)
  if not name or Path(path).is_file():
    return value
  if name[1] in config_names():
    return str(root() / "configs" / f"{name[1]}.py") + colon + variant
  if path == name[1]:
    near = difflib.get_close_matches(path, config_names(), 1)
    raise ValueError(f"There is no config {path!r}" + (f"; did you mean {near[0]!r}?" if near else ".")
                     + f" Those that ship: {', '.join(config_names())}. A file of yours goes by its path.")
  return value


def load_config(value: str):
  """The config (an `ml_collections.ConfigDict`) of --config=VALUE, for notebooks and scripts. What configs
  import from each other is found from then on: their folder joins Python's path.
  """
  path, _, variant = find_config(value).partition(":")
  if str(root()) not in sys.path:
    sys.path.append(str(root()))
  return runpy.run_path(path)["get_config"](*([variant] if variant else []))


def expand(arguments: list[str]) -> list[str]:
  """Arguments of a command with ~ as the home directory, also inside a word (--out=~/x.npz), where shells
  leave it alone, and with --config as the file that it means.

  Raises:
    ValueError: as `find_config`.
  """
  home = [re.sub(r"(?<=[=,])~(?=[/,]|$)", lambda match: os.path.expanduser("~"), text) for text in arguments]
  found = []
  for before, text in zip(["", *home], home, strict=False):
    if re.fullmatch("--?config", before):
      text = find_config(text)
    elif match := re.fullmatch("(--?config=)(.+)", text):
      text = match[1] + find_config(match[2])
    found.append(text)
  return found
