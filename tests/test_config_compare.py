"""Which configs may resume each other, and which keys a builder takes."""
from pathlib import Path

import pytest

from lartpc_jax.config import compare as run_config

SAVED = {"seed": 0, "network": {"mult": (1, 2), "num_channels": 8}, "data": {"path": Path("a")},
         "train": {"num_steps": 5}}


def build(*, size: int, rate: float = 0.1, workdir: str = ""):
  return size, rate, workdir


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


def test_keywords_for():
  assert build(**run_config.keywords_for(build, "block", {"size": 3}, supplied=["workdir"])) == (3, 0.1, "")
  with pytest.raises(ValueError, match=r"block\.sizes = 3; allowed: \['rate', 'size'\]"):
    run_config.keywords_for(build, "block", {"sizes": 3}, supplied=["workdir"])
  with pytest.raises(ValueError, match=r"Missing config key block\.size; there are \['rate'\]"):
    run_config.keywords_for(build, "block", {"rate": 1.0}, supplied=["workdir"])
  with pytest.raises(ValueError, match=r"block\.workdir = 'a'"):
    run_config.keywords_for(build, "block", {"size": 1, "workdir": "a"}, supplied=["workdir"])
  with pytest.raises(ValueError, match=r"The config value block\.rate is NaN"):
    run_config.keywords_for(build, "block", {"size": 1, "rate": float("nan")}, supplied=["workdir"])
