"""What a config says about a training run, apart from its model and data."""
from lartpc_jax.config import compare as run_config
from lartpc_jax.train import loop, optimizer


def settings(config: dict) -> tuple[dict, dict]:
  """Keyword arguments of `make_optimizer` and of `train`, from the blocks optim and train and the seed.

  Raises:
    ValueError: naming a missing block or key, or an unknown key.
  """
  for block in ("optim", "train"):
    if not isinstance(config.get(block), dict):
      raise ValueError(f"The config needs a block {block!r}; it has {sorted(config)}.")
  supplied = ("ema_decay", "ema_power", "workdir", "seed", "config", "plot_loss", "progress", "say")
  train = run_config.keywords_for(loop.train, "train", config["train"], supplied=supplied)
  optim = {"num_steps": train["num_steps"], **config["optim"]}
  for block, key, values in (("optim", "ema_decay", optim), ("", "seed", config)):
    if key not in values:
      raise ValueError(f"Missing config key {f'{block}.{key}'.strip('.')}; there are {sorted(values)}.")
  train.update(ema_decay=optim.pop("ema_decay"), ema_power=optim.pop("ema_power", 0.0), seed=config["seed"])
  return run_config.keywords_for(optimizer.make_optimizer, "optim", optim), train
