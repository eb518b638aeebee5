r"""Crops as maps of 16x16 codes, one for 4x4 pixels: what configs/crops64_vqvae_prior.py draws.

python -m launch.train --config=configs/crops64_vqvae.py --config.data.path=lartpc_crops_geant4.npz \
    --workdir=runs/vqvae
python -m launch.train --config=configs/crops64_vqvae.py:fsq --config.data.path=lartpc_crops_geant4.npz \
    --workdir=runs/fsq

base: as van den Oord et al. 2017: 256 codes of 8 numbers that moving averages make, a commitment loss, dead
codes revived; pixels are what is likeliest. fsq: finite scalars (arXiv 2309.15505), levels 8, 5, 5, 5, so
1,000 codes; pixels are drawn from the decoder. tiny, fsq_tiny: for tests, on the labelled crops of the
package.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

CPU = dict(batch_size=64, path="", num_holdout=2_000, num_evaluation=512, num_steps=5_000, every=500,
           warmup=100,
           encoder=dict(width=64, depth=2), decoder=dict(width=64, depth=3))
TINY = dict(batch_size=8, path="sample_crops", num_holdout=16, num_evaluation=16, num_steps=20, every=10,
            warmup=5,
            encoder=dict(width=8, depth=1), decoder=dict(width=8, depth=1, head_features=2))
VARIANTS = {
    "base": dict(CPU, codes=dict(num_codes=256, features=8), sample_pixels=False),
    "fsq": dict(CPU, codes=dict(levels=(8, 5, 5, 5)), sample_pixels=True),
    "tiny": dict(TINY, codes=dict(num_codes=16, features=4), sample_pixels=False),
    "fsq_tiny": dict(TINY, codes=dict(levels=(4, 3)), sample_pixels=True),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="codes", seed=0, sample_pixels=v["sample_pixels"]))
  config.state = common.crops64_states()["state"]
  config.data = common.crops64_data(v, "num_evaluation")
  config.network = dict(v["codes"], encoder=v["encoder"], decoder=v["decoder"])
  config.loss = common.block(schema.CodesLoss)
  config.optim = common.optim(1e-3, v["num_steps"], warmup_steps=v["warmup"])
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
