"""Labels by name: what is known of a file, and how it is measured."""
import numpy as np
import pytest

from lartpc_jax.data import labels as lib
from lartpc_jax.data.events import Events, load_events, select_events
from lartpc_jax.data.open import open_data, open_events
from tests.toy_sources import sample_crops


def test_mapping_of_delta_and_michel():
  five, three = sample_crops(five_classes=True)["label"], sample_crops()["label"]
  table, classes = lib.pixel_table(five_classes=False, delta="track")
  assert set(np.unique(five)) == {0, 1, 2, 3, 4} and classes == ("background", "track", "shower")
  np.testing.assert_array_equal(three == 2, np.isin(five, [2, 3, 4]))
  np.testing.assert_array_equal(table[five] == 1, np.isin(five, [1, 3]))
  assert lib.pixel_table(five_classes=True)[1] == lib.PIXEL_CLASSES == (
      "background", "track", "shower", "delta", "michel")


@pytest.mark.parametrize("kwargs,message", [
    (dict(delta="muon"), r"data.delta must be one of \['track', 'shower'\]; got 'muon'"),
    (dict(michel="background"), "data.michel must be one of")])
def test_unknown_classes_are_named(kwargs, message):
  with pytest.raises(ValueError, match=message):
    lib.pixel_table(five_classes=False, **kwargs)


def test_kinetic_energies_of_single_particles_and_of_interactions():
  """T = sqrt(p^2 + m^2) - m with PDG masses; the sum of the primaries where a file names them."""
  momentum = np.float32([[300.0, 0, 400.0], [0, 120.0, 50.0]])
  single = Events(momentum, np.array([0, 0, 0]), np.zeros((0, 3), np.int16), np.zeros(0, np.float32), 1.0)
  mass = lambda m: np.sqrt((momentum.astype(float)**2).sum(1) + m**2) - m
  np.testing.assert_allclose(lib.kinetic_mev(single), mass(938.27209), rtol=1e-6)
  muons = Events(**{**single._asdict(), "pdg": np.array([13, -13])})
  np.testing.assert_allclose(lib.kinetic_mev(muons), mass(105.6583755), rtol=1e-6)
  rows = np.array([[0, 13, 100.0, 0, 0, 1], [0, 2212, 50.5, 0, 0, 1], [1, 11, 7.0, 0, 0, 1]])
  several = Events(**{**single._asdict(), "primaries": rows, "momentum_mev": np.zeros((2, 3), np.float32)})
  np.testing.assert_allclose(lib.kinetic_mev(several), [150.5, 7.0])
  counts = lib.scalars_of(several, {"count_mu-": (), "count_proton": ()})
  np.testing.assert_array_equal([counts["count_mu-"], counts["count_proton"]], [[1, 0], [1, 0]])
  known = ("kinetic_mev", "count_e-", "count_mu-", "count_proton")
  assert lib.event_labels(several) == known and "particle" in lib.event_labels(muons)
  for changed in (rows[:2], np.where(rows == 7.0, np.nan, rows)):  # no primary, and one of unknown energy
    lacking = Events(**{**several._asdict(), "primaries": changed})
    assert np.isnan(lib.kinetic_mev(lacking)).tolist() == [False, True]
    assert lib.event_labels(lacking) == (() if len(changed) == 2 else known[1:])


def test_what_is_known_of_the_simulated_files(shared_data):
  """The energies of crops are those of the interactions they were cut from."""
  assert lib.event_labels(open_events("sample")) == ("momentum_mev", "kinetic_mev")
  events = load_events(shared_data / "lartpc_events_geant4.npz")
  counts = {f"count_{name}" for name in ("proton", "mu-", "pi+", "pi-", "e-", "gamma")}
  assert set(lib.event_labels(events)) == {"kinetic_mev", "label", *counts}
  crops, energy = open_data(shared_data / "lartpc_crops_geant4.npz"), lib.kinetic_mev(events)
  assert set(crops.labels) == {"label", "kinetic_mev", *counts}
  got = crops.read(np.arange(500), ("kinetic_mev",))["kinetic_mev"]
  np.testing.assert_allclose(got, energy[crops.event[:500]], rtol=1e-5)
  assert got.min() > 5 and got.max() < 2_500  # 1 to 5 particles of 50 to 500 MeV


def test_measures_by_hand():
  image = np.zeros((2, 4, 4), np.float32)
  image[0, 0, :3] = [0.05, 1.0, 2.0]
  label = np.where(image > 0, 1, 0)
  label[0, 0, 2] = 2
  got = lib.measure({"image": image, "label": label}, lib.MEASURED, threshold_mev=0.1)
  np.testing.assert_allclose(got["charge_mev"], [3.0, 0.0])
  np.testing.assert_allclose(got["lit_pixels"], [2, 0])
  np.testing.assert_allclose(got["track_share"], [0.5, 0.0])
  assert lib.measure({"image": image}, (), threshold_mev=0.1) == {}


def test_unknown_labels_are_named():
  with pytest.raises(ValueError, match=r"The label 'charge' is not known of toys; known are \['charge_mev', "
                                       r"'lit_pixels'\]"):
    lib.check_wanted({"charge"}, (), "toys")
  lib.check_wanted({"track_share", "lit_pixels"}, ("label",), "toys")
  events = select_events(open_events("sample"), np.arange(3))
  events.momentum_mev[1] = 0
  assert "momentum_mev" not in lib.event_labels(events)
