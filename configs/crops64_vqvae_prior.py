r"""A prior over the codes of configs/crops64_vqvae.py: which maps of codes there are, given a condition.

python -m launch.train --config=configs/crops64_vqvae_prior.py --config.data.path=lartpc_crops_geant4.npz \
    --config.codes=runs/vqvae/weights --workdir=runs/pixelcnn
python -m launch.train --config=configs/crops64_vqvae_prior.py:transformer \
    --config.data.path=lartpc_crops_geant4.npz \
    --config.codes=runs/fsq/weights --workdir=runs/code_transformer

base: gated PixelCNN (van den Oord et al. 2016). transformer: causal transformer in raster order. tiny,
transformer_tiny: for tests, on the labelled crops of the package.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

CPU = dict(batch_size=64, path="", num_holdout=2_000, num_evaluation=256, num_steps=4_000, every=500,
           warmup=60)
TINY = dict(batch_size=8, path="sample_crops", num_holdout=16, num_evaluation=16, num_steps=20, every=10,
            warmup=5)
VARIANTS = {
    "base": dict(CPU, num_steps=3_500, network=dict(name="pixelcnn", width=64, depth=8)),
    "transformer": dict(CPU, num_steps=2_200,
                        network=dict(name="transformer", width=128, depth=6, num_heads=4)),
    "tiny": dict(TINY, network=dict(name="pixelcnn", width=8, depth=2, embedding=4, hidden=8)),
    "transformer_tiny": dict(TINY, network=dict(name="transformer", width=16, depth=1, num_heads=2)),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="code_prior", seed=0, codes=""))
  config.condition = common.crops64_condition("track_share", "charge_mev", "lit_pixels")
  config.data = common.crops64_data(v, "num_evaluation")
  config.network = v["network"]
  config.loss = common.block(schema.PriorLoss)
  if v["network"]["name"] == "transformer":
    config.optim = common.muon(rate=1.5e-3, muon_rate=2e-3, warmup=v["warmup"])
  else:
    config.optim = common.optim(2e-3, v["num_steps"], warmup_steps=v["warmup"], b2=0.98)
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
