"""The whole report: every part for every sample, real against real first."""
import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.build.segmentation import build_segmenter
from lartpc_jax.config.blocks import call_with, check_keywords, section
from lartpc_jax.experiments import rows as parts
from lartpc_jax.experiments.columns import draw_columns
from lartpc_jax.experiments.generator_table import cost_rows, write_table
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.experiments.samples import Sample, SampleImages, examine, load_images, name_columns
from lartpc_jax.extras import require_extra
from lartpc_jax.metrics import defects, embedding, neighbours
from lartpc_jax.metrics.estimate import Estimate, mean_estimate
from lartpc_jax.metrics.gof import excess, squared_distances
from lartpc_jax.train.segmentation import Segmenter

FLOOR = "real vs real"
PARTS = {"physics": parts.physics, "gof": parts.goodness_of_fit, "frechet": parts.frechet_rows,
         "c2st": parts.classifiers,
         "memorisation": parts.memory, "momentum": parts.momentum}
WEIGHTS = {"examine": 20, "physics": 1, "gof": 30, "frechet": 12, "c2st": 30, "memorisation": 8,
           "momentum": 2, "index": 8,
           "embedding": 40}  # seconds at 5,000 images, roughly: for the progress bar
WITH_PROGRESS = ("c2st", "memorisation")
FLOORED = ("W1 [MeV]",)     # distances whose value between finite samples of one distribution is far from 0
CONFIG_KEYS = {"images", "parts", "physics", "gof", "frechet", "c2st", "memorisation", "momentum",
               "embedding",
               "ssnet"}


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to compare."""
  real: str | None = setting(None, "Real images that the generators were not trained on.", required=True)
  floor: str | None = setting(None, "Real images of the first column; default: the second half of --real.")
  generated: tuple[str, ...] = setting(
      (), "Files of generated images, one a column; NAME=FILE gives the column a name.")
  weights: tuple[str, ...] = setting(
      (), "Weights to draw such images from, as launch.sample does by default; NAME=DIRECTORY.")
  train: str | None = setting(None, "Images that the generators were trained on, for memorisation.")
  planted: tuple[str, ...] = setting(
      (), "Defects to plant in real images, a column each: shift, charge, duplicates, blur, dead, memorised; "
      "or all.")
  ssnet: str | None = setting(None, "Directory of SSNet's weights; default: those of the package.")
  out: str | None = setting(None, "Directory of the report.", required=True)


class Separations(NamedTuple):
  """t-SNE of the reference, by L2 and by EMD."""
  maps: dict[str, np.ndarray]           # distance -> [n 2]
  numbers: dict[str, embedding.Separation]
  is_track: np.ndarray                  # [n]
  charge: np.ndarray                    # [n] MeV
  labels: str                           # where is_track comes from
  num_subsets: int                      # over which the numbers are means; the maps show the first


class Report(NamedTuple):
  """Everything that is written."""
  columns: list[str]                              # FLOOR first
  rows: dict[tuple[str, str, str], dict[str, parts.Row]]  # (part, name, definition) -> column -> row
  extras: dict[str, parts.Extra]
  samples: dict[str, np.ndarray]                  # a few images a column
  separations: Separations | None
  neighbours: dict[str, tuple]                    # column -> (queries, EmdNeighbours, their images)
  missing: list[str]                              # what was left out, and why
  seconds: dict[str, float]                       # of each part, all columns together
  counts: dict[str, int]                          # images a column
  cpu_seconds: dict[str, float] = {}              # as seconds, of all threads of the process
  sources: dict[str, str] = {}                    # reference and column -> where its images come from


def run(settings: Settings, config: Mapping, console: Console) -> None:
  """Compares, prints the table and writes the report."""
  from lartpc_jax.experiments import report  # which imports this module
  planted = settings.planted
  if planted == ("all",):
    planted = tuple(name for name in defects.NAMES if name != "memorised" or settings.train)
  name_columns([*settings.generated, *settings.weights])  # a name that stands twice is told before the work
  generated = name_columns(settings.generated) | draw_columns(
      settings.weights, config["images"]["num_images"], settings.out, console)
  result = evaluate(config, real=settings.real, generated=generated, floor=settings.floor,
                    training=settings.train, planted=planted, ssnet=settings.ssnet,
                    progress=lambda total: console.progress(total, description="evaluate", unit="part"))
  console.say(report.markdown(result))
  paths = report.write_report(result, settings.out)
  paths.append(write_table(result.rows, result.columns, result.counts, console.environment(),
                           Path(settings.out) / "table.json"))
  console.say("Wrote " + ", ".join(str(path) for path in paths))


def evaluate(config: Mapping, *, real: str, generated: Mapping[str, str], floor: str | None = None,
             training: str | None = None, planted: tuple[str, ...] = (), ssnet: str | None = None,
             progress: Callable) -> Report:
  """Compares samples with real images. The first column, the floor, are real images too, independent of
  those.

  Args:
    config: of configs/images64_evaluate.py.
    real: path of real images, see `samples.load_images`.
    generated: name -> path.
    floor: path of the real images of the first column; None: the second half of `real`, the first half being
      the reference.
    training: path of images the generators were trained on.
    planted: names of `metrics.defects` to plant in the images of the floor, each as a column.
    ssnet: directory of SSNet's weights; None for those of the package.
    progress: (total) -> context manager with update(done) and write(text), as `cli.progress_bar`.
  Raises:
    ValueError: naming a bad key, part, defect or file, or if there are too few images.
  """
  require_extra("eval", "The report")
  config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  chosen = _chosen_parts(config)
  images = call_with(_load, "images", section(config, "images"), real=real, generated=generated, floor=floor,
                     training=training, planted=planted)
  run = [name for name in chosen if name in PARTS
         and not (name == "momentum" and images.real.momentum_mev is None)]
  settings = {part: _settings(config, part)
              for part in run}  # mistakes in the config are named before the work
  if "embedding" in chosen:
    check_keywords(_embed, "embedding", section(config, "embedding"), dict.fromkeys(
        ("reference", "truth", "missing", "progress")))
  segmenter, _ = call_with(build_segmenter, "ssnet", section(config, "ssnet") if "ssnet" in config else {},
                           directory=ssnet)
  names, seconds, cpu_seconds = list(images.columns), {}, {}
  with progress(_cost(chosen, run, images)) as bar:
    clock = _Clock(bar, seconds, cpu_seconds)
    with clock("examine", "SSNet on the reference"):
      reference = examine("reference", images.real.values, images.real.momentum_mev, segmenter,
                          progress=clock.share)
    index = None
    if images.training is not None and "memorisation" in run:
      with clock("index", "index of the training images"):
        index = neighbours.build_index(images.training)
    tools = parts.Tools(config, config["images"]["level_mev"], images.training, index, {})
    work = _Work(reference, segmenter, settings, tools, clock, {}, {}, _missing(chosen, images, training))
    for name in names:
      _measure_column(name, images.columns[name], work)
    separations = _separate(config, images, work) if "embedding" in chosen else None
  _add_excess(work.rows, names)
  nearest = {name: tools.cache[("emd", name)] for name in names if ("emd", name) in tools.cache}
  found = {name: (images.columns[name].values[:len(near.index)], near, images.training[near.index])
           for name, near in nearest.items()}
  columns = {"reference": images.real, **images.columns}
  sources = {"reference": real, FLOOR: floor} if floor else {
      "reference": f"first half of {real}", FLOOR: f"second half of {real}"}
  return Report(names, {**work.rows, **cost_rows(generated)}, work.extras,
                {name: x.values[:8] for name, x in columns.items()}, separations, found, work.missing,
                seconds,
                {name: len(x.values) for name, x in columns.items()}, cpu_seconds,
                {**sources, **generated})


def _chosen_parts(config: Mapping) -> list[str]:
  """The parts that a config asks for. Raises ValueError naming a key or a part that is unknown."""
  for key in sorted(set(config) - CONFIG_KEYS):
    raise ValueError(f"Unknown config key {key} = {config[key]!r}; allowed: {sorted(CONFIG_KEYS)}.")
  for name in config["parts"]:
    if name not in (*PARTS, "embedding"):
      raise ValueError(f"Unknown config value parts = {name!r}; allowed: {sorted([*PARTS, 'embedding'])}.")
  return [*config["parts"]]


def _cost(chosen: list[str], run: list[str], images: "_Loaded") -> int:
  """Of the whole report, in units of WEIGHTS."""
  num = len(images.columns)
  return (WEIGHTS["examine"] * (1 + num) + num * sum(WEIGHTS[name] for name in run)
          + WEIGHTS["embedding"] * ("embedding" in chosen) + WEIGHTS["index"] * (images.training is not None))


class _Work(NamedTuple):
  """What the columns of a report share; the last three grow."""
  reference: Sample
  segmenter: Segmenter
  settings: dict[str, dict]         # part -> its block of the config
  tools: parts.Tools
  clock: "_Clock"
  rows: dict                        # see `Report`
  extras: dict[str, parts.Extra]
  missing: list[str]


def _measure_column(name: str, data: SampleImages, work: _Work) -> None:
  """Every part for one sample; what its images do not allow is said and left out."""
  clock = work.clock
  with clock("examine", f"SSNet: {name}"):
    sample = examine(name, data.values, data.momentum_mev, work.segmenter, progress=clock.share)
  work.extras[name] = parts.Extra({}, {})
  for part, settings in work.settings.items():
    if part == "momentum" and sample.momentum_mev is None:
      work.missing.append(f"momentum closure of {name}: its file tells no momenta")
      continue
    with clock(part, f"{part}: {name}"):
      try:
        found = PARTS[part](**settings,
                            **{key: clock.share for key in ("progress",) if part in WITH_PROGRESS},
                            reference=work.reference, sample=sample, tools=work.tools,
                            extra=work.extras[name])
      # the samples do not allow it: the rest of the report does not hang on that
      except parts.UNMEASURABLE as error:
        work.missing.append(f"{part} of {name}: {error}")
        continue
      for row in found:
        work.rows.setdefault((row.part, row.name, row.definition), {})[name] = row


def _separate(config: Mapping, images: "_Loaded", work: _Work) -> Separations | None:
  with work.clock("embedding", "t-SNE"):
    try:
      return _embed(**section(config, "embedding"), reference=work.reference, truth=images.real.is_track,
                    missing=work.missing, progress=work.clock.share)
    except parts.UNMEASURABLE as error:
      work.missing.append(f"embedding: {error}")
      return None


def _settings(config: Mapping, part: str) -> dict:
  """The block of a part. Raises ValueError naming a key that it does not take, or one that it lacks."""
  supplied = dict.fromkeys(("reference", "sample", "tools", "extra",
                            *(("progress",) if part in WITH_PROGRESS else ())))
  settings = section(config, part) if part in config else {}
  check_keywords(PARTS[part], part, settings, supplied)
  return settings


class _Loaded(NamedTuple):
  real: SampleImages
  columns: dict[str, SampleImages]
  training: np.ndarray | None


def _load(*, real, generated, floor, training, planted, threshold_mev: float, level_mev: float,
          num_images: int,
          num_training: int, seed: int) -> _Loaded:
  load = lambda path, **kwargs: load_images(path, threshold_mev=threshold_mev, level_mev=level_mev, **kwargs)
  everything = load(real, truth=True)
  half = len(everything.values) // (1 if floor else 2)
  if half < 50:
    raise ValueError(f"--real={real} holds {len(everything.values)} images with charge; at least 50 are "
                     "needed, and 100 without --floor, half for the floor.")
  take = lambda data, start, size: SampleImages(*(None if x is None else x[start:start + size] for x in data))
  size = min(num_images, half)
  columns = {FLOOR: take(load(floor), 0, size) if floor else take(everything, half, size)}
  for name, path in generated.items():
    columns[name] = take(load(path), 0, size)
  for name, path in {**({FLOOR: floor} if floor else {}), **generated}.items():
    if len(columns[name].values) < 50:
      raise ValueError(f"{name}: {path} holds {len(columns[name].values)} images with charge; at least 50 "
                       "are needed.")
  trained = None if training is None else load(training).values[:num_training]
  table = dict(defects.DEFECTS)
  if trained is not None:
    table["memorised"] = defects.make_memorised(trained)
  for name in planted:
    if name not in table:
      raise ValueError(f"Unknown defect {name!r}; choose from {sorted(table)}" +
                       ("." if trained is not None else " (memorised: with --train)."))
    values = table[name](columns[FLOOR].values, seed)
    charged = values.sum((1, 2)) > 0
    columns[defects.NAMES[name]] = SampleImages(values[charged], None)
  return _Loaded(take(everything, 0, size), columns, trained)


def _missing(chosen: list[str], images: _Loaded, training: str | None) -> list[str]:
  missing = [f"part {name}: not in config.parts" for name in (*PARTS, "embedding") if name not in chosen]
  if training is None and "memorisation" in chosen:
    missing.append("memorisation against training images (copies, distance test, EMD neighbours): no --train "
                   "given")
  if images.real.momentum_mev is None and "momentum" in chosen:
    missing.append("momentum closure: the real images come without momenta")
  return missing


def _embed(*, reference: Sample, truth: np.ndarray | None, num_images: int, num_subsets: int, pool: int,
           num_neighbours: int,
           missing: list[str], progress: Callable) -> Separations | None:
  is_track = reference.particles["corrected"].is_track if truth is None else truth
  parts = [slice(i * num_images, (i + 1) * num_images) for i in range(num_subsets)]
  parts = [part for part in parts if part.start == 0 or part.stop <= len(reference.images)]
  for part in parts:
    tracks, showers = is_track[part].sum(), (~is_track[part]).sum()
    if min(tracks, showers) <= num_neighbours:
      missing.append(f"embedding: needs more than {num_neighbours} tracks and showers; there are {tracks} "
                     f"tracks and {showers} showers among images {part.start} to "
                     f"{part.start + tracks + showers - 1}")
      return None
  found, distances = [], []
  for i, part in enumerate(parts):
    images = reference.images[part]
    flat = images.reshape(len(images), -1).astype(float)
    euclidean = np.sqrt(squared_distances(flat, flat))
    np.fill_diagonal(euclidean, 0.0)
    distances.append({"L2": euclidean})
    for j, name in enumerate(("EMD", "EMD, centred")):
      def say(done, done_before=i + 0.5 * j, n=len(images)):
        return progress(0.9 * (done_before + 0.5 * (done / n)**2) / len(parts))

      distances[-1][name] = neighbours.pairwise_emd(images, pool=pool, centred=name != "EMD", progress=say)
    found.append({name: embedding.separation(d, is_track[part], num_neighbours=num_neighbours)
                  for name, d in distances[-1].items()})
  numbers = found[0] if len(found) == 1 else {
      name: embedding.Separation(*(mean_estimate(np.array([getattr(f[name], field).value for f in found]))
                                   for field in embedding.Separation._fields)) for name in found[0]}
  maps = {name: embedding.tsne(d) for name, d in distances[0].items()}
  return Separations(maps, numbers, is_track[parts[0]], reference.images[parts[0]].sum((1, 2)),
                     "SSNet" if truth is None else "truth", len(parts))


def _add_excess(rows: dict, names: list[str]) -> None:
  for (part, name, _), found in list(rows.items()):
    if name in FLOORED and FLOOR in found:
      floor = found[FLOOR].estimate
      # its error is in that of every difference already
      over = {FLOOR: found[FLOOR]._replace(definition="corrected", estimate=Estimate(0.0))}
      for column in names[1:]:
        if column in found:
          over[column] = found[column]._replace(definition="corrected",
                                                estimate=excess(found[column].estimate, floor))
      rows[(part, f"{name}, excess over the floor", "corrected")] = over


class _Clock:
  """Wall and CPU seconds of each part, and progress in units of WEIGHTS."""

  def __init__(self, bar, seconds: dict[str, float], cpu_seconds: dict[str, float]):
    self.bar, self.clocks = bar, ((time.monotonic, seconds), (time.process_time, cpu_seconds))
    self.done, self.weight, self.began = 0.0, 0.0, ()

  def __call__(self, part: str, what: str):
    self.part, self.weight = part, WEIGHTS[part]
    self.bar.write(what)
    return self

  def __enter__(self):
    self.began = tuple(now() for now, _ in self.clocks)

  def __exit__(self, *error):
    for (now, seconds), began in zip(self.clocks, self.began, strict=True):
      seconds[self.part] = seconds.get(self.part, 0.0) + now() - began
    self.done += self.weight
    self.bar.update(round(self.done))

  def share(self, share: float) -> None:
    self.bar.update(round(self.done + share * self.weight))
