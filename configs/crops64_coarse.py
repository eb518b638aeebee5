r"""First stage of the cascade for 64x64 crops: a 16x16 map of lit pixels and charge in 4x4 blocks.

python -m launch.train --config=configs/crops64_coarse.py --config.data.path=lartpc_crops_geant4.npz \
    --workdir=runs/coarse

base: for one CPU core. 4,200 steps of 64 (268,800 images) took 45 minutes beside other jobs, at 100 to 119
images a second; held-out error 0.079 at noise 1 and 0.298 at 2, still falling.
gpu: sized for three minutes of an H100; not run.
tiny: for tests, on the labelled crops of the package.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

CPU = dict(network=dict(width=160, depth=8, num_heads=4), batch_size=64, num_steps=4_200, rate=1.5e-3,
           muon_rate=2e-3, warmup=60, every=300, path="", num_holdout=2_000, num_evaluation=256)
VARIANTS = {
    "base": CPU,
    "gpu": {**CPU, "network": dict(width=384, depth=12, num_heads=6, dtype="bfloat16"),
            "batch_size": 1024, "num_steps": 4_000, "every": 1_000},
    "tiny": {**CPU, "network": dict(width=16, depth=1, num_heads=2), "batch_size": 8, "num_steps": 20,
             "warmup": 5, "every": 10, "path": "sample_crops", "num_holdout": 16, "num_evaluation": 16},
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="cascade_stage", stage="coarse", seed=0, init_from=""))
  config.update(common.crops64_states())
  config.condition = common.crops64_condition("track_share", "charge_mev", "lit_pixels")
  config.data = common.crops64_data(v, "num_evaluation")
  config.network = v["network"]
  config.sde = dict(name="edm", sigma_max=40.0)
  config.loss = common.block(schema.StageLoss, p_mean=0.2, p_std=1.2)
  config.sampler = {**common.stage_sampler(name="sde_dpm_solver_pp_2m", num_evaluations=40, sigma_min=0.03,
                                           sigma_max=40.0), "eta": 0.7}
  config.optim = common.muon(rate=v["rate"], muon_rate=v["muon_rate"], warmup=v["warmup"])
  config.train = common.intervals(v["num_steps"], v["every"], draw_every_steps=0)
  return config
