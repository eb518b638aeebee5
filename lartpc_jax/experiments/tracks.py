"""Fits of one to four tracks to each event of a file, and how many there are: what launch.tracks does.

`prepare` finds mistakes and writes nothing; `execute` computes what is missing in the run's directory and
reports.
"""
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import lartpc_jax
from lartpc_jax import parallel
from lartpc_jax.build import inference as config_inference
from lartpc_jax.build.generators import build_generator
from lartpc_jax.data import multi_track
from lartpc_jax.data.images import ImageSet, check_views
from lartpc_jax.data.open import SAMPLE
from lartpc_jax.experiments import chunks
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.experiments.protocol import SILENT, Console, EventSettings, exit_code, setting
from lartpc_jax.experiments.targets import describe_input, open_targets, warn_of_skipped
from lartpc_jax.files import atomic_write
from lartpc_jax.inference import counting
from lartpc_jax.inference.settings import MAX_TRACKS
from lartpc_jax.keys import root_key
from lartpc_jax.metrics import counted_tracks
from lartpc_jax.plotting.tracks import angle_figure, hypotheses_figure
from lartpc_jax.tables import markdown_table, write_csv, write_json

NULL_FILE = "tracks.npz"  # in the directory of a run


@dataclasses.dataclass(frozen=True)
class Settings(EventSettings):
  """What to fit, and what tells how many tracks there are."""
  max_tracks: int = setting(2, "Hypotheses of 1 to so many tracks are fitted.")
  refine: tuple[str, ...] | None = setting(None,
                                           "Numbers of tracks whose hypotheses are refined, empty for none; "
                                           "default: all.")
  null: tuple[str, ...] = setting((), "Runs of this command on generated events with 1, 2, ... tracks.")
  level: float = setting(0.05, "False splits allowed at each step of the count.")
  num_pictures: int = setting(8, "Events drawn.", lower=0)


class Job(NamedTuple):
  """Checked settings, ready to run."""
  settings: Settings
  views: tuple[str, ...]
  data: ImageSet
  truth_mev: np.ndarray | None   # [n t 3], NaN beyond the tracks of an event
  events: np.ndarray             # [n] numbers in the file
  identity: dict                 # what results depend on
  compute: Callable              # event numbers -> dict of arrays
  stride: int
  skipped: np.ndarray            # numbers of events that cannot be fitted


def prepare(settings: Settings, config: Mapping) -> Job:
  """Reads and checks everything that the settings and the config name.

  Raises:
    OSError, ValueError: naming the file, flag or key that is wrong.
  """
  views = check_views(settings.views)
  if not 1 <= settings.max_tracks <= MAX_TRACKS:
    raise ValueError(f"--max_tracks must be 1 to {MAX_TRACKS}; got {settings.max_tracks}.")
  refined = _refined(settings)
  config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  generator, _, digests = build_generator(settings.weights)
  spec = generator.spec
  data, events, skipped = open_targets(settings.input, views=views, spec=spec, first=settings.first_event,
                                       num=settings.num_events)
  truth = None if settings.input == SAMPLE else multi_track.read_momenta(settings.input, data.num_in_file)
  if truth is not None:
    truth = truth[events]
  elif data.momentum_mev is not None:
    truth = data.momentum_mev[:, None]
  identity = {"input": describe_input(settings.input), "views": ",".join(views),
              "max_tracks": settings.max_tracks,
              "refine": refined,
              "seed": settings.seed, "version": lartpc_jax.__version__, **config,
              "weights": {**digests}}
  fits = [config_inference.build_tracks_fit(config, generator, views, num)
          for num in range(1, settings.max_tracks + 1)]
  compute = _make_compute(fits, refined, data.images, events, settings)
  return Job(settings, views, data, truth, events, identity, compute,
             settings.chunk_size * len(jax.devices()), skipped)


def _refined(settings: Settings) -> list[int]:
  allowed = list(range(1, settings.max_tracks + 1))
  if settings.refine is None:
    return allowed
  if not set(settings.refine) <= set(map(str, allowed)):
    raise ValueError(f"--refine must be numbers of tracks from 1 to --max_tracks={settings.max_tracks}; got "
                     f"{','.join(settings.refine)}.")
  return sorted(map(int, set(settings.refine)))


def _make_compute(fits: list, refined: list[int], images: np.ndarray, numbers: np.ndarray,
                  settings: Settings) -> Callable:
  key_candidates, key_refine = jax.random.split(root_key(settings.seed))
  screens = [parallel.make_device_map(fit.screen, chunk_size=settings.chunk_size) for fit in fits]
  refines = {n: parallel.make_device_map(lambda pair, key, fit=fits[n - 1]: fit.refine(*pair, key),
                                         chunk_size=settings.chunk_size) for n in refined}
  candidates = []  # drawn when the first chunk needs them; of single tracks, so the same for all hypotheses

  def compute(events: np.ndarray) -> dict[str, np.ndarray]:
    candidates[:] = candidates or [jax.jit(fits[0].draw_candidates)(jax.random.clone(key_candidates))]
    chosen, found = images[np.searchsorted(numbers, events)], {}
    for number, screen in enumerate(screens, start=1):
      screened = screen(chosen, candidates[0])
      found |= {f"screened_{number}": screened.objective[:, 0],
                f"start_mev_{number}": screened.momentum_mev[:, 0]}
      if number in refined:
        out = refines[number]((chosen, screened.momentum_mev), jax.random.clone(key_refine))
        found |= {f"{name}_{number}": array for name, array in out._asdict().items() if array is not None}
    return found
  return compute


def run(settings: Settings, config: Mapping, console: Console) -> int:
  """Fits and counts tracks in the events of a file, into a work directory."""
  job = prepare(settings, config)
  with console.workdir(settings.out, job.identity) as out:
    console.say(f"Devices: {parallel.device_summary()}")
    return exit_code(execute(job, out, console))


def execute(job: Job, out: Path, console: Console = SILENT) -> int | None:
  """Computes the events that `out` lacks, then writes tracks.npz, results.csv, results.json and pictures.

  Args:
    job: from `prepare`.
    out: the run's directory.
    console: what it reports to; asked after each chunk whether to stop.
  Returns:
    None, or the signal that stopped it before its end: the same call goes on.
  Raises:
    ValueError: before anything is computed, naming a null that does not fit, one too many, or a level outside
      (0, 1).
  """
  nulls, level, say = job.settings.null, job.settings.level, console.say
  if len(nulls) >= job.settings.max_tracks and nulls:
    raise ValueError(f"--null: {len(nulls)} runs need hypotheses of {len(nulls) + 1} tracks; --max_tracks is "
                     f"{job.settings.max_tracks}.")
  if not 0.0 < level < 1.0:
    raise ValueError(f"--level must lie between 0 and 1; got {level}.")
  null_gains = [read_null(path, job, number) for number, path in enumerate(nulls, start=1)]
  num = len(job.events)
  warn_of_skipped(job.skipped, num + len(job.skipped), say)
  stopped = chunks.run_with_progress(console, "tracks", job.compute, job.events, directory=out / "chunks",
                                     stride=job.stride, identity=job.identity)
  if stopped is not None:
    say("Stopped; what is finished is saved. The same command goes on.")
    return stopped
  numbers = range(1, job.settings.max_tracks + 1)
  refined = ("momentum_mev", "objective", "emd_end", "converged", "images")
  names = [f"screened_{n}" for n in numbers] + [f"{name}_{n}" for n in job.identity["refine"]
                                                for name in refined]
  fields = chunks.load_fields(out / "chunks", job.events, [*names, "seconds"], identity=job.identity)
  objective = np.stack([fields[f"screened_{n}"] for n in numbers], axis=1)
  counted = counting.count_tracks(objective, null_gains, level=level) if null_gains else None
  performance = _performance(job, fields, counted)
  _write(job, out, fields, objective, counted, performance)
  say(_report(fields, counted, performance, numbers=numbers, level=level))
  paths = _draw(job, out, fields, counted, performance)
  say("Wrote " + ", ".join(str(path) for path in [out / "results.csv", out / "results.json", *paths]))
  return None


def read_null(path: str, job: Job, number: int) -> np.ndarray:
  """Gains of the track after the `number`-th in a run on events of so many; the run must be like `job` but
  for its input.

  Raises:
    ValueError: naming the directory and what differs.
  """
  file = Path(path) / NULL_FILE
  if not file.is_file():
    raise ValueError(f"--null: no {NULL_FILE} in {path!r}; it must be the --out of a finished run of "
                     "launch.tracks.")
  with np.load(file, allow_pickle=False) as npz:
    objective, identity = npz["objective"], json.loads(str(npz["identity"]))
    true_number = npz["true_number"]
  mine = json.loads(json.dumps(job.identity))
  free = ("input", "seed", "max_tracks", "refine")
  differing = sorted(key for key in mine if key not in free and mine[key] != identity.get(key))
  if differing:
    raise ValueError(f"--null: {path} is of another {', '.join(differing)} than this run.")
  if objective.shape[1] <= number:
    raise ValueError(f"--null: {path} has hypotheses of up to {objective.shape[1]} tracks; {number + 1} are "
                     "needed.")
  if not np.all(true_number == number):
    raise ValueError(f"--null: number {number} must be of events with {number} tracks each; {path} has "
                     f"{sorted(set(true_number.tolist()))}.")
  return counting.gains(objective)[:, number - 1]


def _true_number(job: Job) -> np.ndarray:
  """[n], 0 where not known."""
  if job.truth_mev is None:
    return np.zeros(len(job.events), int)
  return np.isfinite(job.truth_mev[..., 0]).sum(1)


def _write(job: Job, out: Path, fields: dict, objective: np.ndarray, counted: counting.Counted | None,
           performance: dict
           ) -> None:
  true_number = _true_number(job)
  with atomic_write(out / NULL_FILE, "wb") as file:
    np.savez_compressed(file, objective=objective, true_number=true_number, identity=json.dumps(job.identity))
  columns = {"event": job.events}
  if counted is not None:
    columns |= {"num_tracks": counted.number,
                **{f"p_value_{n + 1}": p for n, p in enumerate(counted.p_value.T)}}
  if true_number.any():
    columns["true_num_tracks"] = true_number
  for n in range(1, objective.shape[1] + 1):
    columns[f"screened_{n}"] = objective[:, n - 1]
    if n not in job.identity["refine"]:
      continue
    columns[f"objective_{n}"] = fields[f"objective_{n}"]
    columns[f"emd_{n}"] = fields[f"emd_end_{n}"].mean(1)
    columns[f"converged_{n}"] = fields[f"converged_{n}"].astype(int)
    columns |= {f"p{axis}_{n}_{t + 1}_mev": fields[f"momentum_mev_{n}"][:, t, i]
                for t in range(n) for i, axis in enumerate("xyz")}
  write_csv(out / "results.csv", columns)
  summary = {"run": job.identity, "seconds_per_event": float(np.median(fields["seconds"])),
             **performance}
  write_json(out / "results.json", summary)


def _performance(job: Job, fields: dict, counted: counting.Counted | None) -> dict:
  """What the truth tells: errors by opening angle, and counts."""
  true_number = _true_number(job)
  if not true_number.any():
    return {}
  found = {}
  for number in sorted(set(true_number.tolist())):
    chosen, errors = np.flatnonzero(true_number == number), None
    if f"momentum_mev_{number}" in fields:
      errors = np.stack([counting.match_tracks(fields[f"momentum_mev_{number}"][i], job.truth_mev[i, :number])
                         for i in chosen])
      found[f"errors_{number}"] = counted_tracks.error_quantiles(errors)
    if number == 2:
      angles = multi_track.opening_angles(job.truth_mev[chosen])
      found["by_angle"] = counted_tracks.by_angle(angles, errors, None if counted is None
                                                  else counted.number[chosen])
    if counted is not None:
      found[f"counted_{number}"] = counted_tracks.shares(counted.number[chosen])
  return found


def _report(fields: dict, counted: counting.Counted | None, performance: dict, *, numbers: Sequence[int],
            level: float
            ) -> str:
  median = lambda name: f"{np.median(fields[name]):.2f}" if name in fields else "-"
  lines = [markdown_table(("tracks", "objective of the library's best, median px", "refined", "EMD a view"), [
      (n, median(f"screened_{n}"), median(f"objective_{n}"), median(f"emd_end_{n}")) for n in numbers])]
  if counted is not None:
    lines += ["", f"Counted at {100 * level:g} % false splits a step: "
              + ", ".join(f"{c} with {n}"
                          for n, c in zip(*np.unique(counted.number, return_counts=True), strict=True))]
  lines += counted_tracks.tables(performance)
  unconverged = {n: int((~fields[f"converged_{n}"].astype(bool)).sum()) for n in numbers
                 if f"converged_{n}" in fields}
  lines += [f"WARNING: fits of {n} tracks to {bad} events did not converge (column converged_{n})."
            for n, bad in unconverged.items() if bad]
  lines.append(f"{np.median(fields['seconds']):.2f} s an event")
  return "\n".join(lines)


def _draw(job: Job, out: Path, fields: dict, counted: counting.Counted | None,
          performance: dict) -> list[Path]:
  paths = []
  for i in range(min(job.settings.num_pictures, len(job.events))):
    name = lambda n, i=i: f"{n} track{'s' * (n > 1)}, objective {fields[f'objective_{n}'][i]:.2f} px"
    images = {name(n): fields[f"images_{n}"][i] for n in job.identity["refine"]}
    title = f"event {job.events[i]}"
    if counted is not None:
      title += f": {counted.number[i]} tracks, p of more than one {counted.p_value[i, 0]:.3f}"
    path = out / "events" / f"event_{job.events[i]:05d}.png"
    paths.append(save_figure(hypotheses_figure(job.data.images[i], images, views=job.views, title=title),
                             path))
  if "by_angle" in performance:
    paths.append(save_figure(angle_figure(counted_tracks.bins_only(performance["by_angle"])),
                             out / "by_angle.png"))
  return paths
