r"""SSNet: background, track or shower for every pixel of 64x64 crops.

python -m launch.train --config=configs/crops64_ssnet.py --config.data.path=lartpc_crops_geant4.npz \
    --workdir=runs/ssnet
python -m launch.train --config=configs/crops64_ssnet.py:published \
    --config.data.path=lartpc_crops_geant4.npz \
    --workdir=runs/ssnet_published

base: half resolution behind a space-to-depth stem, for CPUs: 0.49 M parameters. The shipped weights: 3,600
steps (--config.train.num_steps=2600 to step 1544, 2100, 4500 to step 2480, then 3600; 115,200 images, about
an hour of a busy core). On the 5,568 crops of 2,000 held-out events: IoU of track 0.858 and of shower 0.923
over pixels with charge, pixel accuracy 0.947, track or shower image as in truth 95.5 %, expected calibration
error 0.2 %. gpu: 4.0 M parameters at full resolution, for launch/train_all_gpu.sh; not run.
published: the topology of the paper, 4.33 M parameters; not trained (12 images a second and core, base about
70).
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

BASE = dict(features=32, num_strides=2, num_modules=1, stem=2, num_groups=8, learned_upsampling=False,
            project_always=False)
PUBLISHED = dict(features=16, num_strides=4, num_modules=2, stem=1, num_groups=8, learned_upsampling=True,
                 project_always=True)
VARIANTS = {
    "base": dict(network=BASE, path="", num_holdout=2_000, batch_size=32, num_steps=6_000, every=500,
                 rate=2e-3),
    "published": dict(network=PUBLISHED, path="", num_holdout=2_000, batch_size=32, num_steps=6_000,
                      every=500, rate=2e-3),
    "gpu": dict(network={**PUBLISHED, "features": 32, "num_strides": 3, "learned_upsampling": False,
                         "project_always": False}, path="", num_holdout=2_000, batch_size=256,
                num_steps=10_000, every=1_000, rate=2e-3),
    "tiny": dict(network={**BASE, "features": 8, "num_groups": 4}, path="sample_crops", num_holdout=8,
                 batch_size=8, num_steps=20, every=10, rate=3e-3),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="ssnet", seed=0))
  config.charge = dict(name="sqrt", scale_mev=1.0)
  config.data = common.crops64_data(v, "five_classes", "delta", "michel")
  config.network = dict(v["network"])
  config.loss = common.block(schema.SegmentationLoss)
  config.optim = common.optim(v["rate"], v["num_steps"], decay_fraction=0.25, weight_decay=1e-3,
                              ema_decay=0.998)
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
