"""Builders of guides: the training task of a config, and trained ones from released weights."""
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build.generators import Weights, trained_states
from lartpc_jax.build.models import build_geometry, check_fields, check_fit, load_checked
from lartpc_jax.build.training_data import build_generator_data
from lartpc_jax.config.blocks import call_with, parse, section
from lartpc_jax.config.compare import plain
from lartpc_jax.config.schema import GuideLoss
from lartpc_jax.generators import condition as condition_lib, weights as weight_files
from lartpc_jax.generators.guide import Guide, num_outputs
from lartpc_jax.networks import api as networks
from lartpc_jax.train.recognition import recognition_task
from lartpc_jax.train.task import Task, TaskData

NAME = "guide"       # of the files of released weights
KEYS = {"codec", "charge_plane", "labels", "image"}


class TrainedGuide(NamedTuple):
  """A guide from released weights, and the JSON beside them."""
  guide: Guide
  info: dict


def _network(values: Mapping, labels: condition_lib.Condition) -> networks.RecogniserNetwork:
  from lartpc_jax.networks.recogniser import Recogniser
  check_fields(Recogniser, values)
  return call_with(networks.make_recogniser, "network", values, num_outputs=num_outputs(labels))


def guide_task(config: dict) -> Task:
  """Training task of a whole config with task = "guide".

  Raises:
    ValueError: naming a key that does not fit, or a charge plane that needs a condition.
  """
  labels = condition_lib.make_condition(section(config, "labels"))
  if not labels.variables:
    raise ValueError("The config block `labels` declares no variable: a guide needs one to read.")
  if config.get("charge_plane") and config["charge_plane"].get("reference") != "none":
    raise ValueError("A guide reads states without knowing their condition: charge_plane.reference must be "
                     f"'none'; got {config['charge_plane'].get('reference')!r}.")
  spec, _ = build_geometry({"image": config.get("image")})
  data = build_generator_data(section(config, "data"), spec=spec, frame=None, seed=config["seed"],
                              condition=labels)
  shape = data.holdout.batch["image"].shape[1:]
  codec, description = trained_states(config, data.training, shape)
  values = section(config, "network")
  network = _network(values, labels)

  def export(params, directory, done):
    weight_files.save_weights(directory, NAME, params, {
        **description, "network": values, "labels": section(config, "labels"), "shape": shape,
        "data": data.kept_apart, "step": done["step"]})

  return recognition_task(
      network, Guide(network.apply, None, labels), TaskData(data.batch_fn, data.holdout.batch),
      parse(GuideLoss, "loss", section(config, "loss")), encode=codec.encode,
      state_shape=codec.state_shape, export=export)


def build_guide(directory: str | Path, generator: Weights) -> TrainedGuide:
  """The trained guide in `directory` (or the bundled one of that name), for the states of a generator.

  Raises:
    FileNotFoundError: naming the missing file.
    ValueError: naming the file that is truncated or does not fit, or what its states have otherwise than
      those of the generator.
  """
  directory = weight_files.find_weights(directory)
  params, info = load_checked(directory, NAME, ("network", "labels", "codec", "charge_plane", "shape"))
  _check_same_states(info, generator, directory)
  labels = condition_lib.make_condition(info["labels"])
  network = _network(info["network"], labels)
  shape = generator.generator.codec.state_shape
  check_fit(params, jax.eval_shape(lambda: network.init(jax.random.key(0), shape)), directory, NAME)
  return TrainedGuide(Guide(network.apply, jax.tree.map(jnp.asarray, params), labels), info)


def _check_same_states(info: Mapping, generator: Weights, directory: Path) -> None:
  own, other = plain(info), plain(generator.info)
  for name in ("shape", "charge_plane"):
    if own[name] != other.get(name):
      raise ValueError(f"The guide in {directory} reads states of {name} {own[name]}; those of the generator "
                       f"have {other.get(name)}.")
  own, other = own["codec"], other["codec"]
  same = own["name"] == other["name"] and own.get("sha256") in (None, generator.digests.get("autoencoder"))
  for block in ("scale", "latent", "charge"):
    a, b = own.get(block) or {}, other.get(block) or {}
    same &= a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
  if not same:
    raise ValueError(f"The guide in {directory} was trained on states of another codec than the generator's: "
                     f"{own} and {other}.")


def _equal(a, b) -> bool:
  return a == b if isinstance(a, str) else np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-4)
