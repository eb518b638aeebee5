"""Calibration of the posterior of momenta on events whose truth is known.

Draws come from the amortised posterior (of the network's density, of Laplace's Gaussian, by NUTS), or are
weighed with the Earth Mover's Distance of generated images, at a temperature that the first events fit
("tempered", resumable).
"""
import dataclasses
import logging
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
from lartpc_jax.experiments.calibration import Calibrated, calibration_table, judge, write_calibration
from lartpc_jax.experiments.protocol import SILENT, Console, exit_code, setting
from lartpc_jax.experiments.targets import describe_input, open_targets, warn_of_skipped
from lartpc_jax.extras import require_extra
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.inference import posterior as posterior_lib, tempered
from lartpc_jax.inference.estimator import to_coordinates
from lartpc_jax.inference.imaging import antithetic_noise
from lartpc_jax.keys import root_key
from lartpc_jax.metrics import coverage

logger = logging.getLogger(__name__)

NUM_SAMPLES, NUM_WEIGHTED = 500, 64  # draws an event, and weighted ones
CHUNK = 128          # events a program draws for at once
WEIGHTED_CHUNK = 8   # events whose images are drawn at once
NUM_DRAWS = 2        # generated images of each weighted draw, in each view; the same noise for all
RESAMPLED = 500


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of which events, and by which method."""
  input: str = setting("sample", 'File of events with truth, or "sample"; as for launch.infer.')
  views: tuple[str, ...] = setting(("xy", "xz"), "One view or two.")
  num_events: int | None = setting(None, "Number of events; default: to the end of the file.", lower=1)
  first_event: int = setting(0, "Number of the first event.", lower=0)
  method: str = setting(
      "amortised",
      "Draw from the network's density, from Laplace's Gaussian at its maximum, by NUTS (extra [sampling]), "
      "or weigh draws with the distance of generated images, at a temperature fitted on the first events.",
      choices=("amortised", "laplace", "nuts", "tempered"))
  num_samples: int | None = setting(None, "Posterior samples an event; default: 500, 64 for tempered.",
                                    lower=20)
  fit_events: int = setting(100, "Events that fit the temperature and are not judged; tempered only.",
                            lower=20)
  power: float = setting(0.5, "Power of the amortised density; tempered only.")
  weights: str | None = setting(None, "Directory of weights; default: those of the package.")
  out: str | None = setting(None, "Directory of the results.", required=True)
  seed: int = setting(0, "Seed of the samples.")


class Job(NamedTuple):
  """A checked calibration by weighted draws: n events, and what draws for them."""
  views: tuple[str, ...]
  data: ImageSet
  identity: dict     # everything the draws depend on, as plain data
  # event numbers [c], c <= WEIGHTED_CHUNK -> dict of arrays [c ...], see `chunks.run_chunks`
  compute: Callable
  fit_events: int
  seed: int


def run(settings: Settings, config: Mapping, console: Console) -> int | None:
  """Calibrates, prints the table and writes it. The config is of the sampler and the distance, for tempered
  only.
  """
  if settings.method == "tempered":
    job = prepare(settings, config)
    with console.workdir(settings.out, job.identity) as out:
      found = execute(job, out, console)
    if isinstance(found, int):
      console.say("Stopped; what is finished is saved. The same command goes on.")
      return exit_code(found)
  else:
    with console.progress(100, description="calibrate", unit="%") as bar:
      found = calibrate(settings, lambda share: bar.update(int(100 * share)))
  console.say(calibration_table(found))
  console.say("Wrote " + ", ".join(str(path) for path in write_calibration(found, Path(settings.out))))
  return None


def calibrate(settings: Settings, progress: Callable = lambda share: None) -> Calibrated:
  """Coverage, ranks and pulls of the amortised posterior on a file of events, drawn from by one of
  `posterior.METHODS`.

  Raises:
    OSError, ValueError: naming the file or value that is wrong; the events need a known momentum.
  """
  views, method = check_views(settings.views), settings.method
  num_samples = settings.num_samples or NUM_SAMPLES
  if method not in posterior_lib.METHODS:
    raise ValueError(f"Unknown method {method!r}; choose from {posterior_lib.METHODS}.")
  if method == "nuts":
    require_extra("sampling", "--method=nuts")
  if num_samples < 20:
    raise ValueError(f"num_samples must be at least 20; got {num_samples}.")
  estimator, info = config_estimator.build_estimator(len(views), settings.weights)
  spec = ImageSpec(**info["image"])
  data = _open_truth(settings, views, spec)
  images = data.images

  target = posterior_lib.make_log_density(estimator)

  @jax.jit
  def one_chunk(key, images, truth):
    known, estimate = estimator.posterior(images, views), estimator.estimate(images, views)
    if method == "nuts":
      drawn = posterior_lib.nuts(key, estimator, target, known, num_samples=num_samples)
      return (estimate, drawn.momentum_mev, target(to_coordinates(known.observed, truth), known),
              drawn.log_density,
              drawn.divergent)
    if method == "laplace":
      known = posterior_lib.laplace(target, known)
      estimate = estimator.to_momentum(known, known.mixture.mean[:, 0])
    samples = estimator.draw(key, known, num_samples)
    return (estimate, samples, estimator.log_density(truth, known),
            jax.lax.map(lambda p: estimator.log_density(p, known), samples), jnp.zeros(len(truth)))

  parts = []
  for start in range(0, len(images), CHUNK):
    chosen = np.minimum(np.arange(start, start + CHUNK),
                        len(images) - 1)  # the last chunk repeats the last event
    key = jax.random.fold_in(root_key(settings.seed), start)
    found = one_chunk(key, images[chosen], jnp.asarray(data.momentum_mev[chosen]))
    keep = min(CHUNK, len(images) - start)
    parts.append([np.moveaxis(np.asarray(x), 1 if i in (1, 3) else 0, 0)[:keep] for i, x in enumerate(found)])
    progress(min(start + CHUNK, len(images)) / len(images))
  estimate, samples, true_density, density, divergent = (np.concatenate(x) for x in zip(*parts, strict=True))
  samples, density = np.moveaxis(samples, 1, 0), density.T
  found = np.isfinite(samples).all((0, 2)) & np.isfinite(density).all(0)
  level = np.where(found, coverage.credible_level(true_density, density), 1.0)  # NaN would count as covered
  return judge(data, views, estimate, samples, level, found)._replace(divergent=float(divergent.mean()))


def _open_truth(settings: Settings, views: tuple[str, ...], spec: ImageSpec) -> ImageSet:
  """Events whose momenta are known. Raises ValueError naming the file if they are not."""
  data, events, skipped = open_targets(settings.input, views=views, spec=spec, first=settings.first_event,
                                       num=settings.num_events)
  warn_of_skipped(skipped, len(events) + len(skipped), logger.warning)
  if data.momentum_mev is None:
    raise ValueError(f"{settings.input}: the true momenta are not known; calibration needs them.")
  return data


def prepare(settings: Settings, config: Mapping) -> Job:
  """A job of the tempered method, which fits the temperature on the first events and judges the posterior on
  the others.

  Args:
    settings: what to calibrate.
    config: of the inference: its sampler and its distance; a prior in it is left out.
  Raises:
    OSError, ValueError: naming the file or value that is wrong.
  """
  views, fit_events = check_views(settings.views), settings.fit_events
  num_samples = settings.num_samples or NUM_WEIGHTED
  config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  last = {**config["inference"]["second"], "prior_weight_px": 0.0}
  config["inference"] = {**config["inference"], "second": last}
  estimator, estimator_info = config_estimator.build_estimator(len(views), settings.weights)
  generator, _, digests = build_generator(settings.weights)
  data = _open_truth(settings, views, generator.spec)
  n = len(data.images)
  if not 20 <= fit_events <= n - 20:
    raise ValueError(f"fit_events must leave 20 of the {n} events on either side; got {fit_events}.")
  objective = config_inference.build_objective(config, generator, views)
  draw = tempered.make_draws(estimator, objective.evaluate, power=settings.power, num_samples=num_samples)
  key_noise, key_draws = jax.random.split(root_key(settings.seed))
  noise = antithetic_noise(key_noise, len(views), NUM_DRAWS, generator.codec.state_shape)

  @jax.jit
  def one_chunk(key, images, truth_mev):
    known = estimator.posterior(images, views)
    return draw(key, known, truth_mev, objective.prepare(images), noise), known.observed.basis[:, 2]

  def compute(events: np.ndarray) -> dict[str, np.ndarray]:
    chosen = np.minimum(events[0] + np.arange(WEIGHTED_CHUNK), n - 1)  # the last chunk repeats the last event
    drawn, pole = one_chunk(jax.random.fold_in(key_draws, int(events[0])), data.images[chosen],
                            jnp.asarray(data.momentum_mev[chosen]))
    by_event = {name: x if x.ndim == 1 else jnp.swapaxes(x, 0, 1) for name, x in drawn._asdict().items()}
    return {name: np.asarray(x)[:len(events)] for name, x in {**by_event, "pole": pole}.items()}

  identity = {"input": describe_input(settings.input), "views": ",".join(views),
              "first_event": settings.first_event,
              "num_events": n, "fit_events": fit_events, "power": settings.power, "num_samples": num_samples,
              "num_draws": NUM_DRAWS, "seed": settings.seed, "version": lartpc_jax.__version__, **config,
              "weights": {**digests, "estimator": estimator_info["sha256"]}}
  return Job(views, data, identity, compute, fit_events, settings.seed)


def execute(job: Job, out: Path, console: Console = SILENT) -> Calibrated | int:
  """Draws what `out` lacks, fits the temperature, and judges. Returns the signal if one stopped it: the same
  call goes on.

  Args:
    job: from `prepare`.
    out: the run's directory, which holds draws of this identity only.
    console: what it reports to; asked after each chunk whether to stop.
  """
  events = np.arange(len(job.data.images))
  stopped = chunks.run_with_progress(console, "draws", job.compute, events, directory=out / "chunks",
                                     stride=WEIGHTED_CHUNK, identity=job.identity)
  if stopped is not None:
    return stopped
  found = chunks.load_fields(out / "chunks", events, [*tempered.Draws._fields, "pole"], identity=job.identity)
  pole = found.pop("pole")
  draws = tempered.Draws(**{name: x if x.ndim == 1 else x.swapaxes(0, 1) for name, x in found.items()})
  part = lambda where: tempered.Draws(*(x[where] if x.ndim == 1 else x[:, where] for x in draws))
  temperature = tempered.fit_temperature(part(slice(job.fit_events)))

  rest = part(slice(job.fit_events, None))
  judged = job.data._replace(**{name: value[job.fit_events:] for name, value in job.data._asdict().items()
                                if isinstance(value, np.ndarray) and len(value) == len(events)})
  level = tempered.credible_levels(rest, temperature)
  effective = tempered.effective_samples(rest, temperature)
  known = np.isfinite(level)
  result = judge(judged, job.views, _mean(rest, temperature, pole[job.fit_events:], len(job.views)),
                 tempered.resample(rest, temperature, num=RESAMPLED, seed=job.seed),
                 np.where(known, level, 1.0), known)
  return result._replace(temperature_px=temperature, effective=float(np.median(effective[known])))


def _mean(draws: tempered.Draws, temperature_px: float, pole: np.ndarray, num_views: int) -> np.ndarray:
  """Weighted mean momentum [n 3]; with one view of the draws mirrored to one side of the picture."""
  momentum = np.asarray(draws.momentum_mev)
  if num_views == 1:
    along = np.einsum("sni,ni->sn", momentum, pole)
    momentum = momentum - np.minimum(2.0 * along, 0.0)[..., None] * pole
  return np.sum(tempered.weights(draws, temperature_px)[..., None] * momentum, axis=0)
