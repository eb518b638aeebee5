"""Reads weights of generators: today's files, and by a translation those of earlier versions."""
from pathlib import Path

from lartpc_jax.build.models import load_checked
from lartpc_jax.types import Params
from lartpc_jax.units import momentum_from_kinetic

REQUIRED = ("network", "sde", "prediction", "codec", "charge_plane", "condition", "frame", "image", "shape")


def _of_protons(directory: Path, info: dict) -> dict:
  """diffusion.json beside autoencoder.json: single protons in the track frame."""
  _, autoencoder = load_checked(directory, "autoencoder", ("latent", "frame", "image"))
  low, high = (float(momentum_from_kinetic(kinetic)) for kinetic in info["kinetic_range_mev"])
  frame = autoencoder["frame"]
  momentum = {"kind": "vector", "scale": info["momentum_scale_mev"], "low": low, "high": high}
  return {
      "network": {"name": "latent_unet", "conditioning": "track", **info["network"]},
      "prediction": {"name": "edm", "sigma_data": 1.0},
      "codec": {"name": "autoencoder", "latent": autoencoder["latent"]},
      "charge_plane": {"reference": "kinetic", **info["charge_ratio"]},
      "condition": {"momentum_mev": momentum}, "frame": frame, "image": autoencoder["image"],
      "shape": [frame["num_along"], frame["num_across"]]
  }


def _of_pixels(directory: Path, info: dict) -> dict:
  """pixels.json: unconditional, on pixels of crops."""
  del directory
  return {
      "network": {"name": "ncsnpp", **info["network"]}, "charge_plane": None, "condition": {}, "frame": None,
      "codec": {"name": "pixels", **{name: info[name] for name in ("charge", "threshold_mev", "scale")}},
      "image": None, "kinetic_range_mev": None, "data": {"num_holdout": info["num_holdout_events"]}
  }


def _of_interactions(directory: Path, info: dict) -> dict:
  """interactions.json beside autoencoder.json: unconditional, on latents of whole interactions."""
  del directory
  side = info["image"]["num_pixels"]
  return {
      "network": {"name": "ncsnpp", **info["network"]}, "charge_plane": None, "condition": {}, "frame": None,
      "codec": {"name": "autoencoder", "latent": info["latent"]}, "kinetic_range_mev": None,
      "shape": [side, side], "data": {"num_holdout": info["num_holdout"]}
  }


# name of the old files -> (keys that the JSON must have, translation of what differs from today's)
OLD = {
    "diffusion": (("network", "sde", "momentum_scale_mev", "kinetic_range_mev", "charge_ratio"), _of_protons),
    "pixels": (("network", "sde", "prediction", "charge", "scale", "shape", "threshold_mev"), _of_pixels),
    "interactions": (
        ("network", "sde", "prediction", "image", "latent", "state_shape", "num_holdout"), _of_interactions)
}


def load_description(directory: Path) -> tuple[str, Params, dict]:
  """Name of the file in `directory`, parameters of the network, and the description (see `build.generators`).

  Raises:
    FileNotFoundError: naming the missing file.
    ValueError: naming the file that is truncated or lacks something.
  """
  for name, (keys, translate) in OLD.items():
    if (directory / f"{name}.json").exists():
      params, info = load_checked(directory, name, keys)
      return name, params, {**info, **translate(directory, info)}
  params, info = load_checked(directory, "generator", REQUIRED)
  return "generator", params, info
