r"""Last stage of the cascade for whole interactions: pixels, given 4x4 blocks, in windows of 64 pixels.

python -m launch.train --config=configs/events512_fine.py --config.data.path=lartpc_events_geant4.npz \
    --config.coarse=runs/events512_middle/weights --workdir=runs/events512_fine

It starts from the last stage of crops, which all have at least 40 lit pixels; windows may have one. `coarse`,
the directory of the stages before, may stay empty; their weights are then copied by hand.
base: for one CPU core.
gpu: sized for five minutes of an H100; not run.
tiny: for tests, on the protons of the package.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

CPU = dict(network=dict(width=192, depth=6, num_heads=4, embedding_features=64), batch_size=64,
           num_steps=1_500, rate=5e-4, muon_rate=7e-4, warmup=60, every=150, path="", num_pixels=512,
           num_holdout=500, num_evaluation=256, init_from="crops64_cascade")
VARIANTS = {
    "base": CPU,
    "gpu": {**CPU, "network": dict(width=384, depth=12, num_heads=6, head_features=64, dtype="bfloat16"),
            "batch_size": 1024, "num_steps": 6_000, "every": 1_000, "init_from": ""},
    "tiny": {**CPU, "network": dict(width=16, depth=1, num_heads=2), "batch_size": 8, "num_steps": 20,
             "warmup": 5, "every": 10, "path": "sample", "num_pixels": 128, "num_holdout": 16,
             "num_evaluation": 16, "init_from": ""},
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(
      task="cascade_stage", stage="fine", seed=0, map_noise=(0.07, 0.15), coarse="",
      init_from=v["init_from"]))
  states = common.events512_states()
  config.state, config.blocks = states["state"], states["blocks"]
  config.image = {**states["image"], "num_pixels": v["num_pixels"]}
  config.windows = {**common.EVENTS_WINDOW, "margin_px": 0}
  config.condition = {}
  config.data = common.data(v, "num_evaluation")
  config.network = v["network"]
  config.sde = dict(name="edm", sigma_max=30.0)
  config.loss = common.block(schema.StageLoss, p_mean=0.9, cond_dropout=0.0)
  config.sampler = common.stage_sampler(name="sde_dpm_solver_pp_2m", num_evaluations=24, sigma_min=0.03,
                                        sigma_max=30.0)
  config.optim = common.muon(rate=v["rate"], muon_rate=v["muon_rate"], warmup=v["warmup"])
  config.train = common.intervals(v["num_steps"], v["every"], draw_every_steps=0)
  return config
