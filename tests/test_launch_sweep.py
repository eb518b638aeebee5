"""Sweeps over config values: what --set means, the table, and a small sweep from end to end."""
import contextlib
import json

import pytest

from configs import protons64_infer
from lartpc_jax import cli
from lartpc_jax.experiments import infer, sweep

CONFIG = protons64_infer.get_config("tiny").to_dict()


def test_settings_by_hand():
  found = sweep.parse_settings(["inference.second.num_steps=8,14", "sampler.name=heun", "guidance_scale=1.5"])
  assert found == {"inference.second.num_steps": [8, 14], "sampler.name": ["heun"], "guidance_scale": [1.5]}
  new = sweep.changed(CONFIG, "inference.second.num_steps", 8)
  assert new["inference"]["second"]["num_steps"] == 8 and CONFIG["inference"]["second"]["num_steps"] == 3
  assert sweep.changed(CONFIG, "guidance_scale", 2)["guidance_scale"] == 2.0


@pytest.mark.parametrize("text", ["inference.second.num_steps", "=3", "a="])
def test_a_bad_text_is_named(text):
  with pytest.raises(ValueError, match=f"Bad --set '{text}'"):
    sweep.parse_settings([text])


@pytest.mark.parametrize("key, value, message", [
    ("inference.steps", 3, "Unknown config key 'steps' of --set; there are"),
    ("guidance_scale.x", 3, "Unknown config key 'guidance_scale'"),
    ("inference.second.num_steps", 2.5, "--set num_steps needs a value like 3; got 2.5")])
def test_a_bad_key_or_value_is_named(key, value, message):
  with pytest.raises(ValueError, match=message):
    sweep.changed(CONFIG, key, value)


def test_table_has_the_best_first():
  row = lambda steps, median: {
      "steps": steps, "summary": {
          "inferred": {"median_dp_mev": median, "q95_dp_mev": 2 * median, "share_above_50_mev": 0.25},
          "num_converged": 3, "num_events": 4, "seconds_per_event": 1.0
      }
  }
  lines = sweep.sweep_table(["steps"], [row(1, 20.0), row(2, 10.0)]).splitlines()
  assert lines[2] == "| 2 | 10.0 | 20.0 | 25.0 % | 3 of 4 | 1.00 |" and lines[3].startswith("| 1 | 20.0")
  assert len({line.count("|") for line in lines}) == 1


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_a_sweep_goes_on_where_it_stopped(tmp_path):
  settings = infer.Settings("sample", num_events=2, start="classical", chunk_size=2, num_pictures=0,
                            out=str(tmp_path))
  said, signals = [], iter([None, 15])
  run = lambda stop: sweep.run_sweep(
      settings, CONFIG, {"inference.second.num_steps": [2, 3]},
      cli.terminal()._replace(say=said.append, stopping=lambda: contextlib.nullcontext(stop)))
  assert run(lambda: None) is None
  rows = json.loads((tmp_path / "sweep.json").read_text())
  assert [row["inference.second.num_steps"] for row in rows] == [2, 3]
  assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {"second.num_steps=2", "second.num_steps=3"}
  assert rows[0]["summary"]["inferred"] != rows[1]["summary"]["inferred"]
  before = (tmp_path / "second.num_steps=2" / "results.json").read_text()
  assert run(lambda: next(signals, None)) is None  # all is there: nothing is computed, nothing changes
  assert (tmp_path / "second.num_steps=2" / "results.json").read_text() == before
