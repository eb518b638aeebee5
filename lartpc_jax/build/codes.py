"""Builders of images as codes: training tasks of the codes and of a prior over them, and the trained pair.
See `config`."""
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build.crops import (
  build_conditional_crops,
  check_condition,
  crop_condition,
  load_table,
  save_table,
)
from lartpc_jax.build.draws import keyed_draws, make_compare, make_figure
from lartpc_jax.build.models import check_fields, check_fit, load_checked
from lartpc_jax.config.blocks import call_with, parse, section
from lartpc_jax.config.schema import CodesLoss, PriorLoss
from lartpc_jax.generators import condition as condition_lib, weights as weight_files
from lartpc_jax.generators.codes import make_code_model
from lartpc_jax.generators.keyed import KeyedModel, features_of
from lartpc_jax.generators.sparse_state import GapScale, gap_state
from lartpc_jax.networks import discrete
from lartpc_jax.networks.vqvae import BLOCK, CodeDecoder, CodeEncoder
from lartpc_jax.plotting.pixels import mosaics
from lartpc_jax.train.codes import codes_task, prior_task
from lartpc_jax.train.task import Drawn, Task, TaskData

CODES, PRIOR = "vqvae", "prior"  # of the files of released weights
SHARED = ("state", "shape")      # what the JSON of a prior has of its codes


def _build_codes(values: dict) -> discrete.CodeNetwork:
  for module, block in ((CodeEncoder, "encoder"), (CodeDecoder, "decoder")):
    check_fields(module, values.get(block, {}))
  return call_with(discrete.make_codes, "network", values)


def _build_prior(values: dict, *, num_codes: int, condition: condition_lib.Condition
                 ) -> discrete.SequenceNetwork:
  if values.get("name") in discrete.PRIORS:
    fields = {key: value for key, value in values.items() if key != "name"}
    check_fields(discrete.PRIORS[values["name"]], fields)
  return call_with(discrete.make_code_prior, "network", values, num_codes=num_codes,
                   num_features=condition_lib.num_features(condition))


def _codes_task(config: dict) -> Task:
  gap = call_with(GapScale, "state", section(config, "state"))
  crops = build_conditional_crops(section(config, "data"), seed=config["seed"],
                                  threshold_mev=gap.threshold_mev)
  holdout = np.asarray(crops.holdout["image"], np.float32)
  values, side = section(config, "network"), holdout.shape[1]
  if side % BLOCK:
    raise ValueError(f"Codes are of {BLOCK} x {BLOCK} pixels, which must divide the {side} pixels of the "
                     "images.")
  network = _build_codes(values)

  def export(params, directory, done):
    weight_files.save_weights(directory, CODES, params, {
        "network": values, "state": section(config, "state"), "shape": (side, side), "step": done["step"],
        "threshold_mev": gap.threshold_mev, "cpu_seconds": done.get("cpu_seconds", 0.0),
        "sample_pixels": bool(config["sample_pixels"]),
        "num_holdout_events": config["data"]["num_holdout_events"]})

  return codes_task(network, gap=gap, batch_fn=lambda step: {"image": crops.batch_fn(step)["image"]},
                    holdout=holdout,
                    loss=parse(CodesLoss, "loss", section(config, "loss")), export=export,
                    figure=lambda real, made: mosaics({"held-out": real, "through codes": made}))


def load_codes(directory: str | Path) -> tuple[discrete.CodeNetwork, dict, dict]:
  """Codes in `directory` (or the bundled ones of that name): network, params, and the JSON beside them.

  Raises FileNotFoundError or ValueError naming the file that is missing, truncated or does not fit.
  """
  directory = weight_files.find_weights(directory)
  params, info = load_checked(directory, CODES, ("network", "state", "shape", "sample_pixels"))
  network = _build_codes(info["network"])
  check_fit(params, jax.eval_shape(lambda: network.init(jax.random.key(0), tuple(info["shape"]))), directory,
            CODES)
  return network, jax.tree.map(jnp.asarray, params), info


def _prior_task(config: dict) -> Task:
  if not config.get("codes"):
    raise ValueError("A prior needs config.codes, the directory of the weights of its codes.")
  codes, frozen, info = load_codes(config["codes"])
  gap = call_with(GapScale, "state", info["state"])
  crops = build_conditional_crops(section(config, "data"), seed=config["seed"],
                                  threshold_mev=gap.threshold_mev)
  condition = condition_lib.make_condition(section(config, "condition"))
  check_condition(condition, crops.table)
  values, shape = section(config, "network"), tuple(side // BLOCK for side in info["shape"])
  network = _build_prior(values, num_codes=codes.num_codes, condition=condition)
  real = np.asarray(crops.holdout["image"])
  table = jax.tree.map(jnp.asarray, crops.table)

  def encode(batch):
    told = crop_condition(batch["image"], batch["track_share"], gap.threshold_mev)
    found = codes.quantize(frozen, codes.encode(frozen, gap_state(batch["image"], gap)))[1]
    return found, features_of(condition, told, len(found))

  def model(params):
    return make_code_model(codes, network, {"codes": frozen, "prior": params}, shape=shape, gap=gap,
                           condition=condition, table=table, sample_pixels=info["sample_pixels"])

  def export(params, directory, done):
    weight_files.save_weights(directory, PRIOR, params, {
        "network": values, "condition": section(config, "condition"), "step": done["step"],
        "codes": info["sha256"], "cpu_seconds": done.get("cpu_seconds", 0.0) + info.get("cpu_seconds", 0.0),
        "threshold_mev": gap.threshold_mev, "num_holdout_events": config["data"]["num_holdout_events"],
        **{name: info[name] for name in SHARED}}, dtype="int8")
    save_table(directory, crops.table)
    weight_files.copy_weights(weight_files.find_weights(config["codes"]), directory, CODES)

  drawn = Drawn(keyed_draws(model, len(real)), make_compare(real), make_figure(real), export)
  return prior_task(network, shape, TaskData(crops.batch_fn, crops.holdout), drawn, encode=encode,
                    loss=parse(PriorLoss, "loss", section(config, "loss")))


def is_code_model(directory: str | Path) -> bool:
  """Whether `directory`, or the bundled weights of that name, hold a prior over codes."""
  return (weight_files.find_weights(directory) / f"{PRIOR}.json").exists()


def build_code_model(directory: str | Path) -> tuple[KeyedModel, dict]:
  """The trained codes and prior in `directory` (or the bundled ones of that name), and the JSON of the prior.

  Raises FileNotFoundError or ValueError naming the file that is missing, truncated or does not fit.
  """
  directory = weight_files.find_weights(directory)
  codes, frozen, codes_info = load_codes(directory)
  params, info = load_checked(directory, PRIOR, ("network", "condition", "codes"))
  if info["codes"] != codes_info["sha256"]:
    raise ValueError(f"{directory}: the prior was trained on other codes than those of {CODES}.npz.")
  condition = condition_lib.make_condition(info["condition"])
  shape = tuple(side // BLOCK for side in codes_info["shape"])
  network = _build_prior(info["network"], num_codes=codes.num_codes, condition=condition)
  check_fit(params, jax.eval_shape(lambda: network.init(jax.random.key(0), shape)), directory, PRIOR)
  params = {"codes": frozen, "prior": jax.tree.map(jnp.asarray, params)}
  return make_code_model(codes, network, params, shape=shape,
                         gap=call_with(GapScale, "state", codes_info["state"]),
                         condition=condition, table=load_table(directory),
                         sample_pixels=codes_info["sample_pixels"]), info


CODE_TASKS = {"codes": _codes_task, "code_prior": _prior_task}
CODE_TASK_KEYS = {"codes": {"state", "sample_pixels"}, "code_prior": {"codes", "condition"}}
