"""launch.simulate: the same file whatever happens on the way, refusals, mistakes; and its protons against
Geant4's."""
import contextlib
import dataclasses
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from lartpc_jax.data.events import Events, deposited_energy, load_events, select_events
from lartpc_jax.experiments import protocol, shards, simulate, validate_simulation as validate
from lartpc_jax.plotting import simulation as figures
from lartpc_jax.units import kinetic_energy

SMALL = simulate.Settings(out="", num_events=50, shard_events=20, chunk_size=8, kinetic_mev=((50.0, 60.0),),
                          nuclear=False)


class Bar:
  """Like protocol.Bar, and remembers."""

  def __init__(self):
    self.done, self.initial = [], None

  @contextlib.contextmanager
  def __call__(self, total, *, initial=0, **kwargs):
    self.initial, self.total = initial, total
    yield self

  def update(self, done):
    self.done.append(done)

  def write(self, text):
    pass


def run(settings, stop=lambda: None):
  bar, said = Bar(), []
  console = protocol.SILENT._replace(progress=bar, say=said.append,
                                     stopping=lambda: contextlib.nullcontext(stop))
  return simulate.execute(settings, console), bar, said


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  settings = dataclasses.replace(SMALL, out=str(tmp_path_factory.mktemp("straight") / "events.npz"))
  stopped, bar, _ = run(settings)
  assert stopped is None and bar.initial == 0 and bar.total == bar.done[-1] == 50
  return settings


def test_events_hold_what_was_asked(straight):
  events = load_events(straight.out)
  kinetic = kinetic_energy(events.momentum_mev)
  assert len(events) == 50 and events.voxel.dtype == np.int16 and events.voxel_mm == 1.0
  assert kinetic.min() >= 50 and kinetic.max() <= 60 and kinetic.std() > 1.5
  np.testing.assert_allclose(deposited_energy(events), kinetic, rtol=1e-5)
  assert os.listdir(os.path.dirname(straight.out)) == ["events.npz"]


def test_stop_and_resume_gives_the_same_bytes(straight, tmp_path):
  """Also with chunks of another size, and when the last part is lost on the way."""
  settings = dataclasses.replace(straight, out=str(tmp_path / "events.npz"), chunk_size=5)
  stopped, bar, said = run(settings, stop=lambda: 15)
  assert stopped == 15 and bar.done[-1] == 20 and "20 of 50 events" in said[0] and not os.path.exists(
      settings.out)
  # a kill leaves this
  (shards.shard_folder(settings.out) / ".events_0000000020.npz.abc.tmp").write_bytes(b"half a shard")
  stopped, bar, _ = run(settings)
  assert stopped is None and bar.initial == 20
  with open(straight.out, "rb") as expected, open(settings.out, "rb") as got:
    assert got.read() == expected.read()
  assert not shards.shard_folder(settings.out).exists()


def test_seeds_and_shards_matter(straight, tmp_path):
  other = dataclasses.replace(straight, out=str(tmp_path / "other.npz"), seed=1)
  run(other)
  assert np.all(load_events(other.out).momentum_mev != load_events(straight.out).momentum_mev)
  run(dataclasses.replace(straight, out=str(tmp_path / "parts.npz"), shard_events=50))
  parts, whole = load_events(tmp_path / "parts.npz"), load_events(straight.out)
  jax.tree.map(np.testing.assert_array_equal, parts, whole)  # the fast backend numbers events, not parts


def test_complete_and_changed(straight):
  _, _, said = run(straight)
  assert "already complete" in said[0]
  with pytest.raises(ValueError, match=r"was made with seed=0 \(now 3\)"):
    run(dataclasses.replace(straight, seed=3))


def test_parts_of_other_settings_are_refused(straight, tmp_path):
  settings = dataclasses.replace(straight, out=str(tmp_path / "events.npz"))
  run(settings, stop=lambda: 15)
  with pytest.raises(ValueError, match=r"shards was made with nuclear=False \(now True\)"):
    run(dataclasses.replace(settings, nuclear=True))
  (shards.shard_folder(settings.out) / "settings.json").write_text("{")
  with pytest.raises(ValueError, match="not readable as JSON"):
    run(settings)


def test_bad_files_are_named(straight, tmp_path):
  path = tmp_path / "events.npz"
  path.write_bytes(b"no zip")
  with pytest.raises(ValueError, match="not a readable event file"):
    run(dataclasses.replace(straight, out=str(path)))
  np.savez(path, momentum=np.zeros(3))
  with pytest.raises(ValueError, match="does not say how it was made"):
    run(dataclasses.replace(straight, out=str(path)))


def test_shards_that_do_not_belong_are_named(straight, tmp_path):
  """Of the wrong size, of another run, with other fields, damaged: nothing of the kind gets into a file."""
  plan = shards.Plan(tmp_path / "events.npz", 50, 50, {"num_events": 50, "shard_events": 50})
  shards.prepare_shards(plan)
  few = select_events(load_events(straight.out), np.arange(3))
  shards.make_shards(lambda first, count, update: few, plan, plan.shards)
  with pytest.raises(ValueError, match="has 3 events instead of 50"):
    simulate.merge(plan.path)
  foreign = plan._replace(settings={**plan.settings, "seed": 7})
  shards.save_shard(foreign, plan.shards[0], load_events(straight.out))
  with pytest.raises(ValueError, match=r"events_0000000000.npz was made with seed=7 \(now None\)"):
    simulate.merge(plan.path)
  plan.file(plan.shards[0]).write_bytes(b"no zip")
  with pytest.raises(OSError, match="events_0000000000.npz was damaged .* and is removed; the same command"):
    simulate.merge(plan.path)
  with pytest.raises(ValueError, match="1 of 1 shards of .* are missing, the first is events_0000000000.npz"):
    simulate.merge(plan.path)
  two = shards.Plan(tmp_path / "two.npz", 6, 3, {"num_events": 6, "shard_events": 3})
  shards.prepare_shards(two)
  shards.make_shards(lambda first, count, update: few, two, two.shards)
  with np.load(two.file(two.shards[1])) as npz:
    np.savez(two.file(two.shards[1]), **npz, vlabel=np.zeros(len(few.edep_mev), np.uint8))
  with pytest.raises(ValueError, match=r"events_0000000003.npz has fields .*'vlabel'\], others have"):
    simulate.merge(two.path)


def test_parts_join_to_the_file_of_an_unbroken_run(straight, tmp_path):
  """Parts in any order, also made twice; whoever comes last, one command joins them."""
  settings = dataclasses.replace(straight, out=str(tmp_path / "events.npz"))
  for part in ((2, 3), (0, 3)):
    _, bar, said = run(dataclasses.replace(settings, part=part))
    assert f"Part {part[0]} of 3 is complete: {bar.total} events" in said[-1]
  with pytest.raises(ValueError,
                     match="1 of 3 shards of .*events.npz are missing, the first is events_0000000020.npz"):
    simulate.merge(settings.out)
  run(dataclasses.replace(settings, part=(0, 2)))  # another division: what is there is kept
  _, bar, _ = run(dataclasses.replace(settings, part=(1, 3)))
  assert bar.initial == 0 and bar.total == 20
  _, bar, _ = run(dataclasses.replace(settings, part=(1, 3)))
  assert bar.initial == 20
  assert simulate.merge(settings.out).num_events == 50
  with open(straight.out, "rb") as expected, open(settings.out, "rb") as got:
    assert got.read() == expected.read()
  assert not shards.shard_folder(settings.out).exists()
  with pytest.raises(FileNotFoundError, match="There are no shards of"):
    simulate.merge(settings.out)


def test_parts_are_checked(straight, tmp_path):
  settings = dataclasses.replace(straight, out=str(tmp_path / "events.npz"))
  with pytest.raises(ValueError, match=r"INDEX/NUMBER with 0 <= INDEX < NUMBER; got 3/3"):
    run(dataclasses.replace(settings, part=(3, 3)))
  run(dataclasses.replace(settings, part=(0, 3)))
  with pytest.raises(ValueError, match=r"shards was made with seed=0 \(now 1\)"):
    run(dataclasses.replace(settings, part=(1, 3), seed=1))
  plan = shards.find_plan(settings.out)
  with shards.locked(plan, (0, 3)), shards.locked(plan, (1, 3)):  # parts side by side, but nothing twice
    for other in (None, (0, 3)):
      with pytest.raises(OSError, match="Another process is writing"), ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(lambda other=other: shards.locked(plan, other).__enter__()).result()
  (tmp_path / "events.npz").write_bytes(b"")
  with pytest.raises(ValueError, match="events.npz exists; remove it, or its shards"):
    simulate.merge(settings.out)
  (plan.folder / "settings.json").write_text("{}")
  with pytest.raises(ValueError, match="lacks .*num_events"):
    shards.find_plan(settings.out)


def test_folder_that_cannot_be_written(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(OSError, match="Cannot write to"):
    shards.prepare_shards(shards.Plan(tmp_path / "file" / "events.npz", 1, 1, {}))


def test_compressed_is_smaller_and_equal(straight, tmp_path):
  settings = dataclasses.replace(straight, out=str(tmp_path / "events.npz"), compress=True)
  run(settings)
  assert os.path.getsize(settings.out) < 0.8 * os.path.getsize(straight.out)
  jax.tree.map(np.testing.assert_array_equal, load_events(settings.out), load_events(straight.out))


def test_other_backends_fit_in(monkeypatch, tmp_path):
  """A backend is its settings and a builder of make(plan, missing, ...); it is not built for a finished
  file."""
  built = []
  def build(settings):
    built.append(settings)
    def events(first, count, update):
      offsets = np.arange(count + 1)
      momentum = np.arange(first, first + count, dtype=np.float32)[:, None] * np.ones(3, np.float32)
      return Events(momentum, offsets, np.zeros((count, 3), np.int16), np.ones(count, np.float32), 1.0)

    return lambda plan, missing, *, stop, update, say: shards.make_shards(events, plan, missing, stop=stop,
                                                                          update=update)
  monkeypatch.setitem(simulate.BACKENDS, "toy", simulate.Backend(lambda settings: {}, build, 20))
  settings = dataclasses.replace(SMALL, out=str(tmp_path / "toy.npz"), backend="toy")
  run(settings), run(settings)
  assert len(built) == 1
  np.testing.assert_array_equal(load_events(settings.out).momentum_mev[:, 0], np.arange(50))


@pytest.mark.parametrize("change,match", [
    (dict(backend="fluka"), "Unknown backend 'fluka'; choose from"),
    (dict(particles=("kaon",)), "Unknown particle 'kaon'"),
    (dict(kinetic_mev=((60.0, 50.0),)), "minimum <= maximum; got 60 and 50"),
    (dict(kinetic_mev=((0.0, 50.0),)), "0 < minimum"),
    (dict(kinetic_mev=((50.0, 900.0),)), "beyond 511 voxels of 1 mm"),
    (dict(kinetic_mev=((50.0, 9000.0),)), "9000"),
    (dict(num_events=0), "num_events must be at least 1"), (dict(shard_events=0), "shard_events must"),
    (dict(chunk_size=0), "chunk_size must"), (dict(workers=0), "workers must be at least 1"),
    (dict(particles=()), "at least one particle"),
    (dict(particles=("proton", "muon")), "one particle an event; got proton,muon"),
    (dict(multiplicity=(1, 2)), "got proton with a multiplicity"),
    (dict(kinetic_mev=((1.0, 2.0),) * 2), "each of 1 particles"),
    (dict(backend="geant4", physics="QGSP"), "Unknown physics 'QGSP'; choose from"),
    (dict(backend="geant4", particles=("muon",)), r"Unknown particles \['muon'\]; choose from"),
    (dict(voxel_mm=0.0), "voxel_mm must be positive"),
    (dict(seed=-1), "seed must be within"), (dict(out="events.h5"), r"must end in .npz; got 'events.h5'")])
def test_bad_requests_are_named(change, match, tmp_path):
  with pytest.raises(ValueError, match=match):
    run(dataclasses.replace(SMALL, **{"out": str(tmp_path / "events.npz"), **change}))
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments,message", [
    (["--num_events=5"], "Give --out"), (["--out=x.npz"], "Give --num_events"),
    (["--num_events=5", "--out=x.npz", "--kinetic_mev=5"], "Bad --kinetic_mev=5: give two numbers"),
    (["--num_events=5", "--out=x.npz", "--physics=em"], "--physics goes with --backend=geant4"),
    (["--num_events=5", "--out=x.npz", "--backend=geant4", "--nuclear=false"],
     "--nuclear goes with --backend=fast"),
    (["--merge"], "Give --out"), (["--merge", "--out=x.npz"], "There are no shards of x.npz")])
def test_mistakes_are_one_message(repo, arguments, message, tmp_path):
  env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(repo)}
  done = subprocess.run([sys.executable, "-m", "launch.simulate", *arguments], cwd=tmp_path, env=env,
                        capture_output=True, text=True, timeout=120, check=False)
  assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_validation_finds_a_wrong_density():
  """A sample against a copy of itself passes; against one stretched by 3 % it fails in range and dE/dx."""
  settings = dataclasses.replace(SMALL, out="unused.npz", num_events=3000, kinetic_mev=((50.0, 100.0),),
                                 chunk_size=1000)
  events = simulate.fast_backend(settings)(0, 3000)
  same = validate.compare_simulations(events, events)
  assert validate.failures(same) == []
  wrong = validate.compare_simulations(events, Events(*tuple(events)[:4], 1.03))
  text = " ".join(validate.failures(wrong))
  assert "range" in text and "dE/dx" in text and "| range |" in validate.validation_table(wrong)
  assert len(figures.histogram_comparison(wrong.histograms).axes) == 2
  c = wrong.comparisons[0]
  assert len(
      figures.binned_comparison([("", c.edges, c.values, c.errors)], limit=0.01, xlabel="",
                                ylabel="").axes) == 2
  with pytest.raises(ValueError, match="The fast sample needs at least 100 events in each bin"):
    validate.compare_simulations(events, select_events(events, np.arange(50)))


@pytest.mark.slow
def test_fast_protons_are_those_of_geant4(shared_data):
  """Range, straggling, dE/dx, lateral spread, track length and angle, all within `validate.LIMITS`."""
  path = shared_data / "protons_geant4_em.npz"
  if not path.exists():
    pytest.skip(f"no {path.name}")
  settings = simulate.Settings(out="unused.npz", num_events=40_000, nuclear=False, seed=1)
  fast = simulate.fast_backend(settings)(0, settings.num_events)
  assert validate.failures(validate.compare_simulations(load_events(path), fast)) == []
