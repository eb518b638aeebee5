"""Inference of a file of events: prepare what a request names, then run it chunk by chunk, resumably.

`prepare` finds mistakes and writes nothing; `execute` computes what is missing in the run's directory and reports.
"""
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lartpc_jax
from lartpc_jax import parallel
from lartpc_jax.build import estimator as config_estimator, inference as config_inference, tasks as config_lib
from lartpc_jax.data.images import ImageSet, check_views
from lartpc_jax.experiments import pictures, results
from lartpc_jax.experiments.targets import describe_input, open_targets
from lartpc_jax.generators.generator import Diffusion
from lartpc_jax.geometry.rasterize import VIEWS
from lartpc_jax.inference import chunks
from lartpc_jax.inference.classical import classical_momentum
from lartpc_jax.inference.errors import outside_range
from lartpc_jax.inference.estimator import Estimator
from lartpc_jax.inference.objective import antithetic_noise
from lartpc_jax.inference.surface import make_surface
from lartpc_jax.keys import root_key

STARTS = ("random", "classical", "amortised")
SURFACE_DRAWS = 2


class Request(NamedTuple):
  """What to infer; the flags of launch.infer."""
  input: str
  views: tuple[str, ...]
  num_events: int | None = None   # None: to the end of the file
  first_event: int = 0
  weights: str | None = None      # None: those of the package
  start: str = "random"
  chunk_size: int = 8             # events a device works on at once
  seed: int = 0


class Job(NamedTuple):
  """A checked request, ready to run."""
  request: Request
  views: tuple[str, ...]
  data: ImageSet
  events: np.ndarray       # [n] numbers in the file
  baselines: dict[str, np.ndarray]  # momenta [n 3] of the classical and, where it can be had, the amortised estimator
  kinetic_range_mev: tuple[float, float]
  identity: dict           # what results depend on; a directory holds those of one identity
  compute: Callable        # event numbers -> dict of arrays, see `chunks.run_chunks`
  surface: Callable        # (image [v p p], momentum [r c 3]) -> objective [r c]
  stride: int


def prepare(request: Request, config: Mapping) -> Job:
  """Reads and checks everything that `request` and the inference config name.

  Raises:
    OSError, ValueError: naming the file, flag or key that is wrong.
  """
  views = check_views(request.views)
  if request.start not in STARTS:
    raise ValueError(f"Unknown --start {request.start!r}; choose from {list(STARTS)}.")
  config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  diffusion, info = config_lib.build_diffusion(request.weights)
  spec, autoencoder = config_lib.build_image_spec(request.weights)
  data = open_targets(request.input, views=views, spec=spec, first=request.first_event, num=request.num_events)
  events = request.first_event + np.arange(len(data.images))
  baselines = {"classical": classical_momentum(data.images, views, pitch_mm=spec.pitch_mm).astype(np.float32)}
  along_axes = all(view in VIEWS for view in views)  # what the estimators were trained on
  estimator = config_estimator.find_estimator(len(views), request.weights) if along_axes else None
  if estimator is not None:
    baselines["amortised"] = estimate_momenta(estimator[0], data.images, views)
  elif request.start == "amortised":
    raise ValueError(f"--start=amortised needs weights of an estimator of {len(views)} views along the axes in --weights; "
                     f"got {','.join(views)} and found none "
                     "(the package has those of one and of two views; configs/protons64_estimator.py trains them).")
  identity = {"input": describe_input(request.input), "views": ",".join(views), "start": request.start,
              "seed": request.seed, "version": lartpc_jax.__version__, **config,
              "weights": {"autoencoder": autoencoder["sha256"], "diffusion": info["sha256"],
                          **({} if estimator is None else {"estimator": estimator[1]["sha256"]})}}
  compute, surface, stride = _build(request, config, diffusion, views, data.images, baselines,
                                    None if estimator is None else estimator[0])
  return Job(request, views, data, events, baselines, diffusion.kinetic_range_mev, identity, compute, surface, stride)


def estimate_momenta(estimator: Estimator, images: np.ndarray, views: tuple[str, ...], *, chunk: int = 256) -> np.ndarray:
  """Momenta [n 3] in MeV/c of images [n v p p] by the amortised estimator, in chunks."""
  estimate = jax.jit(lambda x: estimator.estimate(x, views))
  padded = np.concatenate([images, np.zeros((-len(images) % min(chunk, len(images)), *images.shape[1:]), images.dtype)])
  return np.concatenate([np.asarray(estimate(x)) for x in np.split(padded, len(padded) // min(chunk, len(images)))]
                        )[:len(images)]


def _build(request: Request, config: dict, diffusion: Diffusion, views, images, baselines,
           estimator: Estimator | None):
  infer = config_inference.build_infer(config, diffusion, views, estimator)
  # One key for all events: a result does not depend on the chunk that it was computed in.
  key_candidates, key_infer, key_surface = jax.random.split(root_key(request.seed), 3)
  by_event = lambda out: out._replace(trajectory=out.trajectory.swapaxes(0, 1), values=out.values.T)
  if request.start == "random":
    mapped = parallel.make_device_map(lambda *args: by_event(infer.infer(*args)), chunk_size=request.chunk_size)
  else:
    mapped = parallel.make_device_map(lambda pair, key: by_event(infer.refine(*pair, key)), chunk_size=request.chunk_size)
  candidates = []  # drawn when the first chunk needs them

  def compute(events: np.ndarray) -> dict[str, np.ndarray]:
    index = events - request.first_event
    if request.start == "random":
      candidates[:] = candidates or [jax.jit(infer.draw_candidates)(jax.random.clone(key_candidates))]
      out = mapped(images[index], candidates[0], jax.random.clone(key_infer))
    else:
      out = mapped((images[index], baselines[request.start][index, None]), jax.random.clone(key_infer))
    return out._asdict()

  objective = config_inference.build_objective(config, diffusion, views, estimator)
  drawn = jax.jit(make_surface(objective))

  def surface(image, momentum_mev) -> np.ndarray:
    noise = antithetic_noise(jax.random.clone(key_surface), len(views), SURFACE_DRAWS, diffusion.latent_shape)
    return np.asarray(drawn(jnp.asarray(image), jnp.asarray(momentum_mev, jnp.float32), noise))

  return compute, surface, request.chunk_size * len(jax.devices())


def execute(job: Job, out: Path, *, progress: Callable, stop: Callable = lambda: None, num_pictures: int = 8,
            say: Callable = print) -> int | None:
  """Computes the events that `out` lacks, then writes results.csv, results.json, pictures and a summary.

  Args:
    job: from `prepare`.
    out: the run's directory, which holds results of this identity only.
    progress: context manager like `cli.progress_bar`.
    stop: asked after each chunk for a signal number; None goes on.
    num_pictures: events drawn.
    say: prints a line.
  Returns:
    None, or the signal that stopped it before its end: the same call goes on.
  """
  directory = out / "chunks"
  num, there = len(job.events), chunks.finished_events(directory, job.identity)
  done = sum(int(event) in there for event in job.events)
  if done:
    say(f"{out} holds {done} of the {num} events already.")
  warn_about_truth(job, say)
  with progress(num, initial=done, description="infer", unit="event") as bar:
    stopped = chunks.run_chunks(job.compute, job.events, directory=directory, stride=job.stride, stop=stop,
                                update=bar.update, identity=job.identity)
  if stopped is not None:
    done = sum(int(event) in chunks.finished_events(directory, job.identity) for event in job.events)
    say(f"Stopped after {done} of {num} events, which are saved. The same command goes on.")
    return stopped
  fields = chunks.load_fields(directory, job.events, [
      "momentum_mev", "emd_start", "emd_end", "converged", "seconds", "cold", "start_momentum_mev", "end_momentum_mev",
      "trajectory"], identity=job.identity)
  table = results.make_results(fields, events=job.events, views=job.views, true_mev=job.data.momentum_mev,
                               baselines=job.baselines, clean=job.data.clean,
                               kinetic_range_mev=job.kinetic_range_mev)
  results.write(out, table, {"run": job.identity, "first_event": job.request.first_event, "num_events": num,
                             "input_path": job.request.input, "kinetic_range_mev": list(job.kinetic_range_mev)})
  hypotheses = results.write_hypotheses(out, fields, job.events)
  say(results.report(table))
  drawn = pictures.draw(job, out, directory, fields["momentum_mev"], num_pictures=num_pictures,
                        failed=table.failed)
  say(f"Wrote {out / 'results.csv'}, {out / 'results.json'}, {hypotheses} and pictures:\n  "
      + "\n  ".join(str(path) for path in drawn))
  return None


def warn_about_truth(job: Job, say: Callable) -> None:
  """Warns if true momenta lie outside the energies that the generator was trained on."""
  if job.data.momentum_mev is None:
    return
  count = int(outside_range(job.data.momentum_mev, job.kinetic_range_mev).sum())
  if count:
    low, high = job.kinetic_range_mev
    say(f"WARNING: the true kinetic energy of {count} of {len(job.events)} events lies outside {low:g} to {high:g} MeV, "
        "on which the generator was trained: their momenta cannot come out right.")
