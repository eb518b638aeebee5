"""Builders of the networks that judge images: SSNet and the classifier of particle types, from weights and
for training, and the two-sample classifier."""
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build import data as data_lib
from lartpc_jax.build.models import check_fields, check_fit, load_checked
from lartpc_jax.config.blocks import call_with, parse, section
from lartpc_jax.config.schema import SegmentationLoss
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.generators.condition import make_condition
from lartpc_jax.geometry.charge import make_charge_transform
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.networks import api as networks
from lartpc_jax.plotting.images import label_rows
from lartpc_jax.train.classifier import Classifier, classifier_task, cnn_fit_predict, make_classifier_run
from lartpc_jax.train.segmentation import Segmenter, make_segmenter, segmentation_task
from lartpc_jax.train.task import Task, TaskData

SSNET = "ssnet64"     # the segmentation network that ships with the package
CLASSIFIER = "classifier"  # file of released weights of a classifier of particle types
FEATURE_PIXELS = 8    # a side of the encoder stage that the Frechet distance compares


def build_ssnet(values: dict) -> networks.SegmentationNetwork:
  """Segmentation network of a config block `network`. Raises ValueError naming an unknown key."""
  from lartpc_jax.networks.ssnet import SSNet
  check_fields(SSNet, values)
  return networks.make_ssnet(**values)


def build_segmenter(directory: str | Path | None = None, *, orientations: int = 1) -> tuple[Segmenter, dict]:
  """SSNet from the weights in `directory` (None: those that ship with the package), and the JSON beside them.

  Args:
    directory: of ssnet.npz and ssnet.json.
    orientations: 1, or 8 for the mean over rotations and reflections; see `train.segmentation.make_segment`.
  Raises:
    FileNotFoundError: naming the missing file.
    ValueError: naming the file that is truncated or does not fit, or for another number of orientations.
  """
  directory = weight_files.bundled_directory(SSNET) if directory is None else Path(directory)
  params, info = load_checked(directory, "ssnet", ("network", "charge", "classes", "shape"))
  network, shape = build_ssnet(info["network"]), tuple(info["shape"])
  check_fit(params, jax.eval_shape(lambda: network.init(jax.random.key(0), shape)), directory, "ssnet")
  stage = int(np.log2(shape[0] // FEATURE_PIXELS // info["network"].get("stem", 1)))
  transform = call_with(make_charge_transform, "charge", info["charge"])
  classes = tuple(info["classes"])
  return make_segmenter(network, params, transform, classes=classes, stage=stage,
                        orientations=orientations), info


def build_image_classifier(**kwargs) -> Callable:
  """fit_predict of the image classifier for `metrics.c2st`; keywords of
  `train.classifier.cnn_fit_predict`."""
  return cnn_fit_predict(networks.make_classifier(), make_charge_transform("sqrt", 1.0), **kwargs)


def build_classifier_network(values: dict) -> networks.ClassifierNetwork:
  """Classifier of a config block `network`. Raises ValueError naming an unknown key."""
  from lartpc_jax.networks.classifier import ImageClassifier
  check_fields(ImageClassifier, values)
  return networks.make_classifier(**values)


def build_classifier(directory: str | Path) -> tuple[Classifier, dict]:
  """Classifier of particle types from the weights in `directory`, and the JSON beside them.

  Raises:
    FileNotFoundError: naming the missing file.
    ValueError: naming the file that is truncated or does not fit.
  """
  directory = weight_files.find_weights(directory)
  params, info = load_checked(directory, CLASSIFIER, ("network", "charge", "classes", "shape"))
  network, shape = build_classifier_network(info["network"]), tuple(info["shape"])
  check_fit(params, jax.eval_shape(lambda: network.init(jax.random.key(0), shape)), directory, CLASSIFIER)
  transform = call_with(make_charge_transform, "charge", info["charge"])
  params = jax.tree.map(jnp.asarray, params)
  return Classifier(make_classifier_run(network, params, transform), tuple(info["classes"])), info


def classifier_task_of(config: dict) -> Task:
  """Training task of a whole config with task = "image_classifier": the particle of an image."""
  charge, spec = section(config, "charge"), call_with(ImageSpec, "image", section(config, "image"))
  classes = tuple(config.get("classes", ()))
  variable = make_condition({"particle": {"kind": "label", "classes": classes}})  # checks the names
  data = data_lib.build_data(section(config, "data"), seed=config["seed"], spec=spec,
                             wanted={name: found.classes for name, found in variable.variables.items()})
  holdout = jax.tree.map(np.asarray, data.evaluation(data.settings.num_evaluation))
  values = {**section(config, "network"), "num_classes": len(classes)}
  shape = holdout["image"].shape[1:]

  def export(params, directory, info):
    weight_files.save_weights(directory, CLASSIFIER, params, {
        "network": values, "charge": charge, "classes": classes, "shape": shape, "image": spec._asdict(),
        "num_holdout": data.settings.num_holdout, "step": info["step"]})

  return classifier_task(build_classifier_network(values), TaskData(data.batch_fn, holdout), label="particle",
                         classes=classes, transform=call_with(make_charge_transform, "charge", charge),
                         export=export)


def ssnet_task(config: dict) -> Task:
  """Training task of a whole config with task = "ssnet"."""
  values, charge = section(config, "network"), section(config, "charge")
  data = data_lib.build_crop_data(section(config, "data"), seed=config["seed"], wanted={"label": ()})
  holdout, classes = data.evaluation(None), data.classes
  values = {**values, "num_classes": len(classes)}
  saved = {"network": values, "charge": charge, "classes": classes, "shape": holdout["image"].shape[1:],
           "num_holdout_events": data.settings.num_holdout}

  def export(params, directory, info, evaluate):
    evaluation = evaluate(weight_files.rounded(params))  # what ships is what is judged
    weight_files.save_weights(directory, "ssnet", params,
                              {**saved, "step": info["step"], "evaluation": evaluation})

  return segmentation_task(build_ssnet(values), TaskData(data.batch_fn, holdout),
                           parse(SegmentationLoss, "loss", section(config, "loss")), classes=classes,
                           transform=call_with(make_charge_transform, "charge", charge), export=export,
                           figure=lambda x, a, b: label_rows(x, {"truth": a, "SSNet": b}, classes))
