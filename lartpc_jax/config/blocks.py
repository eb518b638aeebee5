"""Blocks of a config as keyword arguments: look them up, call with them, and name a bad key."""
import dataclasses
import inspect
import typing
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
    required = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    if required and name not in values:
      raise ValueError(f"Missing config key {block}.{name}; there are {sorted(values)}.")


def section(config: Mapping, name: str) -> dict:
  """Block `name` of a config as a plain dict. Raises ValueError naming it if it is missing."""
  block = config.get(name)
  if not isinstance(block, Mapping) and not hasattr(block, "to_dict"):
    raise ValueError(f"The config needs a block {name!r}; it has {sorted(config)}.")
  return block.to_dict() if hasattr(block, "to_dict") else dict(block)


def pick(table: Mapping, block: str, values: dict) -> tuple[Any, dict]:
  """table[values["name"]] and the other keys of `values`. Raises ValueError naming an unknown name."""
  values = dict(values)
  name = values.pop("name", None)
  if name not in table:
    raise ValueError(f"Unknown config value {block}.name = {name!r}; allowed: {sorted(table)}.")
  return table[name], values


def parse(schema: Any, block: str, values: Mapping) -> Any:
  """A frozen dataclass with the values of a config block; a dataclass in it is a block of its own.

  Args:
    schema: an instance, which holds where the block says nothing, or a class, whose fields without a default
      the block must have.
    block: its name, for messages.
    values: key -> value.
  Raises:
    ValueError: naming an unknown key, its value and the allowed set, a missing key, a block that is none, or
      NaN.
  """
  fields, found = {field.name: field for field in dataclasses.fields(schema)}, {}
  for key, value in values.items():
    if key not in fields:
      raise ValueError(f"Unknown config key {block}.{key} = {value!r}; allowed: {sorted(fields)}.")
    if isinstance(value, float) and value != value:
      raise ValueError(f"The config value {block}.{key} is NaN; give a number.")
    kinds = (fields[key].type, *typing.get_args(fields[key].type))
    inner = next((kind for kind in kinds if dataclasses.is_dataclass(kind)), None)
    found[key] = value
    if inner and isinstance(value, Mapping):
      found[key] = parse(getattr(schema, key, None) or inner, f"{block}.{key}", value)
    elif inner and not (value is None and type(None) in kinds):
      raise ValueError(f"Config key {block}.{key} must be a block; got {value!r}.")
    elif not inner and isinstance(value, Mapping) and Mapping not in kinds:
      raise ValueError(f"Config key {block}.{key} must be a value; got {value!r}.")
  if not isinstance(schema, type):
    return dataclasses.replace(schema, **found)
  check_keywords(schema, block, found, {})
  return schema(**found)
