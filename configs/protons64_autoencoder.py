r"""KL autoencoder of proton images in the track frame, 64x32x1 -> 8x4x8 latents.

python -m launch.train --config=configs/protons64_autoencoder.py --config.data.path=protons_geant4.npz --workdir=runs/ae

base: 9 minutes on two CPU cores; Earth Mover's Distance to held-out images 0.014 px of 2 mm (median), charge -0.2 +- 0.6 %.
gpu: for launch/train_all_gpu.sh, not measured.
"""
import ml_collections

from configs import common

VARIANTS = {
    "base": dict(features=128, path="", num_holdout=5_000, batch_size=64, num_steps=5_000, every=1_000, rate=1.5e-3),
    "gpu": dict(features=192, path="", num_holdout=5_000, batch_size=512, num_steps=6_000, every=1_000, rate=2e-3),
    "tiny": dict(features=16, path="sample", num_holdout=100, batch_size=8, num_steps=20, every=10, rate=1e-3),
}


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  v = common.variant_of(VARIANTS, variant)
  config = ml_collections.ConfigDict(dict(task="autoencoder", seed=0))
  config.image = common.protons64_image()
  config.frame = common.track_frame()
  config.charge = dict(name="sqrt", scale_mev=1.0)
  config.data = dict(path=v["path"], num_holdout=v["num_holdout"], batch_size=v["batch_size"], contained_only=False,
                     scale_mev=0.0)  # of images: MeV of a grey level; 0: the file is in MeV
  config.network = dict(latent_channels=8, stem=8, features=v["features"], num_encoder_blocks=2, num_decoder_blocks=3)
  config.loss = dict(kl_weight=3e-4, charge_weight=10.0)
  config.optim = dict(learning_rate=v["rate"], warmup_steps=min(200, v["num_steps"] // 4), schedule="cosine", b1=0.9,
                      b2=0.99, weight_decay=1e-4, grad_clip_norm=1.0, ema_decay=0.998)
  config.train = common.intervals(v["num_steps"], v["every"])
  return config
