"""The config of tests/toy_train.py; imports no jax, as configs should not."""
import ml_collections

from configs import common
from lartpc_jax.config import schema


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  if variant not in ("base", "tiny"):
    raise ValueError(f"Unknown variant {variant!r}; choose from ['base', 'tiny'].")
  config = ml_collections.ConfigDict(dict(seed=0, sleep_seconds=0.0))
  config.network = dict(num_channels=8)
  config.optim = common.optim(1e-2, 12, warmup_steps=2, schedule="cosine", weight_decay=1e-2, ema_decay=0.9)
  config.train = common.block(schema.Train, num_steps=12, log_every_steps=2, checkpoint_every_steps=3,
                              eval_every_steps=4, draw_every_steps=6)
  return config
