"""The blocks optim and train of a config: what training gets, and which key is wrong."""
import pytest

from lartpc_jax.train.settings import settings
from tests.toy_config import get_config


def test_settings():
  optim, train = settings(get_config().to_dict())
  assert optim["num_steps"] == 12 and train["ema_decay"] == 0.9 and train["seed"] == 0 and "ema_decay" not in optim


@pytest.mark.parametrize("block,value,message", [
    ("optim", None, "needs a block 'optim'"), ("optim", {"lr": 1.0}, r"optim.lr = 1.0; allowed: .*learning_rate"),
    ("train", {"seed": 3}, r"train.seed = 3; allowed")])
def test_unknown_keys_are_named(block, value, message):
  config = get_config().to_dict()
  config[block] = value and {**config[block], **value}
  with pytest.raises(ValueError, match=message):
    settings(config)


@pytest.mark.parametrize("block,key,message", [
    ("train", "log_every_steps", "Missing config key train.log_every_steps"),
    ("optim", "ema_decay", "Missing config key optim.ema_decay"),
    ("optim", "learning_rate", "Missing config key optim.learning_rate"), (None, "seed", "Missing config key seed")])
def test_missing_keys_are_named(block, key, message):
  config = get_config().to_dict()
  del (config[block] if block else config)[key]
  with pytest.raises(ValueError, match=message):
    settings(config)
