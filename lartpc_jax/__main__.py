"""The command `lartpc`: each script of `launch/` is a sub-command, with the same flags.

`lartpc infer --input=sample --out=x` is `python -m launch.infer --input=sample --out=x`, in any directory.
A new file in `launch/` is a new sub-command; nothing else needs to be told. Exit codes: 0 done; 2 and one
message for a mistake in the command line, a config or a file; 128 + the number of the signal that stopped it.
"""
import ast
import difflib
import os
import runpy
import sys
import textwrap

import lartpc_jax
from lartpc_jax import entry_points

USAGE = """usage: lartpc COMMAND [--FLAG=VALUE ...]
       lartpc COMMAND --help       what it does, with all its flags
       lartpc --version

Images of liquid-argon time projection chambers by conditional latent diffusion, inverted for momenta.

"""
FOOTER = """
{configs}

Exit codes: 0 done; 2 a mistake in the command line, a config or a file (one message says which); 128 + N
stopped by signal N. Work that takes long resumes when the same command is given again.
"""


def commands() -> dict[str, str]:
  """Name of each sub-command -> the first paragraph of its docstring."""
  found = {}
  for path in sorted((entry_points.root() / "launch").glob("*.py")):
    if path.stem != "__init__":
      text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
      found[path.stem] = " ".join(text.split("\n\n")[0].split())
  return found


def help_text() -> str:
  """What `lartpc --help` prints."""
  lines = []
  for name, text in sorted(commands().items(), key=lambda item: (item[0].startswith("benchmark"), item[0])):
    text = text.partition(": ")[0].partition("; ")[0].rstrip(".")
    lines.append(f"  {name:22s}{textwrap.shorten(text, 84, placeholder=' ...')}")
  configs = ("--config=NAME[:VARIANT] takes a file, or a config that ships by its name: "
             + ", ".join(entry_points.config_names()) + ".")
  return USAGE + "\n".join(lines) + "\n" + FOOTER.format(configs=textwrap.fill(configs, 108))


def main() -> int | None:
  """Runs the sub-command that the command line names; the exit code where there is none to run."""
  arguments = sys.argv[1:]
  if not arguments or arguments[0] in ("help", "--help", "-h", "-help"):
    return show(help_text())
  if arguments[0] in ("--version", "-V", "version"):
    return show(f"lartpc_jax {lartpc_jax.__version__} (Python {sys.version.split()[0]})\n")
  folder = entry_points.root()
  name = arguments[0].removeprefix("launch.").replace("-", "_")
  if not name.isidentifier() or not (folder / "launch" / f"{name}.py").is_file():
    near = difflib.get_close_matches(name, commands(), 1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    print(f"error: lartpc has no command {arguments[0]!r}.{meant} lartpc --help lists them.", file=sys.stderr)
    return 2
  sys.path.insert(0, str(folder))  # for `launch`, and for the `configs` that scripts and configs import
  sys.argv = [f"lartpc {name}", *arguments[1:]]
  runpy.run_module(f"launch.{name}", run_name="__main__", alter_sys=True)
  return None


def show(text: str) -> int:
  """Prints; a reader that goes away, as in `lartpc --help | head`, is no error."""
  try:
    sys.stdout.write(text)
    sys.stdout.flush()
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
  return 0


if __name__ == "__main__":
  sys.exit(main())
