r"""Second stage of the cascade for whole interactions: lit pixels and charge in 4x4 blocks, in windows of 64
pixels.

python -m launch.train --config=configs/events512_middle.py --config.data.path=lartpc_events_geant4.npz \
    --config.coarse=runs/events512_coarse/weights --workdir=runs/events512_middle

It is told the 16x16 blocks of the window and those up to two around it, and starts from the first stage of
crops. `coarse`, the directory of the stage before, may stay empty; its weights are then copied by hand.
base: for one CPU core.
gpu: sized for three minutes of an H100; not run.
tiny: for tests, on the protons of the package.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

CPU = dict(network=dict(width=160, depth=8, num_heads=4), batch_size=64, num_steps=3_000, rate=7e-4,
           muon_rate=1e-3, warmup=60, every=300, path="", num_pixels=512, num_holdout=500, num_evaluation=256,
           init_from="crops64_cascade")
VARIANTS = {
    "base": CPU,
    "gpu": {**CPU, "network": dict(width=384, depth=12, num_heads=6, dtype="bfloat16"), "batch_size": 1024,
            "num_steps": 4_000, "every": 1_000, "init_from": ""},
    "tiny": {**CPU, "network": dict(width=16, depth=1, num_heads=2), "batch_size": 8, "num_steps": 20,
             "warmup": 5, "every": 10, "path": "sample", "num_pixels": 128, "num_holdout": 16,
             "num_evaluation": 16, "init_from": ""},
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(
      task="cascade_stage", stage="middle", seed=0, map_noise=(0.07, 0.1), coarse="",
      init_from=v["init_from"], init_stage="coarse"))
  config.update(common.events512_states())
  config.image.num_pixels = v["num_pixels"]
  config.windows = {**common.EVENTS_WINDOW, "margin_px": 32}
  config.condition = {}
  config.data = common.data(v, "num_evaluation")
  config.network = v["network"]
  config.sde = dict(name="edm", sigma_max=40.0)
  config.loss = common.block(schema.StageLoss, p_mean=0.4, p_std=1.2, cond_dropout=0.0)
  config.sampler = common.stage_sampler(name="sde_dpm_solver_pp_2m", num_evaluations=24, sigma_min=0.03,
                                        sigma_max=40.0)
  config.optim = common.muon(rate=v["rate"], muon_rate=v["muon_rate"], warmup=v["warmup"])
  config.train = common.intervals(v["num_steps"], v["every"], draw_every_steps=0)
  return config
