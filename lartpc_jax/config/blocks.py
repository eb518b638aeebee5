"""Blocks of a config as keyword arguments: look them up, call with them, and name a bad key."""
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any


def call_with(function: Callable, block: str, values: Mapping, **supplied) -> Any:
  """function(**values, **supplied), with errors that name the key, see `check_keywords`."""
  check_keywords(function, block, values, supplied)
  return function(**values, **supplied)


def check_keywords(function: Callable, block: str, values: Mapping, supplied: Mapping) -> None:
  """Raises ValueError naming an unknown or missing key of `block`, its value and the allowed set."""
  parameters = {name: p for name, p in inspect.signature(function).parameters.items() if name not in supplied}
  open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
  for key, value in values.items():
    if isinstance(value, float) and value != value:
      raise ValueError(f"The config value {block}.{key} is NaN; give a number.")
    if key not in parameters and not open_ended:
      raise ValueError(f"Unknown config key {block}.{key} = {value!r}; allowed: {sorted(parameters)}.")
  for name, parameter in parameters.items():
    if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD and name not in values:
      raise ValueError(f"Missing config key {block}.{name}; there are {sorted(values)}.")


def section(config: Mapping, name: str) -> dict:
  """Block `name` of a config as a plain dict. Raises ValueError naming it if it is missing."""
  block = config.get(name)
  if not isinstance(block, Mapping) and not hasattr(block, "to_dict"):
    raise ValueError(f"The config needs a block {name!r}; it has {sorted(config)}.")
  return block.to_dict() if hasattr(block, "to_dict") else dict(block)


def pick(table: Mapping, block: str, values: dict) -> tuple[Any, dict]:
  """Splits `values` into table[values["name"]] and the other keys. Raises ValueError naming an unknown name."""
  values = dict(values)
  name = values.pop("name", None)
  if name not in table:
    raise ValueError(f"Unknown config value {block}.name = {name!r}; allowed: {sorted(table)}.")
  return table[name], values


def parse(defaults: Any, block: str, values: Mapping) -> Any:
  """A copy of a frozen dataclass with the values of a config block; a dataclass in it is a block of its own.

  Raises:
    ValueError: naming an unknown key, its value and the allowed set, or a block that is none.
  """
  names, found = [field.name for field in dataclasses.fields(defaults)], {}
  for key, value in values.items():
    if key not in names:
      raise ValueError(f"Unknown config key {block}.{key} = {value!r}; allowed: {sorted(names)}.")
    own = getattr(defaults, key)
    if dataclasses.is_dataclass(own) != isinstance(value, Mapping):
      raise ValueError(f"Config key {block}.{key} must be {'a block' if dataclasses.is_dataclass(own) else 'a value'}; "
                       f"got {value!r}.")
    found[key] = parse(own, f"{block}.{key}", value) if isinstance(value, Mapping) else value
  return dataclasses.replace(defaults, **found)
