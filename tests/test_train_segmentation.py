"""SSNet from config to weights; the weights that ship, on crops they never saw."""
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import crops64_ssnet
from lartpc_jax.build import data as data_lib, tasks as config_lib
from lartpc_jax.build.segmentation import SSNET, build_image_classifier, build_segmenter
from lartpc_jax.data.labels import CLASSES
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.metrics import c2st
from lartpc_jax.train import segmentation as lib
from tests.brief_training import train_briefly
from tests.toy_sources import sample_crops


def tiny():
  config = crops64_ssnet.get_config("tiny").to_dict()
  config["data"].update(num_holdout_events=4)
  return config


@pytest.fixture(scope="module")
def trained():
  task = config_lib.build_task(tiny())
  return task, *train_briefly(task, num_steps=25, learning_rate=5e-3)


def test_loss_by_hand():
  """Two charged pixels, two empty: mean over the charged plus a tenth of the mean over the empty ones."""
  logits = jnp.log(jnp.array([[[[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], [[0.9, 0.05, 0.05], [0.6, 0.2, 0.2]]]]))
  images = jnp.array([[[1.0, 2.0], [0.0, 0.0]]])
  label = jnp.array([[[1, 2], [0, 0]]])
  want = -0.5 * (np.log(0.5) + np.log(0.8)) - 0.1 * 0.5 * (np.log(0.9) + np.log(0.6))
  np.testing.assert_allclose(lib.pixel_cross_entropy(logits, images, label, 0.1), want, rtol=1e-5)


@pytest.mark.slow  # `make tiny` trains one too
@pytest.mark.third_party  # optax
def test_training_lowers_the_loss(trained):
  task, before, state = trained
  batch, loss_fn = task.batch_fn(1000), jax.jit(task.loss_fn)
  start, end = (float(loss_fn(params, batch, jax.random.key(2))[0]) for params in (before, state.ema_params))
  assert end < 0.8 * start


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_evaluation_picture_and_export_agree(trained, tmp_path):
  task, _, state = trained
  metrics = task.evaluate(state.ema_params, jax.random.key(3))
  assert {"eval/iou_track", "eval/iou_shower", "eval/image_agreement"} <= set(metrics)
  assert len(task.draw(state.ema_params, jax.random.key(3)).axes) >= 24
  task.export(state.ema_params, tmp_path, {"step": 25, "config": None})
  segmenter, info = build_segmenter(tmp_path)
  assert segmenter.classes == ("background", "track", "shower") and info["step"] == 25
  np.testing.assert_allclose(info["evaluation"]["iou"]["shower"], metrics["eval/iou_shower"], atol=0.02)
  confusion = np.array(info["evaluation"]["confusion"])
  assert confusion.sum() == info["evaluation"]["num_pixels"]
  held = data_lib.build_crop_data(tiny()["data"], seed=0, wanted={"label": ()}).evaluation()
  again = lib.evaluate_segmentation(lambda x: segmenter.run(x)[0], held["image"], held["label"],
                                    segmenter.classes)
  assert again["confusion"] == info["evaluation"]["confusion"]  # the numbers are those of the rounded weights
  images = sample_crops()["image"][:5]
  done = []
  probability, stage = segmenter.run(images, done.append)
  assert probability.shape == (5, 64, 64, 3) and stage.shape == (5, 8, 8, 32) and done == [1.0]
  np.testing.assert_allclose(probability.sum(-1), 1.0, rtol=1e-5)


def test_the_weights_that_ship_tell_tracks_from_showers():
  """On the sample crops, which are held out: the numbers beside the weights are no accident."""
  segmenter, info = build_segmenter()
  images, label = (sample_crops()[name][:96] for name in ("image", "label"))
  result = lib.evaluate_segmentation(lambda x: segmenter.run(x)[0], images, label, CLASSES)
  for name, value in info["evaluation"]["iou"].items():
    assert result["iou"][name] > value - 0.06
  assert result["image_agreement"]["corrected"] > 0.85


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_eight_orientations_are_their_mean_and_see_no_orientation():
  """Each by hand; and a turned image gets the turned answer, which a network alone does not give."""
  images = sample_crops()["image"][:3]
  (one, _), (eight, _) = build_segmenter(), build_segmenter(orientations=8)
  mirror = lambda x: x[:, ::-1]
  answers = [
      back(one.run(np.ascontiguousarray(there(images)), lambda share: None)[0]) for there, back in [
          *((lambda x, k=k: np.rot90(x, k, (1, 2)), lambda x, k=k: np.rot90(x, -k, (1, 2)))
            for k in range(4)), *((lambda x, k=k: np.rot90(mirror(x), k, (1, 2)),
                                   lambda x, k=k: mirror(np.rot90(x, -k, (1, 2)))) for k in range(4))
      ]
  ]
  probability, stage = eight.run(images, lambda share: None)
  np.testing.assert_allclose(probability, np.mean(answers, axis=0), atol=2e-6)
  np.testing.assert_array_equal(stage, one.run(images, lambda share: None)[1])
  turned = eight.run(np.ascontiguousarray(np.swapaxes(images, 1, 2)), lambda share: None)[0]
  np.testing.assert_allclose(np.swapaxes(turned, 1, 2), probability, atol=2e-6)
  assert np.abs(answers[0] - answers[4]).max() > 0.01
  with pytest.raises(ValueError, match="orientations must be 1 or 8; got 3"):
    build_segmenter(orientations=3)


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_the_command_that_judges_ssnet(repo, tmp_path):
  done = subprocess.run([
      sys.executable, "-m", "launch.evaluate_ssnet", "--data=sample", "--num_events=10", "--orientations=1",
      f"--out={tmp_path}"
  ], cwd=repo, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  result = json.loads((tmp_path / "ssnet.json").read_text())["1"]
  assert np.sum(
      result["confusion"]) == result["num_pixels"] and f"| 1 | {result['iou']['track']:.4f} |" in done.stdout


def test_weights_and_configs_that_do_not_fit_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="ssnet.json does not exist"):
    build_segmenter(tmp_path)
  config = tiny()
  config["network"]["widht"] = 3
  with pytest.raises(ValueError, match="Unknown config key network.widht = 3"):
    config_lib.build_task(config)
  assert weight_files.bundled_directory(SSNET).is_dir()


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_image_classifier_finds_a_planted_difference_and_nothing_else():
  """Charge half as large again."""
  rng = np.random.default_rng(0)
  images = np.zeros((1500, 16, 16), np.float32)
  for image in images:
    image[rng.integers(2, 14), rng.integers(0, 4):rng.integers(8, 16)] = rng.uniform(0.8, 1.2)
  fit = build_image_classifier(num_epochs=30, batch_size=20)
  real, same, scaled = images[:500], images[500:1000], 1.5 * images[1000:]
  assert c2st.cross_validated_test(real, scaled, fit, num_folds=2).auc.value > 0.8
  null = c2st.cross_validated_test(real, same, fit, num_folds=2).auc
  assert abs(null.value - 0.5) < 4.5 * null.error
