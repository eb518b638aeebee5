r"""Guide for draws by Bayes' rule: particle type and kinetic energy of noisy states, 64x64 images.

python -m launch.train --config=configs/particles64_guide.py --config.data.path=DIRECTORY_OF_BATCHES \
    --config.codec.weights=runs/particles_ae/weights --workdir=runs/guide
python -m launch.sample --weights=runs/particles/weights --guide=runs/guide/weights \
    --guide_cond=particle=mu- --num=64 --out=runs/muons

base: on the latents of an autoencoder, which must be the generator's, with the charge plane of the generator.
type: the class alone. tiny: energy and momentum of the single protons of the package, on pixels.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

PARTICLES = ("proton", "mu-", "pi+", "e-", "gamma")
TYPE = dict(particle=dict(kind="label", classes=PARTICLES))
# Kinetic energies of 10 to 100 MeV over all types.
BASE = dict(path="", num_holdout=10_000, batch_size=128, num_steps=3_000, every=500, rate=2e-3,
            network=dict(features=64, multipliers=(1, 2), num_blocks=1, stem=1),
            codec=dict(name="autoencoder", weights=""), plane=dict(reference="none", mean=54.0, std=24.0),
            labels={**TYPE, "kinetic_mev": dict(kind="scalar", mean=45.0, scale=20.0, low=5.0, high=110.0)})
VARIANTS = {
    "base": BASE,
    "type": dict(BASE, labels=TYPE),
    "tiny": dict(BASE, path="sample", num_holdout=100, batch_size=8, num_steps=20, every=10, plane=None,
                 network=dict(features=8, multipliers=(1, 2), num_blocks=1, stem=8),
                 codec=dict(name="pixels", charge=dict(name="sqrt", scale_mev=1.0), threshold_mev=0.005),
                 labels=dict(kinetic_mev=dict(kind="scalar", mean=75.0, scale=15.0, low=50.0, high=100.0),
                             momentum_mev=dict(kind="vector", scale=500.0))),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="guide", seed=0))
  config.image = common.protons64_image()
  config.labels = v["labels"]
  config.codec = v["codec"]
  config.charge_plane = v["plane"]
  config.data = common.data(v, "num_evaluation")
  config.network = v["network"]
  config.loss = common.block(schema.GuideLoss)
  config.optim = common.optim(v["rate"], v["num_steps"], ema_decay=0.998)
  config.train = common.intervals(v["num_steps"], v["every"], draw_every_steps=0)
  return config
