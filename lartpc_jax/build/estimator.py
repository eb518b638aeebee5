"""Builders of the momentum estimator from configs and from released weights; see `config`."""
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp

from lartpc_jax.build import data as data_lib
from lartpc_jax.build.models import check_fields, check_fit, load_checked
from lartpc_jax.config.blocks import call_with, section
from lartpc_jax.data.images import check_views
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.inference.estimator import Estimator, make_estimator, observe
from lartpc_jax.networks import api as networks
from lartpc_jax.train.estimator import estimator_task
from lartpc_jax.train.task import Task

NUM_EVALUATED = 2_048
# files of released weights, by the number of views
NAMES = {1: "estimator_one_view", 2: "estimator_two_views"}


def build_density(values: Mapping) -> networks.EstimatorNetwork:
  """Network of a config block `network`. Raises ValueError naming an unknown key."""
  from lartpc_jax.networks.estimator import MixtureDensity
  check_fields(MixtureDensity, values)
  return networks.make_mixture_density(**values)


def estimator_task_of(config: dict) -> Task:
  """Training task of a whole config with task = "estimator"."""
  views = check_views(config.get("views", ()))
  spec = call_with(ImageSpec, "image", section(config, "image"))
  values, bounds = section(config, "network"), tuple(config["kinetic_range_mev"])
  network = build_density(values)
  data = data_lib.build_rotated_data(section(config, "data"), seed=config["seed"], views=views, spec=spec)
  holdout = data.evaluation(min(NUM_EVALUATED, 16 * data.held.num))  # rotated freshly, an event serves often

  def export(params, directory, info):
    weight_files.save_weights(
        directory, NAMES[len(views)], params,
        {"network": values, "image": spec._asdict(), "kinetic_range_mev": bounds, "step": info["step"]},
        dtype="int8")

  return estimator_task(network, views=views, spec=spec, kinetic_range_mev=bounds, batch_fn=data.batch_fn,
                        holdout=holdout, export=export)


def build_estimator(num_views: int, directory: str | Path | None = None) -> tuple[Estimator, dict]:
  """Estimator of one or two views from the weights in `directory` (None: those of the package), and the JSON
  beside them.

  Raises:
    FileNotFoundError: naming the missing file.
    ValueError: for another number of views, or naming the file that is truncated or does not fit.
  """
  if num_views not in NAMES:
    raise ValueError(f"There are estimators of {sorted(NAMES)} views; got {num_views}.")
  directory = weight_files.bundled_directory() if directory is None else Path(directory)
  name = NAMES[num_views]
  params, info = load_checked(directory, name, ("network", "image", "kinetic_range_mev"))
  network, spec = build_density(info["network"]), call_with(ImageSpec, "image", info["image"])
  views = ("xy", "xz")[:num_views]
  count = jax.eval_shape(lambda x: observe(x, views, spec).features, jnp.zeros(
      (1, num_views, *spec.shape))).shape[1]
  check_fit(params, jax.eval_shape(lambda: network.init(jax.random.key(0), count)), directory, name)
  return make_estimator(network.apply, jax.tree.map(jnp.asarray, params), num_views=num_views,
                        kinetic_range_mev=tuple(info["kinetic_range_mev"]), spec=spec), info


def find_estimator(num_views: int, directory: str | Path | None = None) -> tuple[Estimator, dict] | None:
  """`build_estimator` of a directory or a name of weights, or None if there is none of that many views."""
  directory = weight_files.find_weights(directory)
  if num_views not in NAMES or not (directory / f"{NAMES[num_views]}.json").exists():
    return None
  return build_estimator(num_views, directory)
