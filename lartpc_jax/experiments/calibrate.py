"""Calibration of the amortised posterior on events whose truth is known."""
import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build import estimator as config_estimator
from lartpc_jax.data.images import ImageSet, check_views
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.experiments.protocol import Console, exit_code, setting
from lartpc_jax.experiments.targets import open_targets, warn_of_skipped
from lartpc_jax.extras import require_extra
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.inference import posterior as posterior_lib
from lartpc_jax.inference.errors import error_summary, hidden_direction
from lartpc_jax.inference.estimator import to_coordinates
from lartpc_jax.keys import root_key
from lartpc_jax.metrics import coverage
from lartpc_jax.plotting.coverage import calibration_figure
from lartpc_jax.tables import markdown_table, write_json

logger = logging.getLogger(__name__)

CREDIBILITIES = (0.68, 0.95)
CHUNK = 128


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of which events, and by which method."""
  input: str = setting("sample", 'File of events with truth, or "sample"; as for launch.infer.')
  views: tuple[str, ...] = setting(("xy", "xz"), "One view or two.")
  num_events: int | None = setting(None, "Number of events; default: to the end of the file.", lower=1)
  first_event: int = setting(0, "Number of the first event.", lower=0)
  method: str = setting(
      "amortised", "Draw from the network's density, from Laplace's Gaussian at its maximum, by NUTS (extra [sampling]), or "
      "weigh draws with the distance of generated images, at a temperature fitted on the first events.",
      choices=("amortised", "laplace", "nuts", "tempered"))
  num_samples: int | None = setting(None, "Posterior samples an event; default: 500, 64 for tempered.", lower=20)
  fit_events: int = setting(100, "Events that fit the temperature and are not judged; tempered only.", lower=20)
  power: float = setting(0.5, "Power of the amortised density; tempered only.")
  weights: str | None = setting(None, "Directory of weights; default: those of the package.")
  out: str | None = setting(None, "Directory of the results.", required=True)
  seed: int = setting(0, "Seed of the samples.")


class Calibrated(NamedTuple):
  """What the posterior says of n events whose truth is known, and how that holds."""
  num_events: int
  errors: dict                 # of the point estimate, see `errors.error_summary`
  coverage: dict               # credibility -> Estimate
  ranks: dict                  # component -> coverage.Uniformity
  pull_width: dict             # component -> standard deviation of the pulls between their 2.5 and 97.5 % quantiles
  level: np.ndarray            # [n]
  signs: float | None          # one view: mean share of samples with the sign that is rarer, of events with two modes
  num_failed: int              # events without a posterior (Laplace: no maximum), which count as not covered
  divergent: float             # share of the steps of NUTS that diverged; 0 for the other methods
  temperature_px: float | None = None  # the tempered distance: temperature that was fitted on other events
  effective: float | None = None       # and the median effective number of its draws


def run(settings: Settings, config: Mapping, console: Console) -> int | None:
  """Calibrates, prints the table and writes it. The config is of the sampler and the distance, for tempered only."""
  from lartpc_jax.experiments import tempered  # which imports this module
  common = dict(weights=settings.weights, num_events=settings.num_events, seed=settings.seed,
                first_event=settings.first_event)
  if settings.method == "tempered":
    job = tempered.prepare(settings.input, settings.views, config, fit_events=settings.fit_events, power=settings.power,
                           num_samples=settings.num_samples or 64, **common)
    with console.workdir(settings.out, job.identity) as out:
      found = tempered.execute(job, out, console)
    if isinstance(found, int):
      console.say("Stopped; what is finished is saved. The same command goes on.")
      return exit_code(found)
  else:
    with console.progress(100, description="calibrate", unit="%") as bar:
      found = calibrate(settings.input, settings.views, method=settings.method, num_samples=settings.num_samples or 500,
                        progress=lambda share: bar.update(int(100 * share)), **common)
  console.say(table(found))
  console.say("Wrote " + ", ".join(str(path) for path in write(found, Path(settings.out))))
  return None


def calibrate(path: str, views: tuple[str, ...], *, weights: str | None = None, num_events: int | None = None,
              first_event: int = 0, num_samples: int = 500, seed: int = 0, method: str = "amortised",
              progress: Callable = lambda share: None) -> Calibrated:
  """Coverage, ranks and pulls of the amortised posterior on a file of events, drawn from by one of `posterior.METHODS`.

  Raises:
    OSError, ValueError: naming the file or value that is wrong; the events need a known momentum.
  """
  views = check_views(views)
  if method not in posterior_lib.METHODS:
    raise ValueError(f"Unknown method {method!r}; choose from {posterior_lib.METHODS}.")
  if method == "nuts":
    require_extra("sampling", "--method=nuts")
  if num_samples < 20:
    raise ValueError(f"num_samples must be at least 20; got {num_samples}.")
  estimator, info = config_estimator.build_estimator(len(views), weights)
  spec = ImageSpec(**info["image"])
  data = open_truth(path, views, spec, first_event, num_events)
  images = data.images

  target = posterior_lib.make_log_density(estimator)

  @jax.jit
  def one_chunk(key, images, truth):
    known, estimate = estimator.posterior(images, views), estimator.estimate(images, views)
    if method == "nuts":
      drawn = posterior_lib.nuts(key, estimator, target, known, num_samples=num_samples)
      return (estimate, drawn.momentum_mev, target(to_coordinates(known.observed, truth), known), drawn.log_density,
              drawn.divergent)
    if method == "laplace":
      known = posterior_lib.laplace(target, known)
      estimate = estimator.to_momentum(known, known.mixture.mean[:, 0])
    samples = estimator.draw(key, known, num_samples)
    return (estimate, samples, estimator.log_density(truth, known),
            jax.lax.map(lambda p: estimator.log_density(p, known), samples), jnp.zeros(len(truth)))

  parts = []
  for start in range(0, len(images), CHUNK):
    chosen = np.minimum(np.arange(start, start + CHUNK), len(images) - 1)  # the last chunk repeats the last event
    key = jax.random.fold_in(root_key(seed), start)
    found = one_chunk(key, images[chosen], jnp.asarray(data.momentum_mev[chosen]))
    keep = min(CHUNK, len(images) - start)
    parts.append([np.moveaxis(np.asarray(x), 1 if i in (1, 3) else 0, 0)[:keep] for i, x in enumerate(found)])
    progress(min(start + CHUNK, len(images)) / len(images))
  estimate, samples, true_density, density, divergent = (np.concatenate(x) for x in zip(*parts, strict=True))
  samples, density = np.moveaxis(samples, 1, 0), density.T
  found = np.isfinite(samples).all((0, 2)) & np.isfinite(density).all(0)
  level = np.where(found, coverage.credible_level(true_density, density), 1.0)  # NaN would count as covered
  return judge(data, views, estimate, samples, level, found)._replace(divergent=float(divergent.mean()))


def judge(data: ImageSet, views: tuple[str, ...], estimate: np.ndarray, samples: np.ndarray, level: np.ndarray,
          found: np.ndarray) -> Calibrated:
  """Coverage, ranks and pulls of n events.

  Args:
    data: the events, with truth.
    views: names.
    estimate: momenta [n 3], MeV/c.
    samples: momenta [s n 3] of the posteriors.
    level: [n], see `coverage.credible_level`.
    found: [n] bool, events with a posterior.
  """
  samples, true_mev = samples[:, found], data.momentum_mev[found]
  components = dict(zip(("px", "py", "pz"), (samples[..., i] for i in range(3)), strict=True))
  truth = dict(zip(components, true_mev.T, strict=True))
  components["|p|"], truth["|p|"] = np.linalg.norm(samples, axis=-1), np.linalg.norm(true_mev, axis=1)
  bins = min(20, int(found.sum()) // 5)
  width = lambda x: float(np.diff(np.quantile(x, [0.16, 0.84]))[0] / 2)
  return Calibrated(
      len(estimate), error_summary(estimate, data.momentum_mev, views, data.clean),
      {c: coverage.coverage(level, c) for c in CREDIBILITIES},
      {name: coverage.rank_uniformity(x, truth[name], num_bins=bins) for name, x in components.items()},
      {name: width(coverage.pulls(x, truth[name])) for name, x in components.items()}, level,
      _sign_balance(samples, views), int((~found).sum()), 0.0)


def _sign_balance(samples: np.ndarray, views: tuple[str, ...]) -> float | None:
  hidden = hidden_direction(views)
  if hidden is None:
    return None
  positive = (samples @ hidden > 0).mean(0)
  return float(np.minimum(positive, 1.0 - positive).mean())


def open_truth(path: str, views: tuple[str, ...], spec: ImageSpec, first_event: int, num_events: int | None) -> ImageSet:
  """Events whose momenta are known. Raises ValueError naming the file if they are not."""
  data, events, skipped = open_targets(path, views=views, spec=spec, first=first_event, num=num_events)
  warn_of_skipped(skipped, len(events) + len(skipped), logger.warning)
  if data.momentum_mev is None:
    raise ValueError(f"{path}: the true momenta are not known; calibration needs them.")
  return data


def table(found: Calibrated) -> str:
  """What the terminal shows, as Markdown."""
  lines = [f"{found.num_events} events; median |dp| of the point estimate {found.errors['median_dp_mev']:.1f} MeV/c", "",
           markdown_table(("credibility", "covered"),
                          [(f"{100 * c:g} %", f"{100 * e.value:.1f} +- {100 * e.error:.1f} %")
                           for c, e in found.coverage.items()]), "",
           markdown_table(("component", "ranks: chi2/ndf", "p", "half the central 68 % of the pulls"),
                          [(name, f"{u.chi2.value:.2f}", f"{u.chi2.p_value:.3f}", f"{found.pull_width[name]:.2f}")
                           for name, u in found.ranks.items()])]
  if found.temperature_px is not None:
    lines += ["", f"Temperature {found.temperature_px:.3g} px, fitted on other events; effective draws an event, median: "
              f"{found.effective:.0f}"]
  if found.num_failed:
    lines += ["", f"WARNING: {found.num_failed} events have no posterior; they count as not covered, and not in the ranks."]
  if found.divergent:
    lines += ["", f"WARNING: {100 * found.divergent:.2g} % of the steps of NUTS diverged."]
  if found.signs is not None:
    lines += ["", "Share of samples with the rarer sign of the hidden component, mean: "
              f"{found.signs:.2f} (0.5: two equal modes)"]
  return "\n".join(lines)


def write(found: Calibrated, out: Path) -> list[Path]:
  """Writes calibration.json and calibration.png into `out`; each whole or not at all."""
  out.mkdir(parents=True, exist_ok=True)
  content = found._asdict() | {
      "coverage": {str(c): e._asdict() for c, e in found.coverage.items()}, "level": found.level.tolist(),
      "ranks": {name: {"count": u.count.tolist(), **u.chi2._asdict()} for name, u in found.ranks.items()}}
  return [write_json(out / "calibration.json", content),
          save_figure(calibration_figure(found.ranks, found.level), out / "calibration.png")]
