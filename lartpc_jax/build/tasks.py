"""Training tasks from configs. Keys of a config block are the keyword arguments of its builder, one to
one."""
from collections.abc import Mapping

import numpy as np

from lartpc_jax.build.cascade import CASCADE_TASK_KEYS, CASCADE_TASKS
from lartpc_jax.build.codes import CODE_TASK_KEYS, CODE_TASKS
from lartpc_jax.build.estimator import estimator_task_of
from lartpc_jax.build.gan import GAN_TASK_KEYS, GAN_TASKS
from lartpc_jax.build.generators import BLOCKS, generator_task
from lartpc_jax.build.guides import KEYS as GUIDE_KEYS, guide_task
from lartpc_jax.build.models import build_autoencoder, build_emd_batch, build_geometry
from lartpc_jax.build.pixel_sequence import PIXEL_TASK_KEYS, PIXEL_TASKS
from lartpc_jax.build.segmentation import classifier_task_of, ssnet_task
from lartpc_jax.build.training_data import build_generator_data
from lartpc_jax.config.blocks import call_with, parse, section
from lartpc_jax.config.schema import AutoencoderLoss
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.generators.condition import Condition
from lartpc_jax.geometry.charge import make_charge_transform
from lartpc_jax.plotting.images import image_rows
from lartpc_jax.train.autoencoder import autoencoder_task
from lartpc_jax.train.task import Task, TaskData

SHOWN_PIXELS = 64  # side of what a picture shows of a decoded image, from its middle


def _autoencoder_task(config: dict) -> Task:
  spec, frame = build_geometry(config)
  values, charge = section(config, "network"), section(config, "charge")
  data = build_generator_data(section(config, "data"), spec=spec, frame=frame, seed=config["seed"],
                              condition=Condition({}))
  frame = frame if data.in_track_frame else None  # images are taken in the pixels of their detector
  window = spec if frame is None else frame
  shape = data.holdout.batch["image"].shape[1:]
  for side in (*shape, *window.shape):
    if side % values.get("stem", 1):
      raise ValueError(
          f"network.stem = {values['stem']} must divide the sides of the images, {shape} in training and "
          f"{window.shape} by the config.")

  def export(params, directory, info, scale):
    weight_files.save_weights(
        directory, "autoencoder", params, {
            "network": values, "charge": charge, "image":
                spec._asdict(), "frame": None if frame is None else frame._asdict(), "step": info["step"],
            "latent": {"shift": np.asarray(scale.shift).tolist(), "scale": np.asarray(scale.scale).tolist()}
        })

  figure = lambda x, y: image_rows({"data": x, "decoded": y}, half_width_px=min(SHOWN_PIXELS, *shape) // 2)
  return autoencoder_task(
      build_autoencoder(values), TaskData(data.batch_fn, data.holdout.batch),
      parse(AutoencoderLoss, "loss", section(config, "loss")), emd=build_emd_batch(), figure=figure,
      transform=call_with(make_charge_transform, "charge", charge), threshold_mev=window.threshold_mev,
      export=export)


TASKS = {"autoencoder": _autoencoder_task, "generator": generator_task, "guide": guide_task,
         "ssnet": ssnet_task, "estimator": estimator_task_of, "image_classifier": classifier_task_of,
         **CASCADE_TASKS, **CODE_TASKS, **GAN_TASKS, **PIXEL_TASKS}
COMMON_KEYS = {"task", "seed", "data", "network", "loss", "optim", "train"}
TASK_KEYS = {"autoencoder": COMMON_KEYS | {"charge", "image", "frame"},
             "generator": COMMON_KEYS | set(BLOCKS) | {"init_from"},
             "guide": COMMON_KEYS | GUIDE_KEYS,
             "estimator": (COMMON_KEYS - {"loss"}) | {"image", "views", "kinetic_range_mev"},
             "ssnet": COMMON_KEYS | {"charge"},
             "image_classifier": (COMMON_KEYS - {"loss"}) | {"charge", "image", "classes"},
             **{task: COMMON_KEYS | keys for task, keys in {**CASCADE_TASK_KEYS, **CODE_TASK_KEYS,
                                                            **GAN_TASK_KEYS, **PIXEL_TASK_KEYS}.items()}}


def build_task(config: Mapping) -> Task:
  """Training task of a whole config. Raises ValueError naming a missing, unknown or inconsistent key."""
  config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  if config.get("task") not in TASKS:
    raise ValueError(f"Unknown config value task = {config.get('task')!r}; allowed: {sorted(TASKS)}.")
  allowed = TASK_KEYS[config["task"]]
  for key in sorted(set(config) - allowed):
    raise ValueError(
        f"Unknown config key {key} = {config[key]!r} of task {config['task']!r}; allowed: {sorted(allowed)}.")
  if "seed" not in config:
    raise ValueError(f"Missing config key seed; there are {sorted(config)}.")
  return TASKS[config["task"]](config)
