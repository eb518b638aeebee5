"""What a config says about a training run, apart from its model and data."""
from collections.abc import Mapping

from lartpc_jax.config.blocks import parse, section
from lartpc_jax.config.schema import Optim, Run, Train


def settings(config: Mapping) -> Run:
  """The blocks optim and train and the seed. Raises ValueError naming a missing block, or a bad key."""
  if "seed" not in config:
    raise ValueError(f"Missing config key seed; there are {sorted(config)}.")
  read = lambda kind, block: parse(kind, block, section(config, block))
  return Run(read(Optim, "optim"), read(Train, "train"), config["seed"])
