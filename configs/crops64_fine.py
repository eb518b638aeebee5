r"""Second stage of the cascade for 64x64 crops: pixels, given the 16x16 map of configs/crops64_coarse.py.

python -m launch.train --config=configs/crops64_fine.py --config.data.path=lartpc_crops_geant4.npz \
    --config.coarse=runs/coarse/weights --workdir=runs/fine

base: for one CPU core. 3,824 steps of 64 (244,736 images) took 57 minutes beside other jobs, at 70 to 89
images a second; held-out error 0.0132 at noise 1 and 0.057 at 2 (step 3,600), still falling. What both stages
draw: docs/results/crops.md.
gpu: sized for five minutes of an H100; not run.
tiny: for tests, on the labelled crops of the package.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

CPU = dict(network=dict(width=192, depth=6, num_heads=4, embedding_features=64), batch_size=64,
           num_steps=4_050, rate=1e-3, muon_rate=1.5e-3, warmup=60, every=300, path="", num_holdout=2_000,
           num_evaluation=256)
VARIANTS = {
    "base": CPU,
    "gpu": {**CPU, "network": dict(width=384, depth=12, num_heads=6, head_features=64, dtype="bfloat16"),
            "batch_size": 1024, "num_steps": 6_000, "every": 1_000},
    "tiny": {**CPU, "network": dict(width=16, depth=1, num_heads=2), "batch_size": 8, "num_steps": 20,
             "warmup": 5, "every": 10, "path": "sample_crops", "num_holdout": 16, "num_evaluation": 16},
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(
      dict(task="cascade_stage", stage="fine", seed=0, map_noise=(0.07, 0.15), coarse="", init_from=""))
  config.update(common.crops64_states())
  config.condition = common.crops64_condition("track_share")
  config.data = common.crops64_data(v, "num_evaluation")
  config.network = v["network"]
  config.sde = dict(name="edm", sigma_max=30.0)
  config.loss = common.block(schema.StageLoss, p_mean=0.9)
  config.sampler = common.stage_sampler(name="sde_dpm_solver_pp_2m", num_evaluations=40, sigma_min=0.03,
                                        sigma_max=30.0)
  config.optim = common.muon(rate=v["rate"], muon_rate=v["muon_rate"], warmup=v["warmup"])
  config.train = common.intervals(v["num_steps"], v["every"], draw_every_steps=0)
  return config
