r"""Score-based diffusion on 64x64 pixels of track and shower crops, unconditional.

python -m launch.train --config=configs/crops64_score.py:gated --config.data.path=lartpc_crops_geant4.npz \
    --workdir=runs/crops

base: 2.3 M parameters behind an invertible space-to-depth, for CPUs: 18 images a second on one core.
gated: as base with `gated_skip`, states about the empty pixel, batches of 32, and more training at high noise
(p_mean 0.8), where it is decided which pixels are lit; the weights of the package (crops64) are those of its
4,000 steps (128,000 images, two hours of one core beside other jobs), not trained to the end.
published: the NCSN++ of Phys. Rev. D 109, 072011: 62.7 M parameters on pixels, 8-bit grey, noise prediction,
Adam at 2e-4, batch 128, EMA 0.9999; for a GPU, not run.
gpu: 7.0 M parameters (14 MB in float16), gated as well, for launch/train_all_gpu.sh; not run.
small_grey8, small_sqrt, small_arcsinh: equal networks behind a space-to-depth by 8 and equal budgets, which
differ in the representation of charge alone: the comparison in docs/results/crops.md. Their cut of 0.09 MeV
is the published one, 4.5 grey levels.
tiny: for tests, on images of the single protons of the package (data.path="sample").
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

BASE = dict(features=48, multipliers=(1, 2), num_blocks=2, attention_sizes=(8,), stem=4, fir=False,
            input_pyramid=False, embedding="fourier", fourier_scale=0.5)
SMALL = dict(network={**BASE, "features": 32, "num_blocks": 1, "stem": 8}, num_holdout=2_000, batch_size=64,
             num_steps=600, every=600, rate=2e-3, loss="edm", ema=0.99, threshold_mev=0.09, path="", b2=0.99,
             schedule="wsd", num_evaluation=128)
CPU = dict(network=BASE, num_holdout=2_000, batch_size=64, num_steps=4_000, every=250, rate=1e-3, loss="edm",
           ema=0.998, charge=dict(name="sqrt", scale_mev=1.0), threshold_mev=0.1, path="", b2=0.99,
           schedule="wsd", num_evaluation=128)
VARIANTS = {
    "base": CPU,
    "gated": {**CPU, "network": {**BASE, "gated_skip": True}, "batch_size": 32, "num_steps": 4_000,
              "every": 250, "p_mean": 0.8},
    "gpu": dict(network={**BASE, "features": 64, "multipliers": (1, 2, 2), "stem": 2, "gated_skip": True},
                p_mean=0.8,
                num_holdout=2_000, batch_size=256, num_steps=30_000, every=2_500, rate=1e-3, loss="edm",
                ema=0.9995,
                charge=dict(name="sqrt", scale_mev=1.0), threshold_mev=0.09, path="", b2=0.99, schedule="wsd",
                num_evaluation=512),
    "published": dict(
        network=dict(features=128, multipliers=(1, 2, 2, 2), num_blocks=4, attention_sizes=(16,), stem=1,
                     fir=True, input_pyramid=True, embedding="positional", fourier_scale=16.0),
        num_holdout=2_000, batch_size=128, num_steps=120_000, every=5_000, rate=2e-4, loss="prediction",
        ema=0.9999,
        charge=dict(name="grey8", scale_mev=0.02), threshold_mev=0.09, path="", b2=0.999, schedule="constant",
        num_evaluation=128),
    "small_grey8": {**SMALL, "charge": dict(name="grey8", scale_mev=0.02)},
    "small_sqrt": {**SMALL, "charge": dict(name="sqrt", scale_mev=1.0)},
    "small_arcsinh": {**SMALL, "charge": dict(name="arcsinh", scale_mev=0.1)},
    "tiny": dict(network={**BASE, "features": 8, "num_blocks": 1, "stem": 8}, num_holdout=16, batch_size=8,
                 num_steps=20, every=10, rate=1e-3, loss="edm", ema=0.99,
                 charge=dict(name="sqrt", scale_mev=1.0),
                 threshold_mev=0.1, path="sample", b2=0.99, schedule="wsd", num_evaluation=16),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="generator", seed=0, init_from="", image=None, frame=None,
                                          charge_plane=None, kinetic_range_mev=None, condition={}))
  config.codec = dict(name="pixels", charge=v["charge"], threshold_mev=v["threshold_mev"])
  config.data = common.crops64_data(v, "num_evaluation", "scale_mev")
  config.network = {"name": "ncsnpp", **v["network"]}
  config.prediction = common.block(schema.Prediction, name="edm" if v["loss"] == "edm" else "eps")
  config.sde = dict(name="vp", beta_min=0.1, beta_max=20.0)
  config.loss = common.block(schema.Loss, name=v["loss"], p_mean=v.get("p_mean", 0.0))
  config.sampler = common.sampler(num_steps=16)
  config.optim = common.optim(v["rate"], v["num_steps"], schedule=v["schedule"], b2=v["b2"],
                              ema_decay=v["ema"])
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
