"""Builds generators from released weights, and their training tasks from configs.

Both go through one description: a dict with the blocks of `Description`, which is also the JSON beside the
weights. Files of earlier versions are read by `build.old_weights`.
"""
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build import old_weights
from lartpc_jax.build.models import (
  autoencoder_codec_of,
  build_denoising_network,
  build_emd_batch,
  build_geometry,
  build_sampler,
  build_sde,
  check_fit,
  load_autoencoder,
)
from lartpc_jax.build.training_data import build_generator_data
from lartpc_jax.config.blocks import call_with, parse, pick, section
from lartpc_jax.config.compare import plain
from lartpc_jax.config.schema import Loss, Prediction
from lartpc_jax.diffusion.prediction import PREDICTIONS
from lartpc_jax.generators import condition as condition_lib, frame as frames, weights as weight_files
from lartpc_jax.generators.codec import (
  ChargePlane,
  Codec,
  StateScale,
  decode_in_tiles,
  measure_latent_scale,
  measure_state_scale,
  pixel_codec,
  with_charge_plane,
)
from lartpc_jax.generators.generator import Denoiser, Generator, make_generate, replace_params
from lartpc_jax.geometry.charge import make_charge_transform
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.networks.api import DenoiserNetwork
from lartpc_jax.train.denoising import denoising_task, make_objective
from lartpc_jax.train.task import Task, TaskData
from lartpc_jax.units import kinetic_from_momentum

NAME = "generator"   # of the files of released weights
NUM_SCALE_IMAGES = 4096  # training images that the normalisation of pixels is measured on
NUM_SCALE_LATENTS = 128  # and that of latents
BLOCKS = ("network", "sde", "prediction", "codec", "charge_plane", "condition", "frame", "image",
          "kinetic_range_mev", "sampler")
REFERENCES = {  # what the charge plane is relative to: cond -> MeV [b]
    "kinetic": lambda cond: kinetic_from_momentum(jnp.linalg.norm(cond["momentum_mev"], axis=-1)),
    "none": lambda cond: 1.0}  # the charge itself, in MeV


class Weights(NamedTuple):
  """Released weights of a generator."""
  generator: Generator
  info: dict           # the description, and what else the JSON says
  digests: dict        # sha256 of the files by name: what a run writes down to know its weights again


def _gated(description: Mapping) -> bool:
  return bool(description["network"].get("gated_skip"))


def _build_denoiser(description: Mapping,
                    condition: condition_lib.Condition) -> tuple[Denoiser, DenoiserNetwork]:
  num_features = condition_lib.num_features(condition) if condition.variables else 0
  network = build_denoising_network(description["network"], num_features=num_features)
  prediction = parse(Prediction, "prediction", description["prediction"])
  if prediction.name not in PREDICTIONS:
    raise ValueError(f"Unknown config value prediction.name = {prediction.name!r}; allowed: "
                     f"{sorted(PREDICTIONS)}.")
  if _gated(description) and (prediction.name != "edm" or prediction.sigma_data != 1.0):
    raise ValueError("network.gated_skip needs prediction.name = 'edm' and prediction.sigma_data = 1; got "
                     f"{prediction.name!r} and {prediction.sigma_data}.")
  sde = build_sde(description["sde"])
  return Denoiser(network.apply, None, sde, prediction.name, prediction.sigma_data), network


def _pixel_codec(*, charge: Mapping, threshold_mev: float, scale: Mapping, shape: tuple[int, int]) -> Codec:
  return pixel_codec(call_with(make_charge_transform, "codec.charge", charge),
                     call_with(StateScale, "codec.scale", scale), threshold_mev=threshold_mev,
                     shape=tuple(shape))


def _autoencoder_codec(*, weights: str | Path, latent: Mapping, shape: tuple[int, int],
                       tile: int = 0) -> Codec:
  trained = load_autoencoder(weights)
  codec = autoencoder_codec_of(trained, latent, shape)
  if not tile:
    return codec
  return codec._replace(decode=decode_in_tiles(codec.decode, tile=tile, reach=trained.network.decoder_reach))


CODECS = {"pixels": _pixel_codec, "autoencoder": _autoencoder_codec}


def _build_codec(description: Mapping, shape: tuple[int, int], **more) -> Codec:
  """Codec of the block `codec`, with the plane of the block `charge_plane` if there is one."""
  function, values = pick(CODECS, "codec", description["codec"])
  codec = call_with(function, "codec", values, shape=shape, **more)
  if not description["charge_plane"]:
    return codec
  reference, values = pick({name: lambda name=name: name for name in REFERENCES}, "charge_plane", {
      "name": description["charge_plane"]["reference"],
      **{k: v for k, v in description["charge_plane"].items() if k != "reference"}})
  return with_charge_plane(codec, call_with(ChargePlane, "charge_plane", values), REFERENCES[reference()])


def _assemble(description: Mapping, shape: tuple[int, int], **codec) -> tuple[Generator, DenoiserNetwork]:
  """Generator without parameters of a description, for canonical pictures of `shape`, and its raw network."""
  spec, frame = build_geometry(description)
  condition = condition_lib.make_condition(description["condition"])
  track = description["network"].get("name") == "latent_unet" and description["network"].get(
      "conditioning") != "features"
  if track and (frame is None or set(condition.variables) != {"momentum_mev"}):
    raise ValueError(
        "network.conditioning = 'track' needs a block `frame` and the condition momentum_mev alone; use "
        "network.conditioning = 'features' for others.")
  denoiser, network = _build_denoiser(description, condition)
  return Generator(
      denoiser, _build_codec(description, shape, **codec), condition,
      condition_lib.track_inputs(condition) if track else condition_lib.feature_inputs(condition),
      frames.IDENTITY if frame is None else frames.track_frame(frame, spec), spec,
      _kinetic_range(description["kinetic_range_mev"], condition)), network


def _kinetic_range(values, condition: condition_lib.Condition) -> tuple | dict | None:
  """Kinetic energies of the training particles: (low, high), or by particle, as `Generator` has them.

  Raises:
    ValueError: naming particles of the condition without a range, or the other way round.
  """
  if not values:
    return None
  if not isinstance(values, Mapping):
    return tuple(values)
  particles = condition.variables["particle"].classes if "particle" in condition.variables else ()
  if set(values) != set(particles):
    raise ValueError(f"kinetic_range_mev has ranges of {sorted(values)}; the condition has the particles "
                     f"{sorted(particles)}.")
  return {name: tuple(values[name]) for name in particles}


def build_generator(weights: str | Path | None = None, *, tile: int = 0) -> Weights:
  """The trained generator in `weights`: a directory, or the name of one that ships with the package (None:
  protons64).

  Args:
    weights: directory or name; see `generators.weights.find_weights`.
    tile: if not 0, an autoencoder decodes squares of so many latents one after another, see
      `codec.decode_in_tiles`.
  Raises:
    FileNotFoundError: naming the missing file.
    ValueError: naming the file that is truncated or does not fit, or a tile for a generator of pixels.
  """
  directory = weight_files.find_weights(weights)
  name, params, info = old_weights.load_description(directory)
  codec = {}
  if info["codec"]["name"] == "autoencoder":
    codec = {"weights": directory, "tile": tile}
  elif tile:
    raise ValueError(f"tile = {tile} is for latent models; {directory} holds none.")
  generator, network = _assemble(info, tuple(info["shape"]), **codec)
  shape = generator.codec.state_shape
  check_fit(params, jax.eval_shape(lambda: network.init(jax.random.key(0), shape)), directory, name)
  params = jax.tree.map(jnp.asarray, params)
  digests = {name: info["sha256"]}
  if info["codec"]["name"] == "autoencoder":
    digests["autoencoder"] = weight_files.load_weights(directory, "autoencoder")[1]["sha256"]
  return Weights(replace_params(generator, params), info, digests)


def _measured(description: dict, training: Callable) -> dict:
  """The description with the normalisation of its states, measured on training images where nothing else
  tells it.

  A network with a gated skip wants states whose empty pixels are 0.
  """
  name, values, gated = description["codec"]["name"], dict(description["codec"]), _gated(description)
  if name == "pixels":
    transform = call_with(make_charge_transform, "codec.charge", values["charge"])
    values["scale"] = measure_state_scale(training(NUM_SCALE_IMAGES), transform, about_empty=gated)._asdict()
  elif gated:
    sample = training(NUM_SCALE_LATENTS)
    flat = _autoencoder_codec(weights=values["weights"], latent={"shift": [0.0], "scale": [1.0]},
                              shape=sample.shape[1:])
    scale = measure_latent_scale(_in_chunks(flat.encode, sample), about_empty=True)
    values["latent"] = {key: np.asarray(value).tolist() for key, value in scale._asdict().items()}
  else:
    values["latent"] = load_autoencoder(values["weights"]).info["latent"]
  return {**description, "codec": values}


def _in_chunks(encode: Callable, images: np.ndarray, chunk: int = 16) -> jax.Array:
  encode = jax.jit(encode)
  return jnp.concatenate([encode(images[i:i + chunk]) for i in range(0, len(images), chunk)])


def _find_autoencoder(description: dict) -> dict:
  """The description with the directory of its autoencoder, whose images must be those of the config."""
  values = dict(description["codec"])
  if values.get("name") != "autoencoder":
    return description
  if not values.get("weights"):
    raise ValueError(
        "The config needs codec.weights: the directory of a trained autoencoder, or the name of weights of "
        "the package.")
  values["weights"] = str(weight_files.find_weights(values["weights"]))
  spec, frame = build_geometry(description)
  window = spec if frame is None else frame
  trained = load_autoencoder(values["weights"])
  same = (trained.window._replace(num_pixels=window.num_pixels) if isinstance(trained.window, ImageSpec) and
          frame is None else trained.window)  # convolutional: in detector pixels the size may differ
  if same != window or frame is not None and plain(trained.info["image"]) != plain(spec._asdict()):
    raise ValueError(
        f"The autoencoder in {values['weights']} was trained on {trained.window} of {trained.info['image']}; "
        f"the config says {window} of {spec._asdict()}.")
  return {**description, "codec": values}


def _seen(description: Mapping) -> dict:
  """The description as a network sees it: without the range of a condition, beyond which draws are
  refused."""
  variables = {name: {key: value for key, value in variable.items() if key not in ("low", "high")}
               for name, variable in (description["condition"] or {}).items()}
  return {**description, "condition": variables}


def _started_from(source: str, description: Mapping) -> Callable:
  """init(key, shape) that starts from released weights (a directory or a name) in place of random numbers."""
  _, params, info = old_weights.load_description(weight_files.find_weights(source))
  released, wanted = plain(_seen(info)), plain(_seen(description))
  for block in ("network", "prediction", "charge_plane", "condition"):
    if released[block] != wanted[block]:
      raise ValueError(
          f"init_from = {source!r} has {block} {released[block]}; the config says {wanted[block]}.")
  for name in ("scale", "latent"):
    stored, measured = info["codec"].get(name), wanted["codec"].get(name)
    if bool(stored) != bool(measured) or stored and not all(
        np.shape(stored[k]) == np.shape(measured[k]) and np.allclose(stored[k], measured[k], rtol=1e-3)
        for k in stored):
      raise ValueError(
          f"init_from = {source!r} was trained on other states: its codec.{name} is {stored}, that of these "
          f"data {measured}.")
  return lambda key, shape: jax.tree.map(jnp.asarray, params)


def generator_task(config: dict) -> Task:
  """Training task of a whole config with task = "generator"."""
  description = _find_autoencoder({name: config.get(name) for name in BLOCKS})
  spec, frame = build_geometry(description)
  data = build_generator_data(section(config, "data"), spec=spec, frame=frame, seed=config["seed"],
                              condition=condition_lib.make_condition(description["condition"]))
  if frame is not None and not data.in_track_frame:
    raise ValueError(
        f"data.path = {config['data']['path']!r} names images, which have no third dimension to make "
        "pictures of the track frame from: set frame to None, or take sparse events.")
  description = _measured(description, data.training)
  shape = data.holdout.batch["image"].shape[1:]
  generator, network = _assemble(description, shape)
  init = network.init if not config.get("init_from") else _started_from(config["init_from"], description)

  def export(params, directory, done):
    codec = {name: value for name, value in description["codec"].items() if name != "weights"}
    weight_files.save_weights(directory, NAME, params, {
        **description, "codec": codec, "shape": shape, "data": data.kept_apart, "step": done["step"]})
    if codec["name"] == "autoencoder":
      weight_files.copy_weights(description["codec"]["weights"], directory, "autoencoder")

  return denoising_task(
      init, generator, TaskData(data.batch_fn, data.holdout),
      objective=make_objective(network.apply, generator, parse(Loss, "loss", section(config, "loss"))),
      sampler=call_with(build_sampler, "sampler", section(config, "sampler"), sde=generator.denoiser.sde),
      distance=build_emd_batch() if generator.condition.variables else None, figure=data.figure,
      export=export)


def trained_states(config: Mapping, training: Callable, shape: tuple[int, int]) -> tuple[Codec, dict]:
  """Codec of the blocks `codec`, `charge_plane` and `image` of a config, and these as weights have them.

  Args:
    config: with the keys of the blocks `network` and `frame` a generator would have; for what works on states
      without being one.
    training: num -> the first training pictures, that normalisations are measured on.
    shape: of the pictures.
  """
  description = _measured(_find_autoencoder({
      "codec": config["codec"], "image": config.get("image"), "frame": None, "network": {},
      "charge_plane": config.get("charge_plane")}), training)
  saved = {name: value for name, value in description["codec"].items() if name != "weights"}
  if saved["name"] == "autoencoder":
    saved["sha256"] = weight_files.load_weights(description["codec"]["weights"], "autoencoder")[1]["sha256"]
  return _build_codec(description, shape), {
      "codec": saved, "charge_plane": description["charge_plane"], "image": description["image"]}


INFERENCE_KEYS = {"sampler", "screen_sampler", "inference", "guidance_scale", "distance"}


def build_generate(config: Mapping, generator: Generator, block: str = "sampler", *, mirrored: bool = False
                   ) -> Callable:
  """generate(noise, cond, key, pose) of an inference config, with the sampler of the given block; see
  `make_generate`.

  Raises:
    ValueError: naming a missing or unknown key.
  """
  for key in sorted(set(config) - INFERENCE_KEYS):
    raise ValueError(f"Unknown config key {key} = {config[key]!r}; allowed: {sorted(INFERENCE_KEYS)}.")
  if not np.isfinite(config.get("guidance_scale", 1.0)):
    raise ValueError(f"guidance_scale must be finite; got {config['guidance_scale']}.")
  sampler = call_with(build_sampler, block, section(config, block), sde=generator.denoiser.sde)
  return make_generate(generator, sampler, guidance_scale=float(config.get("guidance_scale", 1.0)),
                       mirrored=mirrored)
