r"""First stage of the cascade for whole interactions: a 32x32 map of lit pixels and charge in 16x16 blocks.

python -m launch.train --config=configs/events512_coarse.py --config.data.path=lartpc_events_geant4.npz \
    --workdir=runs/events512_coarse

Conditional on the primaries: how many of which kind, and their kinetic energy.
base: for one CPU core, with tokens of 4x4 blocks; those of 2x2 took five times as long a picture.
gpu: sized for three minutes of an H100; not run.
tiny: for tests, on the protons of the package.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

CPU = dict(network=dict(map_patch=4, width=160, depth=8, num_heads=4), batch_size=64, num_steps=4_500,
           rate=1.5e-3, muon_rate=2e-3, warmup=60, every=300, path="", num_pixels=512, num_holdout=500,
           num_evaluation=256, names=())
VARIANTS = {
    "base": CPU,
    "gpu": {**CPU, "network": dict(width=384, depth=12, num_heads=6, dtype="bfloat16"),
            "batch_size": 512, "num_steps": 4_000, "every": 1_000},
    "tiny": {**CPU, "network": dict(map_patch=4, width=16, depth=1, num_heads=2), "batch_size": 8,
             "num_steps": 20, "warmup": 5, "every": 10, "path": "sample", "num_pixels": 128,
             "num_holdout": 16, "num_evaluation": 16, "names": ("kinetic_mev",)},
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="cascade_stage", stage="coarse", seed=0, init_from=""))
  states = common.events512_states()
  config.state, config.blocks = states["state"], states["told"]
  config.image = {**states["image"], "num_pixels": v["num_pixels"]}
  config.condition = common.events512_condition(*v["names"])
  config.data = common.data(v, "num_evaluation")
  config.network = v["network"]
  config.sde = dict(name="edm", sigma_max=80.0)
  config.loss = common.block(schema.StageLoss, p_mean=0.4, p_std=1.3)
  config.sampler = {**common.stage_sampler(name="sde_dpm_solver_pp_2m", num_evaluations=40, sigma_min=0.03,
                                           sigma_max=80.0), "eta": 0.7}
  config.optim = common.muon(rate=v["rate"], muon_rate=v["muon_rate"], warmup=v["warmup"])
  config.train = common.intervals(v["num_steps"], v["every"], draw_every_steps=0)
  return config
