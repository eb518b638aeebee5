"""Inference with every combination of some config values, and one table: what launch.sweep does."""
import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lartpc_jax.experiments import infer
from lartpc_jax.experiments.protocol import Console, DescentSettings, exit_code, setting, settings_as
from lartpc_jax.tables import markdown_table, write_json, write_text

COLUMNS = {"median_dp_mev": "median error, MeV/c", "q95_dp_mev": "95 % quantile",
           "share_above_50_mev": "above 50 MeV/c"}


@dataclasses.dataclass(frozen=True)
class Settings(DescentSettings):
  """What to infer, and the values to try."""
  changes: tuple[str, ...] = setting((),
                                     "Config key and its values: key=value,value. May be given several "
                                     "times.",
                                     flag="set", required=True, repeated=True)


def run(settings: Settings, config: Mapping, console: Console) -> int:
  """Sweeps over the values of --set into directories of --out."""
  wanted = settings_as(infer.Settings, settings, num_pictures=0)
  return exit_code(run_sweep(wanted, config, parse_settings(settings.changes), console))


def parse_settings(texts: Sequence[str]) -> dict[str, list]:
  """Config key -> values, of "inference.second.num_steps=8,14" and so on; values are JSON or plain text.

  Raises:
    ValueError: naming a text that is no such thing, or a key that comes twice.
  """
  found = {}
  for text in texts:
    key, equals, values = text.partition("=")
    if not equals or not key or not values or key in found:
      raise ValueError(f"Bad --set {text!r}: give key=value,value such as inference.second.num_steps=8,14, "
                       "each key once.")
    found[key] = [_value(x) for x in values.split(",")]
  return found


def _value(text: str):
  try:
    return json.loads(text)
  except json.JSONDecodeError:
    return text


def changed(config: Mapping, key: str, value) -> dict:
  """A copy of nested dicts with one value changed; `key` has dots between levels.

  Raises:
    ValueError: naming the key if there is none such, or the value if it is of another type than the one it
      replaces.
  """
  head, _, rest = key.partition(".")
  if head not in config or (rest and not isinstance(config[head], Mapping)):
    raise ValueError(f"Unknown config key {head!r} of --set; there are {sorted(config)}.")
  old = config[head]
  if rest:
    return {**config, head: changed(old, rest, value)}
  if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
    value = float(value)
  if type(value) is not type(old):
    raise ValueError(f"--set {key} needs a value like {old!r}; got {value!r}.")
  return {**config, head: value}


def run_sweep(settings: infer.Settings, config: Mapping, values: dict[str, list],
              console: Console) -> int | None:
  """Runs launch.infer's work for each combination in a directory of its own; writes sweep.json and sweep.md.

  Args:
    settings: what to infer, the same for all; `out` gets one directory a combination, and the table.
    config: an inference config as nested dicts.
    values: from `parse_settings`.
    console: what it reports to; asked after each chunk whether to stop.
  Returns:
    None, or the signal that stopped it: the same call goes on.
  Raises:
    OSError, ValueError: as `infer.prepare`; all combinations are checked before the first is run.
  """
  jobs, out = {}, Path(settings.out)
  for chosen in itertools.product(*values.values()):
    combination, own = dict(zip(values, chosen, strict=True)), config
    for key, value in combination.items():
      own = changed(own, key, value)
    name = ",".join(f"{key.partition('.')[2] or key}={value}" for key, value in combination.items())
    jobs[name] = combination, infer.prepare(settings, own)
  rows = []
  for number, (name, (combination, job)) in enumerate(jobs.items(), start=1):
    console.say(f"{number} of {len(jobs)}: {name}")
    with console.workdir(out / name, job.identity) as directory:
      stopped = infer.execute(job, directory, console._replace(say=lambda text: None))
    if stopped is not None:
      return stopped
    summary = json.loads((directory / "results.json").read_text(encoding="utf-8"))["summary"]
    rows.append({**combination, "summary": summary})
  text = sweep_table(list(values), rows)
  write_json(out / "sweep.json", rows)
  write_text(out / "sweep.md", text)
  console.say(text)
  return None


def sweep_table(keys: list[str], rows: list[dict]) -> str:
  """Markdown, the best median first."""
  known = all("inferred" in row["summary"] for row in rows)
  if known:
    rows = sorted(rows, key=lambda row: row["summary"]["inferred"]["median_dp_mev"])
  lines = []
  for row in rows:
    summary = row["summary"]
    cells = [str(row[key]) for key in keys]
    if known:
      errors = summary["inferred"]
      cells += [f"{errors['median_dp_mev']:.1f}", f"{errors['q95_dp_mev']:.1f}",
                f"{100 * errors['share_above_50_mev']:.1f} %"]
    lines.append([*cells, f"{summary['num_converged']} of {summary['num_events']}",
                  f"{summary['seconds_per_event']:.2f}"])
  return markdown_table([*keys, *(COLUMNS.values() if known else []), "converged", "s an event"], lines)
