"""Builders of the cascade for sparse images: the training tasks of its stages, and the trained whole. See
`config`."""
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lartpc_jax.build.cascade_data import StageData, build_crop_stage_data, build_interaction_stage_data
from lartpc_jax.build.crops import TABLE, load_table, save_table
from lartpc_jax.build.models import build_denoising_network, build_sampler, build_sde, check_fit, load_checked
from lartpc_jax.config.blocks import call_with, parse, section
from lartpc_jax.config.compare import plain
from lartpc_jax.config.schema import StageLoss
from lartpc_jax.generators import condition as condition_lib, sparse_state, weights as weight_files
from lartpc_jax.generators.cascade import Cascade, Stage, Told, noisy_map
from lartpc_jax.generators.keyed import features_of
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.geometry.windows import Windows, make_windows
from lartpc_jax.networks.api import DenoiserNetwork
from lartpc_jax.networks.sparse_transformer import tokens_of
from lartpc_jax.train.sparse_diffusion import stage_task
from lartpc_jax.train.task import Task

STAGES = ("coarse", "middle", "fine")   # from the first to the pixels; crops have no middle one
GRID_KEYS = ("num_evaluations", "sigma_min", "sigma_max", "rho")  # of a sampler block: what any sampler takes
OPTIONAL_BLOCKS = ("told", "windows", "image")                     # of whole interactions


class _Layout(NamedTuple):
  """What the states of a stage are, as its config or its JSON says."""
  gap: sparse_state.GapScale
  blocks: sparse_state.BlockScale | None    # of the map that it draws; None: pixels
  told: sparse_state.BlockScale | None      # of the map that it is given
  windows: Windows | None
  image: ImageSpec | None                   # of whole interactions

  @property
  def margin(self) -> int:
    """Cells of the map around a window that it is told."""
    return self.windows.margin_px // self.told.size if self.windows and self.told else 0


def _layout(stage: str, values: Mapping) -> _Layout:
  """Raises ValueError naming a block that is missing, unknown or does not fit."""
  if stage not in STAGES:
    raise ValueError(f"Unknown config value stage = {stage!r}; allowed: {list(STAGES)}.")
  gap = call_with(sparse_state.GapScale, "state", section(values, "state"))
  blocks = call_with(sparse_state.BlockScale, "blocks", section(values, "blocks"))
  told = (call_with(sparse_state.BlockScale, "told", section(values, "told")) if stage == "middle" else
          blocks if stage == "fine" else None)
  windows, image = (call_with(make, name, section(values, name)) if values.get(name) else None
                    for make, name in ((make_windows, "windows"), (ImageSpec, "image")))
  if windows is not None and (told is None or windows.step_px % told.size or image is None):
    raise ValueError(f"windows.step_px = {windows.step_px} must be a multiple of the cells of a map that the "
                     f"stage is told, of a block `image`; stage {stage!r} is told {told}.")
  if stage == "middle" and windows is None:
    raise ValueError("The middle stage needs a block `windows`; it has none.")
  return _Layout(gap, None if stage == "fine" else blocks, told, windows, image)


def _network_of(layout: _Layout, values: dict, condition: condition_lib.Condition,
                state_shape: tuple[int, int, int]) -> tuple[DenoiserNetwork, Told | None]:
  """Raw network of a stage, without the noise on its maps, and what it is told of them."""
  space = "pixels" if layout.blocks is None else "map"
  told = map_shape = None
  if layout.told is not None:
    cell_px = 1 if layout.blocks is None else layout.blocks.size
    cells = state_shape[0] * cell_px // layout.told.size
    if values.get("map_patch", 2) != 2:
      raise ValueError(f"network.map_patch = {values['map_patch']} is for a stage that is told no map.")
    told = Told(layout.told, (), max(cells, tokens_of(space, state_shape[0])), layout.margin)
    map_shape = (told.side, told.side, 2 * (2 * layout.margin + 1)**2)
  values = {"name": "sparse_transformer", "space": space, **values}
  return build_denoising_network(values, map_shape=map_shape,
                                 num_features=condition_lib.num_features(condition)), told


def _stage_data(config: dict, layout: _Layout, condition: condition_lib.Condition) -> StageData:
  values = section(config, "data")
  if layout.image is None:
    return build_crop_stage_data(values, seed=config["seed"], threshold_mev=layout.gap.threshold_mev,
                                 condition=condition)
  reduce = None
  if layout.told is None:  # the first stage needs the map alone, which the pixels with charge give at once
    reduce = functools.partial(sparse_state.map_of_pixels, num_pixels=layout.image.num_pixels, gap=layout.gap,
                               block=layout.blocks)
  return build_interaction_stage_data(values, spec=layout.image, windows=layout.windows, seed=config["seed"],
                                      condition=condition, reduce=reduce)


def _stage_task(config: dict) -> Task:
  stage = config.get("stage")
  layout = _layout(stage, config)
  noise = () if layout.told is None else tuple(config.get("map_noise", ()))
  if layout.told is not None and not (len(noise) == 2 and min(noise) >= 0.0):
    raise ValueError(f"The {stage} stage needs map_noise, two numbers of at least 0; got {list(noise)}.")
  condition = condition_lib.make_condition(section(config, "condition"))
  data = _stage_data(config, layout, condition)
  if stage == "coarse" and not condition.variables:
    raise ValueError("The config block `condition` declares no variable.")
  encode = _make_encode(layout, condition, data.condition_of, noise)
  state_shape = jax.eval_shape(encode, data.holdout, jax.random.key(0))[0].shape[1:]
  network, _ = _network_of(layout, section(config, "network"), condition, state_shape)
  saved = {name: section(config, name)
           for name in ("network", "state", "blocks", "condition", "sde", "sampler")}
  saved |= {name: section(config, name) for name in OPTIONAL_BLOCKS if config.get(name)}

  def export(params, directory, done):
    weight_files.save_weights(directory, stage, params, {
        **saved, "shape": state_shape, "step": done["step"], "threshold_mev": layout.gap.threshold_mev,
        "map_noise": noise, **data.kept_apart})
    if data.table:
      save_table(directory, data.table)
    if config.get("coarse"):
      _copy_earlier(Path(config["coarse"]), directory, stage)

  if config.get("init_from"):
    network = network._replace(init=_released_init(config, network, saved, state_shape))
  return stage_task(network, state_shape, encode=encode, batch_fn=data.batch_fn, holdout=data.holdout,
                    export=export, loss=parse(StageLoss, "loss", section(config, "loss")))


def _make_encode(layout: _Layout, condition: condition_lib.Condition, condition_of: Callable,
                noise: tuple[float, ...]) -> Callable:
  """Builds encode(batch, key) -> clean state (of windows without their margins), and what the network is
  told."""
  cell_px = 1 if layout.blocks is None else layout.blocks.size

  def encode(batch, key):
    if "map" in batch:
      return batch["map"], {
          "features": features_of(condition, condition_of(batch), len(batch["map"]))}
    whole = sparse_state.gap_state(batch["image"], layout.gap)
    edge = layout.windows.margin_px if layout.windows else 0
    state = whole[:, edge:whole.shape[1] - edge, edge:whole.shape[2] - edge]
    cond = {"features": features_of(condition, condition_of(batch), len(state))}
    if layout.told is not None:
      maps = noisy_map(sparse_state.block_map(whole, layout.gap, layout.told), noise, key)
      side = tokens_of("pixels" if layout.blocks is None else "map", state.shape[1] // cell_px)
      cond["map"] = sparse_state.surroundings(maps, layout.margin, side)
    if layout.blocks is not None:
      state = sparse_state.block_map(state, layout.gap, layout.blocks)
    return state, cond
  return encode


def _copy_earlier(source: Path, target: Path, stage: str) -> None:
  """Copies the weights of all stages before, and their conditions where this one has none."""
  for name in STAGES[:STAGES.index(stage)]:
    if name == "coarse" or (source / f"{name}.json").exists():
      weight_files.copy_weights(source, target, name)
  if not (target / f"{TABLE}.json").exists():
    weight_files.copy_weights(source, target, TABLE)


def _released_init(config: dict, network: DenoiserNetwork, saved: dict, state_shape: tuple) -> Callable:
  """init(key, shape) of a network that starts from the weights of a stage in the directory `init_from`.

  The stage is `init_stage`, or else the same. What only one of the two networks is told, conditions or a map,
  counts for nothing at the start, so that both compute the same.
  """
  directory, name = config["init_from"], config.get("init_stage") or config["stage"]
  trained, info = _build_stage(weight_files.find_weights(directory), name)
  for block in ("network", "state", "blocks"):
    if plain(info[block]) != plain(saved[block]):
      raise ValueError(
          f"init_from = {directory!r} has {block} {info[block]}; the config has {plain(saved[block])}.")
  wanted = jax.eval_shape(lambda: network.init(jax.random.key(0), state_shape))
  params = dict(trained.params)
  if plain(info["condition"]) != plain(saved["condition"]):
    params["condition"] = {"kernel": jnp.zeros(wanted["condition"]["kernel"].shape),
                           "bias": params["condition"]["bias"]}
  if "map" in wanted and "map" not in params:  # the network then takes sqrt(1/2) of both
    params["map"] = jax.tree.map(lambda x: jnp.zeros(x.shape), wanted["map"])
    params["tokens"] = jax.tree.map(lambda x: jnp.sqrt(2.0) * x, params["tokens"])
  check_fit(params, wanted, directory, name)
  return lambda key, shape: params


def _build_stage(directory: Path, name: str) -> tuple[Stage, dict]:
  params, info = load_checked(directory, name,
                              ("network", "condition", "sde", "sampler", "shape", "blocks", "state"))
  condition, shape, layout = condition_lib.make_condition(info["condition"]), tuple(info["shape"]), _layout(
      name, info)
  network, told = _network_of(layout, info["network"], condition, shape)
  check_fit(params, jax.eval_shape(lambda: network.init(jax.random.key(0), shape)), directory, name)
  return Stage(network.apply, jax.tree.map(jnp.asarray, params), build_sde(info["sde"]), shape, condition,
               layout.blocks, told and told._replace(noise=tuple(info["map_noise"])), layout.windows,
               layout.image.num_pixels if layout.image else shape[0]), info


def is_cascade(directory: str | Path) -> bool:
  """Whether `directory`, or the bundled weights of that name, hold a fine stage."""
  return (weight_files.find_weights(directory) / "fine.json").exists()


def build_cascade(directory: str | Path) -> tuple[Cascade, dict]:
  """The trained cascade in `directory` (or the bundled one of that name), and {stage: JSON beside it}.

  Raises:
    FileNotFoundError: naming the missing file.
    ValueError: naming the file that is truncated or does not fit, or stages that do not belong together.
  """
  directory = weight_files.find_weights(directory)
  names = [name for name in STAGES if name != "middle" or (directory / "middle.json").exists()]
  stages, info = {}, {}
  for name in names:
    stages[name], info[name] = _build_stage(directory, name)
  for before, after in zip(names, names[1:]):
    _check_belong(directory, info[before], info[after], "told" if after == "middle" else "blocks")
  return Cascade(tuple(stages.values()), call_with(sparse_state.GapScale, "state", info["fine"]["state"]),
                 load_table(directory)), info


def _check_belong(directory: Path, before: dict, after: dict, told: str) -> None:
  for block, given in (("state", "state"), ("blocks", told), ("image", "image")):
    if plain(before.get(block) or {}) != plain(after.get(given) or {}):
      raise ValueError(
          f"The stages in {directory} differ in {block}: {before.get(block)} and {after.get(given)}.")


def build_cascade_samplers(cascade: Cascade, info: dict, **changed) -> tuple[Callable, ...]:
  """Samplers of the stages as their JSON says.

  `changed` are the keys of a config block `sampler` that hold in place of those, coarse=dict(...),
  fine=dict(...) and so on. With another name only the noise levels stay, not the knobs of the sampler.
  """
  def values_of(name):
    own, new = info[name]["sampler"], changed.get(name, {})
    same = new.get("name", own["name"]) == own["name"]
    return {**{key: value for key, value in own.items() if same or key in GRID_KEYS}, **new}

  return tuple(call_with(build_sampler, "sampler", values_of(name), sde=stage.sde)
               for name, stage in zip(info, cascade.stages, strict=True))


CASCADE_TASKS = {"cascade_stage": _stage_task}
CASCADE_TASK_KEYS = {
    "cascade_stage": {"stage", "state", "blocks", "condition", "sde", "sampler", "map_noise", "coarse",
                      "init_from", "init_stage", *OPTIONAL_BLOCKS}}
