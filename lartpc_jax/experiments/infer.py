"""Inference of a file of events: prepare what settings name, then run it chunk by chunk, resumably.

`prepare` finds mistakes and writes nothing; `execute` computes what is missing in the run's directory and
reports.
"""
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lartpc_jax
from lartpc_jax import parallel
from lartpc_jax.build import estimator as config_estimator, inference as config_inference
from lartpc_jax.build.generators import build_generator
from lartpc_jax.data.images import ImageSet, check_views
from lartpc_jax.experiments import chunks, infer_types, pictures, results
from lartpc_jax.experiments.protocol import SILENT, STARTS, Console, DescentSettings, exit_code, setting
from lartpc_jax.experiments.targets import describe_input, open_targets, warn_of_skipped
from lartpc_jax.generators.generator import Generator
from lartpc_jax.geometry.rasterize import VIEWS
from lartpc_jax.inference.classical import classical_momentum
from lartpc_jax.inference.errors import outside_range
from lartpc_jax.inference.estimator import Estimator
from lartpc_jax.inference.fit import one_track
from lartpc_jax.inference.imaging import antithetic_noise
from lartpc_jax.inference.selection import dropped_charge
from lartpc_jax.inference.surface import make_surface
from lartpc_jax.keys import root_key

SURFACE_DRAWS = 2


@dataclasses.dataclass(frozen=True)
class Settings(DescentSettings):
  """What to infer."""
  num_pictures: int = setting(8, "Events drawn.", lower=0)
  types: tuple[str, ...] = setting((), "Particle types of the hypotheses, for weights that know several; see "
                                   "configs/particles64_identify.py. Default: one, its momentum alone.")
  calibration: str | None = setting(None, "File of launch.identify that makes probabilities of objectives; "
                                    "default: identification.json beside the weights, if it is there.")


class Job(NamedTuple):
  """Checked settings, ready to run."""
  settings: Settings
  views: tuple[str, ...]
  data: ImageSet
  events: np.ndarray       # [n] numbers in the file
  # momenta [n 3] of the classical and, where it can be had, the amortised estimator
  baselines: dict[str, np.ndarray]
  num_pixels: int | None   # brightest pixels that the distance sees of each image; None: all
  kinetic_range_mev: tuple[float, float]
  identity: dict           # what results depend on; a directory holds those of one identity
  compute: Callable        # event numbers -> dict of arrays, see `chunks.run_chunks`
  surface: Callable        # (image [v p p], momentum [r c 3]) -> objective [r c]
  stride: int
  skipped: np.ndarray      # numbers of events that cannot be inferred from


def prepare(settings: Settings, config: Mapping) -> Job:
  """Reads and checks everything that the settings and the inference config name.

  Raises:
    OSError, ValueError: naming the file, flag or key that is wrong.
  """
  views = check_views(settings.views)
  if settings.calibration is not None:
    raise ValueError(f"--calibration={settings.calibration} goes with --types.")
  if settings.start not in STARTS:
    raise ValueError(f"Unknown --start {settings.start!r}; choose from {list(STARTS)}.")
  config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  generator, _, digests = build_generator(settings.weights)
  check_momentum_alone(generator)
  spec = generator.spec
  data, events, skipped = open_targets(settings.input, views=views, spec=spec, first=settings.first_event,
                                       num=settings.num_events)
  config = config_inference.select_pixels(config, data.images)
  baselines = {"classical": classical_momentum(data.images, views, pitch_mm=spec.pitch_mm).astype(np.float32)}
  along_axes = all(view in VIEWS for view in views)  # what the estimators were trained on
  estimator = config_estimator.find_estimator(len(views), settings.weights) if along_axes else None
  if estimator is not None:
    baselines["amortised"] = estimate_momenta(estimator[0], data.images, views)
  elif settings.start == "amortised":
    raise ValueError(f"--start=amortised needs weights of an estimator of {len(views)} views along the axes "
                     f"in --weights; got {','.join(views)} and found none (the package has those of one and "
                     "of two views; configs/protons64_estimator.py trains them).")
  identity = {"input": describe_input(settings.input), "views": ",".join(views), "start": settings.start,
              "seed": settings.seed, "version": lartpc_jax.__version__, **config,
              "weights": {**digests,
                          **({} if estimator is None else {"estimator": estimator[1]["sha256"]})}}
  compute, surface, stride = _build(settings, config, generator, views, data.images, events, baselines,
                                    None if estimator is None else estimator[0])
  return Job(settings, views, data, events, baselines, config_inference.seen_pixels(config),
             generator.kinetic_range_mev, identity, compute, surface, stride, skipped)


def check_momentum_alone(generator: Generator) -> None:
  """Raises ValueError naming what the generator is asked for, unless that is the momentum of a particle."""
  asked = sorted(generator.condition.variables)
  if asked != ["momentum_mev"] or generator.kinetic_range_mev is None or generator.spec is None:
    hint = " --types=NAME,... fits each particle type." if "particle" in asked else ""
    raise ValueError(f"Inference of a momentum needs weights that are asked for momentum_mev alone, with the "
                     f"size of a pixel and a range of energies; these are asked for {asked}.{hint}")


def estimate_momenta(estimator: Estimator, images: np.ndarray, views: tuple[str, ...], *,
                     chunk: int = 256) -> np.ndarray:
  """Momenta [n 3] in MeV/c of images [n v p p] by the amortised estimator, in chunks."""
  estimate = jax.jit(lambda x: estimator.estimate(x, views))
  padded = np.concatenate([images,
                           np.zeros((-len(images) % min(chunk, len(images)), *images.shape[1:]),
                                    images.dtype)])
  return np.concatenate([np.asarray(estimate(x))
                         for x in np.split(padded, len(padded) // min(chunk, len(images)))]
                        )[:len(images)]


def _build(settings: Settings, config: dict, generator: Generator, views, images, numbers, baselines,
           estimator: Estimator | None):
  infer = config_inference.build_infer(config, generator, views, estimator)
  # One key for all events: a result does not depend on the chunk that it was computed in.
  key_candidates, key_infer, key_surface = jax.random.split(root_key(settings.seed), 3)
  if settings.start == "random":
    mapped = parallel.make_device_map(lambda *args: one_track(infer.infer(*args)),
                                      chunk_size=settings.chunk_size)
  else:
    mapped = parallel.make_device_map(lambda pair, key: one_track(infer.refine(*pair, key)),
                                      chunk_size=settings.chunk_size)
  candidates = []  # drawn when the first chunk needs them

  def compute(events: np.ndarray) -> dict[str, np.ndarray]:
    index = np.searchsorted(numbers, events)  # some of the file may be skipped
    if settings.start == "random":
      candidates[:] = candidates or [jax.jit(infer.draw_candidates)(jax.random.clone(key_candidates))]
      out = mapped(images[index], candidates[0], jax.random.clone(key_infer))
    else:
      out = mapped((images[index], baselines[settings.start][index, None, None]), jax.random.clone(key_infer))
    return out._asdict()

  objective = config_inference.build_objective(config, generator, views, estimator)
  drawn = jax.jit(make_surface(objective))

  def surface(image, momentum_mev) -> np.ndarray:
    noise = antithetic_noise(jax.random.clone(key_surface), len(views), SURFACE_DRAWS,
                             generator.codec.state_shape)
    return np.asarray(drawn(jnp.asarray(image), jnp.asarray(momentum_mev, jnp.float32), noise))

  return compute, surface, settings.chunk_size * len(jax.devices())


def run(settings: Settings, config: Mapping, console: Console) -> int:
  """Infers the events of a file into a work directory; with types, which particle made them, too."""
  if settings.types:
    return infer_types.run(settings, config, console)
  job = prepare(settings, config)
  with console.workdir(settings.out, job.identity) as out:
    console.say(f"Devices: {parallel.device_summary()}")
    return exit_code(execute(job, out, console))


def execute(job: Job, out: Path, console: Console = SILENT) -> int | None:
  """Computes the events that `out` lacks, then writes results.csv, results.json, pictures and a summary.

  Args:
    job: from `prepare`.
    out: the run's directory, which holds results of this identity only.
    console: what it reports to; asked after each chunk whether to stop.
  Returns:
    None, or the signal that stopped it before its end: the same call goes on.
  """
  directory, say = out / "chunks", console.say
  num, there = len(job.events), chunks.finished_events(directory, job.identity)
  if job.num_pixels is not None:
    say(f"The distance compares the {job.num_pixels} brightest pixels of each image.")
  done = sum(int(event) in there for event in job.events)
  if done:
    say(f"{out} holds {done} of the {num} events already.")
  warn_of_skipped(job.skipped, num + len(job.skipped), say)
  warn_about_truth(job, say)
  stopped = chunks.run_with_progress(console, "infer", job.compute, job.events, directory=directory,
                                     stride=job.stride, identity=job.identity)
  if stopped is not None:
    done = sum(int(event) in chunks.finished_events(directory, job.identity) for event in job.events)
    say(f"Stopped after {done} of {num} events, which are saved. The same command goes on.")
    return stopped
  fields = chunks.load_fields(directory, job.events, [
      "momentum_mev", "emd_start", "emd_end", "converged", "seconds", "cold", "start_momentum_mev",
      "end_momentum_mev",
      "trajectory"], identity=job.identity)
  table = results.make_results(fields, events=job.events, views=job.views, true_mev=job.data.momentum_mev,
                               baselines=job.baselines, clean=job.data.clean,
                               kinetic_range_mev=job.kinetic_range_mev, dropped=_dropped(job))
  results.write_results(out, table, {"run": job.identity, "first_event": job.settings.first_event,
                                     "num_events": num,
                                   "skipped": job.skipped,
                             "input_path": job.settings.input,
                                     "kinetic_range_mev": list(job.kinetic_range_mev)})
  hypotheses = results.write_hypotheses(out, fields, job.events)
  say("\n".join([results.summary_text(table), *results.dropped_note(table.columns, job.num_pixels)]))
  drawn = pictures.draw_pictures(job, out, directory, fields["momentum_mev"],
                                 num_pictures=job.settings.num_pictures,
                        failed=table.failed)
  say(f"Wrote {out / 'results.csv'}, {out / 'results.json'}, {hypotheses} and pictures:\n  "
      + "\n  ".join(str(path) for path in drawn))
  return None


def _dropped(job: Job) -> np.ndarray:
  images = job.data.images
  return np.zeros(len(images)) if job.num_pixels is None else dropped_charge(images, job.num_pixels)


def warn_about_truth(job: Job, say: Callable) -> None:
  """Warns if true momenta lie outside the energies that the generator was trained on."""
  if job.data.momentum_mev is None:
    return
  count = int(outside_range(job.data.momentum_mev, job.kinetic_range_mev).sum())
  if count:
    low, high = job.kinetic_range_mev
    say(f"WARNING: the true kinetic energy of {count} of {len(job.events)} events lies outside {low:g} to "
        f"{high:g} MeV, on which the generator was trained: their momenta cannot come out right.")
