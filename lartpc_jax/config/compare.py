"""Plain-dict run configurations: what may change when a run resumes."""
import json
from collections.abc import Collection

from lartpc_jax.config import schema

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
  """Lines "key: saved -> new" for every differing key that starts with no prefix in `ignore`.

  A key that one of them lacks has the default of the schema.
  """
  known = _defaults(new.get("task"))
  saved, new = flatten(plain(saved)), flatten(plain(new))
  show = lambda config, key: repr({**known, **config}[key]) if key in known or key in config else "(absent)"
  return [f"{key}: {show(saved, key)} -> {show(new, key)}" for key in sorted(saved.keys() | new.keys())
          if not f"{key}.".startswith(tuple(ignore)) and show(saved, key) != show(new, key)]


def _defaults(task: str | None) -> dict:
  """Flat keys -> defaults: a config of an earlier version lacks the keys that came later."""
  kinds = {"optim": schema.Optim, "sampler": schema.Sampler, "data": schema.DataSettings}
  kinds |= {"loss": schema.LOSSES[task]} if task in schema.LOSSES else {}
  return {f"{block}.{key}": value for block, kind in kinds.items()
          for key, value in schema.defaults(kind).items()}


def check_same_config(saved: dict | None, new: dict, *, source: str) -> None:
  """Raises ValueError, naming the differing keys, if a run cannot go on from `saved` under `new`."""
  differences = config_differences(saved or {}, new)
  if differences:
    listing = "\n  ".join(differences)
    raise ValueError(f"The config differs from that of {source} (saved -> now):\n  {listing}\nUse the saved "
                     "values to resume, or another workdir for a new run. (train.* may change.)")
