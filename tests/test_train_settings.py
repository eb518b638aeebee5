"""The blocks optim and train of a config: what training gets, and which key is wrong."""
import dataclasses

import pytest

from lartpc_jax.config.schema import Muon
from lartpc_jax.train.settings import settings
from tests.toy_config import get_config


def test_settings():
  config = get_config().to_dict()
  run = settings(config)
  assert dataclasses.asdict(run) == {"optim": {**config["optim"], "muon": None, "other": None},
                                     "train": config["train"], "seed": 0}
  config["optim"]["muon"] = {"pattern": "kernel", "learning_rate": 0.1}
  assert settings(config).optim.muon == Muon("kernel", 0.1)


@pytest.mark.parametrize("block,value,message", [
    ("optim", None, "needs a block 'optim'"),
    ("optim", {"lr": 1.0}, r"optim.lr = 1.0; allowed: .*learning_rate"),
    ("optim", {"ema_decay": float("nan")}, "optim.ema_decay is NaN"),
    ("optim", {"muon": {"patern": "a"}}, r"optim.muon.patern = 'a'; allowed: \['learning_rate', 'pattern'"),
    ("train", None, "needs a block 'train'"), ("train", {"seed": 3}, r"train.seed = 3; allowed")])
def test_unknown_keys_are_named(block, value, message):
  config = get_config().to_dict()
  config[block] = value and {**config[block], **value}
  with pytest.raises(ValueError, match=message):
    settings(config)


@pytest.mark.parametrize("block,key,message", [
    ("train", "num_steps", "Missing config key train.num_steps"),
    ("optim", "learning_rate", "Missing config key optim.learning_rate"),
    (None, "seed", "Missing config key seed")])
def test_missing_keys_are_named(block, key, message):
  config = get_config().to_dict()
  del (config[block] if block else config)[key]
  with pytest.raises(ValueError, match=message):
    settings(config)
