"""Makes events of several tracks, from single ones of a file or by the generator: what launch.multi_track
does.
"""
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax import parallel
from lartpc_jax.build.generators import build_generate, build_generator
from lartpc_jax.config.schema import FIT_SAMPLER
from lartpc_jax.data import multi_track
from lartpc_jax.data.images import check_views
from lartpc_jax.data.open import open_events
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.generators.generator import Generator, prior_noise
from lartpc_jax.inference.imaging import generate_views
from lartpc_jax.keys import root_key
from lartpc_jax.units import momentum_from_kinetic

GENERATOR = "generator"
# That of fits, with enough steps to have converged.
SAMPLER = dataclasses.asdict(dataclasses.replace(FIT_SAMPLER, num_steps=16))


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to make."""
  source: str = setting("sample", 'npz of sparse events, "sample", or "generator".')
  tracks: int = setting(2, "Tracks an event.", lower=1)
  num: int = setting(300, "Events.", lower=1)
  first_event: int = setting(0, "First event of the file that is used.", lower=0)
  opening_degrees: tuple[str, ...] | None = setting(None,
                                                    "minimum,maximum angle of pairs; default: isotropic.")
  views: tuple[str, ...] = setting(("xy", "xz"), "Views.")
  weights: str | None = setting(None, "Directory of weights; default: those of the package.")
  out: str | None = setting(None, "File, .npz.", required=True)
  seed: int = setting(0, "Seed of events, directions and noise.")


def run(settings: Settings, console: Console) -> None:
  """Makes the events and says so."""
  found = make(settings)
  console.say(f"Wrote {len(found.images)} events of {settings.tracks} tracks to {settings.out}")


def make(settings: Settings) -> multi_track.MultiTrackSet:
  """Makes the events and writes them.

  Raises:
    OSError, ValueError: naming the file, flag or value that is wrong.
  """
  views = check_views(settings.views)
  if not settings.out.endswith(".npz"):
    raise ValueError(f"--out must be a file .npz; got {settings.out!r}.")
  rng = np.random.default_rng(settings.seed)
  directions = _directions(rng, settings)
  if settings.source == GENERATOR:
    generator = build_generator(settings.weights).generator
    found = _generate(generator, directions, rng, views, settings.seed)
  else:
    events = open_events(settings.source)
    available = len(events) - settings.first_event
    if available < settings.tracks:
      raise ValueError(f"{settings.source} holds {len(events)} events: not {settings.tracks} from number "
                       f"{settings.first_event}.")
    found = multi_track.combine_events(
        events, settings.first_event + _spread(rng, available, settings.num, settings.tracks), directions,
        views=views,
        spec=build_generator(settings.weights).generator.spec)
  multi_track.save_tracks(settings.out, found)
  return found


def _spread(rng: np.random.Generator, available: int, num: int, num_tracks: int) -> np.ndarray:
  """Numbers [num t] below `available`, each used as few times as possible, none twice in an event."""
  rounds = []
  while sum(map(len, rounds)) < num:
    usable = available - available % num_tracks
    rounds.append(rng.permutation(available)[:usable].reshape(-1, num_tracks))
  return np.concatenate(rounds)[:num]


def _directions(rng: np.random.Generator, settings: Settings) -> np.ndarray:
  if settings.opening_degrees is None:
    return multi_track.isotropic_directions(rng, settings.num, settings.tracks)
  try:
    low, high = (float(x) for x in settings.opening_degrees)
  except ValueError:
    low = high = float("nan")
  if settings.tracks != 2 or not 0.0 <= low <= high <= 180.0:
    raise ValueError("--opening_degrees needs --tracks=2 and minimum,maximum within 0,180; got "
                     f"{','.join(map(str, settings.opening_degrees))} and {settings.tracks} tracks.")
  return multi_track.opening_directions(rng,
                                        low + (high - low) * (np.arange(settings.num) + 0.5) / settings.num)


def _generate(generator: Generator, directions: np.ndarray, rng: np.random.Generator, views: tuple[str, ...],
              seed: int
              ) -> multi_track.MultiTrackSet:
  n, t = directions.shape[:2]
  kinetic = rng.uniform(*generator.kinetic_range_mev, (n * t, 1))
  momenta = np.asarray(momentum_from_kinetic(jnp.asarray(kinetic, jnp.float32))) * directions.reshape(-1, 3)
  draw = build_generate(dict(sampler=SAMPLER), generator)
  one = lambda noise, p: generate_views(draw, noise[None, :, None], p[None], views)[0, :, 0]
  noise = prior_noise(generator, root_key(seed), n * t * len(views))
  noise = noise.reshape(n * t, len(views), *generator.codec.state_shape)
  images = parallel.map_over_devices(lambda pair: jax.vmap(one)(*pair),
                                     (np.asarray(noise), momenta.astype(np.float32)))
  images = images.reshape(n, t, *images.shape[1:]).sum(1)
  return multi_track.MultiTrackSet(images, momenta.reshape(n, t, 3).astype(np.float32))
