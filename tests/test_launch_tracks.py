"""launch.multi_track and launch.tracks: events made of sample events, what nulls must be, tables, and a small
run."""
import dataclasses
import json

import numpy as np
import pytest

from configs import protons64_tracks
from lartpc_jax import cli
from lartpc_jax.data import multi_track as data
from lartpc_jax.experiments import multi_track, tracks
from lartpc_jax.metrics import counted_tracks
from lartpc_jax.plotting.tracks import angle_figure

IDENTITY = {"input": "a", "seed": 0, "views": "xy,xz", "weights": {"diffusion": "1"}}


def write_null(path, objective, true_number, **changes):
  path.mkdir()
  np.savez(path / tracks.NULL_FILE, objective=objective, true_number=np.asarray(true_number),
           identity=json.dumps({**IDENTITY, "input": "b", **changes}))
  return str(path)


def test_pairs_of_sample_events(tmp_path):
  """Angles evenly over the range, momenta of the files' lengths, no event twice in a pair, the same seed the
  same file."""
  settings = multi_track.Settings("sample", tracks=2, num=8, out=str(tmp_path / "pairs.npz"),
                                  opening_degrees=("0", "180"))
  found = multi_track.make(settings)
  np.testing.assert_allclose(data.opening_angles(found.momenta_mev), 180 * (np.arange(8) + 0.5) / 8, atol=0.1)
  assert found.images.shape == (8, 2, 64, 64) and np.all(found.images.sum((2, 3)) > 80.0)
  again = multi_track.make(dataclasses.replace(settings, out=str(tmp_path / "again.npz")))
  np.testing.assert_array_equal(again.images, found.images)
  numbers = multi_track._spread(np.random.default_rng(0), 5, 7, 2)
  assert numbers.shape == (7, 2) and np.all(numbers[:, 0] != numbers[:, 1]) and np.bincount(
      numbers.reshape(-1)).max() <= 4


@pytest.mark.parametrize("changes, message", [
    (dict(out="pairs.npy"), "--out must be a file .npz; got 'pairs.npy'"),
    (dict(opening_degrees=("0", "200")), "minimum,maximum within 0,180; got 0,200 and 2 tracks"),
    (dict(opening_degrees=("0",)), "minimum,maximum within 0,180; got 0 and 2 tracks"),
    (dict(tracks=3, opening_degrees=("0", "90")), "needs --tracks=2"),
    (dict(first_event=499), "sample holds 500 events: not 2 from number 499")])
def test_mistakes_in_what_to_make(changes, message):
  settings = dataclasses.replace(multi_track.Settings("sample", tracks=2, num=4, out="pairs.npz"), **changes)
  with pytest.raises(ValueError, match=message):
    multi_track.make(settings)


def test_nulls_are_checked(tmp_path):
  job = tracks.Job(*[None] * len(tracks.Job._fields))._replace(identity=IDENTITY)
  objective = np.array([[3.0, 2.5], [4.0, 5.0]])
  good = write_null(tmp_path / "good", objective, [1, 1])
  np.testing.assert_allclose(tracks.read_null(good, job, 1), [0.5, -1.0])
  for name, args, message in (("other", dict(weights={"diffusion": "2"}),
                               "is of another weights than this run"), ("views", dict(views="xy"),
                                                                        "is of another views")):
    path = write_null(tmp_path / name, objective, [1, 1], **args)
    with pytest.raises(ValueError, match=message):
      tracks.read_null(path, job, 1)
  with pytest.raises(ValueError, match="hypotheses of up to 2 tracks; 3 are needed"):
    tracks.read_null(good, job, 2)
  with pytest.raises(ValueError, match=r"must be of events with 1 tracks each; .* has \[1, 2\]"):
    tracks.read_null(write_null(tmp_path / "mixed", objective, [1, 2]), job, 1)
  with pytest.raises(ValueError, match="no tracks.npz in"):
    tracks.read_null(str(tmp_path / "nothing"), job, 1)


@pytest.mark.parametrize("kwargs, message", [
    (dict(null=("a", "b")), "--null: 2 runs need hypotheses of 3 tracks; --max_tracks is 2"),
    (dict(level=1.5), "--level must lie between 0 and 1; got 1.5")])
def test_mistakes_in_the_count_come_before_the_work(kwargs, message, tmp_path):
  job = tracks.Job(*[None] * len(tracks.Job._fields))._replace(
      settings=tracks.Settings("sample", ("xy",), **kwargs), identity=IDENTITY)
  with pytest.raises(ValueError, match=message):
    tracks.execute(job, tmp_path)


def test_tables_by_angle():
  """Two bins by hand, and all above 20 degrees in the last line."""
  angle = np.array([5.0, 30.0, 35.0, 180.0])
  errors = np.array([[1.0, 3.0], [10.0, 10.0], [20.0, 20.0], [4.0, 4.0]])
  entries = counted_tracks.by_angle(angle, errors, np.array([1, 2, 1, 2]))
  assert [(e["low"], e["high"], e["num"])
          for e in entries] == [(0, 10, 1), (20, 40, 2), (170, 180, 1), (20, 180, 3)]
  assert [e["efficiency"] for e in entries] == [0.0, 0.5, 1.0, pytest.approx(2 / 3)]
  assert entries[1]["q50_dp_mev"] == 15.0
  alone = counted_tracks.by_angle(angle, None, np.array([1, 2, 1, 2]))
  assert "q50_dp_mev" not in alone[0]
  assert "| 0 to 10 | 1 | 0.0 +- 43.3 % | - | - |" in counted_tracks.tables({"by_angle": alone})
  lines = counted_tracks.tables({"errors_2": counted_tracks.error_quantiles(errors), "by_angle": entries,
                                 "counted_2": counted_tracks.shares(np.array([1, 2, 1, 2]))})
  rows = [line for line in lines if line.startswith("|")]
  assert len(rows) == 6 and len({row.count("|") for row in rows}) == 1
  assert any("counted as: 1 in 50.0" in line for line in lines)


def test_near_pairs_alone_have_no_sum():
  """Six pairs below 20 degrees: one bin, nothing above 20 degrees, and a figure of what there is."""
  entries = counted_tracks.by_angle(np.linspace(3.0, 9.0, 6), None, np.full(6, 2))
  assert counted_tracks.bins_only(entries) == entries and entries[0]["num"] == 6
  assert angle_figure(entries).axes


@pytest.mark.parametrize("changes, message", [
    (dict(max_tracks=5), "--max_tracks must be 1 to 4; got 5"),
    (dict(refine=("3",)), "from 1 to --max_tracks=2; got 3")])
def test_mistakes_in_what_to_fit(changes, message):
  with pytest.raises(ValueError, match=message):
    tracks.prepare(tracks.Settings("sample", num_events=1, **changes),
                   protons64_tracks.get_config("tiny").to_dict())


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_from_events_to_counts(tmp_path):
  """Null, then pairs, with the tiny config: files, truth in the tables, and nothing computed twice."""
  config = protons64_tracks.get_config("tiny").to_dict()
  def run(name, said, **kwargs):
    job = tracks.prepare(tracks.Settings(str(tmp_path / f"{name}.npz"), chunk_size=2, **kwargs), config)
    with cli.hold_workdir(tmp_path / name, job.identity) as out:
      assert tracks.execute(job, out, cli.terminal()._replace(say=said.append)) is None
    return out
  multi_track.make(multi_track.Settings("generator", tracks=1, num=4, out=str(tmp_path / "null.npz")))
  multi_track.make(multi_track.Settings("sample", tracks=2, num=4, out=str(tmp_path / "pairs.npz"),
                                       opening_degrees=("0", "180")))
  said = []
  run("null", said, refine=())
  run("pairs", said, null=(str(tmp_path / "null"),), refine=("2",))
  content = json.loads((tmp_path / "pairs" / "results.json").read_text())
  assert content["by_angle"][-1]["num"] == 4 and set(content["counted_2"]) <= {"1", "2"}
  header = (tmp_path / "pairs" / "results.csv").read_text().splitlines()[0]
  assert "num_tracks,p_value_1,true_num_tracks,screened_1,screened_2,objective_2,emd_2,converged_2" in header
  assert {"by_angle.png", "events"} <= {p.name for p in (tmp_path / "pairs").iterdir()}
