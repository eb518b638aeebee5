r"""Crops as sequences of their lit pixels, drawn one after the other by a causal transformer: exact zeros,
exact likelihood.

python -m launch.train --config=configs/crops64_pixel_sequence.py --config.data.path=lartpc_crops_geant4.npz \
    --workdir=runs/pixel_sequence

base: pixels along Hilbert's curve. raster: row by row. tiny: for tests, on the labelled crops of the package.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

CPU = dict(batch_size=64, path="", num_holdout=2_000, num_evaluation=128, num_steps=2_600, every=500,
           warmup=60, network=dict(width=192, depth=6, num_heads=6), sequences=dict())
VARIANTS = {
    "base": CPU,
    "raster": dict(CPU, sequences=dict(order="raster")),
    "tiny": dict(batch_size=8, path="sample_crops", num_holdout=16, num_evaluation=16, num_steps=20, every=10,
                 warmup=5, network=dict(width=16, depth=1, num_heads=2),
                 sequences=dict(num_bins=8, max_pixels=320)),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="pixel_sequence", seed=0))
  config.state = common.crops64_states()["state"]
  config.condition = common.crops64_condition("track_share", "charge_mev", "lit_pixels")
  config.data = common.crops64_data(v, "num_evaluation")
  config.network = v["network"]
  config.sequences = common.block(schema.Sequences, **v["sequences"])
  config.loss = common.block(schema.PriorLoss)
  config.optim = common.muon(rate=1.5e-3, muon_rate=2e-3, warmup=v["warmup"])
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
