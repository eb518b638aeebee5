"""What a config says about a training run, apart from its model and data."""
from collections.abc import Mapping

from lartpc_jax.config.blocks import parse, section
from lartpc_jax.config.schema import Optim, Run, Train


def settings(config: Mapping) -> Run:
  """The blocks optim and train and the seed. Raises ValueError naming a missing block or key, or an unknown key."""
  if "seed" not in config:
    raise ValueError(f"Missing config key seed; there are {sorted(config)}.")
  optim, train = (parse(kind, name, section(config, name)) for kind, name in ((Optim, "optim"), (Train, "train")))
  return Run(optim, train, config["seed"])
