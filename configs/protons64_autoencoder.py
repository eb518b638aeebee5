r"""KL autoencoder of proton images in the track frame, 64x32x1 -> 8x4x8 latents.

python -m launch.train --config=configs/protons64_autoencoder.py --config.data.path=protons_geant4.npz \
    --workdir=runs/ae
python -m launch.train --config=configs/protons64_autoencoder.py:images \
    --config.data.path=DIRECTORY_OF_BATCHES \
    --workdir=runs/images_ae

base: 9 minutes on two CPU cores; Earth Mover's Distance to held-out images 0.014 px of 2 mm (median), charge
-0.2 +- 0.6 %. images, images_tiny: of images in the pixels of their detector, 64x64x1 -> 8x8x8 latents.
gpu, images_gpu: for launch/train_all_gpu.sh, not measured.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

EVENTS = dict(num_holdout=5_000, batch_size=64, data=("contained_only",), frame=common.track_frame(), path="",
              features=128, num_steps=5_000, every=1_000, rate=1.5e-3)
IMAGES = dict(EVENTS, data=("contained_only", "symmetries", "scale_mev"), frame=None)
GPU = dict(features=192, batch_size=512, num_steps=6_000, every=1_000, rate=2e-3)
TINY = dict(features=16, batch_size=8, num_steps=20, every=10, rate=1e-3)
VARIANTS = {
    "base": EVENTS, "gpu": dict(EVENTS, **GPU), "tiny": dict(EVENTS, **TINY, path="sample", num_holdout=100),
    "images": IMAGES, "images_gpu": dict(IMAGES, **GPU), "images_tiny": dict(IMAGES, **TINY, num_holdout=4),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="autoencoder", seed=0))
  config.image = common.protons64_image()
  config.frame = v["frame"]
  config.charge = dict(name="sqrt", scale_mev=1.0)
  config.data = common.data(v, *v["data"])
  config.network = dict(latent_channels=8, stem=8, features=v["features"], num_encoder_blocks=2,
                        num_decoder_blocks=3)
  config.loss = common.block(schema.AutoencoderLoss)
  config.optim = common.optim(v["rate"], v["num_steps"], schedule="cosine", weight_decay=1e-4,
                              ema_decay=0.998)
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
