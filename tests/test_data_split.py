"""Splits: every event on one side, the last ones held out."""
import numpy as np
import pytest

from lartpc_jax.data.events import select_events
from lartpc_jax.data.image_source import of_arrays
from lartpc_jax.data.open import open_data, open_events
from lartpc_jax.data.split import split_by_event
from tests.toy_sources import write_sources


def test_events_are_disjoint_and_complete():
  events = select_events(open_events("sample"), np.arange(40))
  train, held = split_by_event(events, num_holdout=10)
  rows = lambda e: {tuple(p) for p in e.momentum_mev.tolist()}
  assert len(train) == 30 and len(held) == 10 and not rows(train) & rows(held)
  assert rows(train) | rows(held) == rows(events)
  np.testing.assert_array_equal(held.momentum_mev, events.momentum_mev[30:])


def test_crops_of_one_event_stay_together():
  rng = np.random.default_rng(0)
  event, images = rng.permutation(np.repeat(np.arange(20), 3)), rng.random((60, 1, 8, 8)).astype(np.float32)
  train, held = split_by_event(of_arrays(images, {}, "crops", event=event), num_holdout=5)
  assert not set(train.event) & set(held.event) and set(held.event) == set(range(15, 20))
  assert train.num + held.num == 60 and held.num == 15
  for part, chosen in ((train, event < 15), (held, event >= 15)):
    np.testing.assert_array_equal(part.read(np.arange(part.num))["image"], images[chosen])
  np.testing.assert_array_equal(held.read(slice(2, 5))["image"], images[event >= 15][2:5])


def test_what_a_dataset_keeps_apart_stays_apart(tmp_path):
  paths, events, _ = write_sources(tmp_path)
  rows = open_data(paths["batches"])
  train, held = split_by_event(rows, num_holdout=5)
  assert (train.num, held.num) == (39, 5)
  np.testing.assert_allclose(held.read(np.arange(5), ("momentum_mev",))["momentum_mev"],
                             events.momentum_mev[39:], rtol=1e-6)
  whole = open_data(paths["dataset"])
  train, held = split_by_event(whole, num_holdout=5)
  # every eleventh event: the split of the dataset, whatever num_holdout
  assert held.num == 4 > 0 and whole.holdout is held


def test_bad_numbers_are_named():
  events = select_events(open_events("sample"), np.arange(40))
  crops = of_arrays(np.ones((6, 1, 8, 8), np.float32), {}, "crops", event=np.array([0, 0, 1, 1, 2, 2]))
  for data, largest in ((events, 39), (crops, 2)):
    for num in (0, largest + 1):
      with pytest.raises(ValueError, match=f"data.num_holdout must lie between 1 and {largest}, .*got {num}"):
        split_by_event(data, num_holdout=num)
