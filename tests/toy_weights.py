"""Tiny generators with random weights, in the files that launch scripts read."""
import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build import estimator as config_estimator, models
from lartpc_jax.generators import condition as condition_lib, weights as weight_files
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.inference.estimator import observe

ESTIMATOR = dict(width=16, num_blocks=1, num_components=2)
AUTOENCODER = dict(latent_channels=4, stem=8, features=8, num_encoder_blocks=1, num_decoder_blocks=1)
DENOISER = dict(features=8, multipliers=[1], num_blocks=1, attention_levels=[], num_heads=1, num_groups=4)


def random_params(init, draw: np.random.Generator):
  """Random values in place of those of `init`, of which only the shapes are used: to run it takes half a
  minute."""
  shapes = jax.eval_shape(init)
  return jax.tree.map(lambda x: draw.normal(size=x.shape) / np.sqrt(max(np.prod(x.shape[:-1]), 4.0)), shapes)


def toy_params(init, seed: int = 0):
  """The same as float32 on the device."""
  return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), random_params(init, np.random.default_rng(seed)))


def save_toy_weights(directory, *, seed: int = 0):
  """Writes autoencoder and diffusion weights of random values; returns the directory."""
  draw = np.random.default_rng(seed)
  key = jax.random.key(0)
  autoencoder = models.build_autoencoder(AUTOENCODER)
  denoiser = models.build_denoising_network({"name": "latent_unet", **DENOISER})
  randomly = lambda init: random_params(init, draw)
  weight_files.save_weights(
      directory, "autoencoder",
      randomly(lambda: autoencoder.init(key, TrackFrame().shape)),
      {
          "network": AUTOENCODER, "charge": dict(
              name="sqrt", scale_mev=1.0), "image": ImageSpec()._asdict(), "frame": TrackFrame()._asdict(),
          "step": 0, "latent": {"shift": np.zeros(4).tolist(), "scale": np.ones(4).tolist()}
      })
  weight_files.save_weights(directory, "diffusion", randomly(lambda: denoiser.init(key, (8, 4, 5))), {
      "network": DENOISER, "sde": dict(name="vp", beta_min=0.1, beta_max=20.0), "momentum_scale_mev": 500.0,
      "charge_ratio": dict(mean=1.0, std=0.1),
      "kinetic_range_mev": [50.0, 100.0], "step": 0})
  return directory


def save_toy_estimator(directory, *, num_views: int, seed: int = 0):
  """Writes weights of random values of an estimator of one or two views."""
  network, views = config_estimator.build_density(ESTIMATOR), ("xy", "xz")[:num_views]
  num = jax.eval_shape(lambda x: observe(x, views).features, jnp.zeros((1, num_views, 64, 64))).shape[1]
  params = random_params(lambda: network.init(jax.random.key(0), num), np.random.default_rng(seed))
  weight_files.save_weights(directory, config_estimator.NAMES[num_views], params, {
      "network": ESTIMATOR, "image": ImageSpec()._asdict(), "kinetic_range_mev": [50.0, 100.0], "step": 0})


PARTICLES_MEV = {"proton": (50.0, 100.0), "mu-": (20.0, 60.0), "e-": (10.0, 60.0)}
_IMAGES = dict(latent_channels=2, stem=8, features=8, num_encoder_blocks=1, num_decoder_blocks=1)


def save_toy_images(directory, *, particles=None, num_pixels: int = 64, seed: int = 0):
  """Writes weights of random values of a generator of images as they are, told a momentum; with `particles`
  (name -> range of kinetic energy) also which of them.
  """
  draw, spec = np.random.default_rng(seed), ImageSpec(num_pixels=num_pixels)
  autoencoder = models.build_autoencoder(_IMAGES)
  randomly = lambda init: random_params(init, draw)
  weight_files.save_weights(
      directory, "autoencoder", randomly(lambda: autoencoder.init(jax.random.key(0), spec.shape)),
      {"network": _IMAGES, "charge": dict(name="sqrt", scale_mev=1.0), "image": spec._asdict(), "frame": None,
       "step": 0, "latent": {"shift": [0.0] * 2, "scale": [1.0] * 2}})
  declared = {"momentum_mev": dict(kind="vector", scale=150.0)}
  if particles:
    declared["particle"] = dict(kind="label", classes=list(particles))
  condition = condition_lib.make_condition(declared)
  network = {"name": "latent_unet", **DENOISER, "conditioning": "features"}
  built = models.build_denoising_network(network, num_features=condition_lib.num_features(condition))
  side = num_pixels // _IMAGES["stem"]
  weight_files.save_weights(
      directory, "generator", randomly(lambda: built.init(jax.random.key(0), (side, side, 3))),
      {"network": network, "sde": dict(name="vp", beta_min=0.1, beta_max=20.0),
       "prediction": dict(name="edm", sigma_data=1.0), "condition": declared, "frame": None,
       "codec": {"name": "autoencoder", "latent": {"shift": [0.0] * 2, "scale": [1.0] * 2}},
       "charge_plane": dict(reference="none", mean=50.0, std=20.0), "image": spec._asdict(),
       "kinetic_range_mev": particles or [50.0, 100.0],
       "sampler": dict(name="dpm_solver_pp_2m", num_steps=2), "shape": list(spec.shape), "step": 0})
  return directory
