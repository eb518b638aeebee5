r"""KL autoencoder of factor 8 for whole interactions, 512x512x1 -> 64x64x4, trained on crops with charge.

python -m launch.train --config=configs/events512_autoencoder.py --config.data.path=lartpc_events_geant4.npz \
    --workdir=runs/events512_ae

It is fully convolutional without normalisation, so crops are enough, and images of any size can be decoded,
whole or in tiles. base, for CPUs: 384,000 crops in 13 minutes of a core; on 64 held-out whole events decoded
over real is 0.99 in active pixels and 0.80 in charge. gpu, multi_gpu: for one GPU and for eight; not run.
"""
import ml_collections

from configs import common
from lartpc_jax.config import schema

VARIANTS = {
    "base": dict(features=64, encoder_features=32, blocks=(1, 2), path="", num_pixels=512, crop_px=64,
                 num_holdout=500, batch_size=32, num_evaluation=64, num_steps=12_000, every=3_000, rate=3e-3),
    "gpu": dict(features=192, encoder_features=128, blocks=(2, 4), path="", num_pixels=512, crop_px=128,
                num_holdout=500,
                batch_size=256, num_evaluation=128, num_steps=20_000, every=2_000, rate=1e-3),
    "multi_gpu": dict(features=192, encoder_features=128, blocks=(2, 4), path="", num_pixels=512, crop_px=256,
                      num_holdout=500, batch_size=512, num_evaluation=128, num_steps=20_000, every=2_000,
                      rate=1.5e-3),
    "tiny": dict(features=16, encoder_features=8, blocks=(1, 1), path="sample", num_pixels=128, crop_px=32,
                 num_holdout=100, batch_size=8, num_evaluation=16, num_steps=20, every=10, rate=3e-3),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="autoencoder", seed=0, frame=None))
  config.image = common.events512_image(v["num_pixels"])
  config.charge = dict(name="sqrt", scale_mev=1.0)
  config.data = common.data(v, "num_evaluation", "crop_px")
  config.network = dict(latent_channels=4, stem=8, features=v["features"],
                        encoder_features=v["encoder_features"],
                        num_encoder_blocks=v["blocks"][0], num_decoder_blocks=v["blocks"][1])
  config.loss = common.block(schema.AutoencoderLoss)
  config.optim = common.optim(v["rate"], v["num_steps"], warmup_steps=100, schedule="cosine",
                              weight_decay=1e-4, ema_decay=0.99)
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
