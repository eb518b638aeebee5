"""Geant4 in worker processes: proton ranges, energy balance, classes, reproducibility, crashes, mistakes.

Marked tests run on the few data files of pure argon among the shared data and need geant4_pybind.
"""
import contextlib
import dataclasses
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lartpc_jax.data.events import deposited_energy, load_events
from lartpc_jax.experiments import protocol, shards as shards_lib, simulate
from lartpc_jax.simulation import geant4, geant4_run as lib, geant4_voxels
from lartpc_jax.simulation.geant4_pool import Shard

PROTONS = simulate.Settings(out="", num_events=40, backend="geant4", seed=3, physics="em", shard_events=10,
                            workers=1)
SETTINGS = geant4.Settings(seed=3, physics="em")
MASS = {2212: 938.27209, 13: 105.6583755, 11: 0.51099895}


@pytest.fixture(scope="session")
def argon(shared_data):
  if importlib.util.find_spec("geant4_pybind") is None:  # importing it may ask a question
    pytest.skip("no geant4_pybind")
  if not (shared_data / "geant4_argon").is_dir():
    pytest.skip("no geant4_argon in the shared data")
  return shared_data / "geant4_argon"


class Bar:
  """Like protocol.Bar, and remembers."""

  def __init__(self, said):
    self.done, self.write = [], said.append

  @contextlib.contextmanager
  def __call__(self, total, **kwargs):
    yield self

  def update(self, done):
    self.done.append(done)


def run(settings, out, argon, stop=lambda: None):
  """(path, what was said, the bar) of launch.simulate's work."""
  said = []
  bar = Bar(said)
  console = protocol.SILENT._replace(progress=bar, say=said.append,
                                     stopping=lambda: contextlib.nullcontext(stop))
  simulate.execute(dataclasses.replace(settings, out=str(out), geant4_data=str(argon)), console)
  return out, said, bar


@pytest.fixture(scope="module")
def protons(argon, tmp_path_factory):
  """An unbroken run with one worker."""
  return run(PROTONS, tmp_path_factory.mktemp("protons") / "events.npz", argon)[:2]


def start(repo, out, argon, workers):
  """The command of PROTONS in a process of its own."""
  command = [
      sys.executable, "-m", "launch.simulate", "--backend=geant4", "--physics=em", "--num_events=40",
      "--seed=3", "--shard_events=10", f"--workers={workers}", f"--geant4_data={argon}", f"--out={out}"
  ]
  return subprocess.Popen(command, cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def children(pid):
  try:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
      return [int(child) for child in file.read().split()]
  except FileNotFoundError:
    return []


def wait_for(condition, process, seconds=120.0):
  end = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, process.stdout.read()
    assert time.monotonic() < end, "timed out"
    time.sleep(0.005)


@pytest.mark.geant4
def test_file_of_protons(protons):
  out, said = protons
  events = load_events(out)
  assert len(events) == PROTONS.num_events and events.voxel.dtype == np.int16 and events.voxel_mm == 1.0
  with np.load(out) as npz:
    primaries, vlabel = npz["primaries"], npz["vlabel"]
    assert json.loads(str(npz["settings"]))["physics"] == "em"
  assert primaries.shape == (40, 6) and vlabel.shape == events.edep_mev.shape
  np.testing.assert_array_equal(primaries[:, :2], np.stack([np.arange(40), np.full(40, 2212)], axis=1))
  kinetic = primaries[:, 2].astype(float)
  assert 50 <= kinetic.min() < 60 and 90 < kinetic.max() <= 100
  momentum = np.sqrt(kinetic * (kinetic + 2 * MASS[2212]))[:, None] * primaries[:, 3:]
  np.testing.assert_allclose(events.momentum_mev, momentum, rtol=1e-5)
  # nothing escapes: electromagnetic physics
  np.testing.assert_allclose(deposited_energy(events), kinetic, rtol=1e-5)
  # no knock-on electron reaches 2 MeV
  assert np.mean(vlabel == geant4_voxels.TRACK) > 0.99
  assert not out.with_name(out.name + ".shards").exists() and "1 workers" in said[0]


@pytest.mark.geant4
def test_proton_ranges(repo, argon, tmp_path):
  """Mean path 78.5 mm at 100 MeV, 23.1 at 50; CSDA range 10.956 g/cm2 (PSTAR 10.92): Geant4's own, and NIST
  PSTAR."""
  code = """
import json, sys
import numpy as np
from lartpc_jax.simulation import geant4
settings = geant4.Settings(physics="em")
simulation = geant4.build_simulation(settings)
result = {}
for kinetic in (50.0, 100.0):
  paths = []
  def end_of_event(number, record):
    points = np.array(record.rows).reshape(-1, 4)
    last = record.starts[1][0] if len(record.starts) > 1 else len(points)
    paths.append(np.linalg.norm(np.diff(points[:last, :3], axis=0), axis=1).sum())
  drawn = [([geant4.Primary("proton", kinetic, (0.0, 0.6, 0.8))], 2 * i + 1) for i in range(200)]
  simulation.run(drawn, end_of_event)
  result[kinetic] = np.mean(paths), np.std(paths)
import geant4_pybind as g4
calculator, density = g4.G4EmCalculator(), 1.396
energy = np.geomspace(0.01, 100.0, 4001)
middle = np.sqrt(energy[1:] * energy[:-1])
stopping = np.array([calculator.ComputeTotalDEDX(e, "proton", "G4_lAr") for e in middle])
result["csda"] = np.sum(np.diff(energy) / stopping) * density / 10.0
open(sys.argv[1], "w").write(json.dumps(result))
sys.stdout.flush()
import os; os._exit(0)
"""
  variables = {k: v or str(tmp_path) for k, v in lib.geant4_data.find_data("em", argon).items()}
  subprocess.run([sys.executable, "-c", code, str(tmp_path / "r.json")], cwd=repo, check=True,
                 capture_output=True, timeout=300,
                 env={**os.environ, **variables, "GEANT4_DATA_DIR": str(tmp_path)})
  result = json.loads((tmp_path / "r.json").read_text())
  for kinetic, path_mm, straggling in (("100.0", 78.5, 0.0115), ("50.0", 23.1, 0.0119)):
    mean, std = result[kinetic]
    np.testing.assert_allclose(mean, path_mm, rtol=5e-3)  # 200 paths: standard error 0.08 %
    np.testing.assert_allclose(std / mean, straggling, rtol=0.25)
  np.testing.assert_allclose(result["csda"], 10.956, rtol=5e-3)
  np.testing.assert_allclose(result["csda"], 10.92, rtol=5e-3)


@pytest.mark.geant4
def test_killed_run_ends_with_the_same_file(repo, argon, protons, tmp_path):
  """kill -9 of the command after its first shards, then with another number of workers: the same file, byte
  for byte."""
  out = tmp_path / "events.npz"
  process = start(repo, out, argon, 1)
  wait_for(lambda: any(out.with_name("events.npz.shards").glob("events_*.npz")), process)
  servers = children(process.pid)
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert not out.exists() and servers
  end = time.monotonic() + 30
  while any(os.path.exists(f"/proc/{pid}") for pid in servers):  # they die with the command
    assert time.monotonic() < end
    time.sleep(0.02)
  again = start(repo, out, argon, 2)
  text, _ = again.communicate(timeout=300)
  assert again.returncode == 0 and "Wrote" in text and "event 40/40  100%  ETA" in text, text
  assert out.read_bytes() == protons[0].read_bytes()


@pytest.mark.geant4
def test_killed_worker_is_replaced(repo, argon, protons, tmp_path):
  out = tmp_path / "events.npz"
  process = start(repo, out, argon, 2)
  workers = lambda: [worker for server in children(process.pid) for worker in children(server)]
  wait_for(workers, process)
  os.kill(workers()[0], signal.SIGKILL)
  text, _ = process.communicate(timeout=300)
  assert process.returncode == 0, text
  assert "ended by signal SIGKILL at event" in text and "attempt 1 of 3" in text
  assert out.read_bytes() == protons[0].read_bytes()


@pytest.mark.geant4
def test_shards_that_always_crash_are_named_and_the_others_kept(argon, tmp_path):
  """Steps of 1e-9 mm: the first event takes hours."""
  shards = [Shard("first", 0, 0), Shard("second", 1, 1)]
  with pytest.raises(ChildProcessError, match=r"2 of 2 shards failed: first \(events 0..0\) ended by "
                     r"signal SIGKILL at event 0, attempt 1 of 1.*\n.*log_a.txt"):
    lib.run_shards(SETTINGS._replace(step_mm=1e-9), shards, tmp_path,
                   variables=lib.find_geant4(SETTINGS,
                                             argon), note="{}", label="_a", workers=2, retries=0, stall_s=0.5)
  assert (tmp_path / "log_a.txt").exists()


@pytest.mark.geant4
def test_parts_and_a_stop_do_not_change_the_events(argon, protons, tmp_path):
  """Shards of another size, made by two runs and joined; a settings to stop comes before the first event is
  done."""
  settings, out = dataclasses.replace(PROTONS, shard_events=7, num_events=20, workers=2), tmp_path / "e.npz"
  _, said, _ = run(dataclasses.replace(settings, part=(0, 2)), out, argon, stop=lambda: 15)
  assert "The same command resumes" in said[-1] and not out.exists()
  for part in (1, 0):
    _, said, bar = run(dataclasses.replace(settings, part=(part, 2)), out, argon)
  # [] if the stop came too late
  assert "Part 0 of 2 is complete: 13 events" in said[-1] and bar.done[-1:] in ([], [13])
  simulate.merge(out)
  with np.load(out) as some, np.load(protons[0]) as every:
    end = every["offsets"][20]
    np.testing.assert_array_equal(some["offsets"], every["offsets"][:21])
    for name, stop in (("voxel", end), ("edep", end), ("vlabel", end), ("momentum", 20), ("primaries", 20)):
      np.testing.assert_array_equal(some[name], every[name][:stop])


@pytest.mark.geant4
def test_seeds_differ(argon, protons, tmp_path):
  out, *_ = run(dataclasses.replace(PROTONS, seed=4, num_events=5), tmp_path / "e.npz", argon)
  assert not np.isin(load_events(out).momentum_mev, load_events(protons[0]).momentum_mev).any()


@pytest.mark.geant4
def test_several_particles_from_one_vertex(argon, tmp_path):
  """Energy balance: showers deposit T; a positive muon leaves at most 52.8 MeV of Michel positron and its
  annihilation."""
  settings = dataclasses.replace(PROTONS, num_events=8, seed=1, particles=("e-", "gamma", "mu+", "pi+"),
                                 voxel_mm=3.0, shard_events=4,
                                 kinetic_mev=((100.0, 150.0), (100.0, 150.0), (50.0, 100.0), (30.0, 60.0)),
                                 workers=2)
  events = load_events(run(settings, tmp_path / "e.npz", argon)[0])
  with np.load(tmp_path / "e.npz") as npz:
    primaries, vlabel = npz["primaries"], npz["vlabel"]
  assert primaries[:, 1].tolist() == [11, 22, -13, 211] * 8 and events.voxel_mm == 3.0
  energy = lambda label, i: events.edep_mev[rows(i)][vlabel[rows(i)] == label].sum()
  rows = lambda i: slice(events.offsets[i], events.offsets[i + 1])
  total = deposited_energy(events)
  kinetic = primaries[:, 2].reshape(8, 4).sum(axis=1)
  # the two decays add what neutrinos leave
  assert (total > kinetic).all() and (total < kinetic + 139.6 + 2 * 0.511).all()
  for i in range(8):
    electromagnetic = primaries[4 * i:4 * i + 2, 2].sum()
    assert energy(geant4_voxels.MICHEL, i) < 2 * 53.5
    assert energy(geant4_voxels.SHOWER, i) < electromagnetic + 60.0
    assert energy(geant4_voxels.SHOWER, i) > 0.8 * electromagnetic
  assert sum(energy(geant4_voxels.MICHEL, i) for i in range(8)) > 8 * 30.0


@pytest.mark.geant4
def test_random_multiplicity_and_settings_that_reach_geant4(argon, tmp_path, monkeypatch):
  settings = dataclasses.replace(PROTONS, num_events=30, particles=("proton", "e-"),
                                 kinetic_mev=((20.0, 30.0),), multiplicity=(1, 3))
  kept = tmp_path / "log.txt"
  monkeypatch.setattr(shards_lib.shutil, "rmtree", lambda folder: os.rename(folder / "log.txt", kept))
  out, *_ = run(settings, tmp_path / "e.npz", argon)
  with np.load(out) as npz:
    counts = np.bincount(npz["primaries"][:, 0].astype(int), minlength=30)
    assert set(counts) == {1, 2, 3} and set(npz["primaries"][:, 1]) == {11, 2212}
  log = kept.read_text()
  assert "50 um" in log                             # /run/dumpCouples; Geant4's default is 700
  for line in (r"Number of bins per decade of a table +50", r"Linear loss limit +0.0001",
               r"Livermore data directory +livermore"):
    assert re.search(line, log), line


@pytest.mark.geant4
def test_finished_files_and_changed_settings(argon, protons, tmp_path):
  before = protons[0].read_bytes()
  out, said, bar = run(PROTONS, protons[0], argon)
  assert "already complete" in said[0] and bar.done == [] and out.read_bytes() == before
  with pytest.raises(ValueError, match=r"was made with seed=3 \(now 5\)"):
    run(dataclasses.replace(PROTONS, seed=5), out, argon)
  plan = simulate.make_plan(dataclasses.replace(PROTONS, out=str(tmp_path / "e.npz"), geant4_data=str(argon)))
  shards_lib.prepare_shards(plan._replace(settings={**plan.settings, "step_mm": 1.0}))
  with pytest.raises(ValueError, match=r"e.npz.shards was made with step_mm=1.0 \(now 0.3\)"):
    run(PROTONS, tmp_path / "e.npz", argon)


@pytest.mark.geant4
def test_geant4_that_does_not_start(argon, tmp_path):
  data = tmp_path / "data"
  for name in ("em/brem_SB/br18", "ensdf", "empty"):
    (data / name).mkdir(parents=True)
  (data / "ensdf" / "ENSDFSTATE.dat").write_text("")
  with pytest.raises(ChildProcessError,
                     match=r"Geant4 did not start \(.*40 events are missing(.|\n)*The end of .*log.txt"):
    run(PROTONS, tmp_path / "e.npz", data)


@pytest.mark.geant4
def test_launch(repo, argon, tmp_path):
  command = [
      sys.executable, "-m", "launch.simulate", "--backend=geant4", "--physics=em", f"--geant4_data={argon}",
      "--num_events=6", "--kinetic_mev=60,60", "--particle=proton", "--seed=2", "--workers=2",
      f"--out={tmp_path / 'e.npz'}"
  ]
  done = subprocess.run(command, cwd=repo, capture_output=True, text=True, timeout=300, check=False)
  assert done.returncode == 0, done.stderr
  assert "Wrote" in done.stdout and "event 6/6  100%  ETA" in done.stderr
  np.testing.assert_allclose(deposited_energy(load_events(tmp_path / "e.npz")), 60.0, rtol=1e-5)
  unset = {k: v for k, v in os.environ.items() if not k.startswith("G4")}
  done = subprocess.run([*command, "--physics=FTFP_BERT"], cwd=repo, capture_output=True, text=True,
                        timeout=99, check=False, env=unset)
  assert done.returncode == 2 and "G4PARTICLEXS4.2" in done.stderr and "Traceback" not in done.stderr


def test_draws_depend_on_seed_and_number_only():
  few = geant4.draw_primaries(SETTINGS, 7)
  assert few == geant4.draw_primaries(SETTINGS, 7) and few != geant4.draw_primaries(SETTINGS, 8)
  assert few != geant4.draw_primaries(SETTINGS._replace(seed=4), 7)
  seeds = {geant4.draw_primaries(SETTINGS, i)[1] for i in range(500)}
  assert len(seeds) == 500 and min(seeds) > 0 and max(seeds) < 2**63
  directions = np.array([geant4.draw_primaries(SETTINGS, i)[0][0].direction for i in range(2000)])
  np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, rtol=1e-12)
  # isotropic: variance 1/3
  np.testing.assert_allclose(directions.mean(axis=0), 0.0, atol=4 / np.sqrt(3 * 2000))
  np.testing.assert_allclose((directions**2).mean(axis=0), 1 / 3, atol=4 * np.sqrt(4 / 45 / 2000))


def test_neutral_particles_deposit_where_their_step_ends():
  rows = np.array([[0, 0, 0, 0], [3, 0, 0, 1.0], [1, 1, 1, 0], [1, 2, 1, 0], [1, 3, 1, 2.0]], float)
  got = geant4.deposits_of(rows, [(0, 1, True), (2, 2, False)], 5)
  assert got.event.tolist() == [5, 5] and got.edep_mev.tolist() == [1.0, 2.0] and got.label.tolist() == [1, 2]
  assert got.start_mm.tolist() == [[0, 0, 0], [1, 3, 1]] and got.end_mm.tolist() == [[3, 0, 0], [1, 3, 1]]


@pytest.mark.parametrize("changes,message", [
    (dict(physics="QGSP"), "Unknown physics 'QGSP'"),
    (dict(particles=("proton", "muon")), r"Unknown particles \['muon'\]; choose from .*'mu-'"),
    (dict(particles=()), "Unknown particles none"),
    (dict(kinetic_mev=((1.0, 2.0), (1.0, 2.0))), "one for each of 1 particles; got 2"),
    (dict(kinetic_mev=((100.0, 50.0),)), "0 < minimum <= maximum; got 100 and 50 MeV"),
    (dict(kinetic_mev=((0.0, 50.0),)), "got 0 and 50 MeV"),
    (dict(multiplicity=(0, 2)), r"multiplicity needs 1 <= low <= high; got \(0, 2\)"),
    (dict(seed=-1), "seed must not be negative; got -1"),
    (dict(step_mm=0.0), "step_mm must be positive; got 0.0"),
    (dict(cut_mm=-1.0), "cut_mm must be positive; got -1.0"),
    (dict(voxel_mm=0.0), "voxel_mm must be positive"),
    (dict(half_width_mm=1e6), "half_width_mm must be positive and at most 32768"),
])
def test_bad_settings_are_named(changes, message):
  with pytest.raises(ValueError, match=message):
    lib.check_settings(SETTINGS._replace(**changes))


@pytest.mark.parametrize("arguments,message", [(dict(workers=0), "workers must be at least 1"),
                                               (dict(retries=-1), "retries=-1"),
                                               (dict(stall_s=0.0), "stall_s=0.0")])
def test_bad_arguments_are_named(tmp_path, arguments, message):
  with pytest.raises(ValueError, match=message):
    lib.run_shards(SETTINGS, [], tmp_path, variables={}, note="{}", **arguments)
  with pytest.raises(ValueError, match="shard_events must be in 1 ... 20000; got 20001"):
    lib.check_shard_events(20_001)


def test_without_geant4_pybind(tmp_path, monkeypatch):
  monkeypatch.setattr(lib.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ValueError, match=r"pip install 'lartpc_jax\[geant4\]'"):
    run(PROTONS, tmp_path / "e.npz", tmp_path)
