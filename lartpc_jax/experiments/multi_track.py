"""Makes events of several tracks, from single ones of a file or by the generator: what launch.multi_track does."""
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax import parallel
from lartpc_jax.build import tasks as config_lib
from lartpc_jax.data import multi_track, pipeline
from lartpc_jax.data.images import check_views
from lartpc_jax.generators.generator import Diffusion, prior_noise
from lartpc_jax.inference.objective import generate_views
from lartpc_jax.keys import root_key
from lartpc_jax.units import momentum_from_kinetic

GENERATOR = "generator"
# The sampler of configs/protons64_tracks.py with enough steps to have converged.
SAMPLER = dict(name="dpm_solver_pp_2m", num_steps=16, sigma_min=0.05, sigma_max=30.0, rho=7.0)


class Request(NamedTuple):
  """What to make; the flags of launch.multi_track."""
  source: str
  tracks: int
  num: int
  out: str
  views: Sequence[str] = ("xy", "xz")
  first_event: int = 0
  opening_degrees: Sequence[str | float] | None = None
  weights: str | None = None
  seed: int = 0


def make(request: Request) -> multi_track.MultiTrackSet:
  """Makes the events and writes them.

  Raises:
    OSError, ValueError: naming the file, flag or value that is wrong.
  """
  views = check_views(request.views)
  if not request.out.endswith(".npz"):
    raise ValueError(f"--out must be a file .npz; got {request.out!r}.")
  rng = np.random.default_rng(request.seed)
  directions = _directions(rng, request)
  if request.source == GENERATOR:
    diffusion, _ = config_lib.build_diffusion(request.weights)
    found = _generate(diffusion, directions, rng, views, request.seed)
  else:
    events = pipeline.open_events(request.source)
    available = len(events) - request.first_event
    if available < request.tracks:
      raise ValueError(f"{request.source} holds {len(events)} events: not {request.tracks} from number "
                       f"{request.first_event}.")
    found = multi_track.combine_events(
        events, request.first_event + _spread(rng, available, request.num, request.tracks), directions, views=views,
        spec=config_lib.build_image_spec(request.weights)[0])
  multi_track.save_tracks(request.out, found)
  return found


def _spread(rng: np.random.Generator, available: int, num: int, num_tracks: int) -> np.ndarray:
  """Numbers [num t] below `available`, each used as few times as possible, none twice in an event."""
  rounds = []
  while sum(map(len, rounds)) < num:
    usable = available - available % num_tracks
    rounds.append(rng.permutation(available)[:usable].reshape(-1, num_tracks))
  return np.concatenate(rounds)[:num]


def _directions(rng: np.random.Generator, request: Request) -> np.ndarray:
  if request.opening_degrees is None:
    return multi_track.isotropic_directions(rng, request.num, request.tracks)
  try:
    low, high = (float(x) for x in request.opening_degrees)
  except ValueError:
    low = high = float("nan")
  if request.tracks != 2 or not 0.0 <= low <= high <= 180.0:
    raise ValueError("--opening_degrees needs --tracks=2 and minimum,maximum within 0,180; got "
                     f"{','.join(map(str, request.opening_degrees))} and {request.tracks} tracks.")
  return multi_track.opening_directions(rng, low + (high - low) * (np.arange(request.num) + 0.5) / request.num)


def _generate(diffusion: Diffusion, directions: np.ndarray, rng: np.random.Generator, views: tuple[str, ...], seed: int
              ) -> multi_track.MultiTrackSet:
  n, t = directions.shape[:2]
  kinetic = rng.uniform(*diffusion.kinetic_range_mev, (n * t, 1))
  momenta = np.asarray(momentum_from_kinetic(jnp.asarray(kinetic, jnp.float32))) * directions.reshape(-1, 3)
  draw = config_lib.build_generate(dict(sampler=SAMPLER), diffusion)
  one = lambda noise, p: generate_views(draw, noise[None, :, None], p[None], views)[0, :, 0]
  noise = prior_noise(diffusion, root_key(seed), n * t * len(views))
  noise = noise.reshape(n * t, len(views), *diffusion.latent_shape)
  images = parallel.map_over_devices(lambda pair: jax.vmap(one)(*pair), (np.asarray(noise), momenta.astype(np.float32)))
  images = images.reshape(n, t, *images.shape[1:]).sum(1)
  return multi_track.MultiTrackSet(images, momenta.reshape(n, t, 3).astype(np.float32))
