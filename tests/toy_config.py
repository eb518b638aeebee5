"""The config of tests/toy_train.py; imports no jax, as configs should not."""
import ml_collections


def get_config(variant: str = "base") -> ml_collections.ConfigDict:
  if variant not in ("base", "tiny"):
    raise ValueError(f"Unknown variant {variant!r}; choose from ['base', 'tiny'].")
  config = ml_collections.ConfigDict(dict(seed=0, sleep_seconds=0.0))
  config.network = dict(num_channels=8)
  config.optim = dict(learning_rate=1e-2, warmup_steps=2, schedule="cosine", b1=0.9, b2=0.99, weight_decay=1e-2,
                      grad_clip_norm=1.0, ema_decay=0.9)
  config.train = dict(num_steps=12, log_every_steps=2, checkpoint_every_steps=3, eval_every_steps=4,
                      draw_every_steps=6, keep_checkpoints=2)
  return config
