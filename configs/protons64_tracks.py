r"""Momenta and number of several protons from one vertex; no training. `inference` is
inference.settings.FitSettings.

python -m launch.tracks --config=configs/protons64_tracks.py --input=sample --num_events=16 --max_tracks=2 \
    --out=runs/tracks

base: counts by the shape and the charge. shape: by the shape alone; charge, which tells two protons of 50 MeV
or more from
  one of 100 at most, does not help.
"""
import ml_collections

from configs import common

# Sets of tracks are found by squares of pooled images; a library of single tracks serves all numbers of them.
# The best set is refined in both stages, as a start of the library is not as near as an estimate.
BASE = dict(
    screening=dict(method="squares", num_candidates=2048, num_starts=1),
    first=dict(num_steps=8, num_draws=1, learning_rate=0.08, final_rate_share=0.5),
    second=dict(num_steps=8, num_draws=2, num_averaged=4, vertex_power=1.0),
    report=dict(judges_start=False), noise="by_track", skips_first=False)
TINY = dict(
    BASE, screening=dict(BASE["screening"], num_candidates=32, beam=8, num_screened=4, num_starts=2),
    first=dict(BASE["first"], num_steps=2),
    second=dict(BASE["second"], num_steps=3, num_draws=1, num_averaged=2),
    report=dict(BASE["report"], num_draws=2))
VARIANTS = {"base": BASE, "shape": dict(BASE, comparison=dict(charge_weight_px=0.0)), "tiny": TINY}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict(dict(
      guidance_scale=1.0, inference=common.fit_settings(common.variant_of(VARIANTS, variant)),
      distance=dict(name="w1"),
      sampler=common.fit_sampler(num_steps=5), screen_sampler=common.fit_sampler(num_steps=4)))
  if variant == "tiny":
    config.sampler.num_steps, config.screen_sampler.num_steps = 3, 2
  return config
