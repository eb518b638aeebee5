"""Builders of single models from config blocks and from released weights: SDEs, samplers, networks, codecs of
autoencoders.

For the other modules of `build`, which put them together.
"""
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lartpc_jax.config.blocks import call_with, parse, pick, section
from lartpc_jax.config.schema import Sampler
from lartpc_jax.diffusion import samplers, time_grids
from lartpc_jax.diffusion.sde import SDE, SDES
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.generators.codec import Codec, LatentScale, autoencoder_codec
from lartpc_jax.geometry.charge import ChargeTransform, make_charge_transform
from lartpc_jax.geometry.frames import TrackFrame, remaining_sigma_mm
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.networks import api as networks
from lartpc_jax.transport import emd as emd_lib
from lartpc_jax.types import Params


def build_sde(values: dict) -> SDE:
  """SDE of a config block `sde`."""
  function, rest = pick(SDES, "sde", values)
  return call_with(function, "sde", rest)


def build_sampler(sde: SDE, **values) -> Callable:
  """Sampler of a config block `sampler`: sample(score_fn, noise, key=None) -> x0, from standard normal noise.

  See `diffusion.samplers`; the noise is scaled to the first level of the grid, whatever the SDE.

  Args:
    sde: of the generator.
    **values: fields of `config.schema.Sampler`, and knobs of the sampler of that name.
  Raises:
    ValueError: naming an unknown sampler or knob, or too few evaluations.
  """
  fields = {field.name for field in dataclasses.fields(Sampler)}
  settings = parse(Sampler, "sampler", {key: value for key, value in values.items() if key in fields})
  name, num_steps = settings.name, settings.num_steps
  knobs = {key: value for key, value in values.items() if key not in fields}
  allowed = inspect.signature(samplers.SAMPLERS[name]).parameters if name in samplers.SAMPLERS else knobs
  for key in sorted(set(knobs) - set(allowed)):
    raise ValueError(
        f"Sampler {name!r} takes no option {key!r}; it takes {sorted(set(allowed) - {'sde', 'times'})}.")
  if settings.num_evaluations is not None:
    counted = {key: value for key, value in knobs.items() if key in ("num_corrections", "method")}
    known = samplers.num_evaluations(name, 1, **counted)
    num_steps = samplers.num_steps_for(name, settings.num_evaluations, **counted) if known else 1
  times = (time_grids.uniform_grid(num_steps, t_min=settings.t_min, sde=sde) if settings.uniform else
           time_grids.karras_grid(sde, num_steps, sigma_min=settings.sigma_min, sigma_max=settings.sigma_max,
                                  rho=settings.rho))
  return samplers.start_from_noise(sde, times, samplers.make_sampler(name, sde, times, **knobs))


def build_autoencoder(values: dict) -> networks.AutoencoderNetwork:
  """Autoencoder of a config block `network`; Raises ValueError naming an unknown key."""
  from lartpc_jax.networks.autoencoder import Autoencoder
  check_fields(Autoencoder, values)
  return networks.make_autoencoder(**values)


def build_denoising_network(values: Mapping, *, num_features: int = 0,
                            map_shape: tuple[int, int, int] | None = None) -> networks.DenoiserNetwork:
  """Network of a config block `network`: a name of `networks.api.DENOISERS` and fields of its module.

  Args:
    values: the block.
    num_features: length of the condition's features, for networks that take such.
    map_shape: of the block map that the network is told; None if it is told none.
  Raises:
    ValueError: naming an unknown name or key, or what does not fit.
  """
  (module, make), fields = pick(networks.DENOISERS, "network", dict(values))
  check_fields(module, fields)
  return make(num_features=num_features, map_shape=map_shape, **fields)


def check_fields(module, values: dict) -> None:
  """Raises ValueError naming a key of a config block `network` that the flax module does not have."""
  allowed = sorted(set(module.__dataclass_fields__) - {"parent", "name"})
  for key, value in values.items():
    if key not in allowed:
      raise ValueError(f"Unknown config key network.{key} = {value!r}; allowed: {allowed}.")


def build_geometry(config: Mapping) -> tuple[ImageSpec | None, TrackFrame | None]:
  """Detector images and track frame of the blocks `image` and `frame`; either may be None (or missing).

  Raises:
    ValueError: naming a missing or unknown key, or a track frame that smears more than the detector.
  """
  spec, frame = (call_with(kind, name, section(config, name)) if config.get(name) else None
                 for kind, name in ((ImageSpec, "image"), (TrackFrame, "frame")))
  if frame is not None:
    if spec is None:
      raise ValueError(
          "A block `frame` needs a block `image`, the detector that the pictures are turned into.")
    remaining_sigma_mm(frame, spec)
  return spec, frame


def build_window(info: Mapping) -> ImageSpec | TrackFrame:
  """Geometry of the images that an autoencoder was trained on: the track frame, or detector pixels where
  `frame` is None."""
  spec, frame = build_geometry(info)
  return spec if frame is None else frame


def load_checked(directory: str | Path, name: str, keys: tuple[str, ...]) -> tuple[Params, dict]:
  """Released weights `name` and the JSON beside them, which must hold `keys`; see
  `weight_files.load_weights`."""
  params, info = weight_files.load_weights(directory, name)
  missing = [key for key in keys if key not in info]
  if missing:
    raise ValueError(f"{Path(directory) / name}.json: lacks {missing}; it holds {sorted(info)}.")
  return params, info


def check_fit(params: Params, wanted: Params, directory: str | Path, name: str) -> None:
  """Raises ValueError naming the first weight whose shape is not that of the network."""
  shapes = lambda tree: {jax.tree_util.keystr(path): tuple(leaf.shape)
                         for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}
  stored, wanted = shapes(params), shapes(wanted)
  for key in sorted(stored.keys() | wanted.keys()):
    if stored.get(key) != wanted.get(key):
      raise ValueError(f"{Path(directory) / name}.npz does not fit the network of {name}.json: {key} is "
                       f"{stored.get(key)}, the network needs {wanted.get(key)}.")


class TrainedAutoencoder(NamedTuple):
  """Released autoencoder weights, and what they were trained on."""
  network: networks.AutoencoderNetwork
  params: Params
  transform: ChargeTransform
  window: ImageSpec | TrackFrame
  info: dict                           # the JSON beside the weights


def load_autoencoder(directory: str | Path) -> TrainedAutoencoder:
  """The autoencoder in `directory`. Raises FileNotFoundError or ValueError naming the file that is missing or
  wrong."""
  params, info = load_checked(directory, "autoencoder", ("network", "latent", "charge", "image", "frame"))
  network, window = build_autoencoder(info["network"]), build_window(info)
  check_fit(params, jax.eval_shape(lambda: network.init(jax.random.key(0), window.shape)), directory,
            "autoencoder")
  return TrainedAutoencoder(network, params, call_with(make_charge_transform, "charge", info["charge"]),
                            window, info)


def autoencoder_codec_of(trained: TrainedAutoencoder, latent: Mapping, shape: tuple[int, int]) -> Codec:
  """Its codec for images of `shape`, normalised with the `shift` and `scale` of a JSON."""
  scale = LatentScale(*(jnp.asarray(latent[name], jnp.float32) for name in ("shift", "scale")))
  return autoencoder_codec(trained.network.encode, trained.network.decode, trained.params, scale, shape=shape,
                           transform=trained.transform, threshold_mev=trained.window.threshold_mev)


def build_autoencoder_codec(directory: str | Path) -> tuple[Codec, TrainedAutoencoder]:
  """Codec of released autoencoder weights for the images of its training, and those weights."""
  trained = load_autoencoder(directory)
  return autoencoder_codec_of(trained, trained.info["latent"], trained.window.shape), trained


def build_emd_batch() -> Callable:
  """(images [b n m], images [b n m]) -> Earth Mover's Distances [b] in pixels, for evaluation."""
  distance = emd_lib.make_emd(**emd_lib.REPORTING)
  return jax.jit(jax.vmap(lambda a, b: distance.emd(a, b).value))
