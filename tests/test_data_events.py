"""Sparse events: files round trip, selections agree with a plain Python loop, bad files are named."""
import numpy as np
import pytest

from lartpc_jax.data import events as lib
from lartpc_jax.data.open import open_events

COUNTS = (3, 0, 5, 1, 0)


def make_events(counts=COUNTS, seed=0) -> lib.Events:
  rng, m = np.random.default_rng(seed), sum(counts)
  return lib.Events(momentum_mev=rng.normal(size=(len(counts), 3)).astype(np.float32),
                    offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
                    voxel=rng.integers(-30, 30, (m, 3)).astype(np.int16),
                    edep_mev=rng.exponential(size=m).astype(np.float32), voxel_mm=3.0)


def replace(events, **fields) -> lib.Events:
  return lib.Events(**{**{name: getattr(events, name) for name in lib.Events._fields}, **fields})


def rows_of(events, i):
  return slice(events.offsets[i], events.offsets[i + 1])


def test_length_counts_events():
  assert len(make_events()) == 5
  assert len(open_events("sample")) == 500


def test_save_and_load_round_trip(tmp_path):
  events = make_events()
  lib.save_events(tmp_path / "e.npz", events)
  loaded = lib.load_events(tmp_path / "e.npz")
  for name in lib.Events._fields:
    np.testing.assert_array_equal(getattr(loaded, name), getattr(events, name))
    assert np.asarray(getattr(loaded, name)).dtype == np.asarray(getattr(events, name)).dtype
  assert [p.name for p in tmp_path.iterdir()] == ["e.npz"]


def test_save_overwrites_only_when_complete(tmp_path):
  lib.save_events(tmp_path / "e.npz", make_events())
  before = (tmp_path / "e.npz").read_bytes()
  with pytest.raises(ValueError, match="edep"):
    lib.save_events(tmp_path / "e.npz", replace(make_events(), edep_mev=np.full(9, np.nan, np.float32)))
  assert (tmp_path / "e.npz").read_bytes() == before


@pytest.mark.parametrize("indices", [[0], [1], [4, 4], [2, 0, 3, 2, 1], [-1, -2, -3], []])
def test_selection_equals_a_loop(indices):
  events = make_events()
  chosen = lib.select_events(events, np.array(indices, int))
  assert len(chosen) == len(indices)
  for i, index in enumerate(indices):
    index %= len(events)
    np.testing.assert_array_equal(chosen.momentum_mev[i], events.momentum_mev[index])
    np.testing.assert_array_equal(chosen.voxel[rows_of(chosen, i)], events.voxel[rows_of(events, index)])
    np.testing.assert_array_equal(chosen.edep_mev[rows_of(chosen, i)],
                                  events.edep_mev[rows_of(events, index)])


def test_padding_keeps_every_deposit_and_adds_only_zero_energy():
  events, indices = make_events(), np.array([2, 1, 0])
  padded = lib.pad_events(events, indices, multiple=4)
  assert padded.edep_mev.shape == (3, 8) and padded.position_mm.shape == (3, 8, 3)
  for row, index in enumerate(indices):
    rows = rows_of(events, index)
    count = rows.stop - rows.start
    np.testing.assert_array_equal(padded.edep_mev[row, :count], events.edep_mev[rows])
    # voxel centres
    np.testing.assert_allclose(padded.position_mm[row, :count], (events.voxel[rows] + 0.5) * 3.0)
    assert not padded.edep_mev[row, count:].any()
  assert lib.pad_events(events, np.array([1])).edep_mev.shape == (1, 64)  # an empty event still has a shape


def test_deposited_energy_is_the_sum_over_each_event():
  events = make_events()
  expected = [events.edep_mev[rows_of(events, i)].sum() for i in range(len(events))]
  np.testing.assert_allclose(lib.deposited_energy(events), expected, rtol=1e-6)
  # a proton of 50 to 100 MeV deposits at most its kinetic energy, and mostly that
  sample = open_events("sample")
  momentum = np.linalg.norm(sample.momentum_mev.astype(float), axis=1)
  ratio = lib.deposited_energy(sample) / (np.sqrt(momentum**2 + 938.27209**2) - 938.27209)
  assert ratio.max() < 1.001 and np.median(ratio) > 0.9


@pytest.mark.parametrize("changes,message", [
    (dict(momentum_mev=np.zeros((5, 2), np.float32)), r"field 'momentum' must be \(5, 3\); got \(5, 2\)"),
    (dict(voxel=np.zeros((9, 2), np.int16)), r"field 'voxel' must be \(9, 3\); got \(9, 2\)"),
    (dict(voxel=np.zeros((9, 3), np.float32)), "field 'voxel' must hold integers; got float32"),
    (dict(offsets=np.zeros(1, np.int64), momentum_mev=np.zeros((0, 3), np.float32)),
     "'offsets' describes no event"),
    (dict(offsets=np.array([1, 3, 3, 8, 9, 9])),
     "field 'offsets' must rise from 0 to the number of voxels 9"),
    (dict(offsets=np.array([0, 3, 3, 8, 9, 8])), "field 'offsets' must rise"),
    (dict(offsets=np.array([0, 4, 3, 8, 9, 9])), "field 'offsets' must rise"),
    (dict(momentum_mev=np.full((5, 3), np.nan, np.float32)), "field 'momentum' holds NaN"),
    (dict(edep_mev=np.full(9, np.inf, np.float32)), "field 'edep' holds NaN or infinity"),
    (dict(edep_mev=np.full(9, -1.0, np.float32)), "field 'edep' must not be negative; smallest is -1.0"),
    (dict(voxel_mm=0.0), "field 'voxel_mm' must be positive and finite; got 0.0"),
    (dict(voxel_mm=np.inf), "field 'voxel_mm' must be positive and finite; got inf"),
])
def test_bad_values_are_named_with_file_and_field(tmp_path, changes, message):
  events = replace(make_events(), **changes)
  np.savez(tmp_path / "bad.npz", momentum=events.momentum_mev, offsets=events.offsets, voxel=events.voxel,
           edep=events.edep_mev, voxel_mm=events.voxel_mm)
  with pytest.raises(ValueError, match=f"bad.npz: .*{message}"):
    lib.load_events(tmp_path / "bad.npz")


@pytest.mark.parametrize("field,value", [
    ("momentum", np.array([["a", "b", "c"]] * 5)), ("edep", np.array(["x"] * 9)), ("edep", np.float32(1.0)),
    ("offsets", np.int64(3)), ("offsets", np.array([[0, 9]])), ("voxel_mm", np.ones(2)),
    ("momentum", np.array([None] * 5)),
])
def test_fields_of_another_type_are_named_with_the_file(tmp_path, field, value):
  events = make_events()
  fields = dict(momentum=events.momentum_mev, offsets=events.offsets, voxel=events.voxel,
                edep=events.edep_mev, voxel_mm=events.voxel_mm)
  np.savez(tmp_path / "bad.npz", **{**fields, field: value})
  with pytest.raises(ValueError, match=f"bad.npz.*{field}"):
    lib.load_events(tmp_path / "bad.npz")


def test_missing_file_missing_field_and_broken_files_are_named(tmp_path):
  path = tmp_path / "e.npz"
  with pytest.raises(FileNotFoundError, match="No event file at .*e.npz"):
    lib.load_events(path)
  lib.save_events(path, make_events())
  content = path.read_bytes()
  path.write_bytes(content[:len(content) // 2])
  with pytest.raises(ValueError, match="e.npz: not a readable npz"):
    lib.load_events(path)
  middle = content.index(b"edep.npy") + 60  # inside the compressed bytes of one array
  path.write_bytes(content[:middle] + bytes(255 - b for b in content[middle:middle + 20]) +
                   content[middle + 20:])
  with pytest.raises(ValueError, match="e.npz"):
    lib.load_events(path)
  for other in (b"", b"momentum,offsets\n1,2\n"):
    path.write_bytes(other)
    with pytest.raises(ValueError, match="e.npz: not a readable npz"):
      lib.load_events(path)
  with open(path, "wb") as file:
    np.save(file, np.zeros(3))  # an npy, not an npz
  with pytest.raises(ValueError, match="e.npz: not a readable npz"):
    lib.load_events(path)
  np.savez(path, momentum=np.zeros((1, 3)), voxel_mm=1.0)
  with pytest.raises(ValueError,
                     match=r"lacks \['offsets', 'voxel', 'edep'\]; it holds \['momentum', 'voxel_mm'\]"):
    lib.load_events(path)


def test_voxels_that_do_not_fit_the_file_format_are_refused(tmp_path):
  events = replace(make_events(), voxel=np.full((9, 3), 40_000, np.int32))
  with pytest.raises(ValueError, match="voxel"):
    lib.save_events(tmp_path / "e.npz", events)


def fields_of(events):
  return dict(momentum=events.momentum_mev, offsets=events.offsets, voxel=events.voxel, edep=events.edep_mev,
              voxel_mm=events.voxel_mm)


def test_offsets_that_are_no_integers_are_refused(tmp_path):
  events = make_events()
  np.savez(tmp_path / "e.npz", **{**fields_of(events), "offsets": events.offsets.astype(float)})
  np.testing.assert_array_equal(lib.load_events(tmp_path / "e.npz").offsets, events.offsets)
  np.savez(tmp_path / "e.npz", **{**fields_of(events), "offsets": np.array([0, 1.5, 3, 8, 9, 9])})
  with pytest.raises(ValueError, match="e.npz: field 'offsets' must hold integers; got 1.5"):
    lib.load_events(tmp_path / "e.npz")


def with_truth(events):
  """Events 0 and 3 have one primary, 1 none, 2 two, 4 one whose direction and energy are unknown."""
  rows = [[0, 2212, 50, 1, 0, 0], [2, 13, 20, 0, 1, 0], [2, 2212, 60, 0, 0, 1], [3, -211, 80, 0, 0, -1],
          [4, 22, np.nan, 0, 0, 0]]
  return replace(events, label=np.arange(9, dtype=np.uint8), primaries=np.array(rows, np.float64))


def test_labels_codes_and_primaries_are_kept(tmp_path):
  lib.save_events(tmp_path / "e.npz", with_truth(make_events()))
  found = lib.load_events(tmp_path / "e.npz")
  np.testing.assert_array_equal(found.pdg, [2212, 0, 0, -211, 22])
  np.testing.assert_array_equal(found.label, np.arange(9))
  chosen = lib.select_events(found, np.array([2, 4, 1, 2]))
  np.testing.assert_array_equal(chosen.pdg, [0, 22, 0, 0])
  np.testing.assert_array_equal(chosen.primaries,
                                [[0, 13, 20, 0, 1, 0], [0, 2212, 60, 0, 0, 1], [1, 22, np.nan, 0, 0, 0],
                                 [3, 13, 20, 0, 1, 0], [3, 2212, 60, 0, 0, 1]])
  np.testing.assert_array_equal(chosen.label, [3, 4, 5, 6, 7, 3, 4, 5, 6, 7])
  lib.save_events(tmp_path / "c.npz", chosen)
  again = lib.load_events(tmp_path / "c.npz")
  np.testing.assert_array_equal(again.primaries, chosen.primaries)
  np.testing.assert_array_equal(again.pdg, chosen.pdg)
  assert lib.describe_others(
      found) == "1 of several particles, 1 of pi- (PDG code -211), 1 of gamma (PDG code 22)"


@pytest.mark.parametrize("settings,code", [
    ('{"particles": ["muon"], "seed": 0}', 13), ('{"particles": ["proton"]}', 2212),
    ('{"particles": ["pi-"]}', -211),
    ('{"particles": ["proton", "mu-"]}', None), ('{"particles": ["axion"]}', None), ('{"seed": 0}', None),
    ("no json", None)])
def test_the_settings_of_a_simulation_name_the_particle(tmp_path, settings, code):
  np.savez(tmp_path / "e.npz", **fields_of(make_events()), settings=np.array(settings))
  found = lib.load_events(tmp_path / "e.npz")
  np.testing.assert_array_equal(found.pdg if code is None else found.pdg[:2],
                                None if code is None else [code] * 2)


@pytest.mark.parametrize("field,value,message", [
    ("vlabel", np.zeros(8, np.uint8), "field 'vlabel' must hold 9 unsigned integers"),
    ("vlabel", np.zeros(9), "field 'vlabel' must hold 9 unsigned integers"),
    ("pdg", np.zeros(4, int), "field 'pdg' must hold 5 integers"),
    ("pdg", np.zeros(5), "field 'pdg' must hold 5 integers"),
    ("primaries", np.zeros((2, 5)), "field 'primaries' must have rows of 6 numbers"),
    ("primaries", np.eye(6) * 3, "field 'primaries' must name events 0 to 4 in their order"),
    ("primaries", np.full((1, 6), 9.0), "field 'primaries' must name events 0 to 4"),
    ("settings", np.zeros(1), "field 'settings' must hold text on 0 axes")])
def test_bad_truth_is_named(tmp_path, field, value, message):
  np.savez(tmp_path / "e.npz", **fields_of(make_events()), **{field: value})
  with pytest.raises(ValueError, match=f"e.npz: {message}"):
    lib.load_events(tmp_path / "e.npz")


def test_momenta_in_gev_are_refused(tmp_path):
  """Protons of 50 to 100 MeV have 310 to 444 MeV/c. Slow muons and pions set free their rest mass: no false
  alarm."""
  events = lib.select_events(open_events("sample"), np.arange(20))
  np.savez(tmp_path / "e.npz", **{**fields_of(events), "momentum": events.momentum_mev / 1000})
  with pytest.raises(ValueError, match="e.npz: field 'momentum' must be in MeV/c.*seems to be in GeV/c"):
    lib.load_events(tmp_path / "e.npz")
  lib.check_momentum_unit(np.full(9, 140.0), np.full(9, 30.0), "slow pions")
  lib.check_momenta(replace(events, momentum_mev=np.zeros((20, 3), np.float32)))  # unknown


def test_the_selection_of_a_file_without_truth_is_as_before():
  """Nothing that is optional gets into files or batches that had none."""
  events = open_events("sample")
  assert events.label is events.pdg is events.primaries is None
  chosen = lib.select_events(events, np.array([3, 1]))
  assert chosen.label is chosen.pdg is chosen.primaries is None


def test_interactions_need_no_momentum(tmp_path):
  """They are of several particles; files that say nothing of the particles must have one."""
  fields = {name: value for name, value in fields_of(make_events()).items() if name != "momentum"}
  np.savez(tmp_path / "e.npz", **fields, vlabel=np.ones(9, np.uint8))
  found = lib.load_events(tmp_path / "e.npz")
  assert found.momentum_mev.shape == (5, 3) and not found.momentum_mev.any()
  np.savez(tmp_path / "e.npz", **fields)
  with pytest.raises(ValueError, match=r"e.npz: event file lacks \['momentum'\]"):
    lib.load_events(tmp_path / "e.npz")
