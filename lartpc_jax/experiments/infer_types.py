"""Inference of particle types and momenta of a file of events: what launch.infer does with --types.

`prepare` finds mistakes and writes nothing; `execute` computes what is missing in the run's directory and
reports. Settings are those of `infer`.
"""
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import lartpc_jax
from lartpc_jax import parallel
from lartpc_jax.build import inference as config_inference
from lartpc_jax.build.generators import build_generator
from lartpc_jax.data.images import ImageSet, check_views
from lartpc_jax.experiments import chunks
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.experiments.protocol import SILENT, Console, exit_code
from lartpc_jax.experiments.results import AXES, MAX_ROWS_SHOWN, dropped_note
from lartpc_jax.experiments.targets import describe_input, open_targets, warn_of_skipped
from lartpc_jax.files import atomic_write
from lartpc_jax.generators.weights import find_weights
from lartpc_jax.inference.errors import momentum_error
from lartpc_jax.inference.identify import Identify
from lartpc_jax.inference.selection import dropped_charge
from lartpc_jax.inference.type_probability import TypeMap, features_of, load_type_map, type_probability
from lartpc_jax.keys import root_key
from lartpc_jax.plotting.tracks import hypotheses_figure
from lartpc_jax.tables import json_value, markdown_table, write_csv, write_json
from lartpc_jax.units import PDG_CODES

CALIBRATION = "identification.json"  # beside weights, or where --calibration says
OBJECTIVES = "objectives.npz"        # in the directory of a run, for launch.identify
FIELDS = ("momentum_mev", "emd", "charge", "near_emd", "near_charge")
FREE = ("input", "seed", "version")  # parts of the identity that a calibration does not depend on


class Job(NamedTuple):
  """Checked settings, ready to run."""
  settings: Any            # of `infer`
  views: tuple[str, ...]
  types: tuple[str, ...]
  data: ImageSet
  events: np.ndarray       # [n] numbers in the file
  label: np.ndarray | None  # [n] true type, -1 for others; None if not known
  known: TypeMap | None    # makes probabilities of objectives
  notes: list[str]         # what to say first
  dropped: np.ndarray      # [n] share of the charge that the distance does not see
  num_pixels: int | None   # that it sees
  identity: dict           # what results depend on
  compute: Callable        # event numbers -> dict of arrays
  draw: Callable           # momenta [k 3] -> one image of each type [k v p p]
  stride: int
  skipped: np.ndarray      # numbers of events that have a view without charge


def prepare(settings: Any, config: Mapping) -> Job:
  """Reads and checks everything that the settings of `infer` and the inference config name.

  Raises:
    OSError, ValueError: naming the file, flag or key that is wrong.
  """
  views = check_views(settings.views)
  if settings.start != "random":
    raise ValueError(f"--start={settings.start}: with --types every type starts at random.")
  config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  weights = build_generator(settings.weights)
  species = config_inference.build_species(weights, settings.types)
  data, events, skipped = open_targets(settings.input, views=views, spec=weights.generator.spec,
                                       first=settings.first_event, num=settings.num_events, any_particle=True)
  config = config_inference.select_pixels(config, data.images)
  identity = {"input": describe_input(settings.input), "views": ",".join(views), "types": list(species.names),
              "seed": settings.seed, "version": lartpc_jax.__version__, **config,
              "weights": {**weights.digests}}
  known, notes = _calibration(settings, identity)
  identify = config_inference.build_identify(config, weights.generator, species, views)
  compute, draw = _make_compute(identify, data.images, events, settings)
  label = None
  if data.pdg is not None:
    codes = np.array([PDG_CODES[name] for name in species.names])
    same = data.pdg[:, None] == codes[None]
    label = np.where(same.any(axis=1), same.argmax(axis=1), -1)
  number = config_inference.seen_pixels(config)
  dropped = np.zeros(len(events)) if number is None else dropped_charge(data.images, number)
  return Job(settings, views, species.names, data, events, label, known, notes, dropped, number, identity,
             compute, draw, settings.chunk_size * len(jax.devices()), skipped)


def _calibration(settings: Any, identity: dict) -> tuple[TypeMap | None, list[str]]:
  """The map of --calibration, which must fit, or the one beside the weights, if it does; and what to say."""
  path = Path(settings.calibration or find_weights(settings.weights) / CALIBRATION)
  if settings.calibration is None and not path.exists():
    return None, ["NOTE: no calibration beside the weights: a type is that of the least objective, and there "
                  "are no probabilities. launch.identify makes one; --calibration names it."]
  known, mine = load_type_map(path), json_value(identity)
  differing = sorted(key for key in mine if key not in FREE and mine[key] != known.identity.get(key))
  if not differing:
    return known, []
  text = f"{path} is of another {', '.join(differing)} than this run"
  if settings.calibration is not None:
    raise ValueError(f"--calibration: {text}.")
  return None, [f"NOTE: {text}: there are no probabilities."]


def _make_compute(identify: Identify, images: np.ndarray, numbers: np.ndarray, settings: Any
                  ) -> tuple[Callable, Callable]:
  key_library, key_refine, key_draw = jax.random.split(root_key(settings.seed), 3)
  mapped = parallel.make_device_map(identify.identify, chunk_size=settings.chunk_size)
  library = []  # drawn when the first chunk needs it

  def compute(events: np.ndarray) -> dict[str, np.ndarray]:
    library[:] = library or [jax.jit(identify.draw_library)(jax.random.clone(key_library))]
    chosen = images[np.searchsorted(numbers, events)]
    return mapped(chosen, library[0], jax.random.clone(key_refine))._asdict()

  drawn = jax.jit(identify.draw)
  return compute, lambda momentum_mev: np.asarray(drawn(momentum_mev[None], jax.random.clone(key_draw)))[0]


def run(settings: Any, config: Mapping, console: Console) -> int:
  """Identifies the events of a file into a work directory."""
  job = prepare(settings, config)
  with console.workdir(settings.out, job.identity) as out:
    console.say(f"Devices: {parallel.device_summary()}")
    return exit_code(execute(job, out, console))


def execute(job: Job, out: Path, console: Console = SILENT) -> int | None:
  """Computes the events that `out` lacks, then writes results.csv, results.json, objectives.npz and pictures.

  Args:
    job: from `prepare`.
    out: the run's directory.
    console: what it reports to; asked after each chunk whether to stop.
  Returns:
    None, or the signal that stopped it before its end: the same call goes on.
  """
  directory, num, say = out / "chunks", len(job.events), console.say
  warn_of_skipped(job.skipped, num + len(job.skipped), say)
  for note in job.notes:
    say(note)
  stopped = chunks.run_with_progress(console, "infer", job.compute, job.events, directory=directory,
                                     stride=job.stride, identity=job.identity)
  if stopped is not None:
    say("Stopped; what is finished is saved. The same command goes on.")
    return stopped
  fields = chunks.load_fields(directory, job.events, [*FIELDS, "seconds", "cold"], identity=job.identity)
  columns, best = _columns(job, fields)
  write_csv(out / "results.csv", columns)
  with atomic_write(out / OBJECTIVES, "wb") as file:
    label = np.full(num, -1) if job.label is None else job.label
    np.savez_compressed(file, event=job.events, label=label, seconds=fields["seconds"], cold=fields["cold"],
                        identity=json.dumps(json_value(job.identity)), input=str(job.settings.input),
                        **{name: fields[name] for name in FIELDS})
  summary = _summary(job, fields, best)
  write_json(out / "results.json", {"run": job.identity, "input_path": job.settings.input, "num_events": num,
                                    "first_event": job.settings.first_event, "skipped": job.skipped,
                                    "calibrated": job.known is not None, "summary": summary})
  say(_text(job, columns, summary))
  paths = _draw(job, out, fields, columns)
  say("Wrote " + ", ".join(str(path) for path in (
      out / "results.csv", out / "results.json", out / OBJECTIVES, *paths)))
  return None


def objective_of(job: Job, fields: dict) -> np.ndarray:
  """Objective [n k] of each type at its end, px: distance and charge term."""
  weight = job.identity["inference"]["comparison"]["charge_weight_px"]
  return np.nan_to_num(fields["emd"] + weight * fields["charge"], nan=np.inf)


def _columns(job: Job, fields: dict) -> tuple[dict, np.ndarray]:
  """Columns of results.csv, and the number of the type [n] that each event is of."""
  if job.known is None:
    probability, best = None, np.argmin(objective_of(job, fields), axis=1)
  else:
    features = features_of(fields["emd"], fields["charge"], fields["near_emd"])
    probability = type_probability(job.known, features)
    best = probability.argmax(axis=1)
  at, rows = lambda name: fields[name][rows, best], np.arange(len(best))
  names = np.array(job.types)
  vector = lambda prefix, p: {f"{prefix}p{axis}_mev": p[:, i] for i, axis in enumerate(AXES)}
  columns = {"event": job.events, "type": names[best]}
  if probability is not None:
    columns |= {f"p_{name}": probability[:, i] for i, name in enumerate(job.types)}
  columns |= {**vector("", at("momentum_mev")), "emd": at("emd")}
  if job.label is not None:
    columns["true_type"] = np.where(job.label >= 0, names[np.maximum(job.label, 0)], "other")
  if job.data.momentum_mev is not None:
    columns |= vector("true_", job.data.momentum_mev)
  for i, name in enumerate(job.types):
    columns |= {f"emd_{name}": fields["emd"][:, i], f"charge_off_{name}": fields["charge"][:, i],
                **vector(f"{name}_", fields["momentum_mev"][:, i])}
  return {**columns, "dropped_charge": job.dropped}, best


def _summary(job: Job, fields: dict, best: np.ndarray) -> dict:
  warm = ~fields["cold"].astype(bool)
  found = {"ms_per_event": 1e3 * float(fields["seconds"][warm if warm.any() else slice(None)].mean()),
           "called": {name: int((best == i).sum()) for i, name in enumerate(job.types)}}
  if job.label is not None:
    for i, name in enumerate(job.types):
      true = job.label == i
      if true.any():
        right = true & (best == i)
        found[f"true_{name}"] = {"events": int(true.sum()), "called_right": float(right.sum() / true.sum())}
        if job.data.momentum_mev is not None and right.any():
          error = momentum_error(fields["momentum_mev"][right, i], job.data.momentum_mev[right], job.views)
          found[f"true_{name}"]["median_dp_mev"] = float(np.median(error))
  return found


def _text(job: Job, columns: dict, summary: dict) -> str:
  parts, shown = [], [name for name in columns if name in ("event", "type", "true_type", "emd")
                      or name.startswith("p_") or name in ("px_mev", "py_mev", "pz_mev")]
  if len(job.events) <= MAX_ROWS_SHOWN:
    cell = lambda x: f"{x:.2f}" if isinstance(x, float | np.floating) else str(x)
    parts.append(markdown_table(shown, [[cell(columns[name][i]) for name in shown]
                                        for i in range(len(job.events))]))
  rows = [(name, summary["called"][name], summary.get(f"true_{name}", {}).get("events", "-"),
           *(f"{summary[f'true_{name}'][key] * factor:.1f}" if key in summary.get(f"true_{name}", {}) else "-"
             for key, factor in (("called_right", 100), ("median_dp_mev", 1)))) for name in job.types]
  parts.append(markdown_table(("type", "called", "true", "of these called right, %",
                               "median |dp| of those, MeV/c"), rows))
  parts += [*dropped_note(columns, job.num_pixels), f"{summary['ms_per_event']:.0f} ms an event"]
  return "\n\n".join(parts)


def _draw(job: Job, out: Path, fields: dict, columns: dict) -> list[Path]:
  """One picture an event: the target beside one draw of the best hypothesis of each type."""
  paths = []
  for i in range(min(job.settings.num_pictures, len(job.events))):
    path = out / "events" / f"event_{job.events[i]:05d}.png"
    images = job.draw(fields["momentum_mev"][i])
    title = f"event {job.events[i]}: {columns['type'][i]}" + (
        f", truth {columns['true_type'][i]}" if "true_type" in columns else "")
    probability = {name: f"p = {columns[f'p_{name}'][i]:.2f}, " if job.known else "" for name in job.types}
    shown = {f"{name}, {probability[name]}{fields['emd'][i, k]:.2f} px": images[k]
             for k, name in enumerate(job.types)}
    figure = hypotheses_figure(job.data.images[i], shown, views=job.views, title=title)
    paths.append(save_figure(figure, path))
  return paths
