"""launch.infer and launch.demo: one job, compiled once, run in several directories; mistakes; processes."""
import concurrent.futures
import contextlib
import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from configs import protons64_infer
from lartpc_jax import cli
from lartpc_jax.build import estimator as config_estimator
from lartpc_jax.experiments import chunks, infer, protocol, results, targets
from lartpc_jax.inference import errors, surface
from lartpc_jax.inference.settings import FitSettings
from tests.toy_weights import save_toy_estimator, save_toy_images, save_toy_weights

pytestmark = pytest.mark.third_party  # optax promotes in its own arithmetic

NUM = 7
BASE = ["event", "px_mev", "py_mev", "pz_mev", "emd_start", "emd_end", "converged"]
VECTORS = [f"{prefix}_p{axis}_mev" for prefix in ("true", "classical") for axis in "xyz"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
  return str(save_toy_weights(tmp_path_factory.mktemp("weights")))


def elsewhere(call):
  """call() in another thread, as locks see another process."""
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    return pool.submit(call).result()


def tiny():
  return protons64_infer.get_config("tiny").to_dict()


@pytest.fixture(scope="module")
def job(weights):
  return infer.prepare(infer.Settings("sample", ("xy", "xz"), num_events=NUM, first_event=2, weights=weights,
                                      chunk_size=1, num_pictures=0), tiny())  # four devices: strides of 4


class Bar:
  """Stands in for `cli.progress_bar`, interrupting after `stop_at` events."""

  def __init__(self, stop_at=None):
    self.stop_at, self.seen = stop_at, []

  @contextlib.contextmanager
  def __call__(self, total, *, initial, **_):
    self.seen.append((initial, total))
    yield protocol.Bar(self.update, print)

  def update(self, done):
    self.seen.append(done)
    if self.stop_at is not None and done >= self.stop_at:
      raise KeyboardInterrupt


def console(bar, say=print):
  return protocol.SILENT._replace(progress=bar, say=say)


@pytest.fixture(scope="module")
def unbroken(job, tmp_path_factory):
  out, bar, lines = tmp_path_factory.mktemp("unbroken"), Bar(), []
  with cli.hold_workdir(out, job.identity):
    infer.execute(job, out, console(bar, lines.append))
  return out, bar, "\n".join(lines)


def test_tables(unbroken, job):
  out, bar, said = unbroken
  rows = list(csv.DictReader((out / "results.csv").open()))
  views = [f"emd_{end}_{view}" for end in ("start", "end") for view in ("xy", "xz")]
  assert list(rows[0]) == BASE + VECTORS + views + ["dropped_charge"]
  assert [int(row["event"]) for row in rows] == list(range(2, 2 + NUM))
  for row, truth in zip(rows, job.data.momentum_mev, strict=True):
    np.testing.assert_allclose([float(row[f"true_p{a}_mev"]) for a in "xyz"], truth, atol=1e-3)
    np.testing.assert_allclose(float(row["emd_end"]), np.mean([float(row[v]) for v in views[2:]]), atol=1e-3)
  saved = json.loads((out / "results.json").read_text())
  assert [r["event"] for r in saved["events"]] == list(range(2, 2 + NUM)) and saved["run"]["views"] == "xy,xz"
  assert {"median_dp_mev", "q68_dp_mev", "q95_dp_mev",
          "share_above_50_mev_clean"} <= set(saved["summary"]["inferred"])
  hypotheses = list(csv.DictReader((out / "hypotheses.csv").open()))
  starts = tiny()["inference"]["screening"]["num_starts"]
  assert len(hypotheses) == NUM * starts and sum(int(row["chosen"]) for row in hypotheses) == NUM
  assert [int(row["event"]) for row in hypotheses[::starts]] == list(range(2, 2 + NUM))
  assert (out / "summary.png").stat().st_size > 10_000
  assert bar.seen == [(0, NUM), 4, 7]
  for wanted in ("median |dp|", "inferred", "classical", "did not converge", "seconds an event",
                 "summary.png"):
    assert wanted in said


@pytest.mark.slow
def test_weights_of_images_alone_run_unchanged(tmp_path):
  """No track frame, no estimator: the same command starts by screening. Few pixels are told of."""
  (tmp_path / "weights").mkdir()
  weights, lines = str(save_toy_images(tmp_path / "weights")), []
  config = tiny()
  config["distance"]["num_pixels"] = 32
  job = infer.prepare(infer.Settings("sample", ("xy",), num_events=4, weights=weights, chunk_size=1,
                                     num_pictures=0), config)
  assert list(job.baselines) == ["classical"] and job.num_pixels == 32
  infer.execute(job, tmp_path / "out", console(Bar(), lines.append))
  rows = list(csv.DictReader((tmp_path / "out" / "results.csv").open()))
  assert all(np.isfinite(float(row["px_mev"])) for row in rows)
  images = np.sort(np.asarray(job.data.images).reshape(4, -1), axis=1)
  dropped = images[:, :-32].sum(1) / images.sum(1)
  np.testing.assert_allclose([float(row["dropped_charge"]) for row in rows], dropped, atol=1e-4)
  assert f"at most {100 * dropped.max():.1f} % of it (column dropped_charge)" in "\n".join(lines)


@pytest.mark.slow
def test_pictures_of_events(unbroken, job, tmp_path):
  out, lines = tmp_path / "again", []
  shutil.copytree(unbroken[0], out)
  drawn = job._replace(settings=dataclasses.replace(job.settings, num_pictures=1))
  infer.execute(drawn, out, console(Bar(), lines.append))
  assert [p.name for p in (out / "events").iterdir()] == [
      "event_00002.png"] and "event_00002.png" in "\n".join(lines)
  worst = json.loads((out / "results.json").read_text())["failed"][0]  # random weights: there are failures
  assert [p.name for p in (out / "failures").iterdir()] == [f"event_{worst:05d}.png"]


def test_interrupted_run_ends_as_an_unbroken_one(job, unbroken, tmp_path):
  out = tmp_path
  with pytest.raises(KeyboardInterrupt), cli.hold_workdir(out, job.identity):
    infer.execute(job, out, console(Bar(stop_at=4)))
  assert not (out / "results.csv").exists() and len(chunks.finished_events(out / "chunks", job.identity)) == 4
  bar = Bar()
  with cli.hold_workdir(out, job.identity):
    assert infer.execute(job, out, console(bar)) is None
  assert bar.seen == [(4, NUM), 7]
  assert (out / "results.csv").read_bytes() == (unbroken[0] / "results.csv").read_bytes()
  before = (out / "results.csv").read_bytes()
  infer.execute(job, out, console(bar))
  assert bar.seen[2:] == [(NUM, NUM)] and (out / "results.csv").read_bytes() == before


def test_a_signal_stops_between_chunks(job, tmp_path):
  lines = []
  stopping = lambda: contextlib.nullcontext(lambda: 15)
  assert infer.execute(job, tmp_path, console(Bar(), lines.append)._replace(stopping=stopping)) == 15
  assert f"Stopped after 4 of {NUM} events" in lines[-1]
  assert len(chunks.finished_events(tmp_path / "chunks", job.identity)) == 4


def test_a_directory_holds_one_identity(job, unbroken):
  for changes, message in ((dict(seed=1), "seed: 0 -> 1"), (dict(views="xy"), "views: 'xy,xz' -> 'xy'"),
                           (dict(input="b.npz, sha256 1"), "input: 'sample, sha256"),
                           (dict(weights={**job.identity["weights"], "diffusion": "0"}),
                            "weights.diffusion")):
    with pytest.raises(ValueError, match=message), cli.hold_workdir(unbroken[0], {**job.identity, **changes}):
      pass


def bad_images(value):
  images = np.ones((3, 2, 64, 64), np.float32)
  images[1, 1] = 0.0
  images[1, 1, 5, 5] = value
  return images


@pytest.mark.parametrize("value,message", [(np.nan, "NaN pixels in event 1, view 1"),
                                           (-1.0, "negative pixels"), (np.inf, "infinite")])
def test_bad_pixels_are_named(weights, tmp_path, value, message):
  np.save(tmp_path / "a.npy", bad_images(value))
  for first in (0, 1):  # numbers count from the start of the file
    with pytest.raises(ValueError, match=message):
      infer.prepare(infer.Settings(str(tmp_path / "a.npy"), ("xy", "xz"), weights=weights, first_event=first),
                    tiny())


def test_events_without_charge_are_skipped_and_listed(weights, tmp_path, monkeypatch):
  """The others keep their numbers in the file, their truth and their images."""
  images = np.ones((5, 2, 64, 64), np.float32) * np.arange(1, 6, dtype=np.float32)[:, None, None, None]
  images[[1, 3], [0, 1]] = 0.0  # one view is enough
  momentum = 100.0 * np.arange(1, 16, dtype=np.float32).reshape(5, 3)
  np.savez(tmp_path / "some.npz", images=images, momentum=momentum)
  job = infer.prepare(
      infer.Settings(str(tmp_path / "some.npz"), ("xy", "xz"), weights=weights, first_event=1), tiny())
  assert job.events.tolist() == [2, 4] and job.skipped.tolist() == [1, 3]
  np.testing.assert_array_equal(job.data.images, images[[2, 4]])
  np.testing.assert_array_equal(job.data.momentum_mev, momentum[[2, 4]])
  np.testing.assert_array_equal(job.baselines["classical"].shape, (2, 3))
  seen = {}
  monkeypatch.setattr(infer.parallel, "make_device_map", lambda fn, chunk_size: (
      lambda pair, key: seen.update(images=pair[0], starts=pair[1]) or types.SimpleNamespace(_asdict=dict)))
  begun = infer.prepare(
      infer.Settings(str(tmp_path / "some.npz"), ("xy", "xz"), weights=weights, start="classical"), tiny())
  begun.compute(np.array([4, 0]))  # each event its own image and its own start
  np.testing.assert_array_equal(seen["images"], images[[4, 0]])
  np.testing.assert_array_equal(seen["starts"][:, 0, 0], begun.baselines["classical"][[2, 0]])
  said = []
  targets.warn_of_skipped(job.skipped, 4, said.append)
  assert said == ["WARNING: 2 of 4 events have a view without charge and are skipped: 1, 3."]
  np.save(tmp_path / "none.npy", 0.0 * images)
  with pytest.raises(ValueError, match="none of the 5 events has charge in every view"):
    infer.prepare(infer.Settings(str(tmp_path / "none.npy"), ("xy", "xz"), weights=weights), tiny())


def with_key(block, key, value):
  config = own = tiny()
  for name in block.split(".") if block else ():
    own = own[name]
  own[key] = value
  return config


@pytest.mark.parametrize("changes,config,message", [
    (dict(input="no.npz"), tiny(), "No file or directory of data at 'no.npz'"),
    (dict(views=("xq",)), tiny(), "Unknown view 'xq'"),
    (dict(num_events=501), tiny(), "holds 500 events"),
    (dict(weights="nowhere"), tiny(),
     "No weights: there is no directory " "'nowhere', and " "the package has"),
    (dict(start="here"), tiny(), "Unknown --start"),
    ({}, with_key("inference", "steps", 3), r"inference.steps = 3; allowed"),
    ({}, with_key("inference.screening", "num_starts", 0), "num_starts must be at least 1"),
    ({}, with_key("inference.screening", "num_starts", 99), "num_starts = 99 exceeds"),
    ({}, with_key("sampler", "steps", 3), "takes no option 'steps'"),
    ({}, with_key("sampler", "name", "x"), "Unknown sampler 'x'"),
    ({}, with_key(None, "surplus", 3), "surplus = 3; allowed"),
    ({}, with_key(None, "guidance_scale", np.nan), "finite"),
    ({}, with_key("inference.second", "num_averaged", 99), "num_averaged"),
    ({}, with_key("inference", "coordinates", "free"), "coordinates 'free' need optimizer 'sgd'; got 'adam'"),
    ({}, with_key("inference", "noise", "white"), "Unknown noise 'white'"),
    ({}, with_key("inference.comparison", "vertex_sigma_mm", -1.0),
     "vertex_sigma_mm must be at least 0; got -1.0"),
    ({}, with_key("distance", "name", "w3"), "distance.name = 'w3'; allowed"),
    (dict(views=("u", "w"), start="amortised"), tiny(), "2 views along the axes in --weights; got u,w")])
def test_mistakes_are_named(weights, changes, config, message):
  settings = dataclasses.replace(infer.Settings("sample", num_events=1, weights=weights), **changes)
  with pytest.raises((ValueError, OSError), match=message):
    infer.prepare(settings, config)


def test_truncated_weights_are_named(weights, tmp_path):
  for path in Path(weights).iterdir():
    content = path.read_bytes()
    (tmp_path / path.name).write_bytes(content[:len(content) //
                                               2] if path.name == "diffusion.npz" else content)
  with pytest.raises(ValueError, match="diffusion.npz.*truncated"):
    infer.prepare(infer.Settings("sample", ("xy",), num_events=1, weights=str(tmp_path)), tiny())


@pytest.mark.parametrize("variant", [v if v in ("base", "amortised")
                                     else pytest.param(v, marks=pytest.mark.slow)
                                     for v in protons64_infer.VARIANTS])
def test_variants_build(weights, variant):
  """Every one makes an inference of the two views, where it needs no estimator, which these weights lack."""
  config = protons64_infer.get_config(variant).to_dict()
  prepare = lambda: infer.prepare(infer.Settings("sample",
                                                 ("xy", "xz"), num_events=1, weights=weights), config)
  if not config["inference"]["second"]["prior_weight_px"]:
    assert prepare().identity["distance"] == {"num_pixels": 64, **config["distance"]}
  else:
    with pytest.raises(ValueError, match="prior_weight_px must be at least 0, and 0 without an estimator"):
      prepare()


def test_config_has_the_fields_and_defaults_of_settings():
  assert protons64_infer.get_config().inference.to_dict() == dataclasses.asdict(FitSettings())


def one_view_results(true_mev, momentum_mev, **changes):
  n = len(momentum_mev)
  fields = dict(momentum_mev=momentum_mev, emd_start=np.ones((n, 1)), emd_end=np.ones((n, 1)),
                converged=np.ones(n, bool), seconds=np.full(n, 2.0), cold=np.arange(n) < 1) | changes
  return results.make_results(fields, events=np.arange(n), views=("xy",), true_mev=true_mev,
                              baselines={"classical": momentum_mev}, clean=None,
                              kinetic_range_mev=(50.0, 100.0), dropped=np.zeros(n))


def test_one_view_compares_up_to_the_sign(tmp_path):
  true_mev = np.array([[200.0, 200.0, 200.0], [0.0, 350.0, 100.0]])
  table = one_view_results(true_mev, true_mev * np.array([1, 1, -1]))
  assert table.summary["inferred"][
      "median_dp_mev"] == 0.0 and "share_above_50_mev_clean" not in table.summary["inferred"]
  assert table.columns["pz_sign_ambiguous"].tolist() == [1, 1]
  assert any("|pz|" in line for line in results.warnings(table))
  assert errors.hidden_name(("xz",)) == "y" and errors.hidden_name(("xy", "xz")) is None
  np.testing.assert_allclose(errors.line_of_sight_angle(true_mev, ("xy",)), [54.7356, 74.0546], rtol=1e-4)


def test_failures_come_worst_first():
  true_mev = np.array([[300.0, 0.0, 100.0]] * 4)
  momentum = true_mev + np.array([[0.0, 60.0, 0.0], [0.0, 1.0, 0.0], [0.0, 80.0, 0.0], [np.nan, 0.0, 0.0]])
  table = one_view_results(true_mev, momentum, converged=np.array([True, False, True, False]))
  assert table.failed == [3, 2, 0, 1]


def test_warnings_and_missing_truth(tmp_path):
  momentum = np.array([[0.0, 0.0, 310.4], [350.0, 0.0, 0.0], [500.0, 0.0, 0.0], [np.nan, 0.0, 0.0]])
  table = one_view_results(None, momentum, converged=np.array([True, False, True, False]))
  assert table.unconverged == [1, 3] and table.at_edge == [0, 2, 3]
  text = results.summary_text(table)
  assert "2 events did not converge: 1, 3." in text and "outside, the 50 to 100 MeV" in text
  assert "true_" not in text
  results.write_results(tmp_path, table, {})
  saved = json.loads((tmp_path / "results.json").read_text())
  assert saved["events"][3]["px_mev"] is None and "true_px_mev" not in saved["events"][0]
  assert saved["summary"]["seconds_per_event"] == 2.0


def test_hypotheses_say_which_start_was_chosen(tmp_path):
  start = np.array([[[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]], [[np.nan, 0.0, 0.0], [0.0, 0.0, 3.0]]])
  fields = dict(momentum_mev=np.array([[0.0, 2.0, 1.0], [0.0, 0.0, 3.0]]), start_momentum_mev=start,
                end_momentum_mev=start, trajectory=start[:, 1:])
  rows = list(csv.DictReader(results.write_hypotheses(tmp_path, fields, np.array([4, 7])).open()))
  assert [(row["event"], row["hypothesis"], row["chosen"]) for row in rows] == [
      ("4", "0", "0"), ("4", "1", "1"), ("7", "0", "0"), ("7", "1", "1")]
  assert rows[1]["distance_to_result_mev"] == "1.0000" and rows[2]["start_px_mev"] == "nan"


def test_truth_outside_the_range_is_said(job):
  lines = []
  far = np.concatenate([job.data.momentum_mev[:-2] * 2, job.data.momentum_mev[-2:]])
  infer.warn_about_truth(job._replace(data=job.data._replace(momentum_mev=far)), lines.append)
  assert f"energy of {NUM - 2} of {NUM} events lies outside 50 to 100 MeV" in lines[0]
  infer.warn_about_truth(job, lines.append)
  assert len(lines) == 1


def test_plane_of_directions():
  draw = np.random.default_rng(0)
  centre = draw.normal(size=3)
  momenta = draw.normal(size=(20, 3))
  momenta *= np.linalg.norm(centre) / np.linalg.norm(momenta, axis=1, keepdims=True)
  plane = surface.to_plane(momenta, centre)
  np.testing.assert_allclose(surface.from_plane(plane, centre), momenta, atol=1e-9)
  cosine = momenta @ centre / np.linalg.norm(centre)**2
  np.testing.assert_allclose(np.linalg.norm(plane, axis=1), np.arccos(cosine), atol=1e-7)
  np.testing.assert_allclose(surface.from_plane(np.zeros((1, 2)), centre), centre[None])


def test_two_runs_in_one_directory_are_refused(tmp_path):
  def compute(events):
    with pytest.raises(OSError, match="Another process is writing"):
      elsewhere(
          lambda: chunks.run_chunks(compute, events, directory=tmp_path / "chunks", stride=1, identity={}))
    return {"square": events**2}
  chunks.run_chunks(compute, np.arange(2), directory=tmp_path / "chunks", stride=1, identity={})
  assert sorted(chunks.finished_events(tmp_path / "chunks", {})) == [0, 1]


def test_a_run_that_is_refused_changes_nothing(tmp_path):
  """--seed=1 while --seed=0 runs; then --seed=1 again, which must not take the other's results for its
  own."""
  compute = lambda events: {"square": events**2}
  with cli.hold_workdir(tmp_path, {"seed": 0}) as out:
    chunks.run_chunks(compute, np.arange(1), directory=out / "chunks", stride=1, identity={"seed": 0})
    before = (out / "config.json").read_text()
    with pytest.raises(OSError, match="Another process is writing"):
      elsewhere(lambda: cli.hold_workdir(tmp_path, {"seed": 1}).__enter__())
    assert (out / "config.json").read_text() == before
  with pytest.raises(ValueError, match="seed: 0 -> 1"), cli.hold_workdir(tmp_path, {"seed": 1}):
    pass
  (out / "config.json").unlink()  # whatever stands beside them, chunks say whose they are
  run = dict(directory=out / "chunks", stride=1)
  for ask in (
      lambda identity: chunks.run_chunks(compute, np.arange(2), identity=identity, **run),
      lambda identity: chunks.load_fields(out / "chunks", np.arange(1), ["square"], identity=identity)):
    with pytest.raises(ValueError, match=r"chunk_0000000_0000000.npz is of another run .*seed: 0 -> 1"):
      ask({"seed": 1})
  assert chunks.run_chunks(compute, np.arange(2), identity={"seed": 0}, **run) is None


def test_chunk_files(tmp_path):
  compute = lambda events: {"square": events**2}
  tmp_path = tmp_path / "chunks"
  same = dict(identity={"seed": 3})
  assert chunks.run_chunks(compute, np.arange(3), directory=tmp_path, stride=2, **same) is None
  # other stride, other events
  chunks.run_chunks(compute, np.arange(1, 6), directory=tmp_path, stride=4, **same)
  assert chunks.load_fields(tmp_path, np.array([5, 0]), ["square"], **same)["square"].tolist() == [25, 0]
  with pytest.raises(ValueError, match=r"no result of events \[6\]"):
    chunks.load_fields(tmp_path, np.arange(7), ["square"], **same)
  (tmp_path / "chunk_0000009_0000009.npz").write_bytes(b"half")
  with pytest.raises(ValueError, match="chunk_0000009.*remove it"):
    chunks.finished_events(tmp_path, **same)


def launch(repo, script, *arguments):
  env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": "."}
  return subprocess.run([sys.executable, "-m", f"launch.{script}", *arguments], cwd=repo, env=env,
                        capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("arguments,message", [
    ([], "Give --input"), (["--input=sample", "--out=x", "--config.inference.steps=1"], "no key"),
    (["--input=none.npz", "--out=x", "--weights=WEIGHTS"],
     "error: No file or directory of data at 'none.npz'"),
    (["--start=here"], "start")])
def test_mistakes_are_one_message(repo, weights, arguments, message):
  done = launch(repo, "infer", *(a.replace("WEIGHTS", weights) for a in arguments))
  assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_events_come_first_in_every_field(job):
  out = job.compute(job.events[:2])
  assert out["trajectory"].shape[0] == 2 and out["values"].shape[:1] == (2,)


@pytest.mark.slow
def test_amortised_estimates_are_in_the_table(weights, tmp_path):
  """With weights of an estimator in the directory its momenta are there beside the classical ones, whatever
  the start."""
  shutil.copytree(weights, tmp_path, dirs_exist_ok=True)
  save_toy_estimator(tmp_path, num_views=1)
  settings = infer.Settings("sample", ("xy",), num_events=5, weights=str(tmp_path))
  random, amortised = (infer.prepare(dataclasses.replace(settings, start=start), tiny())
                       for start in ("random", "amortised"))
  assert list(random.baselines) == ["classical", "amortised"] and "estimator" in random.identity["weights"]
  np.testing.assert_array_equal(random.baselines["amortised"], amortised.baselines["amortised"])
  estimator, _ = config_estimator.build_estimator(1, tmp_path)
  np.testing.assert_allclose(
      random.baselines["amortised"],  # in chunks of another size
      infer.estimate_momenta(estimator, random.data.images, ("xy",), chunk=2),
      atol=1e-2)
  with pytest.raises(ValueError,
                     match="--start=amortised needs weights of an estimator of 2 views along the axes"):
    infer.prepare(dataclasses.replace(settings, start="amortised", views=("xy", "xz")),
                  tiny())


@pytest.mark.slow
def test_demo_starts_anew(repo, weights, tmp_path):
  arguments = (f"--out={tmp_path / 'demo'}", f"--weights={weights}", "--variant=tiny", "--num_events=2",
               "--num_pictures=1")
  for _ in range(2):  # always anew
    done = launch(repo, "demo", *arguments)
    assert done.returncode == 0, done.stderr
    assert "median |dp|" in done.stdout and "event_00000.png" in done.stdout and "already" not in done.stdout
