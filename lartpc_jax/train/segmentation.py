"""Training task of SSNet: pixel classes of charge images."""
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lartpc_jax.config.schema import SegmentationLoss
from lartpc_jax.geometry import symmetries
from lartpc_jax.geometry.charge import ChargeTransform
from lartpc_jax.metrics import segmentation
from lartpc_jax.metrics.calibration import calibration
from lartpc_jax.networks.api import SegmentationNetwork
from lartpc_jax.train.task import Task, TaskData


class Segmenter(NamedTuple):
  """A trained network on the host: images of any number, in chunks."""
  # (images [n h w] MeV, progress: share done -> None) -> probabilities [n h w c], features
  run: Callable
  classes: tuple[str, ...]  # background first


ORIENTATIONS = symmetries.NUM_SQUARE  # the medium prefers none
NUM_EVALUATED = 512                   # held-out images of the evaluations on the way


def make_segment(network: SegmentationNetwork, transform: ChargeTransform, *, stage: int, chunk: int = 64,
                 orientations: int = 1) -> Callable:
  """Builds segment(params, images [n h w] MeV, progress) -> probabilities [n h w c], features of encoder
  stage `stage`.

  Args:
    network, transform: the network and what it sees of the charge.
    stage: of the encoder.
    chunk: images at once.
    orientations: 1, or 8: probabilities are the mean over rotations and reflections of the image, at eight
      times the cost; features are those of the image as it is.
  Raises:
    ValueError: for another number of orientations.
  """
  if orientations not in (1, ORIENTATIONS):
    raise ValueError(f"orientations must be 1 or {ORIENTATIONS}; got {orientations}.")

  @jax.jit
  def one_chunk(params, images):
    y = transform.forward(images)[..., None]
    return jax.nn.softmax(network.apply(params, y)), network.features(params, y, stage)

  def turned_back(params, images, code):
    """Probabilities of the images as a symmetry has them, turned back."""
    codes = np.full(len(images), code)
    probability = np.asarray(one_chunk(params, symmetries.turn_pixels(images, codes))[0])
    return symmetries.turn_pixels(probability, symmetries.inverse(codes))

  def segment(params, images, progress=lambda share: None):
    parts = []
    for start in range(0, len(images), chunk):
      part = np.asarray(images[start:start + chunk], np.float32)
      padded = np.concatenate([part, np.zeros((chunk - len(part), *part.shape[1:]), np.float32)])
      probability, features = one_chunk(params, padded)
      if orientations > 1:
        others = (turned_back(params, padded, code) for code in range(1, ORIENTATIONS))
        probability = (np.asarray(probability) + sum(others)) / ORIENTATIONS
      parts.append([np.asarray(x)[:len(part)] for x in (probability, features)])
      progress(min(start + chunk, len(images)) / len(images))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))

  return segment


def make_segmenter(network: SegmentationNetwork, params, transform: ChargeTransform, *,
                   classes: tuple[str, ...], stage: int, orientations: int = 1) -> Segmenter:
  """Segmenter whose features are the output of encoder stage `stage`; `orientations` as for
  `make_segment`."""
  params = jax.tree.map(jnp.asarray, params)
  return Segmenter(
      functools.partial(make_segment(network, transform, stage=stage, orientations=orientations), params),
      classes)


def pixel_cross_entropy(logits: jax.Array, images: jax.Array, label: jax.Array,
                        background_weight: float) -> jax.Array:
  """Mean cross-entropy [] over pixels with charge + background_weight * mean over those without.

  Args:
    logits: [b h w c].
    images: charge [b h w].
    label: class [b h w].
    background_weight: 97 % of the pixels hold no charge and are trivial; without a weight they would drown
      the others.
  """
  values = optax.softmax_cross_entropy_with_integer_labels(logits, label)
  charged = (images > 0).astype(values.dtype)
  mean = lambda mask: jnp.sum(mask * values) / jnp.maximum(jnp.sum(mask), 1.0)
  return mean(charged) + background_weight * mean(1.0 - charged)


def evaluate_segmentation(predict: Callable, images: np.ndarray, label: np.ndarray,
                          classes: tuple[str, ...]) -> dict:
  """Confusion matrix, per-class IoU, calibration and image-level agreement over pixels with charge; plain
  numbers.

  Args:
    predict: images [n h w] -> probabilities [n h w c].
    images: MeV.
    label: [n h w].
    classes: names, background first.
  """
  probability = predict(images)
  found = segmentation.pixel_classes(probability, images)
  charged = found.kept
  true, predicted = label[charged], found.predicted[charged]
  confusion = segmentation.confusion_matrix(true, predicted, len(classes))
  iou = segmentation.intersection_over_union(confusion)
  reliability = calibration(found.certainty[charged], true == predicted)
  published = segmentation.pixel_classes(probability, images, definition="published")
  truth = segmentation.is_track(segmentation.class_counts(found._replace(predicted=label), len(classes)))
  agreement = {
      name: float(np.mean(truth == segmentation.is_track(segmentation.class_counts(x, len(classes)))))
      for name, x in (("corrected", found), ("published", published))
  }
  return {"num_images": len(images), "num_pixels": int(charged.sum()), "confusion": confusion.tolist(),
          "iou": {name: float(x) for name, x in zip(classes[1:], iou[1:], strict=True)},
          "pixel_accuracy": float(np.mean(true == predicted)), "image_agreement": agreement,
          "kept_share_published": {"charged": float(published.kept[charged].mean()),
                                   "empty": float(published.kept[~charged].mean())},
          "calibration": {name: np.asarray(value).tolist() for name, value in reliability._asdict().items()}}


def segmentation_task(network: SegmentationNetwork, data: TaskData, loss: SegmentationLoss, *,
                      transform: ChargeTransform, classes: tuple[str, ...], figure: Callable | None,
                      export: Callable | None) -> Task:
  """Task of pixel classification.

  Args:
    network: segmentation network.
    data: batches dict(image [b h w] MeV, label [b h w]), and one never trained on, for evaluation (its first
      `NUM_EVALUATED` images), pictures and the numbers that ship (all of it).
    loss: see `pixel_cross_entropy`.
    transform: charge transform.
    classes: names, background first.
    figure: (images, true classes, predicted classes) -> Figure.
    export: (params, directory, info, evaluate: params -> dict) -> None.
  """
  holdout = data.holdout
  apply = lambda params, images: network.apply(params, transform.forward(images)[..., None])

  def loss_fn(params, batch, key):
    del key
    logits = apply(params, batch["image"])
    charged = batch["image"] > 0
    right = (logits[..., 1:].argmax(-1) + 1 == batch["label"]) & charged
    value = pixel_cross_entropy(logits, batch["image"], batch["label"], loss.background_weight)
    return value, {"accuracy": right.sum() / jnp.maximum(charged.sum(), 1)}

  segment = make_segment(network, transform, stage=0)
  predict = lambda params, images: segment(params, images)[0]

  def evaluate(params, key):
    del key
    result = evaluate_segmentation(lambda x: predict(params, x), holdout["image"][:NUM_EVALUATED],
                                   holdout["label"][:NUM_EVALUATED], classes)
    return {
        **{f"eval/iou_{name}": value for name, value in result["iou"].items()}, "eval/pixel_accuracy":
            result["pixel_accuracy"], "eval/image_agreement": result["image_agreement"]["corrected"],
        "eval/calibration_error": result["calibration"]["expected_error"]
    }

  def draw(params, key):
    del key
    images = holdout["image"][:8]
    found = segmentation.pixel_classes(predict(params, images), images)
    return figure(images, holdout["label"][:8], np.where(found.kept, found.predicted, 0))

  def export_weights(params, directory, info):
    export(params, directory, info, lambda params: evaluate_segmentation(
        lambda x: predict(params, x), holdout["image"], holdout["label"], classes))

  return Task(init=lambda key: network.init(key, holdout["image"].shape[1:]), loss_fn=loss_fn,
              batch_fn=data.batch_fn, evaluate=evaluate, draw=draw if figure else None,
              export=export_weights if export else None)
