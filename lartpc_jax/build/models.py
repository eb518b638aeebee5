"""Builders of single models from config blocks and from released weights: SDEs, samplers, networks, latent spaces.

For `config` and `config_images`, which put them together.
"""
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lartpc_jax.config.blocks import call_with, pick, section
from lartpc_jax.diffusion import samplers, time_grids
from lartpc_jax.diffusion.sde import SDE, SDES
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.generators.latent import LatentScale, LatentSpace, make_latent_space
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


def build_sampler(sde: SDE, *, name: str = "dpm_solver_pp_2m", num_steps: int = 8, sigma_min: float = 0.02,
                  sigma_max: float = 80.0, rho: float = 7.0, remat: bool = False) -> Callable:
  """Sampler of a config block `sampler`, on a Karras grid."""
  times = time_grids.karras_grid(sde, num_steps, sigma_min=sigma_min, sigma_max=sigma_max, rho=rho)
  return samplers.make_sampler(name, sde, times, remat=remat)


def build_pixel_sampler(sde: SDE, *, name: str, num_evaluations: int = 20, uniform: bool = False, t_min: float = 1e-3,
                        sigma_min: float = 0.02, sigma_max: float = 80.0, rho: float = 7.0, progress: Callable | None = None,
                        **knobs) -> Callable:
  """The sampler `name` with at most num_evaluations network evaluations; `knobs` are those of the sampler.

  Its times are those of a Karras grid, or uniform from 1 to t_min. An adaptive sampler takes what it needs.
  Raises ValueError naming an unknown sampler or knob, or too few evaluations.
  """
  allowed = inspect.signature(samplers.SAMPLERS[name]).parameters if name in samplers.SAMPLERS else knobs
  for key in sorted(set(knobs) - set(allowed)):
    raise ValueError(f"Sampler {name!r} takes no option {key!r}; it takes {sorted(set(allowed) - {'sde', 'times'})}.")
  counted = {key: value for key, value in knobs.items() if key in ("num_corrections", "method")}
  known = samplers.num_evaluations(name, 1, **counted)
  num_steps = samplers.num_steps_for(name, num_evaluations, **counted) if known else 1
  times = (time_grids.uniform_grid(num_steps, t_min=t_min) if uniform else
           time_grids.karras_grid(sde, num_steps, sigma_min=sigma_min, sigma_max=sigma_max, rho=rho))
  return samplers.make_sampler(name, sde, times, **knobs, **({} if progress is None else {"progress": progress}))


def build_autoencoder(values: dict) -> networks.AutoencoderNetwork:
  """Autoencoder of a config block `network`; Raises ValueError naming an unknown key."""
  from lartpc_jax.networks.autoencoder import Autoencoder
  check_fields(Autoencoder, values)
  return networks.make_autoencoder(**values)


def build_denoiser(values: dict) -> networks.DenoiserNetwork:
  """Latent denoiser of a config block `network`. Raises ValueError naming an unknown key."""
  from lartpc_jax.networks.unet import LatentUNet
  check_fields(LatentUNet, values)
  return networks.make_latent_unet(**values)


def build_pixel_network(values: dict) -> networks.DenoiserNetwork:
  """Pixel U-Net of a config block `network`. Raises ValueError naming an unknown key."""
  from lartpc_jax.networks.ncsnpp import NCSNpp
  check_fields(NCSNpp, values)
  return networks.make_ncsnpp(**values)


def build_sparse_network(values: dict, **shapes) -> networks.DenoiserNetwork:
  """Transformer of a config block `network`; `shapes` as in `networks.make_sparse_transformer`, which raises as well."""
  from lartpc_jax.networks.sparse_transformer import SparseTransformer
  check_fields(SparseTransformer, values)
  return networks.make_sparse_transformer(**values, **shapes)


def check_fields(module, values: dict) -> None:
  """Raises ValueError naming a key of a config block `network` that the flax module does not have."""
  allowed = sorted(set(module.__dataclass_fields__) - {"parent", "name"})
  for key, value in values.items():
    if key not in allowed:
      raise ValueError(f"Unknown config key network.{key} = {value!r}; allowed: {allowed}.")


def build_geometry(config: Mapping) -> tuple[ImageSpec, TrackFrame]:
  """Detector images and track frame of the config blocks `image` and `frame`.

  Raises:
    ValueError: naming a missing or unknown key, or a track frame that smears more than the detector.
  """
  spec = call_with(ImageSpec, "image", section(config, "image"))
  frame = call_with(TrackFrame, "frame", section(config, "frame"))
  remaining_sigma_mm(frame, spec)
  return spec, frame


def build_window(info: Mapping) -> ImageSpec | TrackFrame:
  """Geometry of the images that an autoencoder was trained on: the track frame, or detector pixels where `frame` is None."""
  if info["frame"] is None:
    return call_with(ImageSpec, "image", section(info, "image"))
  return build_geometry(info)[1]


def load_checked(directory: str | Path, name: str, keys: tuple[str, ...]) -> tuple[Params, dict]:
  """Released weights `name` and the JSON beside them, which must hold `keys`; see `weight_files.load_weights`."""
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
  """The autoencoder in `directory`. Raises FileNotFoundError or ValueError naming the file that is missing or wrong."""
  params, info = load_checked(directory, "autoencoder", ("network", "latent", "charge", "image", "frame"))
  network, window = build_autoencoder(info["network"]), build_window(info)
  check_fit(params, jax.eval_shape(lambda: network.init(jax.random.key(0), window.shape)), directory, "autoencoder")
  return TrainedAutoencoder(network, params, call_with(make_charge_transform, "charge", info["charge"]), window, info)


def latent_space_of(trained: TrainedAutoencoder, latent: Mapping) -> LatentSpace:
  """Its latent space, normalised with the `shift` and `scale` of a JSON."""
  scale = LatentScale(*(jnp.asarray(latent[name], jnp.float32) for name in ("shift", "scale")))
  return make_latent_space(trained.network.encode, trained.network.decode, trained.params, scale,
                           transform=trained.transform, threshold_mev=trained.window.threshold_mev)


def build_latent_space(directory: str | Path) -> tuple[LatentSpace, tuple[int, int, int], dict]:
  """Latent space of released autoencoder weights, its shape (h, w, c), and the JSON beside them."""
  trained = load_autoencoder(directory)
  space = latent_space_of(trained, trained.info["latent"])
  return space, jax.eval_shape(space.encode, jnp.zeros((1, *trained.window.shape))).shape[1:], trained.info


def build_emd_batch() -> Callable:
  """(images [b n m], images [b n m]) -> Earth Mover's Distances [b] in pixels, for evaluation."""
  distance = emd_lib.make_emd(**emd_lib.REPORTING)
  return jax.jit(jax.vmap(lambda a, b: distance.emd(a, b).value))
