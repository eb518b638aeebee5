r"""Momenta of single protons from 64x64 images; no training. `inference` are the fields of inference.infer.Settings.

python -m launch.infer --config=configs/protons64_infer.py --input=sample --views=xy,xz --num_events=16 --out=runs/infer
python -m launch.infer --config=configs/protons64_infer.py:amortised --start=amortised --input=sample --out=runs/amortised
python -m launch.infer --config=configs/protons64_infer.py:one_view --start=amortised --input=sample --views=xy \
    --out=runs/one_view

base: from random starts by the Earth Mover's Distance alone.
amortised, one_view: for --start=amortised; the estimator's density is a prior, in which the charge is counted already.
"""
import ml_collections

from configs import common

BASE = dict(num_candidates=1024, num_screened=32, num_starts=2, first_steps=10, first_draws=2, second_steps=14,
            second_draws=4, num_averaged=6, num_steps=5, screen_steps=4, vertex_power=3.0, second_rate=0.04,
            energy_factor=1.0, charge_weight_px=10.0, prior_weight_px=0.0)
# The start is near and its energy sharp: few, short steps.
PRIOR = dict(second_steps=8, num_averaged=4, second_rate=0.02, energy_factor=0.05, charge_weight_px=0.0, prior_weight_px=0.3)
VARIANTS = {
    "base": BASE,
    "amortised": {**BASE, **PRIOR},
    # One view tells the angle to the line of sight by the length alone, which strong vertex weights hide.
    "one_view": {**BASE, **PRIOR, "vertex_power": 1.5},
    "tiny": dict(BASE, num_candidates=16, num_screened=4, num_starts=2, first_steps=2, first_draws=1, second_steps=3,
                 second_draws=2, num_averaged=2, num_steps=3, screen_steps=2),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  num_steps, screen_steps = v["num_steps"], v["screen_steps"]
  fields = {name: value for name, value in v.items() if name not in ("num_steps", "screen_steps", "second_rate")}
  config = ml_collections.ConfigDict(dict(guidance_scale=1.0))
  config.sampler = dict(name="dpm_solver_pp_2m", num_steps=num_steps, sigma_min=0.05, sigma_max=30.0, rho=7.0)
  config.screen_sampler = dict(name="dpm_solver_pp_2m", num_steps=screen_steps, sigma_min=0.05, sigma_max=30.0, rho=7.0)
  config.inference = dict(
      **fields, learning_rate=0.06, second_learning_rate=v["second_rate"], first_vertex_power=0.0,
      vertex_radius_px=2.0, charge_tolerance=0.05,
      kinetic_margin_mev=2.0, max_emd_px=3.0, max_spread_mev=25.0)
  return config
