r"""GANs of 64x64 crops: draws of one pass of a network.

python -m launch.train --config=configs/crops64_gan.py --config.data.path=lartpc_crops_geant4.npz \
    --workdir=runs/gan
python -m launch.train --config=configs/crops64_gan.py:dcgan --config.data.path=lartpc_crops_geant4.npz \
    --workdir=runs/dcgan

base: after R3GAN (arXiv 2501.05441): relativistic pairs, R1 and R2, residual blocks without normalisation,
averaged generator; conditional. dcgan: Radford et al. 2016, transposed convolutions, batch norm,
non-saturating loss, unconditional. tiny: for tests, on the labelled crops of the package.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

CPU = dict(batch_size=64, path="", num_holdout=2_000, num_evaluation=512)
RESIDUAL = dict(name="residual", latent=64, generator=dict(widths=(96, 96, 48, 24), depth=1),
                discriminator=dict(widths=(24, 48, 96, 96), depth=1))
VARIANTS = {
    "base": {**CPU, "network": RESIDUAL, "loss": dict(name="relativistic", gamma=1.0), "num_steps": 7_000,
             "every": 500, "rates": (5e-4, 5e-4), "betas": (0.0, 0.99), "warmup": 200,
             "condition": ("track_share", "charge_mev", "lit_pixels")},
    "dcgan": {**CPU, "network": dict(name="dcgan", latent=100, generator=dict(width=32),
                                     discriminator=dict(width=32)),
              "loss": dict(name="non_saturating", gamma=0.0), "num_steps": 7_000, "every": 500,
              "rates": (2e-4, 2e-4), "betas": (0.5, 0.999), "warmup": 0, "condition": ()},
    "tiny": {**CPU, "network": {**RESIDUAL, "latent": 8, "generator": dict(widths=(8, 8, 4, 4),
                                                                           head_features=4),
                                "discriminator": dict(widths=(4, 4, 8, 8))},
             "loss": dict(name="relativistic", gamma=1.0), "num_steps": 20, "every": 10,
             "rates": (1e-3, 1e-3),
             "betas": (0.0, 0.99), "warmup": 5, "condition": ("lit_pixels",), "batch_size": 8,
             "path": "sample_crops", "num_holdout": 16, "num_evaluation": 16},
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="gan", seed=0))
  config.state = common.crops64_states()["state"]
  config.condition = common.crops64_condition(*v["condition"])
  config.data = common.crops64_data(v, "num_evaluation")
  config.network = v["network"]
  config.loss = common.block(schema.GanLoss, **v["loss"])
  rate, discriminator_rate = v["rates"]
  b1, b2 = v["betas"]
  config.optim = common.adversarial(rate=rate, discriminator_rate=discriminator_rate, warmup=v["warmup"],
                                    b1=b1, b2=b2)
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
