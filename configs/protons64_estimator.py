r"""Momentum estimator: the density of a proton's momentum given its images, in one pass.

python -m launch.train --config=configs/protons64_estimator.py --config.data.path=protons_geant4.npz \
    --workdir=runs/two_views
python -m launch.train --config=configs/protons64_estimator.py:one_view \
    --config.data.path=protons_geant4.npz \
    --workdir=runs/one_view

base, one_view: 2.0 and 1.8 M parameters. The shipped weights, two views: --config.train.num_steps=3000, then
8000 to step 3438, then 6000; 3.1 million rotated events, 45 CPU minutes. On 2,048 held-out events: median
|dp| 6.8 MeV/c (95 % quantile 33.3; 7.4 and 38.6 after 3,000 steps), still falling.
One view: --config.train.num_steps=3000, 12 CPU minutes; 13.9 (75.1) up to the sign of p_z and 7.7 of (px,
py). gpu, gpu_one_view: for launch/train_all_gpu.sh, not run.
"""
import ml_collections

from configs import common

BASE = dict(views=("xy", "xz"), width=512, num_blocks=3, path="", num_holdout=5_000, batch_size=512,
            num_steps=6_000, every=500, rate=1e-3)
VARIANTS = {
    "base": BASE,
    "one_view": {**BASE, "views": ("xy",)},
    "gpu": {**BASE, "width": 1024, "num_blocks": 4, "batch_size": 4_096, "num_steps": 20_000, "every": 2_000},
    "gpu_one_view": {**BASE, "views": ("xy",), "width": 1024, "num_blocks": 4, "batch_size": 4_096,
                     "num_steps": 20_000, "every": 2_000},
    "tiny": {**BASE, "width": 32, "num_blocks": 1, "path": "sample", "num_holdout": 100, "batch_size": 16,
             "num_steps": 20, "every": 10},
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="estimator", seed=0, views=v["views"]))
  config.image = common.protons64_image()
  config.kinetic_range_mev = common.PROTON_KINETIC_MEV
  config.data = {**common.data(v), "readout": common.readout()}
  config.network = dict(width=v["width"], num_blocks=v["num_blocks"], num_components=4)
  config.optim = common.optim(v["rate"], v["num_steps"], decay_fraction=0.5, weight_decay=1e-3,
                              ema_decay=0.998)
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
