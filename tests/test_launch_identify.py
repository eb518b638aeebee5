"""launch.infer --types, launch.identify and the classifier beside it: from events to probabilities."""
import csv
import json

import numpy as np
import pytest

from configs import particles64_classifier, particles64_identify
from lartpc_jax.build import tasks
from lartpc_jax.build.segmentation import build_classifier
from lartpc_jax.data.image_files import save_images
from lartpc_jax.data.images import open_images
from lartpc_jax.experiments import identify, infer, infer_types, protocol
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.metrics.classes import tell_classes
from lartpc_jax.units import PDG_CODES
from tests.brief_training import train_briefly
from tests.toy_weights import PARTICLES_MEV, save_toy_images, save_toy_weights

pytestmark = pytest.mark.third_party  # optax and ott promote in their own arithmetic

NUM = 40
TYPES = ("proton", "mu-")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
  return str(save_toy_images(tmp_path_factory.mktemp("weights"), particles=PARTICLES_MEV))


@pytest.fixture(scope="module")
def events(tmp_path_factory):
  """Protons in two views, every other one cut short and called a muon, the last an electron."""
  data = open_images("sample", views=("xy", "xz"), spec=ImageSpec(), num=NUM)
  images, pdg = np.array(data.images), np.where(np.arange(NUM) % 2, PDG_CODES["mu-"], PDG_CODES["proton"])
  images[1::2, :, :26], images[1::2, :, 38:] = 0.0, 0.0
  pdg[-1] = PDG_CODES["e-"]
  path = tmp_path_factory.mktemp("events") / "events.npz"
  save_images(path, images, data.momentum_mev, pdg=pdg)
  return str(path)


def tiny(variant="tiny_screened"):
  return particles64_identify.get_config(variant).to_dict()


def settings(events, weights, out, **changes):
  values = dict(input=events, views=("xy",), weights=weights, out=str(out), types=TYPES, chunk_size=5,
                num_pictures=1)
  return infer.Settings(**{**values, **changes})


def said():
  lines = []
  return lines, protocol.SILENT._replace(say=lines.append)


@pytest.fixture(scope="module")
def finished(events, weights, tmp_path_factory):
  out, (lines, console) = tmp_path_factory.mktemp("run"), said()
  assert infer.run(settings(events, weights, out), tiny(), console) == 0
  return out, "\n".join(lines)


def test_each_event_has_a_type_and_the_best_of_each(finished):
  out, text = finished
  rows = list(csv.DictReader((out / "results.csv").open()))
  assert len(rows) == NUM and {row["type"] for row in rows} <= set(TYPES)
  assert [row["true_type"] for row in rows[:2]] == ["proton", "mu-"] and rows[-1]["true_type"] == "other"
  assert not any(name.startswith("p_") for name in rows[0]) and "no calibration beside the weights" in text
  for row in rows:
    for name in TYPES:
      p = np.array([float(row[f"{name}_p{a}_mev"]) for a in "xyz"])
      mass = {"proton": 938.27209, "mu-": 105.6583755}[name]
      low, high = PARTICLES_MEV[name]
      assert low - 0.1 <= np.sqrt((p**2).sum() + mass**2) - mass <= high + 0.1
    objective = {name: float(row[f"emd_{name}"]) + 10 * float(row[f"charge_off_{name}"]) for name in TYPES}
    assert row["type"] == min(objective, key=objective.get)
    assert [row[f"p{a}_mev"] for a in "xyz"] == [row[f"{row['type']}_p{a}_mev"] for a in "xyz"]
  summary = json.loads((out / "results.json").read_text())["summary"]
  assert summary["true_proton"]["events"] == 20 and summary["ms_per_event"] > 0
  assert [path.name for path in (out / "events").iterdir()] == ["event_00000.png"]


def test_the_same_command_goes_on(finished, events, weights):
  out, _ = finished
  job = infer_types.prepare(settings(events, weights, out), tiny())
  job = job._replace(compute=lambda numbers: pytest.fail("everything is there"))
  assert infer_types.execute(job, out) is None


def test_a_calibration_makes_probabilities(finished, events, weights, tmp_path):
  lines, console = said()
  identify.run(identify.Settings(input=str(finished[0]), out=str(tmp_path)), console)
  told = json.loads((tmp_path / "identify.json").read_text())["inversion"]
  assert np.array(told["counts"]).sum() == NUM - 1 and "1 events of other types left out" in lines[0]
  assert np.trace(np.array(told["counts"])) == round(told["accuracy"]["value"] * (NUM - 1))
  assert {"identification.json", "identify.md", "events.csv", "identify.png"} <= {
      path.name for path in tmp_path.iterdir()}
  path = str(tmp_path / "identification.json")
  console = protocol.SILENT
  assert infer.run(settings(events, weights, tmp_path / "again", calibration=path, num_events=10), tiny(),
                   console) == 0
  rows = list(csv.DictReader((tmp_path / "again" / "results.csv").open()))
  for row in rows:
    p = {name: float(row[f"p_{name}"]) for name in TYPES}
    assert abs(sum(p.values()) - 1) < 2e-4 and row["type"] == max(p, key=p.get)
  with pytest.raises(ValueError, match="is of another views than this run"):
    infer_types.prepare(settings(events, weights, tmp_path, calibration=path, views=("xz",)), tiny())


@pytest.mark.slow
def test_a_descent_of_every_type(events, weights, tmp_path):
  assert infer.run(settings(events, weights, tmp_path, num_events=5, views=("xy", "xz"), num_pictures=0),
                   tiny("tiny"), protocol.SILENT) == 0
  with np.load(tmp_path / infer_types.OBJECTIVES) as npz:
    assert npz["momentum_mev"].shape == (5, 2, 3) and np.isfinite(npz["momentum_mev"]).all()
    assert not np.allclose(npz["emd"], npz["near_emd"][:, :, 0])


@pytest.mark.slow
def test_a_classifier_is_trained_and_compared_with(finished, events, tmp_path):
  config = particles64_classifier.get_config("tiny").to_dict()
  config["classes"], config["data"]["path"] = ("mu-", "proton", "e-"), events
  task = tasks.build_task(config)
  _, state = train_briefly(task, num_steps=60, learning_rate=3e-3)
  found = task.evaluate(state.params, None)
  assert found["eval/accuracy"] > 0.8 and {"eval/accuracy_proton", "eval/loss"} <= set(found)
  task.export(state.params, tmp_path / "weights", {"step": 60})
  classifier, info = build_classifier(tmp_path / "weights")
  assert classifier.classes == ("mu-", "proton", "e-") and info["num_holdout"] == 8
  identify.run(identify.Settings(input=str(finished[0]), out=str(tmp_path),
                                 classifier=str(tmp_path / "weights")), protocol.SILENT)
  told = json.loads((tmp_path / "identify.json").read_text())
  assert told["classifier"]["accuracy"]["value"] > 0.8
  config["classes"] = ("proton", "e-")
  with pytest.raises(ValueError, match="PDG code 13"):
    tasks.build_task(config)


def test_what_is_told_of_classes_by_hand():
  p = np.array([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9], [0.7, 0.3]])
  told = tell_classes(p, np.array([0, 0, 1, 1]))
  np.testing.assert_array_equal(told.counts, [[1, 1], [1, 1]])
  assert told.accuracy.value == 0.5 and told.balanced.value == 0.5
  np.testing.assert_allclose(told.log_loss.value, -np.mean(np.log([0.8, 0.4, 0.9, 0.3])))


@pytest.mark.parametrize("changes,message", [
    (dict(types=("proton", "kaon+")),
     r"Unknown particle type 'kaon\+'; these weights know \['proton', 'mu-', 'e-'\]"),
    (dict(types=("proton",)), "at least two particle types, each once; got proton"),
    (dict(start="classical"), "with --types every type starts at random"),
    (dict(calibration="nothing.json"), "nothing.json")])
def test_mistakes_are_named(events, weights, tmp_path, changes, message):
  with pytest.raises((ValueError, OSError), match=message):
    infer_types.prepare(settings(events, weights, tmp_path, **changes), tiny())


def test_weights_must_suit(events, weights, tmp_path):
  with pytest.raises(ValueError, match=r"--types=NAME,... fits each particle type"):
    infer.prepare(settings(events, weights, tmp_path, types=()), tiny())
  protons = str(save_toy_weights(tmp_path))
  with pytest.raises(ValueError, match=r"asked for \['momentum_mev', 'particle'\]; these are asked for"):
    infer_types.prepare(settings(events, protons, tmp_path), tiny())
  with pytest.raises(ValueError, match="--calibration=a.json goes with --types"):
    infer.prepare(settings(events, protons, tmp_path, types=(), calibration="a.json"), tiny())
  with pytest.raises(ValueError, match="no objectives.npz"):
    identify.run(identify.Settings(input=str(tmp_path), out=str(tmp_path)), protocol.SILENT)
