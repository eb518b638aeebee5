"""What joins the rooms: which row belongs to which event, label, split and chunk. Planted bugs showed what
was not seen."""
import dataclasses
import json

import numpy as np
import pytest

from lartpc_jax.data import batches, image_source
from lartpc_jax.data.split import split_by_event
from lartpc_jax.experiments import chunks, evaluate, report as report_lib, rows, samples, shards, tracks
from lartpc_jax.inference.counting import gains
from lartpc_jax.metrics.estimate import Estimate

NUM, SIZE = 24, 8
EVENT = np.repeat(np.arange(6), 4)  # four crops an event


def images_of_rows(num=NUM, views=1, event=None):
  """Image [v n n] of row i: all pixels i + 1 + view / 4, but for one that tells how it lies; labels follow
  the pixels."""
  values = np.ones(
      (num, views, SIZE, SIZE), np.float32) * np.arange(1, num + 1, dtype=np.float32)[:, None, None, None]
  values += 0.25 * np.arange(views, dtype=np.float32)[None, :, None, None]
  values[:, :, 1, 2] = 0.0
  label = (values == 0).astype(np.uint8)
  momentum = 100.0 * np.arange(num)[:, None] + np.array([1.0, 2.0, 3.0])
  labels = {"momentum_mev": momentum.astype(np.float32), "label": label}
  return image_source.of_arrays(values, labels, "rows", event=event)


def rows_of(images):
  return np.floor(images.max((-2, -1))).astype(int).ravel() - 1


@pytest.mark.parametrize("num_holdout", [1, 3])
def test_no_event_is_in_training_and_held_out(num_holdout):
  train, held = split_by_event(images_of_rows(event=EVENT), num_holdout=num_holdout)
  sides = [set(EVENT[rows_of(part.read(slice(0, part.num), ())["image"])]) for part in (train, held)]
  assert not sides[0] & sides[1] and sides[1] == set(
      range(6 - num_holdout, 6)) and train.num + held.num == NUM


def test_labels_stay_with_their_event_and_view():
  """Momenta in the order of the axes of the view: xy sees (x, y, z), xz (x, z, y)."""
  pool = batches.image_pool(images_of_rows(views=2), {"momentum_mev": (), "label": ()})
  batch = pool.read(np.array([7, 0, 10]))  # events 3, 0, 5 in the views 1, 0, 0
  np.testing.assert_array_equal(rows_of(batch["image"]), [3, 0, 5])
  np.testing.assert_allclose(batch["image"].max((1, 2)) % 1, [0.25, 0.0, 0.0])
  np.testing.assert_allclose(batch["momentum_mev"],
                             [[301.0, 303.0, 302.0], [1.0, 2.0, 3.0], [501.0, 502.0, 503.0]])


@pytest.mark.parametrize("num_symmetries", [8, 16])
def test_labels_turn_with_their_image(num_symmetries):
  pool = batches.image_pool(images_of_rows(), {"momentum_mev": (), "label": ()})
  batch_fn = batches.make_batches(pool, batch_size=64, seed=0, num_symmetries=num_symmetries)
  batch = batch_fn(0)
  np.testing.assert_array_equal(batch["label"], batch["image"] == 0)
  places = {tuple(np.argwhere(image == 0)[0]) for image in batch["image"]}
  assert len(places) == 8  # of a square
  np.testing.assert_allclose(np.linalg.norm(batch["momentum_mev"], axis=1), np.linalg.norm(
      100.0 * rows_of(batch["image"])[:, None] + np.array([1.0, 2.0, 3.0]), axis=1), rtol=1e-5)


def test_batches_follow_seed_and_step_and_nothing_else():
  pool = batches.image_pool(images_of_rows(), {})
  make = lambda seed, order: batches.make_batches(pool, batch_size=6, seed=seed, order=order)
  for order in batches.ORDERS:
    first, again = make(3, order), make(3, order)
    for step in (5, 0):  # a resumed run begins anywhere
      np.testing.assert_array_equal(first(step)["image"], again(step)["image"])
    assert not np.array_equal(first(0)["image"], first(1)["image"])
    assert not np.array_equal(first(0)["image"], make(4, order)(0)["image"])
  epoch = np.concatenate([rows_of(make(3, "epochs")(step)["image"]) for step in range(4)])
  assert sorted(epoch) == list(range(NUM))


def test_chunks_resume_with_each_result_at_its_event(tmp_path):
  """Stopped anywhere, under another stride and in another order of events: the result of event e is that of
  e."""
  asked = []
  def compute(events):
    asked.extend(events.tolist())
    return {"square": events**2, "pair": np.stack([events, -events], axis=1)}
  events, run = np.array([11, 3, 7, 5, 2, 9, 4]), dict(directory=tmp_path / "chunks", identity={"seed": 0})
  signals = iter([None, 15])
  assert chunks.run_chunks(compute, events, stride=2, stop=lambda: next(signals), **run) == 15
  done = []
  assert chunks.run_chunks(compute, events, stride=3, update=done.append, **run) is None
  assert sorted(asked) == sorted(events) and done == [7]
  for order in (events, events[::-1], np.array([9, 9, 2])):
    found = chunks.load_fields(tmp_path / "chunks", order, ["square", "pair"], identity={"seed": 0})
    np.testing.assert_array_equal(found["square"], order**2)
    np.testing.assert_array_equal(found["pair"][:, 1], -order)


@pytest.mark.parametrize("number", [1, 3, 7])
def test_every_shard_is_in_just_one_part(number, tmp_path):
  plan = shards.Plan(tmp_path / "x.npz", 23, 5, {})
  parts = [shards.part_of(plan.shards, (index, number)) for index in range(number)]
  assert sorted(sum(parts, [])) == plan.shards and sum(shard.count for shard in plan.shards) == 23


def row(value, error=0.1, worse=1):
  return rows.Row("gof", "m", "corrected", worse, Estimate(value, error))


def test_the_report_measures_against_the_floor_and_knows_which_way_is_worse():
  names = [evaluate.FLOOR, "a", "b"]
  larger = {evaluate.FLOOR: row(1.0), "a": row(2.0), "b": row(0.5)}
  smaller = {evaluate.FLOOR: row(1.0, worse=-1), "a": row(0.9, worse=-1), "b": row(0.1, worse=-1)}
  w1 = {evaluate.FLOOR: row(3.0, 0.3), "a": row(5.0, 0.4), "b": row(3.5, 0.4)}
  table = {("gof", "up", "corrected"): larger, ("gof", "down", "corrected"): smaller,
           ("gof", "W1 [MeV]", "published"): w1}
  evaluate._add_excess(table, names)
  over = table["gof", "W1 [MeV], excess over the floor", "corrected"]
  np.testing.assert_allclose([over[name].estimate.value for name in names], [0.0, 2.0, 0.5])
  report = evaluate.Report(names, table, {}, {}, None, {}, [], {}, dict.fromkeys(names, 50))
  written = {entry["metric"]: entry["values"] for entry in report_lib.as_json(report)["rows"]}
  sigma = lambda metric: [written[metric][name]["sigma_above_floor"] for name in names]
  assert sigma("up")[0] is None and np.isnan(report_lib._sigma(larger, evaluate.FLOOR))
  np.testing.assert_allclose(sigma("up")[1:], np.array([1.0, -0.5]) / np.hypot(0.1, 0.1))
  np.testing.assert_allclose(sigma("down")[1:], np.array([0.1, 0.9]) / np.hypot(0.1, 0.1))
  assert [name for name, *_ in report_lib.ranking(report)] == ["a", "b"]
  assert json.dumps(report_lib.as_json(report))


def test_the_null_of_a_count_is_of_the_same_run_but_for_its_events(tmp_path):
  """Column number - 1 of the gains, of a run whose weights and config are this one's."""
  objective = np.array([[9.0, 5.0, 4.5], [8.0, 2.0, 1.0]])
  identity = {
      "input": "x", "seed": 0, "max_tracks": 3, "refine": [], "weights": {"a": "1"},
      "inference": {"rate": 0.1}
  }
  save = lambda **changes: np.savez(tmp_path / tracks.NULL_FILE, objective=objective, true_number=np.array(
      [2, 2]), identity=json.dumps({**identity, **changes}))
  job = tracks.Job(*[None] * len(tracks.Job._fields))._replace(identity={**identity, "input": "y", "seed": 5})
  save()
  np.testing.assert_allclose(tracks.read_null(str(tmp_path), job, 2), gains(objective)[:, 1])
  for changes, key in ((dict(weights={"a": "2"}), "weights"), (dict(inference={"rate": 0.2}), "inference")):
    save(**changes)
    with pytest.raises(ValueError, match=f"is of another {key} than this run"):
      tracks.read_null(str(tmp_path), job, 2)


def test_memorisation_knows_training_from_held_out_images():
  """Copies of the training set are nearer to it than to the reference; the other way round they are not."""
  rng = np.random.default_rng(0)
  training, reference = rng.uniform(0.5, 1.0, (2, 60, 4, 4)).astype(np.float32)
  stage = rng.normal(size=(60, 2, 2, 3))
  sample = lambda images: samples.Sample("s", images, None, stage, {}, np.zeros((60, 1)), [])
  shares = []
  for images in (training, reference):
    tools = rows.Tools({}, 0.02, training, None, {})
    found = {
        r.name: r.estimate for r in rows.memory(sample(reference), sample(images), tools, rows.Extra({}, {}),
                                                num_neighbours=3, num_emd_queries=0)
    }
    shares.append((found["copies of training images, share"].value,
                   found["closer to training than to held-out, share"].value))
  assert shares[0] == (1.0, 1.0) and shares[1] == (0.0, 0.0)


def test_settings_of_experiments_share_what_they_share():
  """An experiment that runs another one must hand on what it was asked for."""
  from lartpc_jax.experiments import infer, protocol, robustness
  asked = robustness.Settings(input="x.npz", out="y", seed=7, chunk_size=3, views=("xz",))
  given = protocol.settings_as(infer.Settings, asked, start="classical")
  for name in {field.name for field in dataclasses.fields(infer.Settings)} & {
      field.name for field in dataclasses.fields(robustness.Settings)} - {"start"}:
    assert getattr(given, name) == getattr(asked, name), name
  assert given.start == "classical"
