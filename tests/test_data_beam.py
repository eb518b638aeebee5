"""Apache Beam does the same work to the same result; without it, everything says which extra is missing."""
import dataclasses
import importlib.util

import numpy as np
import pytest

from lartpc_jax.data import events as events_lib
from lartpc_jax.data.datasets import builders, loader
from lartpc_jax.data.open import open_events
from lartpc_jax.experiments import beam, simulate

needs_beam = pytest.mark.skipif(importlib.util.find_spec("apache_beam") is None, reason="no apache-beam")
SETTINGS = simulate.Settings(out="", num_events=30, shard_events=8, chunk_size=8, kinetic_mev=((50.0, 55.0),),
                             nuclear=False)


@needs_beam
def test_a_dataset_by_beam_equals_one_without(tmp_path):
  """Sparse events in two files, as parts of a simulation leave them."""
  events = events_lib.select_events(open_events("sample"), np.arange(33))
  for name, numbers in (("a", np.arange(20)), ("b", np.arange(20, 33))):
    events_lib.save_events(tmp_path / f"protons_{name}.npz", events_lib.select_events(events, numbers))
  rows = []
  for name, options in (("plain", None), ("beam", ["--runner=DirectRunner"])):
    built = builders.build("protons64", tmp_path, tmp_path / name, num_shards=2, beam_options=options)
    rows.append({split: {int(row["event"]): row for row in loader.open_split(built.data_dir, split)}
                 for split in ("train", "validation")})
  plain, by_beam = rows
  assert len(plain["train"]) > 20 and set(plain["validation"]) <= {10, 21, 32}
  for split in plain:
    assert plain[split].keys() == by_beam[split].keys()
    for number, row in plain[split].items():
      np.testing.assert_array_equal(row["image"], by_beam[split][number]["image"])
      np.testing.assert_array_equal(row["momentum_mev"], events.momentum_mev[number])


@needs_beam
def test_a_simulation_by_beam_is_the_same_file(tmp_path):
  straight, by_beam = (dataclasses.replace(SETTINGS, out=str(tmp_path / name)) for name in ("a.npz", "b.npz"))
  simulate.execute(straight)
  simulate.execute(dataclasses.replace(by_beam, part=(1, 4)))  # something is there already
  beam.run_parts(by_beam, 3, [])
  assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
  beam.run_parts(by_beam, 3, [])  # complete
  with pytest.raises(ValueError, match=r"was made with .*seed=0 \(now 1\)"):
    beam.run_parts(dataclasses.replace(by_beam, seed=1), 3, [])


def test_without_beam(tmp_path, monkeypatch):
  found = importlib.import_module

  def missing(name, *args):
    if name.startswith("apache_beam"):
      raise ImportError(f"No module named {name!r}")
    return found(name, *args)
  monkeypatch.setattr(importlib, "import_module", missing)
  with pytest.raises(ValueError, match=r"needs apache_beam, which is not installed.*'lartpc_jax\[beam\]'"):
    beam.run_parts(dataclasses.replace(SETTINGS, out=str(tmp_path / "e.npz")), 2, [])
  with pytest.raises(ValueError, match="needs apache_beam"):
    builders.build("larcv_png64", tmp_path, tmp_path, beam_options=[])
  with pytest.raises(ValueError, match="num_parts must be at least 1; got 0"):
    beam.run_parts(SETTINGS, 0, [])
