r"""Momentum-conditional latent diffusion of 64x64 proton images.

python -m launch.train --config=configs/protons64_ldm.py --config.data.path=protons_geant4.npz \
    --config.codec.weights=runs/ae/weights --workdir=runs/ldm
python -m launch.train --config=configs/protons64_ldm.py:images --config.data.path=DIRECTORY_OF_BATCHES \
    --workdir=runs/images

codec.weights is the directory of a trained autoencoder, or the name of weights of the package;
init_from=protons64 goes on from the shipped weights. images, images_gpu, images_tiny: the general generator,
which learns from images and labels alone. particles_tiny: the same of two particles, asked for by
launch.generate --cond=particle=mu-. base: about 45 minutes on two CPU cores, reckoned from 390 images a
second; not run whole. The shipped weights came in two runs: 12,611 of 16,000
steps without the plane of `charge_ratio`; then, with a channel added that started at zero, 5,800 steps from
there at a rate of 8e-4 (init_from; warm-up of 100 steps, decay over the last 80 %): 1.18 million images in
all. Held-out loss 0.172; Earth Mover's Distance of one draw to a real event of equal momentum 0.51 px in the
median (64 sample events; two real events: 0.46), charge 0.1 +- 0.2 % off.
images: the weights protons64_images, 16,000 steps in 94 minutes of a core beside other jobs (at 250 images a
second when alone); held-out loss 0.094, distance of one draw to a real event 0.81 px in the median.
gpu: for launch/train_all_gpu.sh, not measured.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

SPECIALIST = dict(
    num_holdout=5_000, batch_size=64, data=("contained_only",), frame=common.track_frame(),
    network=dict(features=64, multipliers=(1, 2), num_blocks=2, attention_levels=(1,), num_heads=4,
                 num_groups=8, conditioning="track"),
    codec="protons64", plane=dict(reference="kinetic", mean=1.0, std=0.1), p_mean=-0.6)
# Images and labels, nothing else: no turn, no range of protons, no energy from the momentum. Training charges
# of protons are 75 +- 15 MeV.
IMAGES = dict(
    num_holdout=5_000, batch_size=64, data=("symmetries", "scale_mev"), frame=None,
    network={**SPECIALIST["network"], "conditioning": "features"}, codec="protons64_images",
    plane=dict(reference="none", mean=75.0, std=15.0), p_mean=-0.4)
VARIANTS = {
    "base": dict(SPECIALIST, path="", features=64, num_steps=16_000, every=1_000, rate=1e-3),
    "gpu": dict(SPECIALIST, path="", features=96, batch_size=512, num_steps=20_000, every=2_000, rate=1e-3),
    "images": dict(IMAGES, path="", features=64, num_steps=16_000, every=1_000, rate=1e-3),
    "images_gpu": dict(IMAGES, path="", features=96, batch_size=512, num_steps=20_000, every=2_000,
                       rate=1e-3),
    "tiny": dict(SPECIALIST, path="sample", features=16, num_holdout=100, batch_size=8, num_steps=20,
                 every=10, rate=1e-3),
    "images_tiny": dict(IMAGES, path="", features=16, num_holdout=4, batch_size=8, num_steps=20, every=10,
                        rate=1e-3),
    # The particle type besides the momentum: proton or muon.
    "particles_tiny": dict(IMAGES, path="", features=16, num_holdout=8, batch_size=8, num_steps=20, every=10,
                           rate=1e-3, particles=("proton", "mu-")),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="generator", seed=0, init_from=""))
  config.image = common.protons64_image()
  config.frame = v["frame"]
  config.condition = common.proton_condition()
  if "particles" in v:
    config.condition = dict(momentum_mev=dict(kind="vector", scale=500.0),
                            particle=dict(kind="label", classes=v["particles"]))
  by_particle = {"proton": common.PROTON_KINETIC_MEV, "mu-": (20.0, 60.0)}
  config.kinetic_range_mev = by_particle if "particles" in v else common.PROTON_KINETIC_MEV
  config.codec = dict(name="autoencoder", weights=v["codec"])
  config.charge_plane = v["plane"]
  config.data = common.data(v, *v["data"])
  config.network = {"name": "latent_unet", **v["network"], "features": v["features"]}
  config.prediction = common.block(schema.Prediction)
  config.sde = dict(name="vp", beta_min=0.1, beta_max=20.0)
  config.loss = common.block(schema.Loss, p_mean=v["p_mean"], p_std=1.3, cond_dropout=0.1)
  config.sampler = common.sampler()
  config.optim = common.optim(v["rate"], v["num_steps"], warmup_steps=500, weight_decay=1e-4)
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
