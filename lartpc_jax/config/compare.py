"""Plain-dict run configurations: what may change when a run resumes, and which keys a function takes."""
import inspect
import json
from collections.abc import Callable, Collection

RESUMABLE = ("train.",)  # prefixes of keys that may differ: run length and intervals


def plain(config: dict) -> dict:
  """The config as JSON gives it back (tuples become lists, paths strings): saved and new ones compare."""
  return json.loads(json.dumps(config, default=str))


def flatten(config: dict, prefix: str = "") -> dict:
  """{"optim": {"b1": 0.9}} -> {"optim.b1": 0.9}."""
  flat = {}
  for key, value in config.items():
    if isinstance(value, dict) and value:
      flat.update(flatten(value, f"{prefix}{key}."))
    else:
      flat[f"{prefix}{key}"] = value
  return flat


def config_differences(saved: dict, new: dict, *, ignore: Collection[str] = RESUMABLE) -> list[str]:
  """Lines "key: saved -> new" for every differing key that starts with no prefix in `ignore`."""
  saved, new = flatten(plain(saved)), flatten(plain(new))
  show = lambda config, key: repr(config[key]) if key in config else "(absent)"
  return [f"{key}: {show(saved, key)} -> {show(new, key)}" for key in sorted(saved.keys() | new.keys())
          if not f"{key}.".startswith(tuple(ignore)) and show(saved, key) != show(new, key)]


def check_same_config(saved: dict | None, new: dict, *, source: str) -> None:
  """Raises ValueError, naming the differing keys, if a run cannot go on from `saved` under `new`."""
  differences = config_differences(saved or {}, new)
  if differences:
    listing = "\n  ".join(differences)
    raise ValueError(f"The config differs from that of {source} (saved -> now):\n  {listing}\nUse the saved values "
                     "to resume, or another workdir for a new run. (train.* may change.)")


def keywords_for(function: Callable, block: str, values: dict, *, supplied: Collection[str] = ()) -> dict:
  """Checks that config block `values` fits the keyword-only arguments of `function`, and returns it.

  Args:
    function: the builder.
    block: the block's name, for messages, e.g. "optim".
    values: keyword -> value.
    supplied: keywords that the caller passes itself; not allowed in the block.
  Raises:
    ValueError: naming an unknown key, its value and the allowed set, or a missing key.
  """
  parameters = {name: p for name, p in inspect.signature(function).parameters.items()
                if p.kind is p.KEYWORD_ONLY and name not in supplied}
  for key, value in values.items():
    if isinstance(value, float) and value != value:
      raise ValueError(f"The config value {block}.{key} is NaN; give a number.")
    if key not in parameters:
      raise ValueError(f"Unknown config key {block}.{key} = {value!r}; allowed: {sorted(parameters)}.")
  for name, parameter in parameters.items():
    if parameter.default is parameter.empty and name not in values:
      raise ValueError(f"Missing config key {block}.{name}; there are {sorted(values)}, "
                       f"allowed: {sorted(parameters)}.")
  return dict(values)
