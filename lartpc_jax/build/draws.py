"""What a training run of a generator of crops says of its own draws: statistics against held-out crops, and
whether they collapse."""
import importlib.util
import logging
from collections.abc import Callable

import jax
import numpy as np

from lartpc_jax.build.segmentation import build_segmenter
from lartpc_jax.generators.keyed import image_keys, table_rows
from lartpc_jax.metrics.collapse import collapse_metrics
from lartpc_jax.plotting.pixels import mosaics
from lartpc_jax.train.denoising import compare_images

logger = logging.getLogger(__name__)
MIN_CHARGED = 16  # draws with charge, below which neighbours say nothing


def make_compare(real: np.ndarray) -> Callable:
  """compare(images [n h w] MeV) -> metrics "eval/..." against real images: counts, charge, precision, recall
  and coverage in the features of SSNet, nearest neighbours in L2 and EMD. Without POT the counts and charges
  alone."""
  features = None

  def compare(images: np.ndarray) -> dict[str, float]:
    nonlocal features
    metrics = {name: float(value) for name, value in compare_images(real, images, None).items()}
    charged = images[images.sum((1, 2)) > 0.0]
    metrics["eval/empty"] = 1.0 - len(charged) / len(images)
    if importlib.util.find_spec("ot") is None:
      logger.warning("No tests of mode collapse: POT is not installed (pip install POT).")
      return metrics
    if len(charged) < MIN_CHARGED:
      return metrics
    segmenter, _ = build_segmenter()
    pooled = lambda x: segmenter.run(x, lambda share: None)[1].mean((1, 2))
    features = pooled(real) if features is None else features
    found = collapse_metrics(real, charged, (features, pooled(charged)))
    return metrics | {f"eval/{name}": value for name, value in found.items()}
  return compare


def make_figure(real: np.ndarray) -> Callable:
  """figure(images) -> mosaics of held-out and generated crops side by side."""
  return lambda images: mosaics({"held-out": real, "generated": images})


def keyed_draws(model: Callable, num: int, *, chunk_size: int = 32) -> Callable:
  """draws(params, key) -> `num` images of model(params), a `generators.keyed.KeyedModel`, in chunks on the
  host; conditions are those of training images."""
  chunk_size = min(chunk_size, num)

  @jax.jit
  def some(params, keys):
    built = model(params)
    return built.draw(keys, table_rows(built.table, keys))

  def draws(params, key):
    keys = image_keys(key, num + (-num) % chunk_size)
    parts = [np.asarray(some(params, keys[i:i + chunk_size])) for i in range(0, len(keys), chunk_size)]
    return np.concatenate(parts)[:num]
  return draws
