r"""Momenta and number of several protons from one vertex; no training.

`tracks` are the fields of inference.tracks.TracksSettings.

python -m launch.tracks --config=configs/protons64_tracks.py --input=sample --num_events=16 --max_tracks=2 --out=runs/tracks
"""
import ml_collections

from configs import common

BASE = dict(num_steps=5, screen_steps=4, num_candidates=2048, beam=256, num_screened=32, num_starts=1, first_steps=8,
            first_draws=1, second_steps=8, second_draws=2, num_averaged=4, report_draws=4, charge_weight_px=10.0)
VARIANTS = {
    "base": BASE,
    # Counts by the shape alone: charge, which tells two protons of 50 MeV or more from one of 100 at most, does not help.
    "shape": dict(BASE, charge_weight_px=0.0),
    "tiny": dict(BASE, num_steps=3, screen_steps=2, num_candidates=32, beam=8, num_screened=4, num_starts=2, first_steps=2,
                 second_steps=3, second_draws=1, num_averaged=2, report_draws=2),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = dict(common.variant_of(VARIANTS, variant))
  sampler = dict(name="dpm_solver_pp_2m", sigma_min=0.05, sigma_max=30.0, rho=7.0)
  config = ml_collections.ConfigDict(dict(guidance_scale=1.0))
  config.sampler = dict(sampler, num_steps=v.pop("num_steps"))
  config.screen_sampler = dict(sampler, num_steps=v.pop("screen_steps"))
  config.tracks = dict(v, learning_rate=0.08, second_learning_rate=0.04, first_vertex_power=0.0, vertex_power=1.0,
                       vertex_radius_px=2.0, charge_tolerance=0.05, kinetic_margin_mev=2.0,
                       max_emd_px=3.0, max_spread_mev=25.0)
  return config
