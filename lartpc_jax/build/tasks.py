"""The only reader of configs: builds models, data and training tasks, and names a bad key.

Keys of a config block are the keyword arguments of its builder, one to one.
"""
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build import data as data_lib
from lartpc_jax.build.cascade import CASCADE_TASK_KEYS, CASCADE_TASKS
from lartpc_jax.build.estimator import estimator_task_of
from lartpc_jax.build.images import IMAGE_TASK_KEYS, IMAGE_TASKS
from lartpc_jax.build.models import (
  build_autoencoder,
  build_denoiser,
  build_emd_batch,
  build_geometry,
  build_latent_space,
  build_sampler,
  build_sde,
  check_fields,
  check_fit,
  load_checked,
)
from lartpc_jax.config.blocks import call_with, section
from lartpc_jax.config.compare import plain
from lartpc_jax.data import sources
from lartpc_jax.data.events import Events
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.generators.generator import ChargeRatio, Diffusion, make_generate
from lartpc_jax.geometry.charge import make_charge_transform
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.networks import api as networks
from lartpc_jax.plotting.images import image_rows, label_rows, momentum_titles
from lartpc_jax.train.autoencoder import autoencoder_task
from lartpc_jax.train.classifier import cnn_fit_predict
from lartpc_jax.train.latent_diffusion import latent_diffusion_task
from lartpc_jax.train.segmentation import Segmenter, make_segmenter, segmentation_task
from lartpc_jax.train.task import Task

SSNET = "ssnet64"     # the segmentation network that ships with the package
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
  return make_segmenter(network, params, transform, classes=classes, stage=stage, orientations=orientations), info


def build_image_classifier(**kwargs) -> Callable:
  """fit_predict of the image classifier for `metrics.c2st`; keywords of `train.classifier.cnn_fit_predict`."""
  return cnn_fit_predict(networks.make_classifier(), make_charge_transform("sqrt", 1.0), **kwargs)


def _state_shape(latent_shape: tuple[int, int, int]) -> tuple[int, int, int]:
  """Latents, and a plane for the charge."""
  h, w, c = latent_shape
  return h, w, c + 1


def build_diffusion(directory: str | Path | None = None) -> tuple[Diffusion, dict]:
  """The trained generator in `directory` (None: the one that ships with the package), and the JSON beside it.

  Raises:
    FileNotFoundError: naming the missing file.
    ValueError: naming the file that is truncated or does not fit.
  """
  directory = weight_files.bundled_directory() if directory is None else Path(directory)
  params, info = load_checked(directory, "diffusion", (
      "network", "sde", "momentum_scale_mev", "kinetic_range_mev", "charge_ratio"))
  space, shape, autoencoder = build_latent_space(directory)
  spec, frame = build_geometry(autoencoder)
  shape = _state_shape(shape)
  network = build_denoiser(info["network"])
  check_fit(params, jax.eval_shape(lambda: network.init(jax.random.key(0), shape)), directory, "diffusion")
  return Diffusion(apply=network.apply, params=jax.tree.map(jnp.asarray, params), sde=build_sde(info["sde"]),
                   latent=space, frame=frame, spec=spec, latent_shape=shape,
                   charge_ratio=call_with(ChargeRatio, "charge_ratio", info["charge_ratio"]), sigma_data=1.0,
                   momentum_scale_mev=info["momentum_scale_mev"],
                   kinetic_range_mev=tuple(info["kinetic_range_mev"])), info


def build_condition(*, momentum_scale_mev: float, kinetic_range_mev: Sequence[float]) -> dict:
  """Block `condition` of a config: the momentum that the network sees as 1, and the energies of the data."""
  return {"momentum_scale_mev": momentum_scale_mev, "kinetic_range_mev": tuple(kinetic_range_mev)}


def _geometry_info(spec: ImageSpec, frame: TrackFrame | None) -> dict:
  """What weights say about the images they were trained on; frame None: images in detector pixels."""
  return {"image": spec._asdict(), "frame": None if frame is None else frame._asdict()}


def _autoencoder_task(config: dict) -> Task:
  (spec, frame), transform = build_geometry(config), call_with(make_charge_transform, "charge", section(config, "charge"))
  data = dict(section(config, "data"))
  source = sources.open_training_source(data.get("path"), scale_mev=data.pop("scale_mev", 0.0))
  if isinstance(source, Events):
    batch_fn, holdout = call_with(data_lib.build_batches, "data", data, spec=spec, frame=frame, seed=config["seed"], events=source)
    holdout = holdout["track"]
  else:
    batch_fn, holdout = call_with(data_lib.build_image_batches, "data", data, spec=spec, seed=config["seed"], rows=source)
    frame = None
  window = spec if frame is None else frame
  values = section(config, "network")

  def export(params, directory, info, scale):
    weight_files.save_weights(directory, "autoencoder", params, {
        "network": values, "charge": section(config, "charge"), **_geometry_info(spec, frame), "step": info["step"],
        "latent": {"shift": np.asarray(scale.shift).tolist(), "scale": np.asarray(scale.scale).tolist()}})

  return call_with(autoencoder_task, "loss", section(config, "loss"), network=build_autoencoder(values),
                   transform=transform, threshold_mev=window.threshold_mev, shape=window.shape,
                   batch_fn=batch_fn, holdout_batch=holdout, emd=build_emd_batch(), export=export,
                   figure=lambda x, y: image_rows({"data": x, "decoded": y}))


def _diffusion_task(config: dict) -> Task:
  spec, frame = build_geometry(config)
  weights = config.get("autoencoder")
  if not weights:
    raise ValueError("The config needs `autoencoder`: the weights directory of a trained autoencoder, or 'bundled'.")
  directory = weight_files.bundled_directory() if weights == "bundled" else Path(weights)
  space, shape, info = build_latent_space(directory)
  trained = {name: info[name] for name in ("image", "frame")}
  if trained != _geometry_info(spec, frame):
    raise ValueError(f"The autoencoder in {directory} was trained on {trained}; the config says "
                     f"{_geometry_info(spec, frame)}.")
  batch_fn, holdout = call_with(data_lib.build_batches, "data", section(config, "data"), spec=spec, frame=frame,
                                seed=config["seed"])
  values, sde = section(config, "network"), build_sde(section(config, "sde"))
  condition = call_with(build_condition, "condition", section(config, "condition"))
  network = build_denoiser(values)
  ratio = call_with(ChargeRatio, "charge_ratio", section(config, "charge_ratio"))
  diffusion = Diffusion(network.apply, None, sde, space, frame, spec, ratio, _state_shape(shape), 1.0,
                        condition["momentum_scale_mev"], tuple(condition["kinetic_range_mev"]))
  keys = {"network": values, "sde": section(config, "sde"), "charge_ratio": ratio._asdict(), **condition}

  def export(params, target, done):
    weight_files.save_weights(target, "diffusion", params, {**keys, "step": done["step"]})
    weight_files.copy_weights(directory, target, "autoencoder")

  if config.get("init_from"):
    network = network._replace(init=_released_init(config["init_from"], values))
  return call_with(latent_diffusion_task, "loss", section(config, "loss"), network=network, diffusion=diffusion,
                   batch_fn=batch_fn, holdout=holdout, emd=build_emd_batch(), export=export,
                   sampler=call_with(build_sampler, "sampler", section(config, "sampler"), sde=sde),
                   figure=lambda x, y, p: image_rows({"Geant4": x, "generated": y}, titles=momentum_titles(p)))


def _released_init(source: str, network: dict) -> Callable:
  """init(key, shape) that starts from released diffusion weights ("bundled" or a directory) instead of random ones."""
  params, info = weight_files.load_weights(weight_files.bundled_directory() if source == "bundled" else source, "diffusion")
  if info["network"] != plain(network):
    raise ValueError(f"init_from = {source!r} holds network {info['network']}; the config says {plain(network)}.")
  return lambda key, shape: jax.tree.map(jnp.asarray, params)


def _ssnet_task(config: dict) -> Task:
  values, charge, data = (section(config, name) for name in ("network", "charge", "data"))
  batch_fn, holdout, classes = call_with(data_lib.build_labelled_crops, "data", data, seed=config["seed"])
  values = {**values, "num_classes": len(classes)}
  saved = {"network": values, "charge": charge, "classes": classes, "shape": holdout["image"].shape[1:],
           "num_holdout_events": data["num_holdout_events"]}

  def export(params, directory, info, evaluate):
    evaluation = evaluate(weight_files.rounded(params))  # what ships is what is judged
    weight_files.save_weights(directory, "ssnet", params, {**saved, "step": info["step"], "evaluation": evaluation})

  return call_with(segmentation_task, "loss", section(config, "loss"), network=build_ssnet(values),
                   transform=call_with(make_charge_transform, "charge", charge), shape=saved["shape"], batch_fn=batch_fn,
                   holdout=holdout, classes=classes, export=export,
                   figure=lambda x, a, b: label_rows(x, {"truth": a, "SSNet": b}, classes))


TASKS = {"autoencoder": _autoencoder_task, "latent_diffusion": _diffusion_task, "ssnet": _ssnet_task,
         "estimator": estimator_task_of, **IMAGE_TASKS, **CASCADE_TASKS}
COMMON_KEYS = {"task", "seed", "image", "frame", "data", "network", "loss", "optim", "train"}
TASK_KEYS = {"autoencoder": COMMON_KEYS | {"charge"},
             "latent_diffusion": COMMON_KEYS | {"condition", "sde", "sampler", "charge_ratio", "autoencoder",
                                                 "init_from"},
             "estimator": (COMMON_KEYS - {"frame", "loss"}) | {"views", "kinetic_range_mev"},
             "ssnet": (COMMON_KEYS | {"charge"}) - {"image", "frame"},
             **{task: (COMMON_KEYS - {"image", "frame"}) | keys
                for task, keys in (IMAGE_TASK_KEYS | CASCADE_TASK_KEYS).items()}}


def build_task(config: Mapping) -> Task:
  """Training task of a whole config. Raises ValueError naming a missing, unknown or inconsistent key."""
  config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  if config.get("task") not in TASKS:
    raise ValueError(f"Unknown config value task = {config.get('task')!r}; allowed: {sorted(TASKS)}.")
  allowed = TASK_KEYS[config["task"]]
  for key in sorted(set(config) - allowed):
    raise ValueError(f"Unknown config key {key} = {config[key]!r} of task {config['task']!r}; allowed: {sorted(allowed)}.")
  if "seed" not in config:
    raise ValueError(f"Missing config key seed; there are {sorted(config)}.")
  return TASKS[config["task"]](config)


def build_image_spec(directory: str | Path | None = None) -> tuple[ImageSpec, dict]:
  """Geometry of the images that the weights in `directory` (None: bundled) were trained on, and the autoencoder's JSON."""
  directory = weight_files.bundled_directory() if directory is None else Path(directory)
  _, info = weight_files.load_weights(directory, "autoencoder")
  return ImageSpec(**info["image"]), info


INFERENCE_KEYS = {"sampler", "screen_sampler", "inference", "guidance_scale", "distance"}
TRACKS_KEYS = (INFERENCE_KEYS - {"inference", "distance"}) | {"tracks"}


def build_generate(config: Mapping, diffusion: Diffusion, block: str = "sampler", *, mirrored: bool = False,
                   allowed: Collection[str] = INFERENCE_KEYS) -> Callable:
  """generate(noise, momentum_mev) of an inference config, with the sampler of the given block; see `make_generate`.

  Raises:
    ValueError: naming a missing or unknown key.
  """
  for key in sorted(set(config) - set(allowed)):
    raise ValueError(f"Unknown config key {key} = {config[key]!r}; allowed: {sorted(allowed)}.")
  if not np.isfinite(config.get("guidance_scale", 1.0)):
    raise ValueError(f"guidance_scale must be finite; got {config['guidance_scale']}.")
  sampler = call_with(build_sampler, block, section(config, block), sde=diffusion.sde)
  return make_generate(diffusion, sampler, guidance_scale=float(config.get("guidance_scale", 1.0)), mirrored=mirrored)
