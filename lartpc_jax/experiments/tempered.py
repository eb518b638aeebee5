"""Calibration of the posterior that weighs the amortised density with the Earth Mover's Distance of the generator."""
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lartpc_jax
from lartpc_jax.build import estimator as config_estimator, inference as config_inference
from lartpc_jax.build.generators import build_generator
from lartpc_jax.data.images import ImageSet, check_views
from lartpc_jax.experiments import chunks
from lartpc_jax.experiments.calibrate import Calibrated, judge, open_truth
from lartpc_jax.experiments.protocol import SILENT, Console
from lartpc_jax.experiments.targets import describe_input
from lartpc_jax.inference import tempered
from lartpc_jax.inference.imaging import antithetic_noise

CHUNK = 8       # events whose images are drawn at once
RESAMPLED = 500


class Job(NamedTuple):
  """A checked calibration: n events, and what draws for them."""
  views: tuple[str, ...]
  data: ImageSet
  identity: dict     # everything the draws depend on, as plain data
  compute: Callable  # event numbers [c], c <= CHUNK -> dict of arrays [c ...], see `chunks.run_chunks`
  fit_events: int
  seed: int


def prepare(path: str, views: tuple[str, ...], config: Mapping, *, weights: str | None = None,
            num_events: int | None = None, first_event: int = 0, fit_events: int = 100, power: float = 0.5,
            num_samples: int = 64, num_draws: int = 2, seed: int = 0) -> Job:
  """A job that fits the temperature on the first events of a file and judges the posterior on the others.

  Args:
    path: file of events with truth.
    views: one or two.
    config: of the inference: its sampler and its distance; a prior in it is left out.
    weights: directory; None: those of the package.
    num_events: in all; None: to the end of the file.
    first_event: number of the first.
    fit_events: how many fit the temperature.
    power: of the amortised density.
    num_samples: draws an event.
    num_draws: generated images of each, in each view; the same noise for all.
    seed: of draws and noise.
  Raises:
    OSError, ValueError: naming the file or value that is wrong.
  """
  views = check_views(views)
  config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  last = {**config["inference"]["second"], "prior_weight_px": 0.0}
  config["inference"] = {**config["inference"], "second": last}
  estimator, estimator_info = config_estimator.build_estimator(len(views), weights)
  generator, _, digests = build_generator(weights)
  data = open_truth(path, views, generator.spec, first_event, num_events)
  n = len(data.images)
  if not 20 <= fit_events <= n - 20:
    raise ValueError(f"fit_events must leave 20 of the {n} events on either side; got {fit_events}.")
  objective = config_inference.build_objective(config, generator, views)
  draw = tempered.make_draws(estimator, objective.evaluate, power=power, num_samples=num_samples)
  key_noise, key_draws = jax.random.split(jax.random.key(seed))
  noise = antithetic_noise(key_noise, len(views), num_draws, generator.codec.state_shape)

  @jax.jit
  def one_chunk(key, images, truth_mev):
    known = estimator.posterior(images, views)
    return draw(key, known, truth_mev, objective.prepare(images), noise), known.observed.basis[:, 2]

  def compute(events: np.ndarray) -> dict[str, np.ndarray]:
    chosen = np.minimum(events[0] + np.arange(CHUNK), n - 1)  # the last chunk repeats the last event
    drawn, pole = one_chunk(jax.random.fold_in(key_draws, int(events[0])), data.images[chosen],
                            jnp.asarray(data.momentum_mev[chosen]))
    by_event = {name: x if x.ndim == 1 else jnp.swapaxes(x, 0, 1) for name, x in drawn._asdict().items()}
    return {name: np.asarray(x)[:len(events)] for name, x in {**by_event, "pole": pole}.items()}

  identity = {"input": describe_input(path), "views": ",".join(views), "first_event": first_event, "num_events": n,
              "fit_events": fit_events, "power": power, "num_samples": num_samples, "num_draws": num_draws, "seed": seed,
              "version": lartpc_jax.__version__, **config,
              "weights": {**digests, "estimator": estimator_info["sha256"]}}
  return Job(views, data, identity, compute, fit_events, seed)


def execute(job: Job, out: Path, console: Console = SILENT) -> Calibrated | int:
  """Draws what `out` lacks, fits the temperature, and judges. Returns the signal if one stopped it: the same call goes on.

  Args:
    job: from `prepare`.
    out: the run's directory, which holds draws of this identity only.
    console: what it reports to; asked after each chunk whether to stop.
  """
  events = np.arange(len(job.data.images))
  done = len(chunks.finished_events(out / "chunks"))
  with console.progress(len(events), initial=done, description="draws", unit="event") as bar, console.stopping() as stop:
    stopped = chunks.run_chunks(job.compute, events, directory=out / "chunks", stride=CHUNK, stop=stop, update=bar.update)
  if stopped is not None:
    return stopped
  found = chunks.load_fields(out / "chunks", events, [*tempered.Draws._fields, "pole"])
  pole = found.pop("pole")
  draws = tempered.Draws(**{name: x if x.ndim == 1 else x.swapaxes(0, 1) for name, x in found.items()})
  part = lambda where: tempered.Draws(*(x[where] if x.ndim == 1 else x[:, where] for x in draws))
  temperature = tempered.fit_temperature(part(slice(job.fit_events)))

  rest = part(slice(job.fit_events, None))
  judged = job.data._replace(**{name: value[job.fit_events:] for name, value in job.data._asdict().items()
                                if isinstance(value, np.ndarray) and len(value) == len(events)})
  level, effective = tempered.credible_levels(rest, temperature), tempered.effective_samples(rest, temperature)
  known = np.isfinite(level)
  result = judge(judged, job.views, _mean(rest, temperature, pole[job.fit_events:], len(job.views)),
                 tempered.resample(rest, temperature, num=RESAMPLED, seed=job.seed), np.where(known, level, 1.0), known)
  return result._replace(temperature_px=temperature, effective=float(np.median(effective[known])))


def _mean(draws: tempered.Draws, temperature_px: float, pole: np.ndarray, num_views: int) -> np.ndarray:
  """Weighted mean momentum [n 3]; with one view of the draws mirrored to one side of the picture."""
  momentum = np.asarray(draws.momentum_mev)
  if num_views == 1:
    along = np.einsum("sni,ni->sn", momentum, pole)
    momentum = momentum - np.minimum(2.0 * along, 0.0)[..., None] * pole
  return np.sum(tempered.weights(draws, temperature_px)[..., None] * momentum, axis=0)
