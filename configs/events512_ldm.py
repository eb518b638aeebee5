r"""Unconditional latent diffusion of whole interactions, 512x512 pixels as 64x64x4 latents.

python -m launch.train --config=configs/events512_ldm.py --config.data.path=lartpc_events_geant4.npz \
    --config.codec.weights=runs/events512_ae/weights --workdir=runs/events512_ldm
python -m launch.sample --weights=runs/events512_ldm/weights --data=lartpc_events_geant4.npz --num=500 \
    --grid=9 \
    --out=runs/events512_sample

base: behind an invertible space-to-depth by 2 of the latents, so that convolutions run on 32x32 and less; for
CPUs: 20,800 pictures in an hour of a core, tracks and showers in pieces.
gpu, multi_gpu: on 64x64 (attention at 16x16), for one GPU and for eight, over which `parallel` splits each
batch; not run.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

BASE = dict(features=48, multipliers=(1, 2, 2), num_blocks=1, attention_sizes=(8,), stem=2, fir=False,
            input_pyramid=False, embedding="fourier", fourier_scale=0.5, gated_skip=True)
LARGE = dict(BASE, features=128, multipliers=(1, 2, 2, 2), num_blocks=2, attention_sizes=(16, 8), stem=1)
VARIANTS = {
    "base": dict(network=BASE, path="", num_pixels=512, num_holdout=500, batch_size=16, num_evaluation=32,
                 num_steps=1_300, every=325, rate=1.5e-3, ema=0.99),
    "gpu": dict(network=LARGE, path="", num_pixels=512, num_holdout=500, batch_size=64, num_evaluation=128,
                num_steps=60_000, every=5_000, rate=3e-4, ema=0.9995),
    "multi_gpu": dict(network={**LARGE, "features": 192}, path="", num_pixels=512, num_holdout=500,
                      batch_size=512,
                      num_evaluation=128, num_steps=60_000, every=5_000, rate=5e-4, ema=0.9995),
    "tiny": dict(network={**BASE, "features": 8, "attention_sizes": ()}, path="sample", num_pixels=128,
                 num_holdout=100,
                 batch_size=8, num_evaluation=16, num_steps=20, every=10, rate=1e-3, ema=0.9),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="generator", seed=0, init_from="", frame=None,
                                          charge_plane=None, kinetic_range_mev=None, condition={}))
  config.image = common.events512_image(v["num_pixels"])
  config.codec = dict(name="autoencoder", weights="")
  config.data = common.data(v, "num_evaluation")
  config.network = {"name": "ncsnpp", **v["network"]}
  config.prediction = common.block(schema.Prediction)
  config.sde = dict(name="vp", beta_min=0.1, beta_max=20.0)
  config.loss = common.block(schema.Loss, p_mean=1.0, p_std=1.5)
  config.sampler = common.sampler(num_steps=16)
  config.optim = common.optim(v["rate"], v["num_steps"], ema_decay=v["ema"])
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
