r"""Particle type and momentum of single particles from 64x64 images, by inversion of one generator; no
training. `inference` is inference.settings.FitSettings.

python -m launch.infer --config=configs/particles64_identify.py --weights=WEIGHTS --input=BATCHES --views=xy \
    --types=proton,mu-,pi+,e-,gamma --num_events=32 --out=runs/types
python -m launch.infer --config=configs/particles64_identify.py:screened --weights=WEIGHTS --input=BATCHES \
    --views=xy --types=proton,mu-,pi+,e-,gamma --first_event=490000 --num_events=10000 --num_pictures=8 \
    --out=runs/held_out
python -m launch.identify --input=runs/held_out --classifier=runs/classifier/weights --out=runs/identify

base: of each type the nearest of 1,024 random hypotheses, refined by six steps. screened: without the
descent, for samples of ten thousand events: inference.second.num_steps = 0. tiny, tiny_screened: for tests.
"""
import ml_collections

from configs import common

BASE = dict(
    screening=dict(method="squares", num_candidates=1024, num_screened=16, num_starts=1),
    # Showers differ from draw to draw, also in charge: every draw counts.
    comparison=dict(charge_tolerance=float("inf")),
    second=dict(num_steps=6, num_draws=2, num_averaged=2, learning_rate=0.06, vertex_power=0.0),
    report=dict(num_draws=4, judges_start=False))
SCREENED = {**BASE, "second": dict(BASE["second"], num_steps=0)}
TINY = {**BASE, "screening": dict(BASE["screening"], num_candidates=16, num_screened=4),
        "second": dict(BASE["second"], num_steps=2, num_draws=1, num_averaged=1),
        "report": dict(num_draws=1, judges_start=False)}
VARIANTS = {"base": BASE, "screened": SCREENED, "tiny": TINY,
            "tiny_screened": {**TINY, "second": dict(TINY["second"], num_steps=0)}}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  changes, steps = common.variant_of(VARIANTS, variant), 2 if variant.startswith("tiny") else 5
  return ml_collections.ConfigDict(dict(
      guidance_scale=1.0, inference=common.fit_settings(changes),
      # Said here, and not chosen from the events: a calibration holds for one distance.
      distance=dict(name="w1", num_pixels=64),
      sampler=common.fit_sampler(num_steps=steps), screen_sampler=common.fit_sampler(num_steps=steps)))
