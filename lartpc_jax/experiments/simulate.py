"""Files of simulated events: the fast transport in jax, or Geant4. Each backend imports what it needs when it
is asked.
"""
import concurrent.futures
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.events import Events
from lartpc_jax.experiments import shards
from lartpc_jax.experiments.protocol import (
  SILENT,
  Console,
  exit_code,
  fraction,
  integer_pair,
  parsed,
  ranges,
  setting,
)
from lartpc_jax.simulation.primaries import check_energies


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to simulate. `out`, `part`, `compress`, `chunk_size`, `workers` and `geant4_data` do not change the
  events.
  """
  backend: str = setting("fast", "What simulates.", choices=("fast", "geant4"))
  particles: tuple[str, ...] = setting(
      ("proton",),
      "fast: proton, muon or electron_approximate (no radiation). geant4: those that start at the vertex, of "
      "proton, mu-, mu+, pi-, pi+, e-, e+, gamma.", flag="particle")
  num_events: int | None = setting(None, "Number of events.", lower=1)
  kinetic_mev: tuple[tuple[float, float], ...] = parsed(
      "50,100", "low,high of the kinetic energy in MeV; one for each particle with ; between.", ranges)
  voxel_mm: float = setting(1.0, "Edge of a voxel.")
  seed: int = setting(0, "Seed: the same one, the same file, however it is made.")
  out: str | None = setting(None, "The npz file; FILE.npz.shards holds its parts until it is complete.",
                            required=True)
  shard_events: int | None = setting(None,
                                     "Events a shard: what a kill can cost. Default: fast 20000, geant4 500.",
                                     lower=1)
  compress: bool = setting(False,
                           "Compress the file, to about a third; takes longer than the fast simulation.")
  part: tuple[int, int] | None = parsed(
      None, "I/N: make only the I-th of N parts of the shards, I from 0 (see launch/slurm).", fraction)
  merge: bool = setting(False, "Join the shards that parts have made; takes --out and --compress alone.")
  beam_parts: int | None = setting(None,
                                   "Let an Apache Beam pipeline make so many parts and join them (extra "
                                   "[beam]).",
                                   lower=1)
  beam: tuple[str, ...] = setting((),
                                  "Options of that pipeline, such as --runner=FlinkRunner; default: it runs "
                                  "here.")
  nuclear: bool = setting(True, "fast: nuclear interactions.", goes_with="backend=fast")
  chunk_size: int = setting(1000, "fast: events a device works on at once.", lower=1,
                            goes_with="backend=fast")
  physics: str = setting("QGSP_BERT",
                         "geant4: physics list; em: electromagnetic interactions and decays only.",
                         goes_with="backend=geant4")
  multiplicity: tuple[int, int] | None = parsed(
      None, "geant4: low,high: so many particles, drawn from --particle; default: each once.", integer_pair,
      goes_with="backend=geant4")
  step_mm: float = setting(0.3, "geant4: longest step.", goes_with="backend=geant4")
  workers: int | None = setting(None, "geant4: processes; default: one a core.", lower=1,
                                goes_with="backend=geant4")
  geant4_data: str | None = setting(
      None,
      "geant4: folder of its data sets; default: the environment, GEANT4_DATA_DIR, or what geant4_pybind "
      "downloaded.",
      goes_with="backend=geant4")


class Backend(NamedTuple):
  """One way to simulate.

  Events must follow from the settings and their number alone, so that a resumed run ends with the same file,
  and parts of a run never share a random number.
  """
  # settings -> dict of what determines the events, as JSON has it; ValueError for bad settings
  identity: Callable
  # settings -> make(plan, missing shards, stop=, update=, say=) -> None or what stopped it
  build: Callable
  shard_events: int   # by default


# of the fast backend summed at once: with larger arrays most of the time goes into fresh memory pages
SUM_EVENTS = 200
FAST_KEYS = ("particles", "kinetic_mev", "nuclear", "voxel_mm", "seed")


def _fast_identity(settings: Settings) -> dict:
  if len(settings.particles) > 1 or settings.multiplicity is not None:
    raise ValueError(f"The fast backend has one particle an event; got {','.join(settings.particles)}"
                     f"{' with a multiplicity' if settings.multiplicity else ''}. Geant4 has more "
                     "(--backend=geant4).")
  return json.loads(json.dumps({name: getattr(settings, name) for name in FAST_KEYS}))


def _build_fast(settings: Settings) -> Callable:
  simulate = fast_backend(settings)

  def make(plan, missing, *, stop, update, say):
    del say
    return shards.make_shards(simulate, plan, missing, stop=stop, update=update)
  return make


def make_track_fns(settings: Settings) -> tuple[tuple[Callable, ...], tuple]:
  """Events of the fast backend in jax, as functions in a row, and the axes of what enters and leaves them.

  Returns:
    draw: numbers [e] -> (momentum_mev [e 3], kinetic_mev [e], direction [3 e], noise). scatter: that ->
    (momentum_mev, direction, hinges, fast.Steps). transport: that -> (momentum_mev,
    *voxels.events_first(...)). cross: that -> (momentum_mev, voxels.Crossings). And for
    `parallel.compile_chain` the axes of the events in each. Four programs, as they are compiled side by side.
  Raises:
    ValueError: as `make_fast_simulator`, or if tracks may leave the grid of voxels.
  """
  import jax
  import jax.numpy as jnp

  from lartpc_jax.simulation import counter_random, fast, stopping, voxels
  (low, high), particle = settings.kinetic_mev[0], settings.particles[0]
  kind = stopping.find_particle(particle)
  reach_mm = 1.15 * float(stopping.csda_range(high, kind))  # 10 sigma of straggling beyond
  if reach_mm > voxels.MAX_VOXELS * settings.voxel_mm:
    raise ValueError(f"A {particle} of {high:g} MeV reaches {reach_mm:.0f} mm, beyond {voxels.MAX_VOXELS} "
                     f"voxels of {settings.voxel_mm:g} mm; choose larger voxels or less energy.")
  simulator = fast.make_fast_simulator(particle, nuclear=settings.nuclear, segment_mm=settings.voxel_mm,
                                       min_kinetic_mev=low,
                                       max_kinetic_mev=high)
  num_steps = simulator.tables.num_steps

  def draw(numbers):
    words = counter_random.words(jax.random.key(settings.seed), numbers,
                                 fast.PRIMARY_WORDS + fast.noise_words(num_steps))
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
    return tracks[0], voxels.find_crossings(*tracks[1:], voxel_mm=settings.voxel_mm)

  drawn = 0, 0, 1, fast.Noise(path=1, angle=2, hinge=1, nuclear=1)
  scattered = 0, 1, 1, fast.Steps(1, 1, 1, 1)
  return (draw, scatter, transport, cross), (0, drawn, scattered, 0, 0)


def fast_backend(settings: Settings) -> Callable:
  """The fast transport on all devices, its voxels summed in threads.

  Returns:
    simulate(first, count, update) -> Events of the numbers first to first + count; update(done) reports
    progress in them.
  """
  import jax

  from lartpc_jax import parallel
  from lartpc_jax.simulation import voxels
  mesh = parallel.make_mesh()
  stride = settings.chunk_size * mesh.size
  cross = parallel.compile_chain(*make_track_fns(settings), np.zeros(stride, np.uint32), mesh)

  def part(numbers: np.ndarray):
    padded = np.resize(numbers, stride)
    momentum, crossings = jax.device_get(cross(parallel.shard_batch(padded, mesh)))
    momentum, crossings = jax.tree.map(lambda x: x[:len(numbers)], (momentum, crossings))
    blocks = [jax.tree.map(lambda x, i=i: x[i:i + SUM_EVENTS], crossings)
              for i in range(0, len(numbers), SUM_EVENTS)]
    return momentum, [voxels.sum_voxels(block) for block in blocks]

  def simulate(first: int, count: int, update: Callable = lambda done: None) -> Events:
    numbers = np.arange(first, first + count, dtype=np.uint32)
    starts = range(0, count, stride)
    momenta, sums = [], []
    # Two at a time: one sums in numpy while the other computes in XLA; both let go of Python's lock.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
      for start, (momentum, blocks) in zip(starts, pool.map(part, [numbers[i:i + stride] for i in starts]),
                                           strict=True):
        momenta.append(momentum)
        sums += blocks
        update(min(start + stride, count))
    counts, voxel, edep = (np.concatenate(arrays) for arrays in zip(*sums, strict=True))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Events(np.concatenate(momenta), offsets, voxel, edep, settings.voxel_mm)
  return simulate


def _geant4(settings: Settings):
  """(settings of `simulation.geant4`, data variables), checked."""
  from lartpc_jax.simulation import geant4, geant4_run
  wanted = geant4.Settings(
      seed=settings.seed, physics=settings.physics, particles=tuple(settings.particles),
      kinetic_mev=tuple(settings.kinetic_mev), multiplicity=settings.multiplicity,
      voxel_mm=settings.voxel_mm, step_mm=settings.step_mm)
  geant4_run.check_settings(wanted)
  return wanted, geant4_run.find_geant4(wanted, settings.geant4_data)


def _geant4_identity(settings: Settings) -> dict:
  from lartpc_jax.simulation import geant4_run
  return geant4_run.identity(*_geant4(settings))


def _build_geant4(settings: Settings) -> Callable:
  from lartpc_jax.simulation import geant4_pool, geant4_run
  wanted, variables = _geant4(settings)
  geant4_run.check_shard_events(settings.shard_events or BACKENDS["geant4"].shard_events)

  def make(plan, missing, *, stop, update, say):
    pool = [geant4_pool.Shard(plan.file(s).stem, s.first, s.first + s.count - 1) for s in missing]
    label = "" if settings.part is None else "_{}_{}".format(*settings.part)
    return geant4_run.run_shards(wanted, pool, plan.folder, variables=variables,
                                 note=shards.settings_text(plan),
                                 label=label, workers=settings.workers, stop=stop, update=update, say=say)
  return make


BACKENDS = {
    "fast": Backend(_fast_identity, _build_fast, shard_events=20_000),
    "geant4": Backend(_geant4_identity, _build_geant4, shard_events=500),
}


def run(settings: Settings, console: Console) -> int:
  """Simulates, or joins what parts have made, and says what is there."""
  start, existed = time.perf_counter(), Path(settings.out).exists()
  if settings.merge:
    plan = merge(settings.out, compress=settings.compress)
    console.say(f"Wrote {plan.path}: {plan.num_events} events of {len(plan.shards)} shards.")
    return 0
  if not settings.num_events:
    raise ValueError("Give --num_events; --help says what it may be.")
  if settings.beam_parts:
    from lartpc_jax.experiments import beam
    beam.run_parts(settings, settings.beam_parts, settings.beam)
    console.say(f"{settings.out} is complete after {time.perf_counter() - start:.1f} s.")
    return 0
  stopped = execute(settings, console)
  if stopped is None and not existed and settings.part is None:
    seconds = time.perf_counter() - start
    console.say(f"Wrote {settings.out}: {settings.num_events} events in {seconds:.1f} s, start and files "
                "included.")
  return exit_code(stopped)


def check_simulation(settings: Settings) -> None:
  """Raises ValueError naming what is wrong with the settings, but for what only its backend knows."""
  if settings.backend not in BACKENDS:
    raise ValueError(f"Unknown backend {settings.backend!r}; choose from {sorted(BACKENDS)}.")
  if not settings.particles:
    raise ValueError("particles must name at least one particle.")
  check_energies(settings.particles, settings.kinetic_mev)
  for name in ("num_events", "shard_events", "chunk_size", "workers"):
    if getattr(settings, name) is not None and getattr(settings, name) < 1:
      raise ValueError(f"{name} must be at least 1; got {getattr(settings, name)}.")
  if not 0 < settings.voxel_mm < float("inf"):
    raise ValueError(f"voxel_mm must be positive; got {settings.voxel_mm}.")
  if not 0 <= settings.seed < 2**32:
    raise ValueError(f"seed must be within 0 to 2^32 - 1; got {settings.seed}.")
  if not Path(settings.out).suffix == ".npz":
    raise ValueError(f"--out must end in .npz; got {settings.out!r}.")


def make_plan(settings: Settings) -> shards.Plan:
  """The file and the shards of checked settings."""
  backend = BACKENDS[settings.backend]
  size = settings.shard_events or backend.shard_events
  identity = {"backend": settings.backend, "num_events": settings.num_events, "shard_events": size,
              **backend.identity(settings)}
  return shards.Plan(Path(settings.out), settings.num_events, size, identity)


def execute(settings: Settings, console: Console = SILENT) -> int | None:
  """Simulates what is missing of the file, or of its part, and joins the file when all is there.

  Args:
    settings: as checked by `check_simulation`. With `part`, only every so many shards are made and nothing is
      joined: other processes make the other parts, and `merge` joins them.
    console: what it reports to; asked now and then whether to stop.
  Returns:
    What stopped it, None if nothing did.
  Raises:
    ValueError: as `check_simulation`, or if a file or shards of other settings are in the way.
    OSError: if the files cannot be written, another process writes them, or the backend's processes fail.
  """
  check_simulation(settings)
  plan, say = make_plan(settings), console.say
  mine = shards.part_of(plan.shards, settings.part)
  if plan.path.exists():
    shards.check_same_settings(plan.settings, shards.file_settings(plan.path), str(plan.path))
    shards.remove_shards(plan.path)
    say(f"{plan.path} is already complete.")
    return None
  make = BACKENDS[settings.backend].build(settings)  # first, as it may refuse
  with shards.locked(plan, settings.part):
    shards.prepare_shards(plan)
    missing = plan.missing(mine)
    total, left = (sum(shard.count for shard in some) for some in (mine, missing))
    with (console.progress(total, initial=total - left, description="simulate", unit="event") as bar,
          console.stopping() as stop):
      stopped = make(plan, missing, stop=stop, update=lambda done: bar.update(total - left + done),
                     say=bar.write) if missing else None
    if stopped is not None:
      done = total - sum(shard.count for shard in plan.missing(mine))
      say(f"Stopped by a signal with {done} of {total} events. The same command resumes.")
      return stopped
    if settings.part is None:
      shards.join_shards(plan, compress=settings.compress)
    else:
      say(f"Part {settings.part[0]} of {settings.part[1]} is complete: {total} events in {plan.folder}.")
  return None


def merge(out: str | Path, *, compress: bool = False) -> shards.Plan:
  """Joins the shards that parts of a run have left for `out`, and returns their plan.

  Raises:
    FileNotFoundError: if there are no shards.
    ValueError: if some are missing, or were made with other settings.
    OSError: if a process still makes some, or one was damaged.
  """
  plan = shards.find_plan(out)
  if plan.path.exists():
    raise ValueError(f"{plan.path} exists; remove it, or its shards in {plan.folder}.")
  with shards.locked(plan):
    shards.join_shards(plan, compress=compress)
  return plan
