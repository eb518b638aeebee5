"""Builders of the cascade for sparse images: the training tasks of its two stages, and the trained whole. See
`config`."""
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

from lartpc_jax.build.crops import (
  build_conditional_crops,
  check_condition,
  crop_condition,
  load_table,
  save_table,
)
from lartpc_jax.build.models import build_denoising_network, build_sampler, build_sde, check_fit, load_checked
from lartpc_jax.config.blocks import call_with, parse, section
from lartpc_jax.config.compare import plain
from lartpc_jax.config.schema import StageLoss
from lartpc_jax.generators import condition as condition_lib, sparse_state, weights as weight_files
from lartpc_jax.generators.cascade import Cascade, Stage, noisy_map
from lartpc_jax.networks.api import DenoiserNetwork
from lartpc_jax.train.sparse_diffusion import stage_task
from lartpc_jax.train.task import Task

STAGES = ("coarse", "fine")
GRID_KEYS = ("num_evaluations", "sigma_min", "sigma_max", "rho")  # of a sampler block: what any sampler takes


def _network_of(stage: str, values: dict, condition: condition_lib.Condition,
                state_shape: tuple[int, int, int], block: int) -> DenoiserNetwork:
  """Raw network of a stage; that of the fine one is told the map."""
  coarse = stage == "coarse"
  map_shape = None if coarse else (state_shape[0] // block, state_shape[1] // block, 2)
  values = {"name": "sparse_transformer", "space": "map" if coarse else "pixels", **values}
  return build_denoising_network(values, map_shape=map_shape,
                                 num_features=condition_lib.num_features(condition))


def _stage_task(config: dict) -> Task:
  stage, gap = config.get("stage"), call_with(sparse_state.GapScale, "state", section(config, "state"))
  if stage not in STAGES:
    raise ValueError(f"Unknown config value stage = {stage!r}; allowed: {list(STAGES)}.")
  blocks = call_with(sparse_state.BlockScale, "blocks", section(config, "blocks"))
  crops = build_conditional_crops(section(config, "data"), seed=config["seed"],
                                  threshold_mev=gap.threshold_mev)
  noise = tuple(config.get("map_noise", ())) if stage == "fine" else ()
  if stage == "fine" and not (len(noise) == 2 and min(noise) >= 0.0):
    raise ValueError(f"The fine stage needs map_noise, two numbers of at least 0; got {list(noise)}.")
  condition = condition_lib.make_condition(section(config, "condition"))
  check_condition(condition, crops.table)
  side = crops.holdout["image"].shape[1]
  state_shape = (side // blocks.size, side // blocks.size, 2) if stage == "coarse" else (side, side, 1)
  network = _network_of(stage, section(config, "network"), condition, state_shape, blocks.size)

  def encode(batch, key):
    told = crop_condition(batch["image"], batch["track_share"], gap.threshold_mev)
    cond = {"features": condition_lib.embed(condition, told)}
    state = sparse_state.gap_state(batch["image"], gap)
    coarse = sparse_state.block_map(state, gap, blocks)
    if stage == "coarse":
      return coarse, cond
    return state, {**cond, "map": noisy_map(coarse, noise, key)}

  saved = {name: section(config, name)
           for name in ("network", "state", "blocks", "condition", "sde", "sampler")}

  def export(params, directory, done):
    weight_files.save_weights(directory, stage, params, {
        **saved, "shape": state_shape, "step": done["step"], "threshold_mev": gap.threshold_mev,
        "map_noise": noise, "num_holdout_events": config["data"]["num_holdout_events"]})
    save_table(directory, crops.table)
    if config.get("coarse"):
      weight_files.copy_weights(config["coarse"], directory, "coarse")

  if config.get("init_from"):
    network = network._replace(init=_released_init(config["init_from"], stage, saved))
  return stage_task(network, state_shape, encode=encode, batch_fn=crops.batch_fn, holdout=crops.holdout,
                    export=export, loss=parse(StageLoss, "loss", section(config, "loss")))


def _released_init(directory: str, stage: str, saved: dict) -> Callable:
  """init(key, shape) of a network that starts from the weights of a stage in `directory`."""
  trained, info = _build_stage(Path(directory), stage)
  for block in ("network", "state", "blocks", "condition"):
    if plain(info[block]) != plain(saved[block]):
      raise ValueError(
          f"init_from = {directory!r} has {block} {info[block]}; the config has {plain(saved[block])}.")
  return lambda key, shape: trained.params


def _build_stage(directory: Path, name: str) -> tuple[Stage, dict]:
  params, info = load_checked(directory, name,
                              ("network", "condition", "sde", "sampler", "shape", "blocks", "state"))
  condition, shape = condition_lib.make_condition(info["condition"]), tuple(info["shape"])
  network = _network_of(name, info["network"], condition, shape, info["blocks"]["size"])
  check_fit(params, jax.eval_shape(lambda: network.init(jax.random.key(0), shape)), directory, name)
  return Stage(network.apply, jax.tree.map(jnp.asarray, params), build_sde(info["sde"]), shape,
               condition), info


def is_cascade(directory: str | Path) -> bool:
  """Whether `directory`, or the bundled weights of that name, hold a fine stage."""
  return (weight_files.find_weights(directory) / "fine.json").exists()


def build_cascade(directory: str | Path) -> tuple[Cascade, dict]:
  """The trained cascade in `directory` (or the bundled one of that name), and {"coarse": JSON, "fine": JSON}
  beside it.

  Raises:
    FileNotFoundError: naming the missing file.
    ValueError: naming the file that is truncated or does not fit, or stages that do not belong together.
  """
  directory = weight_files.find_weights(directory)
  (coarse, coarse_info), (fine, info) = (_build_stage(directory, name) for name in STAGES)
  for block in ("state", "blocks"):
    if coarse_info[block] != info[block]:
      raise ValueError(
          f"The stages in {directory} differ in {block}: {coarse_info[block]} and {info[block]}.")
  return Cascade(coarse, fine, call_with(sparse_state.GapScale, "state", info["state"]),
                 call_with(sparse_state.BlockScale, "blocks", info["blocks"]), tuple(info["map_noise"]),
                 load_table(directory)), {"coarse": coarse_info, "fine": info}


def build_cascade_samplers(cascade: Cascade, info: dict, **changed) -> tuple[Callable, Callable]:
  """Samplers of the coarse and the fine stage as their JSON says.

  `changed` are the keys of a config block `sampler` that hold in place of those, coarse=dict(...) and
  fine=dict(...). With another name only the noise levels stay, not the knobs of the sampler.
  """
  def values_of(name):
    own, new = info[name]["sampler"], changed.get(name, {})
    same = new.get("name", own["name"]) == own["name"]
    return {**{key: value for key, value in own.items() if same or key in GRID_KEYS}, **new}

  return tuple(call_with(build_sampler, "sampler", values_of(name), sde=getattr(cascade, name).sde)
               for name in STAGES)


CASCADE_TASKS = {"cascade_stage": _stage_task}
CASCADE_TASK_KEYS = {
    "cascade_stage": {"stage", "state", "blocks", "condition", "sde", "sampler", "map_noise", "coarse",
                      "init_from"}}
