r"""KL autoencoder of anyone's images in the pixels of their detector, n x n x 1 -> n/8 x n/8 x 8 latents.

python -m launch.train --config=configs/images_autoencoder.py --config.data.path=DIRECTORY_OF_IMAGES \
    --workdir=runs/images_ae
python -m launch.train --config=configs/images_autoencoder.py:particles \
    --config.data.path=DIRECTORY_OF_BATCHES --workdir=runs/particles_ae

Nothing in it knows of physics: images and their charge. data.path is whatever data.open reads;
image.num_pixels its size, any multiple of 8 (convolutional, without normalisation: 64 for 64 and for 512).
particles: single particles of five types; showers and Michel electrons take 12 latents a place. simpledet:
256x256 pictures of showers, trained whole; not run. primaries: crops of interactions or whole ones; not run.
gpu, particles_gpu: for one GPU; not run. tiny and NAME_tiny: for tests.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

BASE = dict(image=common.protons64_image(), latent_channels=8, features=128, batch_size=64, num_holdout=5_000,
            num_steps=5_000, every=1_000, rate=1.5e-3)
PARTICLES = dict(BASE, latent_channels=12, num_holdout=10_000)
SIMPLEDET = dict(BASE, image=common.simpledet256_image(), batch_size=16, rate=1e-3)
PRIMARIES = dict(BASE, image=common.events64_image(), latent_channels=16, num_holdout=500)
GPU = dict(features=192, batch_size=512, num_steps=10_000, rate=2e-3)
TINY = dict(features=16, batch_size=8, num_steps=20, every=10, rate=1e-3, num_holdout=4)
VARIANTS = {
    "base": BASE, "gpu": dict(BASE, **GPU), "tiny": dict(BASE, **TINY, path="sample"),
    "particles": PARTICLES, "particles_gpu": dict(PARTICLES, **GPU),
    "particles_tiny": dict(PARTICLES, **TINY),
    "simpledet": SIMPLEDET, "simpledet_tiny": dict(SIMPLEDET, **TINY),
    "primaries": PRIMARIES, "primaries_tiny": dict(PRIMARIES, **TINY),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="autoencoder", seed=0, frame=None))
  config.image = v["image"]
  config.charge = dict(name="sqrt", scale_mev=1.0)
  config.data = common.data({"path": "", **v}, "symmetries", "scale_mev", "nan")
  config.network = dict(latent_channels=v["latent_channels"], stem=8, features=v["features"],
                        num_encoder_blocks=2, num_decoder_blocks=3)
  config.loss = common.block(schema.AutoencoderLoss)
  config.optim = common.optim(v["rate"], v["num_steps"], schedule="cosine", weight_decay=1e-4,
                              ema_decay=0.998)
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
