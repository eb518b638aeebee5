"""Calibration of the posterior that weighs the amortised density with the Earth Mover's Distance of the generator."""
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax import config as config_lib, config_estimator
from lartpc_jax.data.images import check_views
from lartpc_jax.inference import tempered
from lartpc_jax.inference.objective import antithetic_noise
from lartpc_jax.runs.calibrate import Calibrated, judge, open_truth

CHUNK = 8       # events whose images are drawn at once
RESAMPLED = 500


def calibrate(path: str, views: tuple[str, ...], config: Mapping, *, weights: str | None = None,
              num_events: int | None = None, first_event: int = 0, fit_events: int = 100, power: float = 0.5,
              num_samples: int = 64, num_draws: int = 2, seed: int = 0, progress: Callable = lambda share: None
              ) -> Calibrated:
  """Fits the temperature on the first events of a file and judges the posterior on the others; see `inference.tempered`.

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
    progress: told the share that is done.
  Raises:
    OSError, ValueError: naming the file or value that is wrong.
  """
  views = check_views(views)
  config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  config["inference"] = {**config["inference"], "prior_weight_px": 0.0}
  estimator, _ = config_estimator.build_estimator(len(views), weights)
  diffusion, _ = config_lib.build_diffusion(weights)
  data = open_truth(path, views, diffusion.spec, first_event, num_events)
  n = len(data.images)
  if not 20 <= fit_events <= n - 20:
    raise ValueError(f"fit_events must leave 20 of the {n} events on either side; got {fit_events}.")
  objective = config_lib.build_objective(config, diffusion, views)
  draw = tempered.make_draws(estimator, objective.evaluate, power=power, num_samples=num_samples)

  @jax.jit
  def one_chunk(key, images, truth_mev, noise):
    known = estimator.posterior(images, views)
    return draw(key, known, truth_mev, objective.prepare(images), noise), known.observed.basis[:, 2]

  key_noise, key_draws = jax.random.split(jax.random.key(seed))
  noise = antithetic_noise(key_noise, len(views), num_draws, diffusion.latent_shape)
  parts, poles = [], []
  for start in range(0, n, CHUNK):
    chosen = np.minimum(np.arange(start, start + CHUNK), n - 1)  # the last chunk repeats the last event
    drawn, pole = one_chunk(jax.random.fold_in(key_draws, start), data.images[chosen],
                            jnp.asarray(data.momentum_mev[chosen]), noise)
    keep = min(CHUNK, n - start)
    parts.append([np.asarray(x)[:keep] if x.ndim == 1 else np.asarray(x)[:, :keep] for x in drawn])
    poles.append(np.asarray(pole)[:keep])
    progress(min(start + CHUNK, n) / n)
  draws = tempered.Draws(*(np.concatenate(x, axis=0 if x[0].ndim == 1 else 1) for x in zip(*parts, strict=True)))
  part = lambda where: tempered.Draws(*(x[where] if x.ndim == 1 else x[:, where] for x in draws))
  temperature = tempered.fit_temperature(part(slice(fit_events)))

  rest = part(slice(fit_events, None))
  judged = data._replace(**{name: value[fit_events:] for name, value in data._asdict().items()
                            if isinstance(value, np.ndarray) and len(value) == n})
  level, effective = tempered.credible_levels(rest, temperature), tempered.effective_samples(rest, temperature)
  found = np.isfinite(level)
  result = judge(judged, views, _mean(rest, temperature, np.concatenate(poles)[fit_events:], len(views)),
                 tempered.resample(rest, temperature, num=RESAMPLED, seed=seed), np.where(found, level, 1.0), found)
  return result._replace(temperature_px=temperature, effective=float(np.median(effective[found])))


def _mean(draws: tempered.Draws, temperature_px: float, pole: np.ndarray, num_views: int) -> np.ndarray:
  """Weighted mean momentum [n 3]; with one view of the draws mirrored to one side of the picture."""
  momentum = np.asarray(draws.momentum_mev)
  if num_views == 1:
    along = np.einsum("sni,ni->sn", momentum, pole)
    momentum = momentum - np.minimum(2.0 * along, 0.0)[..., None] * pole
  return np.sum(tempered.weights(draws, temperature_px)[..., None] * momentum, axis=0)
