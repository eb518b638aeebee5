"""What can simulate: the fast transport in jax, and Geant4. A plain dict; each imports what it needs when it is asked."""
import concurrent.futures
import json
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.events import Events
from lartpc_jax.experiments import shards


class Request(NamedTuple):
  """What to simulate. `out`, `part`, `compress`, `chunk_size`, `workers` and `geant4_data` do not change the events."""
  out: str
  num_events: int
  backend: str = "fast"
  particles: tuple[str, ...] = ("proton",)
  kinetic_mev: tuple[tuple[float, float], ...] = ((50.0, 100.0),)  # uniform in between; one range, or one for each particle
  voxel_mm: float = 1.0
  seed: int = 0
  shard_events: int | None = None           # None: as suits the backend
  part: tuple[int, int] | None = None       # (index, number of parts): makes only some of the shards
  compress: bool = False
  # fast
  nuclear: bool = True
  chunk_size: int = 1000                    # events a device works on at once
  # geant4
  physics: str = "QGSP_BERT"
  multiplicity: tuple[int, int] | None = None
  step_mm: float = 0.3
  workers: int | None = None
  geant4_data: str | None = None


class Backend(NamedTuple):
  """One way to simulate.

  Events must follow from the request and their number alone, so that a resumed run ends with the same file, and parts of a
  run never share a random number.
  """
  settings: Callable  # request -> dict of what determines the events, as JSON has it; ValueError for a bad request
  build: Callable     # request -> make(plan, missing shards, stop=, update=, say=) -> None or what stopped it
  shard_events: int   # by default


SUM_EVENTS = 200  # of the fast backend summed at once: with larger arrays most of the time goes into fresh memory pages
FAST_KEYS = ("particles", "kinetic_mev", "nuclear", "voxel_mm", "seed")


def _fast_settings(request: Request) -> dict:
  if len(request.particles) > 1 or request.multiplicity is not None:
    raise ValueError(f"The fast backend has one particle an event; got {','.join(request.particles)}"
                     f"{' with a multiplicity' if request.multiplicity else ''}. Geant4 has more (--backend=geant4).")
  return json.loads(json.dumps({name: getattr(request, name) for name in FAST_KEYS}))


def _build_fast(request: Request) -> Callable:
  simulate = fast_backend(request)

  def make(plan, missing, *, stop, update, say):
    del say
    return shards.make_shards(simulate, plan, missing, stop=stop, update=update)
  return make


def make_track_fns(request: Request) -> tuple[tuple[Callable, ...], tuple]:
  """Events of the fast backend in jax, as functions in a row, and the axes of what enters and leaves them.

  Returns:
    draw: numbers [e] -> (momentum_mev [e 3], kinetic_mev [e], direction [3 e], noise). scatter: that -> (momentum_mev,
    direction, hinges, fast.Steps). transport: that -> (momentum_mev, *voxels.events_first(...)). cross: that ->
    (momentum_mev, voxels.Crossings). And for `parallel.compile_chain` the axes of the events in each. Four programs, as
    they are compiled side by side.
  Raises:
    ValueError: as `make_fast_simulator`, or if tracks may leave the grid of voxels.
  """
  import jax
  import jax.numpy as jnp

  from lartpc_jax.simulation import counter_random, fast, stopping, voxels
  (low, high), particle = request.kinetic_mev[0], request.particles[0]
  kind = stopping.find_particle(particle)
  reach_mm = 1.15 * float(stopping.csda_range(high, kind))  # 10 sigma of straggling beyond
  if reach_mm > voxels.MAX_VOXELS * request.voxel_mm:
    raise ValueError(f"A {particle} of {high:g} MeV reaches {reach_mm:.0f} mm, beyond {voxels.MAX_VOXELS} voxels of "
                     f"{request.voxel_mm:g} mm; choose larger voxels or less energy.")
  simulator = fast.make_fast_simulator(particle, nuclear=request.nuclear, segment_mm=request.voxel_mm, min_kinetic_mev=low,
                                       max_kinetic_mev=high)
  num_steps = simulator.tables.num_steps

  def draw(numbers):
    words = counter_random.words(jax.random.key(request.seed), numbers, fast.PRIMARY_WORDS + fast.noise_words(num_steps))
    kinetic = low + (high - low) * counter_random.uniform(words[0])
    direction = fast.isotropic_direction(words[1:fast.PRIMARY_WORDS])
    momentum = jnp.sqrt(kinetic * (kinetic + 2.0 * kind.mass_mev))[None] * direction
    return momentum.T, kinetic, direction, fast.draw_noise(words[fast.PRIMARY_WORDS:], num_steps)

  def scatter(drawn):
    momentum, kinetic, direction, noise = drawn
    return momentum, direction, noise.hinge, fast.draw_steps(kinetic, noise, simulator.tables)

  def transport(scattered):
    momentum, direction, hinge, steps = scattered
    return momentum, *voxels.events_first(fast.lay(direction, steps, hinge, simulator.tables))

  def cross(tracks):
    return tracks[0], voxels.find_crossings(*tracks[1:], voxel_mm=request.voxel_mm)

  drawn, scattered = (0, 0, 1, fast.Noise(path=1, angle=2, hinge=1, nuclear=1)), (0, 1, 1, fast.Steps(1, 1, 1, 1))
  return (draw, scatter, transport, cross), (0, drawn, scattered, 0, 0)


def fast_backend(request: Request) -> Callable:
  """The fast transport on all devices, its voxels summed in threads.

  Returns:
    simulate(first, count, update) -> Events of the numbers first to first + count; update(done) reports progress in them.
  """
  import jax

  from lartpc_jax import parallel
  from lartpc_jax.simulation import voxels
  mesh = parallel.make_mesh()
  stride = request.chunk_size * mesh.size
  cross = parallel.compile_chain(*make_track_fns(request), np.zeros(stride, np.uint32), mesh)

  def part(numbers: np.ndarray):
    padded = np.resize(numbers, stride)
    momentum, crossings = jax.device_get(cross(parallel.shard_batch(padded, mesh)))
    momentum, crossings = jax.tree.map(lambda x: x[:len(numbers)], (momentum, crossings))
    blocks = [jax.tree.map(lambda x, i=i: x[i:i + SUM_EVENTS], crossings) for i in range(0, len(numbers), SUM_EVENTS)]
    return momentum, [voxels.sum_voxels(block) for block in blocks]

  def simulate(first: int, count: int, update: Callable = lambda done: None) -> Events:
    numbers = np.arange(first, first + count, dtype=np.uint32)
    starts = range(0, count, stride)
    momenta, sums = [], []
    # Two at a time: one sums in numpy while the other computes in XLA; both let go of Python's lock.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
      for start, (momentum, blocks) in zip(starts, pool.map(part, [numbers[i:i + stride] for i in starts]), strict=True):
        momenta.append(momentum)
        sums += blocks
        update(min(start + stride, count))
    counts, voxel, edep = (np.concatenate(arrays) for arrays in zip(*sums, strict=True))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Events(np.concatenate(momenta), offsets, voxel, edep, request.voxel_mm)
  return simulate


def _geant4(request: Request):
  """(settings of `simulation.geant4`, data variables), checked."""
  from lartpc_jax.simulation import geant4, geant4_run
  settings = geant4.Settings(
      seed=request.seed, physics=request.physics, particles=tuple(request.particles), kinetic_mev=tuple(request.kinetic_mev),
      multiplicity=request.multiplicity, voxel_mm=request.voxel_mm, step_mm=request.step_mm)
  geant4_run.check_settings(settings)
  return settings, geant4_run.find_geant4(settings, request.geant4_data)


def _geant4_settings(request: Request) -> dict:
  from lartpc_jax.simulation import geant4_run
  return geant4_run.identity(*_geant4(request))


def _build_geant4(request: Request) -> Callable:
  from lartpc_jax.simulation import geant4_pool, geant4_run
  settings, variables = _geant4(request)
  geant4_run.check_shard_events(request.shard_events or BACKENDS["geant4"].shard_events)

  def make(plan, missing, *, stop, update, say):
    pool = [geant4_pool.Shard(plan.file(s).stem, s.first, s.first + s.count - 1) for s in missing]
    label = "" if request.part is None else "_{}_{}".format(*request.part)
    return geant4_run.run_shards(settings, pool, plan.folder, variables=variables, note=shards.settings_text(plan),
                                 label=label, workers=request.workers, stop=stop, update=update, say=say)
  return make


BACKENDS = {
    "fast": Backend(_fast_settings, _build_fast, shard_events=20_000),
    "geant4": Backend(_geant4_settings, _build_geant4, shard_events=500),
}
