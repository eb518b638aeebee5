r"""Conditional latent diffusion of anyone's images with labels, without any physics inside.

python -m launch.train --config=configs/images_ldm.py --config.data.path=DIRECTORY_OF_IMAGES \
    --config.codec.weights=runs/images_ae/weights --workdir=runs/images
python -m launch.train --config=configs/images_ldm.py:particles --config.data.path=DIRECTORY_OF_BATCHES \
    --config.codec.weights=runs/particles_ae/weights --workdir=runs/particles
python -m launch.generate --weights=runs/particles/weights --momentum=80,40,0 --cond=particle=mu- --num=16 \
    --out=runs/muons

The autoencoder first: configs/images_autoencoder.py, with the same data and the same image.num_pixels.
base: momentum. particles: type and momentum of single particles, proton 50-100 MeV, mu- and pi+ 20-60 MeV, e-
and gamma 10-60 MeV. simpledet: class of a shower, 256x256; not run. primaries: crops, or whole interactions,
by what starts at the vertex, as --cond=count_proton=1,count_mu-=1,kinetic_mev=300 of launch.sample; not run.
gpu, particles_gpu: for one GPU; not run. tiny and NAME_tiny: for tests.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

NETWORK = dict(features=64, multipliers=(1, 2), num_blocks=2, attention_levels=(1,), num_heads=4,
               num_groups=8, conditioning="features")
# Kinetic energies in MeV that each particle is simulated with; a generator is not asked for others.
PARTICLES_MEV = {"proton": (50.0, 100.0), "mu-": (20.0, 60.0), "pi+": (20.0, 60.0), "e-": (10.0, 60.0),
                 "gamma": (10.0, 60.0)}
BASE = dict(image=common.protons64_image(), network=NETWORK, batch_size=64, num_holdout=5_000,
            condition=dict(momentum_mev=dict(kind="vector", scale=500.0)), kinetic=common.PROTON_KINETIC_MEV,
            plane=dict(reference="none", mean=75.0, std=15.0), num_steps=16_000, every=1_000, rate=1e-3,
            p_mean=-0.4)
# Charges in training pictures: 54 +- 24 MeV over all types. The momenta, 10 to 445 MeV/c, are those of light
# particles too: on the scale of protons an electron would hardly be told from one of half its energy.
PARTICLES = dict(
    BASE, num_holdout=10_000, kinetic=PARTICLES_MEV, p_mean=0.0,
    plane=dict(reference="none", mean=54.0, std=24.0),
    condition=dict(momentum_mev=dict(kind="vector", scale=150.0, low=10.0, high=445.0),
                   particle=dict(kind="label", classes=tuple(PARTICLES_MEV))))
SIMPLEDET = dict(
    BASE, image=common.simpledet256_image(), batch_size=16, kinetic=None, plane=None,
    condition={"class": dict(kind="label", classes=("electron", "photon", "dark_neutrino_pair"))})
# Whole interactions, or crops of them, by their primaries: how many of which, and their energy together. Of a
# crop they are those of the event that it was cut from.
COUNTED = ("proton", "mu-", "pi+", "pi-", "e-", "gamma")
PRIMARIES = dict(
    BASE, image=common.events64_image(), kinetic=None, plane=None, p_mean=0.5, num_holdout=500,
    condition={**{f"count_{name}": dict(kind="scalar", mean=0.5, scale=1.0, low=0.0, high=5.0)
                  for name in COUNTED},
               "kinetic_mev": dict(kind="scalar", mean=6.0, scale=0.7, low=10.0, high=3_000.0, log=True)})
GPU = dict(network={**NETWORK, "features": 96}, batch_size=512, num_steps=20_000, every=2_000)
TINY = dict(network={**NETWORK, "features": 16}, batch_size=8, num_holdout=4, num_steps=20, every=10)
VARIANTS = {
    "base": BASE, "gpu": dict(BASE, **GPU), "tiny": dict(BASE, **TINY, path="sample"),
    "particles": PARTICLES, "particles_gpu": dict(PARTICLES, **GPU),
    "particles_tiny": dict(PARTICLES, **TINY),
    "simpledet": SIMPLEDET, "simpledet_tiny": dict(SIMPLEDET, **TINY),
    "primaries": PRIMARIES, "primaries_tiny": dict(PRIMARIES, **TINY),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="generator", seed=0, init_from="", frame=None))
  config.image = v["image"]
  config.condition = v["condition"]
  config.kinetic_range_mev = v["kinetic"]
  config.codec = dict(name="autoencoder", weights="")
  config.charge_plane = v["plane"]
  config.data = common.data({"path": "", **v}, "symmetries", "scale_mev", "nan")
  config.network = {"name": "latent_unet", **v["network"]}
  config.prediction = common.block(schema.Prediction)
  config.sde = dict(name="vp", beta_min=0.1, beta_max=20.0)
  config.loss = common.block(schema.Loss, p_mean=v["p_mean"], p_std=1.4, cond_dropout=0.1)
  config.sampler = common.sampler()
  config.optim = common.optim(v["rate"], v["num_steps"], warmup_steps=500, weight_decay=1e-4)
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
