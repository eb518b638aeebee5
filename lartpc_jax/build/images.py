"""Builders of unconditional image diffusion: on pixels of crops, on latents of whole interactions. See `config`."""
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build import data as data_lib
from lartpc_jax.build.models import (
  TrainedAutoencoder,
  build_autoencoder,
  build_emd_batch,
  build_pixel_network,
  build_sampler,
  build_sde,
  check_fit,
  latent_space_of,
  load_autoencoder,
  load_checked,
)
from lartpc_jax.config.blocks import call_with, section
from lartpc_jax.config.compare import plain
from lartpc_jax.data import crops as crops_lib
from lartpc_jax.diffusion.prediction import PREDICTIONS
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.generators.latent import decode_in_tiles, measure_latent_scale
from lartpc_jax.generators.pixel_generator import ImageDiffusion, pixel_space
from lartpc_jax.geometry.charge import make_charge_transform
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.plotting.images import image_rows
from lartpc_jax.plotting.pixels import mosaics
from lartpc_jax.train.autoencoder import autoencoder_task
from lartpc_jax.train.pixel_diffusion import make_objective, pixel_diffusion_task
from lartpc_jax.train.task import Task

CROPS = "crops64"     # the model of crops that ships with the package
SHOWN = 9             # whole images in a picture of a training run
MODEL_BLOCKS = ("network", "sde", "prediction", "sampler")


def _prediction(*, name: str = "edm", sigma_data: float = 1.0) -> dict:
  if name not in PREDICTIONS:
    raise ValueError(f"Unknown config value prediction.name = {name!r}; allowed: {sorted(PREDICTIONS)}.")
  return {"prediction": name, "sigma_data": sigma_data}


def _diffusion_of(config: dict, space, state_shape: tuple[int, int, int]):
  """Untrained model of a config and its raw network."""
  network = build_pixel_network(section(config, "network"))
  prediction = call_with(_prediction, "prediction", section(config, "prediction"))
  if section(config, "network").get("gated_skip") and prediction != {"prediction": "edm", "sigma_data": 1.0}:
    raise ValueError("network.gated_skip needs prediction.name = 'edm' and prediction.sigma_data = 1; got "
                     f"{prediction['prediction']!r} and {prediction['sigma_data']}.")
  diffusion = ImageDiffusion(network.apply, None, build_sde(section(config, "sde")), tuple(state_shape), space, **prediction)
  return diffusion, network


def _task_of(config: dict, diffusion: ImageDiffusion, network, *, batch_fn: Callable, holdout: np.ndarray, export: Callable,
             figure: Callable) -> Task:
  return pixel_diffusion_task(
      network, diffusion, batch_fn=batch_fn, holdout=holdout, export=export, figure=figure,
      objective=call_with(make_objective, "loss", section(config, "loss"), network=network, diffusion=diffusion),
      sampler=call_with(build_sampler, "sampler", section(config, "sampler"), sde=diffusion.sde))


def _pixel_task(config: dict) -> Task:
  batch_fn, train, holdout = call_with(data_lib.build_crops, "data", section(config, "data"), seed=config["seed"])
  transform = call_with(make_charge_transform, "charge", section(config, "charge"))
  gated = bool(section(config, "network").get("gated_skip"))
  scale, shape = crops_lib.measure_state_scale(train, transform, about_empty=gated), tuple(holdout.shape[1:])
  diffusion, network = _diffusion_of(config, pixel_space(transform, scale, config["threshold_mev"]), (*shape, 1))

  def export(params, directory, done):
    weight_files.save_weights(directory, "pixels", params, {
        **{name: section(config, name) for name in (*MODEL_BLOCKS, "charge")}, "threshold_mev": config["threshold_mev"],
        "scale": scale._asdict(), "shape": shape, "step": done["step"],
        "num_holdout_events": config["data"]["num_holdout_events"], "scale_mev": config["data"].get("scale_mev", 0.0)})

  task = _task_of(config, diffusion, network, batch_fn=batch_fn, holdout=holdout, export=export,
                  figure=lambda real, fake: mosaics({"Geant4": real, "generated": fake}))
  return _from_weights(task, config, scale) if config.get("init_weights") else task


def _from_weights(task: Task, config: dict, scale: crops_lib.StateScale) -> Task:
  """The task that starts from trained weights in place of random ones."""
  directory = config["init_weights"]
  trained, info = build_pixel_diffusion(directory)
  for block in ("network", "charge", "prediction"):
    if (wanted := plain(section(config, block))) != plain(section(info, block)):
      raise ValueError(f"init_weights = {directory!r} has {block} {section(info, block)}; the config has {wanted}.")
  if not np.allclose(list(info["scale"].values()), scale, rtol=1e-3):
    raise ValueError(f"init_weights = {directory!r} was trained on other data: its scale is {info['scale']}, that of "
                     f"data.path is {scale._asdict()}.")
  return task._replace(init=lambda key: trained.params)


def _interaction_autoencoder_task(config: dict) -> Task:
  spec, charge = call_with(ImageSpec, "image", section(config, "image")), section(config, "charge")
  data, values = section(config, "data"), section(config, "network")
  network = build_autoencoder(values)
  side, stem = data.get("crop_px") or spec.num_pixels, values.get("stem", 8)
  if side % stem or spec.num_pixels % stem:
    raise ValueError(f"network.stem = {stem} must divide data.crop_px = {data.get('crop_px')} and image.num_pixels = "
                     f"{spec.num_pixels}.")
  batch_fn, holdout, _ = call_with(data_lib.build_interactions, "data", data, spec=spec, seed=config["seed"])

  def export(params, directory, info, scale):
    weight_files.save_weights(directory, "autoencoder", params, {
        "network": values, "charge": charge, "image": spec._asdict(), "frame": None, "step": info["step"],
        "latent": {"shift": np.asarray(scale.shift).tolist(), "scale": np.asarray(scale.scale).tolist()}})

  return call_with(autoencoder_task, "loss", section(config, "loss"), network=network,
                   transform=call_with(make_charge_transform, "charge", charge), threshold_mev=spec.threshold_mev,
                   shape=holdout.shape[1:], batch_fn=batch_fn, holdout_batch={"image": holdout}, emd=build_emd_batch(),
                   export=export, figure=lambda x, y: image_rows({"data": x, "decoded": y}, half_width_px=side // 2))


def _measure_scale(trained: TrainedAutoencoder, images: np.ndarray, chunk: int = 16) -> dict:
  """`shift` and `scale` of the latents of whole images, which are emptier than the crops of the autoencoder's training."""
  encode = jax.jit(latent_space_of(trained, {"shift": [0.0], "scale": [1.0]}).encode)
  means = np.concatenate([np.asarray(encode(images[i:i + chunk])) for i in range(0, len(images), chunk)])
  scale = measure_latent_scale(jnp.asarray(means), about_empty=True)
  return {name: np.asarray(value).tolist() for name, value in scale._asdict().items()}


def _interaction_diffusion_task(config: dict) -> Task:
  spec = call_with(ImageSpec, "image", section(config, "image"))
  if not config.get("autoencoder"):
    raise ValueError("The config needs `autoencoder`: the weights directory of an autoencoder of interactions.")
  trained = load_autoencoder(config["autoencoder"])
  if trained.window._replace(num_pixels=spec.num_pixels) != spec:  # it is convolutional: the size may differ
    raise ValueError(f"The autoencoder in {config['autoencoder']} was trained on {trained.window}; the config says {spec}.")
  data = section(config, "data")
  batch_fn, holdout, images = call_with(data_lib.build_interactions, "data", data, spec=spec, seed=config["seed"])
  latent = _measure_scale(trained, images)
  space = latent_space_of(trained, latent)
  shape = jax.eval_shape(space.encode, jnp.zeros((1, *spec.shape))).shape[1:]
  diffusion, network = _diffusion_of(config, space, shape)

  def export(params, directory, done):
    weight_files.save_weights(directory, "interactions", params, {
        **{name: section(config, name) for name in MODEL_BLOCKS}, "image": spec._asdict(), "latent": latent,
        "state_shape": shape, "step": done["step"], "num_holdout": data["num_holdout"],
        "threshold_mev": spec.threshold_mev})
    weight_files.copy_weights(config["autoencoder"], directory, "autoencoder")

  return _task_of(config, diffusion, network, batch_fn=batch_fn, holdout=holdout, export=export, figure=lambda real, fake: (
      mosaics({"Geant4": real, "generated": fake}, num_columns=3, max_images=SHOWN, inches=15.0)))


def _trained(directory: str | Path, name: str, keys: tuple[str, ...]) -> tuple[dict, dict]:
  """Fields of an `ImageDiffusion` that pixels and latents share, but for its space, and the JSON."""
  params, info = load_checked(directory, name, (*MODEL_BLOCKS, "threshold_mev", *keys))
  network = build_pixel_network(info["network"])
  shape = tuple(info["state_shape"]) if "state_shape" in info else (*info["shape"], 1)
  check_fit(params, jax.eval_shape(lambda: network.init(jax.random.key(0), shape)), directory, name)
  return dict(apply=network.apply, params=jax.tree.map(jnp.asarray, params), sde=build_sde(info["sde"]), state_shape=shape,
              **call_with(_prediction, "prediction", info["prediction"])), info


def build_pixel_diffusion(directory: str | Path) -> tuple[ImageDiffusion, dict]:
  """The trained pixel model in `directory`, and the JSON beside it.

  Raises:
    FileNotFoundError: naming the missing file.
    ValueError: naming the file that is truncated or does not fit.
  """
  fields, info = _trained(directory, "pixels", ("charge", "scale", "shape"))
  space = pixel_space(call_with(make_charge_transform, "charge", info["charge"]),
                      call_with(crops_lib.StateScale, "scale", info["scale"]), info["threshold_mev"])
  return ImageDiffusion(space=space, **fields), info


def build_interaction_diffusion(directory: str | Path, *, tile: int = 0) -> tuple[ImageDiffusion, dict]:
  """The trained latent model of whole interactions in `directory`, and the JSON beside it; errors as above.

  Args:
    directory: of the weights.
    tile: if not 0, decode squares of so many latents one after another, see `latent.decode_in_tiles`.
  """
  fields, info = _trained(directory, "interactions", ("image", "latent", "state_shape", "num_holdout"))
  trained = load_autoencoder(directory)
  space = latent_space_of(trained, info["latent"])
  if tile:
    space = space._replace(decode=decode_in_tiles(space.decode, tile=tile, reach=trained.network.decoder_reach))
  return ImageDiffusion(space=space, **fields), info


def build_image_diffusion(directory: str | Path, *, tile: int = 0) -> tuple[ImageDiffusion, dict]:
  """The unconditional model in `directory`, whichever it is; see the two builders above. "crops64": that of the package."""
  directory = weight_files.bundled_directory(CROPS) if str(directory) == CROPS else directory
  if (Path(directory) / "interactions.json").exists():
    return build_interaction_diffusion(directory, tile=tile)
  if tile:
    raise ValueError(f"tile = {tile} is for latent models; {directory} holds none (no interactions.json).")
  return build_pixel_diffusion(directory)


IMAGE_TASKS = {"pixel_diffusion": _pixel_task, "interaction_autoencoder": _interaction_autoencoder_task,
               "interaction_diffusion": _interaction_diffusion_task}
IMAGE_TASK_KEYS = {"pixel_diffusion": {"charge", "threshold_mev", "prediction", "sde", "sampler", "init_weights"},
                   "interaction_autoencoder": {"charge", "image"},
                   "interaction_diffusion": {"image", "autoencoder", "prediction", "sde", "sampler"}}
