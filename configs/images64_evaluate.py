r"""What a report on 64x64 images computes; no training.

python -m launch.evaluate --config=configs/images64_evaluate.py --real=crops.npz[50000:60000] \
    --generated=generated.npz \
    --train=crops.npz[0:50000] --out=runs/report

base: crops in MeV; level_mev is what counts as one 8-bit grey level in the published definitions,
threshold_mev their cut of pixels <= 4. protons: 64x64 single protons, which the published cut would blunt;
their vertex is at the centre, so the image classifier keeps the orientation.
"""
import ml_collections

from configs import common

PARTS = ("physics", "gof", "frechet", "c2st", "memorisation", "momentum", "embedding")
FULL = dict(num_images=5_000, num_training=50_000, num_permutations=200, batch=1_000, batches=3, cnn_epochs=3,
            cnn_images=5_000, queries=10, embedded=300)
VARIANTS = {
    "base": dict(FULL, threshold_mev=0.09, augment=True),
    "protons": dict(FULL, threshold_mev=0.005, augment=False),
    "tiny": dict(threshold_mev=0.09, augment=True, num_images=150, num_training=200, num_permutations=50,
                 batch=100, batches=1, cnn_epochs=1, cnn_images=100, queries=2, embedded=60),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(parts=PARTS))
  config.images = dict(threshold_mev=v["threshold_mev"], level_mev=0.02, num_images=v["num_images"],
                       num_training=v["num_training"], seed=0)
  config.gof = dict(num_permutations=v["num_permutations"], num_projections=128, transport_batch=v["batch"],
                    transport_batches=v["batches"], sinkhorn_batch=min(500, v["batch"]),
                    sinkhorn_batches=v["batches"], sinkhorn_epsilon=0.1, published_sinkhorn=False)
  config.frechet = dict(num_published=v["num_images"])
  config.c2st = dict(cnn_folds=2, cnn_epochs=v["cnn_epochs"], cnn_images=v["cnn_images"], boosting_folds=5,
                     augment=v["augment"])
  config.ssnet = dict(orientations=1)
  config.memorisation = dict(num_neighbours=5, num_emd_queries=v["queries"])
  config.embedding = dict(num_images=v["embedded"], num_subsets=1, pool=2, num_neighbours=11)
  return config
