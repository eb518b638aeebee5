"""Helpers that all launch scripts share: errors without tracebacks, work directories, devices, progress.

jax and the training code are imported inside the functions that need them, so that `--help` starts at once.
"""
import ast
import contextlib
import dataclasses
import gc
import importlib
import json
import os
import platform
import re
import subprocess
import sys
import time
import types
import typing
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from absl import app, flags, logging as absl_logging

from lartpc_jax import entry_points
from lartpc_jax.experiments.protocol import Bar, Console
from lartpc_jax.files import atomic_write, hold_lock

PACKAGES = ("lartpc_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ott-jax", "numpy",
            "ml-collections")
LEFTOVERS = ("config.json", "environment.txt", "metrics.jsonl", "tensorboard", "checkpoints",
             "lock")  # see _has_results

flags.DEFINE_bool("debug", False, "Show the traceback of errors (as does LARTPC_DEBUG=1).")
flags.disclaim_key_flags()  # those that functions here define belong to the script that calls them


def define_config_flag(default: str | None = None,
                       text: str = "The config file, with :variant if wanted") -> None:
  """--config and --config.KEY of the script that calls; `launch` needs the same default."""
  from ml_collections import config_flags
  config_flags.DEFINE_config_file("config", None, text + (f"; default: {default}." if default else "."),
                                  lock_config=True)


def settings_class(experiment: str) -> type:
  """The `Settings` of an experiment, from its class statement and the imports that this uses: the module
  needs jax.
  """
  path = Path(__file__).parent / "experiments" / f"{experiment}.py"
  body = ast.parse(path.read_text(encoding="utf-8")).body
  statement = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == "Settings")
  used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
  imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)
             and used & {alias.asname or alias.name for alias in node.names}]
  names = {"__name__": f"lartpc_jax.experiments.{experiment}"}
  exec(compile(ast.Module([*imports, statement], []), str(path), "exec"), names)
  return names["Settings"]


def define_flags(experiment: str) -> None:
  """One flag for each field of the experiment's `Settings`; they count as flags of the script that calls."""
  for field in dataclasses.fields(settings_class(experiment)):
    about, name, text = field.metadata, field.metadata["flag"] or field.name, field.metadata["text"]
    optional = isinstance(field.type, types.UnionType)
    kind = next(t for t in typing.get_args(field.type) if t is not type(None)) if optional else field.type
    if about["parse"]:
      flags.DEFINE_string(name, about["shown"], text)
    elif about["choices"]:
      flags.DEFINE_enum(name, field.default, about["choices"], text)
    elif about["repeated"]:
      flags.DEFINE_multi_string(name, list(field.default), text)
    elif typing.get_origin(kind) is tuple:
      flags.DEFINE_list(name, None if field.default is None else list(field.default), text)
    else:
      define = {str: flags.DEFINE_string, bool: flags.DEFINE_bool, int: flags.DEFINE_integer,
                float: flags.DEFINE_float}
      define[kind](name, field.default, text,
                   **({"lower_bound": about["lower"]} if kind in (int, float) else {}))


def read_flags(experiment: str) -> dict:
  """Field -> value, as the command line has it.

  Raises:
    ValueError: naming a flag that is missing, not readable, or does not go with the others.
  """
  values, found = flags.FLAGS, {}
  fields = dataclasses.fields(settings_class(experiment))
  for field in fields:
    name, needed = field.metadata["flag"] or field.name, field.metadata["goes_with"]
    flag = values[name]
    if field.metadata["required"] and not flag.value:
      raise ValueError(f"Give --{name}; --help says what it may be.")
    other, _, value = (needed or "").partition("=")
    if needed and flag.present and values[other].value != value:
      raise ValueError(f"--{name} goes with --{needed}.")
    found[field.name] = tuple(flag.value) if isinstance(flag.value, list) else flag.value
    if field.metadata["parse"] and flag.value is not None:
      try:
        found[field.name] = field.metadata["parse"](flag.value)
      except ValueError as error:
        raise ValueError(f"Bad --{name}={flag.value}: {error}") from error
  return found


def terminal() -> Console:
  """The `Console` of a command."""
  from lartpc_jax.train.interrupt import stop_requests
  say = lambda text: print(text, flush=True)
  return Console(progress_bar, say, stop_requests, check_workdir, hold_workdir, environment_text)


def launch(experiment: str, *, default_config: str | None = None, **configs: Callable) -> None:
  """Runs an experiment with the flags that `define_flags` made, and exits.

  Args:
    experiment: name of its module.
    default_config: as for `run`.
    **configs: name -> function of the settings that makes a config, for configs that no flag names.
  """
  def main(argv) -> int | None:
    del argv
    values = read_flags(experiment)  # before jax is imported, which takes a second
    module = importlib.import_module(f"lartpc_jax.experiments.{experiment}")
    settings = module.Settings(**values)
    made = {name: make(settings).to_dict() for name, make in configs.items()}
    if "config" in flags.FLAGS:
      made["config"] = None if flags.FLAGS.config is None else flags.FLAGS.config.to_dict()
    return module.run(settings, console=terminal(), **made) or 0
  run(main, default_config=default_config)


def run(main: Callable[[list[str]], int | None], *, default_config: str | None = None) -> None:
  """Runs `main(argv)` under absl and exits; expected errors become one message and exit code 2.

  Expected are ValueError, OSError (a missing file, say), FloatingPointError (a diverged training) and any
  mistake in the command line or in a config file. With --debug they keep their traceback. `default_config` is
  the file of --config where the command line names none: as the default of the flag itself, ml_collections
  would read the --config.KEY flags too early for their errors to become messages.
  """
  if default_config and not any(re.match("--?config(=|$)", argument) for argument in sys.argv[1:]):
    sys.argv.insert(1, f"--config={default_config}")

  def start(argv):
    if len(argv) > 1:
      raise ValueError(f"Unexpected arguments {argv[1:]}; options start with --.")
    if not flags.FLAGS["verbosity"].present:
      absl_logging.set_verbosity(absl_logging.WARNING)  # at absl's INFO orbax prints 30 lines a checkpoint
    code = main(argv)
    gc.freeze()  # else Python looks through all that lives for cycles before it exits: half a second with jax
    sys.exit(code)

  # imports and traces make objects that stay; looking at them often costs a tenth of the start
  gc.set_threshold(100_000)
  try:
    app.run(start, flags_parser=_parse_flags)
  except BrokenPipeError:  # the reader went away, as in `... --help | head`
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(141)
  except KeyboardInterrupt:
    if _debug():
      raise
    print("Interrupted.", file=sys.stderr)
    sys.exit(130)
  except (ValueError, OSError, FloatingPointError) as error:
    if _debug():
      raise
    print(f"error: {error}\n(--debug shows the traceback.)", file=sys.stderr)
    sys.exit(2)


def _parse_flags(argv: list[str]) -> list[str]:
  """absl's parser, with its errors and those of ml_collections as ValueErrors."""
  sys.argv[1:] = argv[1:] = entry_points.expand(argv[1:])
  try:
    return flags.FLAGS(argv)
  except SystemExit:  # after --help, which absl calls a failure
    sys.exit(0)
  except flags.Error as error:  # for an error inside a config file: a traceback, whose last line says it
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raise ValueError(" ".join(dict.fromkeys([lines[0], lines[-1]])) + " (--help lists the flags.)") from error
  except (AttributeError, KeyError) as error:
    text = str(error.args[0])  # of ml_collections, perhaps the repr of a message of two lines
    key, meant = re.search(r"\w+", text), re.search(r'Did you mean "(\w+)"', text)
    raise ValueError(f"The config has no key {key.group() if key else text!r} (from a --config.KEY)"
                     + (f"; did you mean {meant.group(1)!r}?" if meant else ".")) from error


def _debug() -> bool:
  return os.environ.get("LARTPC_DEBUG", "") not in ("", "0") or "--debug" in sys.argv


def check_workdir(workdir: str | os.PathLike | None, config: dict) -> None:
  """Raises ValueError if no directory is given, or if it has results of a run with another config (naming the
  keys).
  """
  from lartpc_jax.config.compare import check_same_config
  if not workdir:
    raise ValueError("Give a directory for the run: --workdir=runs/name.")
  workdir = Path(workdir)
  path = workdir / "config.json"
  if path.exists() and _has_results(workdir):
    try:
      saved = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
      raise ValueError(f"{path} is not readable as JSON ({error}).") from error
    check_same_config(saved, config, source=str(path))


@contextlib.contextmanager
def hold_workdir(workdir: str | os.PathLike | None, config: dict) -> Iterator[Path]:
  """A work directory with config.json and environment.txt, held against other processes; one with results has
  this config.

  The lock comes first: a process that is refused has changed nothing.

  Args:
    workdir: the directory; parents are made.
    config: plain dict of the run. Keys under "train." may differ from the existing ones (they are updated).
  Yields:
    The directory.
  Raises:
    ValueError: as `check_workdir`.
    OSError: if it cannot be written, or another process holds it.
  """
  if not workdir:
    check_workdir(workdir, config)
  workdir = Path(workdir)
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise OSError(f"Cannot write to the work directory {workdir}: {error.strerror or error}.") from error
  with hold_lock(workdir / "lock", busy=f"Another process is writing {workdir}."):
    _write_metadata(workdir, config)
    yield workdir


def _write_metadata(workdir: Path, config: dict) -> None:
  from lartpc_jax.config.compare import plain
  check_workdir(workdir, config)
  try:
    with atomic_write(workdir / "config.json") as file:
      file.write(json.dumps(plain(config), indent=2) + "\n")
    with open(workdir / "environment.txt", "a", encoding="utf-8") as file:
      file.write(environment_text() + "\n")
  except OSError as error:
    raise OSError(f"Cannot write to the work directory {workdir}: {error.strerror or error}.") from error


def _has_results(workdir: Path) -> bool:
  """False for what a run leaves that failed before its first checkpoint: it may start again with another
  config.
  """
  saved = (workdir / "checkpoints").glob("*")
  return any(p.name.isdigit() for p in saved) or any(p.name not in LEFTOVERS for p in workdir.iterdir())


def environment_text() -> str:
  """When, where and with what a command runs: time, command line, commit, versions, devices."""
  from lartpc_jax.parallel import device_summary
  lines = [time.strftime("%Y-%m-%d %H:%M:%S %z"), "command: " + " ".join(sys.orig_argv),
           f"commit: {_git_commit()}", f"python: {platform.python_version()}",
           f"host: {platform.node()}, {platform.platform()}, {os.cpu_count()} cores"]
  for name in PACKAGES:
    try:
      lines.append(f"{name}: {metadata.version(name)}")
    except metadata.PackageNotFoundError:
      lines.append(f"{name}: not installed")
  return "\n".join([*lines, f"devices: {device_summary()}"]) + "\n"


def _git_commit() -> str:
  def git(*arguments):
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

  if not (entry_points.root() / ".git").exists():  # an installed package may lie in somebody else's clone
    return "unknown"
  try:
    commit, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "-uno")
  except (OSError, subprocess.SubprocessError):
    return "unknown"
  return commit + (" with uncommitted changes" if changed else "")


@contextlib.contextmanager
def progress_bar(total: int, *, initial: int = 0, description: str = "", unit: str = "step", stream=None,
                 every_seconds: float = 10.0) -> Iterator[Bar]:
  """A bar with ETA on a terminal; elsewhere a line for each update with metrics, or every `every_seconds`.

  Args:
    total: number of units of the whole job.
    initial: units done before; the ETA does not count them.
    description: shown in front.
    unit: name of one unit.
    stream: default sys.stderr.
    every_seconds: of plain lines without metrics.
  """
  stream = sys.stderr if stream is None else stream
  if stream.isatty():
    with _tqdm_bar(total, initial, description, unit, stream) as progress:
      yield progress
    return
  first, last = None, time.monotonic()  # first update: (time, done); what comes before it is compilation

  def write(text: str) -> None:
    print(text, file=stream, flush=True)

  def update(done: int, **metrics) -> None:
    nonlocal first, last
    now = time.monotonic()
    first = first or (now, done)
    if metrics or done >= total or now - last >= every_seconds:
      last = now
      rate = (done - first[1]) / max(now - first[0], 1e-9)
      eta = _duration((total - done) / rate) if rate > 0 else "?"
      shown = "  ".join([f"{100 * done / max(total, 1):.0f}%", *_short(metrics), f"ETA {eta}"])
      write(f"{description + ' ' if description else ''}{unit} {done}/{total}  {shown}")

  yield Bar(update, write)


@contextlib.contextmanager
def _tqdm_bar(total: int, initial: int, description: str, unit: str, stream) -> Iterator[Bar]:
  from tqdm import tqdm
  with tqdm(total=total, initial=initial, desc=description or None, unit=unit, file=stream,
            dynamic_ncols=True) as bar:
    def update(done: int, **metrics) -> None:
      if metrics:
        bar.set_postfix_str(", ".join(_short(metrics)), refresh=False)
      bar.update(done - bar.n)
    yield Bar(update, lambda text: bar.write(text, file=stream))


def _short(metrics: dict[str, float]) -> list[str]:
  names = {"images_per_second": "images/s", "wall_seconds": ""}
  labels = {name: names.get(name, name.removeprefix("train/")) for name in metrics}
  return [f"{label} {metrics[name]:.4g}" for name, label in labels.items() if label]


def _duration(seconds: float) -> str:
  minutes, seconds = divmod(round(seconds), 60)
  return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
