"""Files of simulated single-particle events: what launch.simulate does, whatever the backend."""
import concurrent.futures
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.events import Events
from lartpc_jax.runs import shards


class Request(NamedTuple):
  """What to simulate. All but `out`, `compress` and `chunk_size` decide what the events are."""
  out: str
  num_events: int
  backend: str = "fast"
  particle: str = "proton"
  kinetic_mev: tuple[float, float] = (50.0, 100.0)  # uniform in between
  nuclear: bool = True
  voxel_mm: float = 1.0
  seed: int = 0
  shard_events: int = 20_000
  compress: bool = False
  chunk_size: int = 2048  # events a device works on at once


def _fast(request: Request) -> Callable:
  return fast_backend(request)


# Name -> builder: Request -> simulate(first, count, update) -> Events of the numbers first to first + count, where
# update(done) reports progress within them. A builder imports what it needs itself, and refuses what it cannot do with a
# ValueError. The events must follow from the request, first and count alone, so that a resumed run ends with the same file.
BACKENDS = {"fast": _fast}


def settings_of(request: Request) -> dict:
  """What a finished file says about how it was made."""
  return {**{name: getattr(request, name) for name in request._fields if name not in ("out", "compress", "chunk_size")},
          "kinetic_mev": list(request.kinetic_mev)}


def check_request(request: Request) -> None:
  """Raises ValueError naming what is wrong with a request, but for what only its backend knows."""
  low, high = request.kinetic_mev
  if request.backend not in BACKENDS:
    raise ValueError(f"Unknown backend {request.backend!r}; choose from {sorted(BACKENDS)}.")
  if not 0 < low <= high < float("inf"):
    raise ValueError(f"The kinetic energies must satisfy 0 < minimum <= maximum; got {low:g} and {high:g} MeV.")
  for name in ("num_events", "shard_events", "chunk_size"):
    if getattr(request, name) < 1:
      raise ValueError(f"{name} must be at least 1; got {getattr(request, name)}.")
  if not 0 < request.voxel_mm < float("inf"):
    raise ValueError(f"voxel_mm must be positive; got {request.voxel_mm}.")
  if not 0 <= request.seed < 2**32:
    raise ValueError(f"seed must be within 0 to 2^32 - 1; got {request.seed}.")
  if not Path(request.out).suffix == ".npz":
    raise ValueError(f"--out must end in .npz; got {request.out!r}.")


def execute(request: Request, *, progress: Callable, stop: Callable = lambda: None, say: Callable = print) -> int | None:
  """Simulates what is missing of the file, and joins it when all is there; returns what stopped it, if anything did.

  Args:
    request: as checked by `check_request`.
    progress: like `cli.progress_bar`.
    stop: asked after each shard.
    say: prints a line.
  Raises:
    ValueError: as `check_request`, or if a file or shards of other settings are in the way.
    OSError: if the files cannot be written.
  """
  check_request(request)
  settings = settings_of(request)
  if Path(request.out).exists():
    shards.check_settings(settings, shards.file_settings(request.out), request.out)
    shards.remove_shards(request.out)
    say(f"{request.out} is already complete.")
    return None
  simulate = BACKENDS[request.backend](request)  # first, as it may refuse
  shards.prepare_shards(request.out, settings)
  done = shards.finished_events(request.out, request.num_events, request.shard_events)
  with progress(request.num_events, initial=done, description="simulate", unit="event") as bar:
    stopped = shards.make_shards(simulate, request.num_events, request.shard_events, request.out, stop=stop,
                                 update=bar.update)
  if stopped is not None:
    done = shards.finished_events(request.out, request.num_events, request.shard_events)
    say(f"Stopped by a signal with {done} of {request.num_events} events. The same command resumes.")
    return stopped
  shards.join_shards(request.out, request.num_events, request.shard_events, settings, compress=request.compress)
  return None


def make_event_fn(request: Request) -> Callable:
  """Builds `event(number) -> (momentum [3], codes [p], energies [p])`, one event of the fast backend, in jax.

  Raises:
    ValueError: as `make_fast_simulator`, or if tracks may leave the grid of voxels.
  """
  import jax
  import jax.numpy as jnp

  from lartpc_jax.simulation import fast, stopping, voxels
  low, high = request.kinetic_mev
  kind = stopping.find_particle(request.particle)
  reach_mm = 1.15 * float(stopping.csda_range(high, kind))  # 10 sigma of straggling beyond
  if reach_mm > voxels.MAX_VOXELS * request.voxel_mm:
    raise ValueError(f"A {request.particle} of {high:g} MeV reaches {reach_mm:.0f} mm, beyond {voxels.MAX_VOXELS} voxels of "
                     f"{request.voxel_mm:g} mm; choose larger voxels or less energy.")
  num_steps = max(fast.NUM_STEPS, int(np.ceil(reach_mm * fast.NODE_POWER / request.voxel_mm)))
  simulator = fast.make_fast_simulator(request.particle, nuclear=request.nuclear, num_steps=num_steps, max_kinetic_mev=high)

  def event(number):
    key = jax.random.fold_in(jax.random.key(request.seed), number)
    key_energy, key_direction, key_noise = jax.random.split(key, 3)
    kinetic = jax.random.uniform(key_energy, (), minval=low, maxval=high)
    direction = fast.isotropic_direction(key_direction)
    track = simulator.transport(kinetic, direction, simulator.sample_noise(key_noise))
    momentum = jnp.sqrt(kinetic * (kinetic + 2.0 * kind.mass_mev)) * direction
    return momentum, *voxels.cut_segments(track, request.voxel_mm)
  return event


def fast_backend(request: Request) -> Callable:
  """The fast transport on all devices, its voxels merged in threads; see `BACKENDS` for what it returns."""
  import jax

  from lartpc_jax import parallel
  from lartpc_jax.simulation import voxels
  mesh = parallel.make_mesh()
  mapped = parallel.make_device_map(jax.vmap(make_event_fn(request)), chunk_size=request.chunk_size, mesh=mesh)
  stride = request.chunk_size * mesh.size

  def chunk(numbers: np.ndarray):
    momentum, code, energy = mapped(numbers)
    return momentum, *voxels.merge_pieces(code, energy)

  def simulate(first: int, count: int, update: Callable = lambda done: None) -> Events:
    numbers = np.arange(first, first + count, dtype=np.uint32)
    starts = range(0, count, stride)
    parts = []
    # Two at a time: one merges in numpy while the other computes in XLA; both let go of Python's lock.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
      for start, part in zip(starts, pool.map(chunk, [numbers[i:i + stride] for i in starts]), strict=True):
        parts.append(part)
        update(min(start + stride, count))
    momentum, counts, voxel, edep = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Events(momentum, offsets, voxel, edep, request.voxel_mm)
  return simulate
