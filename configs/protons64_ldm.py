r"""Momentum-conditional latent diffusion of 64x64 proton images.

python -m launch.train --config=configs/protons64_ldm.py --config.data.path=protons_geant4.npz \
    --config.autoencoder=runs/ae/weights --workdir=runs/ldm

autoencoder="bundled" takes the one that ships with the package; init_from="bundled" goes on from the shipped weights.
base: about 45 minutes on two CPU cores, reckoned from 390 images a second; not run whole. The shipped
weights came in two runs: 12,611 of 16,000
steps without the plane of `charge_ratio`; then, with a channel added that started at zero, 5,800 steps from there at a
rate of 8e-4 (init_from; warm-up of 100 steps, decay over the last 80 %): 1.18 million images in all. Held-out loss 0.172;
Earth Mover's Distance of one draw to a real event of equal momentum 0.51 px in the median (64 sample events; two real
events: 0.46), charge 0.1 +- 0.2 % off.
gpu: for launch/train_all_gpu.sh, not measured.
"""
import ml_collections

from configs import common

VARIANTS = {
    "base": dict(features=64, path="", num_holdout=5_000, batch_size=64, num_steps=16_000, every=1_000, rate=1e-3),
    "gpu": dict(features=96, path="", num_holdout=5_000, batch_size=512, num_steps=20_000, every=2_000, rate=1e-3),
    "tiny": dict(features=16, path="sample", num_holdout=100, batch_size=8, num_steps=20, every=10, rate=1e-3),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="latent_diffusion", seed=0, autoencoder="bundled", init_from=""))
  config.image = common.protons64_image()
  config.frame = common.track_frame()
  config.condition = common.proton_condition()
  config.charge_ratio = dict(mean=1.0, std=0.1)
  config.data = dict(path=v["path"], num_holdout=v["num_holdout"], batch_size=v["batch_size"], contained_only=False)
  config.network = dict(features=v["features"], multipliers=(1, 2), num_blocks=2, attention_levels=(1,), num_heads=4,
                        num_groups=8)
  config.sde = dict(name="vp", beta_min=0.1, beta_max=20.0)
  config.loss = dict(p_mean=-0.6, p_std=1.3, cond_dropout=0.1)
  config.sampler = dict(name="dpm_solver_pp_2m", num_steps=8, sigma_min=0.02, sigma_max=80.0, rho=7.0)
  config.optim = dict(learning_rate=v["rate"], warmup_steps=min(500, v["num_steps"] // 4), schedule="wsd",
                      decay_fraction=0.4, b1=0.9, b2=0.99, weight_decay=1e-4, grad_clip_norm=1.0, ema_decay=0.999)
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
