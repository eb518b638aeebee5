"""Which configs may resume each other."""
from pathlib import Path

import pytest

from lartpc_jax.config import compare as run_config

SAVED = {"seed": 0, "network": {"mult": (1, 2), "num_channels": 8}, "data": {"path": Path("a")},
         "train": {"num_steps": 5}}


def test_what_json_cannot_tell_apart_is_equal():
  new = {**SAVED, "network": {"mult": [1, 2], "num_channels": 8}, "data": {"path": "a"}, "train": {}}
  assert run_config.config_differences(SAVED, new) == []
  run_config.check_same_config(SAVED, new, source="here")


def test_differences_are_named():
  new = {"seed": 1, "network": {"mult": (1, 2, 4)}, "data": {"path": None}, "train": {"num_steps": 6}}
  assert run_config.config_differences(SAVED, new) == [
      "data.path: 'a' -> None", "network.mult: [1, 2] -> [1, 2, 4]", "network.num_channels: 8 -> (absent)",
      "seed: 0 -> 1"]
  with pytest.raises(ValueError, match="differs from that of here") as error:
    run_config.check_same_config(SAVED, new, source="here")
  assert "network.num_channels: 8 -> (absent)" in str(error.value)


def test_keys_that_only_start_alike_still_count():
  assert run_config.config_differences({"training": 1}, {"training": 2}) == ["training: 1 -> 2"]


def test_a_key_that_an_earlier_version_did_not_know_has_its_default():
  saved = {"task": "generator", "optim": {"learning_rate": 1.0}, "loss": {"p_mean": 0.5}}
  new = {"task": "generator", "optim": {"learning_rate": 1.0, "ema_power": 0.0},
         "loss": {"p_mean": 0.5, "t_min": 1e-5}}
  assert run_config.config_differences(saved, new) == run_config.config_differences(new, saved) == []
  new["optim"]["ema_power"], new["loss"]["cond_dropout"] = 6.94, 0.1
  assert run_config.config_differences(saved, new) == [
      "loss.cond_dropout: 0.0 -> 0.1", "optim.ema_power: 0.0 -> 6.94"]
  stage = lambda **loss: {"task": "cascade_stage", "loss": {"p_mean": 0.2, **loss}}  # another default
  assert run_config.config_differences(stage(), stage(cond_dropout=0.1)) == []
