"""Particles in an infinite volume of liquid argon with Geant4: what runs in the server and worker processes.

`python -m lartpc_jax.simulation.geant4 SPEC.json FD` is started by `geant4_run`: it imports Geant4 once,
builds physics tables, then forks a process for each shard (`geant4_pool`). The only importer of
geant4_pybind, inside functions, as the import takes seconds and needs the data variables of `geant4_data`.
"""
import json
import os
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lartpc_jax.files import atomic_write
from lartpc_jax.simulation import geant4_pool
from lartpc_jax.simulation.geant4_voxels import Deposits, Voxels, particle_class, voxelize

PARTICLES = {"proton": 2212, "mu-": 13, "mu+": -13, "pi-": -211, "pi+": 211, "e-": 11, "e+": -11, "gamma": 22}
WORLD_HALF_MM = 1e5         # in effect infinite
BINS_PER_DECADE = 50        # Geant4's default of 7 makes proton ranges 0.3-0.5 % too long
LINEAR_LOSS_LIMIT = 1e-4    # of a step, above which ranges are taken from the range table
FLUSH_STEPS = 50_000        # steps that are turned into voxels at once


class Settings(NamedTuple):
  """What determines the events; see `geant4_run.run_shards` for the meaning and the checks."""
  seed: int = 0
  physics: str = "QGSP_BERT"
  particles: tuple[str, ...] = ("proton",)
  kinetic_mev: tuple[tuple[float, float], ...] = ((50.0, 100.0),)  # one range, or one for each of `particles`
  multiplicity: tuple[int, int] | None = None
  voxel_mm: float = 1.0
  half_width_mm: float = 5000.0
  step_mm: float = 0.3
  cut_mm: float = 0.05


class Primary(NamedTuple):
  """A particle at the vertex."""
  name: str
  kinetic_mev: float
  direction: tuple[float, float, float]


class Simulation(NamedTuple):
  """An initialised Geant4."""
  run: Callable           # (events, events' primaries, end_of_event) -> None
  mass_mev: dict          # name -> mass
  keep: Any               # Python objects that Geant4 points to: losing one is a crash


def draw_primaries(settings: Settings, event: int) -> tuple[list[Primary], int]:
  """Primaries and the Geant4 seed of event number `event`: functions of settings.seed and the number alone.

  Every particle of the list once, or with `multiplicity` (low, high) a uniform number of uniform draws from
  the list. Kinetic energies are uniform in the particle's range, directions isotropic.
  """
  sequence = np.random.SeedSequence(settings.seed, spawn_key=(event,))
  rng = np.random.default_rng(sequence)
  chosen = list(range(len(settings.particles)))
  if settings.multiplicity is not None:
    low, high = settings.multiplicity
    chosen = rng.integers(len(settings.particles), size=rng.integers(low, high + 1)).tolist()
  primaries = []
  for i in chosen:
    low, high = settings.kinetic_mev[i if len(settings.kinetic_mev) > 1 else 0]
    direction = rng.standard_normal(3)
    direction /= np.sqrt(np.sum(direction**2))
    primaries.append(
        Primary(settings.particles[i], low + (high - low) * rng.random(), tuple(direction.tolist())))
  return primaries, int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)) | 1  # a positive int64


def build_simulation(settings: Settings) -> Simulation:
  """Geant4 with geometry, physics and recording; physics tables are made here.

  physics="em": G4EmStandardPhysics_option1 and decays, with the Livermore photoelectric data of 2014 and
  without fluorescence, so that it runs on few data files; no hadronic interactions, no capture of stopped
  negative particles. Other names are Geant4's reference lists. All have finer energy-loss tables than
  Geant4's default.

  Raises:
    ValueError: if this Geant4 does not know the physics list.
  """
  import geant4_pybind as g4
  manager = g4.G4RunManagerFactory.CreateRunManager(g4.G4RunManagerType.Serial)

  class Detector(g4.G4VUserDetectorConstruction):
    def Construct(self):
      argon = g4.G4NistManager.Instance().FindOrBuildMaterial("G4_lAr")
      half = max(WORLD_HALF_MM, settings.half_width_mm)
      self.parts = [argon, g4.G4Box("world", half, half, half), g4.G4UserLimits(settings.step_mm)]
      volume = g4.G4LogicalVolume(self.parts[1], argon, "world")
      volume.SetUserLimits(self.parts[2])
      self.parts += [
          volume, g4.G4PVPlacement(None, g4.G4ThreeVector(), volume, "world", None, False, 0, False)
      ]
      return self.parts[-1]

  detector = Detector()
  manager.SetUserInitialization(detector)
  physics = _build_physics(g4, settings.physics)
  manager.SetUserInitialization(physics[0])
  actions = _build_actions(g4)
  manager.SetUserAction(actions.generator)
  for action in (actions.stepping, actions.tracking, actions.event):
    manager.SetUserAction(action)
  manager.Initialize()
  interface = g4.G4UImanager.GetUIpointer()
  interface.ApplyCommand(f"/run/setCut {settings.cut_mm} mm")  # before Initialize it would have no effect
  manager.BeamOn(0)  # makes the tables, before the forks
  interface.ApplyCommand("/run/dumpCouples")  # the cuts that are in force, for the log
  interface.ApplyCommand("/process/em/printParameters")
  interface.ApplyCommand("/control/echo Geant4 is ready.")  # its end of line flushes Geant4's own buffer
  table = g4.G4ParticleTable.GetParticleTable()
  mass_mev = {name: table.FindParticle(name).GetPDGMass() for name in PARTICLES}

  def run(primaries: list[tuple[list[Primary], int]], end_of_event: Callable) -> None:
    actions.state["primaries"], actions.state["end_of_event"] = primaries, end_of_event
    manager.BeamOn(len(primaries))

  return Simulation(run, mass_mev, (manager, detector, physics, actions))


def _build_physics(g4, name: str) -> list:
  """[physics list, what it points to]."""
  parameters = g4.G4EmParameters.Instance()
  if name == "em":
    physics = g4.G4VModularPhysicsList()
    parts = [g4.G4EmStandardPhysics_option1(), g4.G4DecayPhysics()]
    for part in parts:
      physics.RegisterPhysics(part)
    parameters.SetLivermoreDataDir("livermore")  # after the EM constructor, which resets the parameters
    parameters.SetFluo(False)
  else:
    factory = g4.G4PhysListFactory()
    if not factory.IsReferencePhysList(name):
      raise ValueError(
          f"This Geant4 has no physics list {name!r}; it has "
          f"{sorted(map(str, factory.AvailablePhysLists()))}."
      )
    physics, parts = factory.GetReferencePhysList(name), [factory]
  limiter = g4.G4StepLimiterPhysics()
  physics.RegisterPhysics(limiter)
  parameters.SetNumberOfBinsPerDecade(BINS_PER_DECADE)
  parameters.SetLinearLossLimit(LINEAR_LOSS_LIMIT)
  return [physics, *parts, limiter]


class _Actions(NamedTuple):
  generator: Any
  stepping: Any
  tracking: Any
  event: Any
  state: dict


class Recorder(NamedTuple):
  """The steps of one event. Rows are points x, y, z in mm and the energy deposited on the way there, MeV."""
  rows: array        # of double, four a point
  starts: list       # (number of the row where a track starts, its class, whether it is charged)
  classes: dict      # track number -> (class, PDG code)


def _build_actions(g4) -> _Actions:
  """Generator and recorder. Attribute look-ups are kept out of the step: it runs some 300 times a proton."""
  state: dict = {"step": None}
  record = Recorder(array("d"), [], {})
  rows, starts, classes = record
  extend = rows.extend

  class Generator(g4.G4VUserPrimaryGeneratorAction):
    def __init__(self):
      super().__init__()
      self.gun = g4.G4ParticleGun(1)

    def GeneratePrimaries(self, event):
      primaries, seed = state["primaries"][event.GetEventID()]
      g4.HepRandom.setTheSeed(seed)
      table = g4.G4ParticleTable.GetParticleTable()
      for primary in primaries:
        self.gun.SetParticleDefinition(table.FindParticle(primary.name))
        self.gun.SetParticleEnergy(primary.kinetic_mev)
        self.gun.SetParticlePosition(g4.G4ThreeVector())
        self.gun.SetParticleMomentumDirection(g4.G4ThreeVector(*primary.direction))
        self.gun.GeneratePrimaryVertex(event)

  class Event(g4.G4UserEventAction):
    def BeginOfEventAction(self, event):
      del rows[:], starts[:]
      classes.clear()
      state["step"] = None

    def EndOfEventAction(self, event):
      state["end_of_event"](event.GetEventID(), record)

  class Tracking(g4.G4UserTrackingAction):
    def PreUserTrackingAction(self, track):
      number = track.GetTrackID()
      known = classes.get(number)  # a suspended track comes back
      definition = track.GetDefinition()
      if known is None:
        parent_class, parent_pdg = classes.get(track.GetParentID(), (None, None))
        process = track.GetCreatorProcess()
        pdg = definition.GetPDGEncoding()
        known = classes[number] = (particle_class(pdg, track.GetKineticEnergy(), process and
                                                  str(process.GetProcessName()), parent_pdg,
                                                  parent_class), pdg)
      position = track.GetPosition()
      starts.append((len(rows) // 4, known[0], definition.GetPDGCharge() != 0.0))
      extend((position.x, position.y, position.z, 0.0))

  class Stepping(g4.G4UserSteppingAction):
    def UserSteppingAction(self, step):
      bound = state["step"]
      if bound is None:  # one G4Step serves a whole event
        bound = state["step"] = step.GetPostStepPoint().GetPosition, step.GetTotalEnergyDeposit
      position = bound[0]()
      extend((position.x, position.y, position.z, bound[1]()))

  return _Actions(Generator(), Stepping(), Tracking(), Event(), state)


def deposits_of(rows: np.ndarray, starts: list, event: int) -> Deposits:
  """Steps with energy of one event. Neutral particles deposit where their step ends.

  Args:
    rows: [r 4] points and energies, see `Recorder`.
    starts: rows where tracks start, with class and charge.
    event: number of the event, repeated in the result.
  """
  first = np.array([s[0] for s in starts], int)
  track = np.cumsum(np.bincount(first, minlength=len(rows))) - 1
  label = np.array([s[1] for s in starts], np.int64)[track]
  charged = np.array([s[2] for s in starts], bool)[track]
  step = rows[:, 3] > 0  # never true in the rows where tracks start
  start = np.where(charged[:, None], np.roll(rows[:, :3], 1, axis=0), rows[:, :3])[step]
  return Deposits(np.full(len(start), event), start, rows[step, :3], rows[step, 3], label[step])


def simulate_shard(simulation: Simulation, settings: Settings, shard: geant4_pool.Shard,
                   report_done: Callable[[int], None]) -> dict[str, np.ndarray]:
  """Arrays of the events of a shard, in the layout of its file (see `geant4_run`), without `settings`."""
  drawn = [draw_primaries(settings, event) for event in range(shard.first, shard.last + 1)]
  batch: list[Deposits] = []
  parts: list[Voxels] = []

  def flush(num_events: int) -> None:
    merged = Deposits(*(np.concatenate(field) for field in zip(*batch)))
    parts.append(
        voxelize(merged, num_events, voxel_mm=settings.voxel_mm, half_width_mm=settings.half_width_mm))
    batch.clear()

  def end_of_event(number: int, record: Recorder) -> None:
    batch.append(deposits_of(np.array(record.rows).reshape(-1, 4), record.starts, len(batch)))
    if sum(len(d.edep_mev) for d in batch) >= FLUSH_STEPS or number == len(drawn) - 1:
      flush(len(batch))
    report_done(number + 1)

  simulation.run(drawn, end_of_event)
  voxels = Voxels(*(np.concatenate(field) for field in zip(*parts)))
  if len(voxels.count) != len(drawn):
    raise RuntimeError(f"Geant4 simulated {len(voxels.count)} of {len(drawn)} events of {shard.name}.")
  rows = [(shard.first + i, PARTICLES[p.name], p.kinetic_mev, *p.direction)
          for i, (primaries, _) in enumerate(drawn) for p in primaries]
  return dict(
      momentum=np.array([_momentum(primaries, simulation.mass_mev) for primaries, _ in drawn],
                        np.float32), offsets=np.concatenate([[0], np.cumsum(voxels.count)]).astype(np.int64),
      voxel=voxels.voxel, edep=voxels.edep_mev, vlabel=voxels.label, primaries=np.array(rows, np.float32),
      voxel_mm=np.float32(settings.voxel_mm))


def _momentum(primaries: list[Primary], mass_mev: dict) -> np.ndarray:
  total = np.zeros(3)
  for p in primaries:
    total += np.sqrt(p.kinetic_mev * (p.kinetic_mev + 2.0 * mass_mev[p.name])) * np.array(p.direction)
  return total


def serve(spec_path: str, fd: int) -> None:
  """Simulates the shards of a JSON file (see `geant4_run`) in forked processes; tells what happens in JSON
  lines to `fd`."""
  geant4_pool.die_with_parent()
  spec = json.loads(Path(spec_path).read_text(encoding="utf-8"))
  settings = Settings(**spec["settings"])
  folder = Path(spec["folder"])

  def emit(message: dict) -> None:
    os.write(fd, (json.dumps(message) + "\n").encode())

  simulation = build_simulation(settings)
  emit({"kind": "ready"})

  def run_one(shard: geant4_pool.Shard, report_done: Callable[[int], None]) -> None:
    arrays = simulate_shard(simulation, settings, shard, report_done)
    with atomic_write(folder / f"{shard.name}.npz", "wb") as file:
      np.savez(file, **arrays, settings=np.array(spec["note"]))

  geant4_pool.run_shards([geant4_pool.Shard(*shard) for shard in spec["shards"]], run_one,
                         workers=spec["workers"], retries=spec["retries"], stall_s=spec["stall_s"], emit=emit)


if __name__ == "__main__":
  serve(sys.argv[1], int(sys.argv[2]))
  geant4_pool.flush_output()
  os._exit(0)  # Geant4 may crash while it is torn down
