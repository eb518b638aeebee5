r"""Classifier of particle types from 64x64 images of single particles: what identification by inversion is
measured against. It sees real images only, one view each.

python -m launch.train --config=configs/particles64_classifier.py --config.data.path=DIRECTORY_OF_BATCHES \
    --workdir=runs/classifier

The last num_holdout events are held out, as for configs/images_ldm.py with as many. tiny: for tests; proton
or muon, events that say which.
"""
import ml_collections

from configs import common

BASE = dict(path="", batch_size=128, num_holdout=10_000, num_evaluation=4_096, features=32, num_steps=6_000,
            every=500, rate=2e-3, classes=("proton", "mu-", "pi+", "e-", "gamma"))
VARIANTS = {
    "base": BASE,
    "tiny": dict(BASE, batch_size=8, num_holdout=8, num_evaluation=8, features=8, num_steps=20, every=10,
                 classes=("proton", "mu-")),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="image_classifier", seed=0, classes=v["classes"]))
  config.image = common.protons64_image()
  config.charge = dict(name="sqrt", scale_mev=1.0)
  config.data = common.data(v, "num_evaluation", "symmetries", "scale_mev")
  config.network = dict(features=v["features"])
  config.optim = common.optim(v["rate"], v["num_steps"], weight_decay=1e-3, ema_decay=0.99)
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
