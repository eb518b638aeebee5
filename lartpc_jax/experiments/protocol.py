"""What every experiment is: a module with `Settings` and `run`; and what these share.

`Settings` is a frozen dataclass: what the command asks for, with its defaults. `cli.define_flags` makes one
flag of each field. It runs the class statement alone, since --help must not wait for jax: a default may use
no more than literals and the functions here. `run(settings, console)`, with the config in between where the
command has one, does it, reports, and returns an exit code, None for success. Where work can be resumed,
`run` is made of `prepare(settings, config) -> Job`, which finds mistakes and writes nothing, and
`execute(job, out, console)`, which computes what is missing; see `chunks`.
"""
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

STARTS = ("random", "classical", "amortised")


class Console(NamedTuple):
  """How an experiment speaks with whoever runs it. `cli.terminal` makes that of a command; this default is
  for libraries.
  """
  # (total, *, initial=0, description="", unit="step") -> context manager of update and write
  progress: Callable
  say: Callable          # (text) -> None, of a line or a table
  stopping: Callable     # () -> context manager of requested() -> signal number or None
  check: Callable        # (directory, identity) -> None; ValueError if it has results of another identity
  # (directory, identity) -> context manager of its Path, held, with results of that identity only
  workdir: Callable
  environment: Callable  # () -> text: when, where and with what


class Bar(NamedTuple):
  """What `Console.progress` yields."""
  update: Callable  # (done, **metrics) -> None
  write: Callable   # (text) -> None, a line that does not break the bar


NO_BAR = Bar(lambda done, **metrics: None, lambda text: None)


@contextlib.contextmanager
def no_bar(total: int, **kwargs) -> Iterator[Bar]:
  """A bar that shows nothing."""
  del total, kwargs
  yield NO_BAR


@contextlib.contextmanager
def plain_directory(directory: str | Path, identity: dict) -> Iterator[Path]:
  """The directory, made if need be; for callers that keep identities apart themselves."""
  del identity
  Path(directory).mkdir(parents=True, exist_ok=True)
  yield Path(directory)


SILENT = Console(no_bar, lambda text: None, lambda: contextlib.nullcontext(lambda: None),
                 lambda directory, identity: None, plain_directory, lambda: "")


def setting(default: Any, text: str, *, flag: str | None = None, required: bool = False,
            lower: int | float | None = None,
            choices: tuple | None = None, repeated: bool = False, goes_with: str | None = None) -> Any:
  """A field of `Settings`.

  Args:
    default: the value where the command line says nothing.
    text: help of the flag.
    flag: its name, if not that of the field.
    required: whether the command needs it.
    lower: smallest number allowed.
    choices: all that is allowed.
    repeated: whether the flag may come several times, each with one value.
    goes_with: "flag=value": an error beside another value of that flag.
  """
  return dataclasses.field(default=default, metadata=dict(
      text=text, flag=flag, required=required, lower=lower, choices=choices, repeated=repeated,
      goes_with=goes_with, parse=None))


def parsed(text: str | None, about: str, parse: Callable, *, flag: str | None = None,
           goes_with: str | None = None) -> Any:
  """A field whose flag is a text that `parse` reads; so is its default. `parse` raises ValueError saying what
  it needs.
  """
  return dataclasses.field(default=None if text is None else parse(text), metadata=dict(
      text=about, flag=flag, required=False, lower=None, choices=None, repeated=False, goes_with=goes_with,
      parse=parse,
      shown=text))


def pair(text: str, *, number: Callable, separator: str = ",") -> tuple:
  """Two numbers. Raises ValueError."""
  try:
    low, high = (number(part) for part in text.split(separator))
  except ValueError as error:
    raise ValueError(f"give two numbers, such as {separator.join(('1', '5'))}.") from error
  return low, high


def ranges(text: str) -> tuple[tuple[float, float], ...]:
  """"50,100" or "50,100;20,80". Raises ValueError."""
  return tuple(pair(part, number=float) for part in text.split(";"))


integer_pair = functools.partial(pair, number=int)
fraction = functools.partial(pair, number=int, separator="/")


@dataclasses.dataclass(frozen=True)
class EventSettings:
  """What experiments ask for that fit something to the events of a file."""
  input: str | None = setting(None, 'File of events or images, or "sample".', required=True)
  views: tuple[str, ...] = setting(("xy", "xz"), "Views, in the order of the images.")
  num_events: int | None = setting(None, "Number of events; default: to the end of the file.", lower=1)
  first_event: int = setting(0, "Number of the first event.", lower=0)
  out: str | None = setting(None, "Directory of the results.", required=True)
  weights: str | None = setting(None, "Directory of weights; default: those of the package.")
  chunk_size: int = setting(8, "Events a device works on at once.", lower=1)
  seed: int = setting(0, "Seed of the candidates and the noise.")


@dataclasses.dataclass(frozen=True)
class DescentSettings(EventSettings):
  """The same for experiments that descend to one momentum an event."""
  start: str = setting("random", "Where the descent starts.", choices=STARTS)


def settings_as(kind: type, settings: Any, **changes) -> Any:
  """`Settings` of an experiment with the fields that those of another one share, and with some changes."""
  names = lambda of: {field.name for field in dataclasses.fields(of)}
  shared = names(kind) & names(settings)
  return kind(**{**{name: getattr(settings, name) for name in shared}, **changes})


def exit_code(stopped: int | None) -> int:
  """Of a command that ended, or that a signal stopped, as shells number it."""
  return 0 if stopped is None else 128 + stopped
