"""Readers of 3D formats and voxels: sparse events come back as they were; damage is named."""
import tracemalloc

import h5py
import numpy as np
import pytest

from lartpc_jax.data import voxels as voxels_lib
from lartpc_jax.data.convert import convert
from lartpc_jax.data.events import deposited_energy, load_events, select_events
from lartpc_jax.data.open import open_events
from lartpc_jax.data.readers import edepsim_root, edepsim_segments, formats, pilarnet
from lartpc_jax.data.readers.root import open_tree
from tests import toy_readers as toy

NUM = 6


@pytest.fixture(scope="module")
def sample():
  """Events of the package, and vertices [n 3] in mm to put them at."""
  events = select_events(open_events("sample"), np.arange(NUM))
  return events, np.random.default_rng(0).uniform(-900, 900, (NUM, 3)).round()


def assert_same_voxels(found, want):
  """Equal but for the order of the voxels within an event."""
  np.testing.assert_array_equal(found.offsets, want.offsets)
  for i in range(len(want)):
    rows = slice(want.offsets[i], want.offsets[i + 1])
    order = np.lexsort(want.voxel[rows].T[::-1])
    np.testing.assert_array_equal(found.voxel[rows], want.voxel[rows][order])
    np.testing.assert_allclose(found.edep_mev[rows], want.edep_mev[rows][order], rtol=1e-6)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("block_bytes", [1_000, 1 << 24])  # events that span many blocks, and all in one
def test_segments_round_trip(sample, tmp_path, old, block_bytes):
  events, vertex = sample
  toy.write_segments(tmp_path / "in.h5", *toy.segments_of(events, vertex), old=old)
  summary = convert("segments", tmp_path / "in.h5", tmp_path / "a.npz", options={"block_bytes": block_bytes})
  found = load_events(tmp_path / "a.npz")
  assert_same_voxels(found, events)
  np.testing.assert_array_equal(found.momentum_mev, events.momentum_mev)
  extra = np.load(tmp_path / "a.npz")
  np.testing.assert_array_equal(extra["number"], 100 + np.arange(NUM))
  assert extra["momentum_known"].all() and summary.num == NUM and f"momentum of {NUM} known" in summary.text
  assert convert("segments", tmp_path / "in.h5", tmp_path / "b.npz", num=2).num == 2


def test_a_segment_deposits_in_proportion_to_its_length_in_each_voxel():
  start, stop = np.array([[0.5, 0.2, 0.7]]), np.array([[7.5, 0.2, 0.7]])
  found = voxels_lib.voxelize(start, stop, np.array([14.0]), origin_mm=np.zeros(3), voxel_mm=1.0)
  np.testing.assert_array_equal(found.voxel, [[i, 0, 0] for i in range(8)])
  np.testing.assert_allclose(found.edep_mev, [1, 2, 2, 2, 2, 2, 2, 1], rtol=1e-6)  # 2 MeV/mm
  rng = np.random.default_rng(0)
  start, stop, edep = rng.normal(0, 30, (50, 3)), rng.normal(0, 30, (50, 3)), rng.uniform(size=50)
  found = voxels_lib.voxelize(start, stop, edep, origin_mm=np.array([1.0, 2, 3]), voxel_mm=2.0)
  np.testing.assert_allclose(found.edep_mev.sum(), edep.sum(), rtol=1e-5)
  centroid = (edep[:, None] * 0.5 * (start + stop)).sum(0) / edep.sum()
  position = (found.voxel + 0.5) * 2.0 + [1.0, 2, 3]
  np.testing.assert_allclose((found.edep_mev[:, None] * position).sum(0) / edep.sum(), centroid, atol=0.1)


def test_the_label_of_a_voxel_is_that_of_its_largest_deposit():
  point = np.array([[0.1, 0, 0], [0.2, 0, 0], [5.0, 0, 0], [5.0, 0, 0]])
  found = voxels_lib.voxelize(point, point, np.array([1.0, 2, 3, 0]), origin_mm=np.zeros(3), voxel_mm=1.0,
                              label=np.array([1, 2, 3, 4], np.uint8))
  np.testing.assert_array_equal(found.label, [2, 3])
  np.testing.assert_allclose(found.edep_mev, [3, 3])


def test_origins(sample, tmp_path):
  events, vertex = sample
  segments, vertices, trajectories = toy.segments_of(events, vertex)
  two = np.concatenate([vertices, vertices])
  two["x_vert"][NUM:] += 5
  toy.write_segments(tmp_path / "two.h5", segments, two, trajectories)
  with pytest.raises(ValueError,
                     match="two.h5: event 100: has 2 vertices; choose --origin=first, entry, centroid"):
    convert("segments", tmp_path / "two.h5", tmp_path / "a.npz")
  convert("segments", tmp_path / "two.h5", tmp_path / "a.npz", origin="first")
  assert_same_voxels(load_events(tmp_path / "a.npz"), events)
  toy.write_segments(tmp_path / "none.h5", segments)
  with pytest.raises(ValueError, match="none.h5: event 100: the file gives no vertex"):
    convert("segments", tmp_path / "none.h5", tmp_path / "b.npz")
  summary = convert("segments", tmp_path / "none.h5", tmp_path / "b.npz", origin="centroid", voxel_mm=3.0)
  found = load_events(tmp_path / "b.npz")
  assert "momentum of 0 known, zeros for the others; the file has no trajectories" in summary.text
  for i in range(NUM):
    rows = slice(found.offsets[i], found.offsets[i + 1])
    mean = np.average(found.voxel[rows] + 0.5, axis=0, weights=found.edep_mev[rows])
    np.testing.assert_allclose(mean, 0, atol=0.5)  # voxels are 3 mm
  convert("segments", tmp_path / "none.h5", tmp_path / "c.npz", origin=",".join(map(str, vertex[0])), num=1)
  assert_same_voxels(load_events(tmp_path / "c.npz"), select_events(events, np.array([0])))
  for text in ("corner", "1,2", "1,2,nan"):
    with pytest.raises(ValueError, match=f"Unknown origin '{text}'"):
      convert("segments", tmp_path / "none.h5", tmp_path / "d.npz", origin=text)
  with pytest.raises(ValueError, match="voxels of 1 mm do not fit int16, they reach"):
    convert("segments", tmp_path / "none.h5", tmp_path / "d.npz", origin="-1e5,0,0")
  with pytest.raises(ValueError, match="has no energy, so no centroid"):
    voxels_lib.choose_origin("centroid", vertex[:0], vertex, vertex, np.zeros(NUM))
  assert not (tmp_path / "d.npz").exists()


def test_pilarnet_round_trip(sample, tmp_path):
  """Sparse events, as interactions of 3 mm voxels around a vertex at a voxel's corner."""
  events, _ = sample
  rows, vertex = [], np.array([300, 20, 700])
  for i in range(NUM):
    chosen = slice(events.offsets[i], events.offsets[i + 1])
    points = np.zeros((chosen.stop - chosen.start, 8))
    points[:, :3], points[:, 3] = events.voxel[chosen] + vertex, events.edep_mev[chosen]
    rows.append((points, [[len(points), 0, 0, 0, 1, 4]], [[938.3, 400.0, *vertex]]))
  toy.write_pilarnet(tmp_path / "in.h5", rows)
  summary = convert("pilarnet", tmp_path / "in.h5", tmp_path / "a.npz")
  found = load_events(tmp_path / "a.npz")
  assert found.voxel_mm == 3.0 and not found.momentum_mev.any(
  ) and "zeros for the others; momenta have no" in summary.text
  assert_same_voxels(found, events)
  assert np.all(np.load(tmp_path / "a.npz")["vlabel"] == 1)


def two_interactions(version=2):
  """Interaction 3: a track of 500 MeV/c and a shower of 100; interaction 5: a Michel; a scatter of none
  (-1)."""
  rng = np.random.default_rng(3)
  event = toy.pilarnet_event(rng, [4, 9, 6, 5], [-1, 3, 3, 5], [4, 1, 0, 2], [0, 500, 100, 30],
                             np.array([[0, 0, 0], [210, 220, 230], [240, 240, 240], [250, 251, 252]]))
  return event


def test_pilarnet_interactions(tmp_path):
  event = two_interactions()
  points, clusters, extra = event
  toy.write_pilarnet(tmp_path / "in.h5", [event, event])
  found = list(formats.open_source("pilarnet", tmp_path / "in.h5").iterate())
  assert [e.number for e in found] == [0, 0, 1, 1]
  np.testing.assert_allclose(found[0].vertices_mm, [[630, 660, 690]])  # of the cluster of 500 MeV/c
  np.testing.assert_allclose(found[0].start_mm, (points[4:19, :3] + 0.5) * 3)
  np.testing.assert_allclose(found[0].edep_mev, points[4:19, 3], rtol=1e-6)
  np.testing.assert_array_equal(found[0].label, [1] * 9 + [2] * 6)
  np.testing.assert_array_equal(found[1].label, [4] * 5)
  np.testing.assert_allclose(found[3].vertices_mm, [[750, 753, 756]])
  whole = list(formats.open_source("pilarnet", tmp_path / "in.h5", unit="event", energy="dE").iterate())
  assert len(whole) == 2 and len(whole[0].edep_mev) == 24
  np.testing.assert_allclose(whole[0].edep_mev, points[:, 4], rtol=1e-6)
  np.testing.assert_array_equal(whole[0].label[:4], 5)
  np.testing.assert_allclose(whole[0].vertices_mm, [[630, 660, 690], [750, 753, 756]])
  toy.write_pilarnet(tmp_path / "v3.h5", [(points, clusters, np.column_stack([extra, np.ones(4)]))])
  first = next(formats.open_source("pilarnet", tmp_path / "v3.h5").iterate())
  np.testing.assert_allclose(first.vertices_mm, [[630, 660, 690]])
  toy.write_pilarnet(tmp_path / "v1.h5", [event], version=1)
  first = next(formats.open_source("pilarnet", tmp_path / "v1.h5").iterate())
  assert not len(first.vertices_mm)
  np.testing.assert_allclose(first.edep_mev, points[4:19, 3], rtol=1e-6)


def test_edepsim_root(repo, tmp_path):
  """A file that ROOT wrote, with the numbers of tests/data/TG4.cxx."""
  found = list(formats.open_source("edepsim_root", repo / "tests" / "data" / "edepsim.root").iterate())
  assert [e.number for e in found] == [10, 11, 12, 13, 14]
  for i, event in enumerate(found):
    k = np.arange(i + 2)
    start = np.stack([100 * i + k, np.full(i + 2, -50.0), np.full(i + 2, 20.0)], 1)
    other = i % 2  # odd events have a segment more, in another detector
    np.testing.assert_allclose(event.start_mm, np.concatenate([start, start[:other]]))
    np.testing.assert_allclose(event.stop_mm[:i + 2] - start,
                               np.stack([k * 0 + 1.0, k * 0 + 0.5, -0.25 * k], 1))
    np.testing.assert_allclose(event.edep_mev, np.concatenate([1 + 0.25 * k, [9.0] * other]))
    np.testing.assert_allclose(event.vertices_mm, [[100.0 * i, -50, 20]])
    np.testing.assert_allclose(event.momenta_mev, [[300.0 + i, -10.0 * i, 5]])
  summary = convert("edepsim_root", repo / "tests" / "data" / "edepsim.root", tmp_path / "a.npz",
                    options={"detectors": ("drift",)})
  events = load_events(tmp_path / "a.npz")
  np.testing.assert_allclose(deposited_energy(events), [2.25, 3.75, 5.5, 7.5, 9.75])
  np.testing.assert_allclose(events.momentum_mev[:, 0], 300 + np.arange(5))
  assert summary.num == 5 and events.voxel.min() >= -2 and events.voxel.max() == 5


def test_broken_root(repo, tmp_path):
  whole = (repo / "tests" / "data" / "edepsim.root").read_bytes()
  path = tmp_path / "a.root"
  path.write_bytes(whole[:len(whole) // 2])
  with pytest.raises(ValueError,
                     match="a.root: is not a readable ROOT file|a.root: tree 'EDepSimEvents', basket 0"):
    convert("edepsim_root", path, tmp_path / "a.npz")
  path.write_text("hello, this is no ROOT file")
  with pytest.raises(ValueError, match="a.root: is not a readable ROOT file"):
    convert("edepsim_root", path, tmp_path / "a.npz")
  import uproot
  with uproot.recreate(path) as file:
    file.mktree("Muons", {"x": "i4"}).extend({"x": np.arange(3, dtype=np.int32)})
  with pytest.raises(ValueError, match=r"lacks the tree 'EDepSimEvents'; it holds \['Muons \(TTree\)'\]"):
    convert("edepsim_root", path, tmp_path / "a.npz")
  with uproot.recreate(path) as file:
    file.mktree("EDepSimEvents", {"EventId": "i4"}).extend({"EventId": np.arange(3, dtype=np.int32)})
  with pytest.raises(ValueError, match=r"lacks the branches \['SegmentDetectors'"):
    convert("edepsim_root", path, tmp_path / "a.npz")
  with pytest.raises(
      ValueError, match=r"no event has segments in the detectors \['lar'\]; there are \['drift', 'other'\]"):
    convert("edepsim_root", repo / "tests" / "data" / "edepsim.root", tmp_path / "a.npz",
            options={"detectors": ("lar",)})
  with pytest.raises(ValueError, match="must be a ROOT file, not a directory"):
    formats.open_source("edepsim_root", tmp_path)
  assert [p.name for p in tmp_path.iterdir()] == ["a.root"]


def segment_bytes(repo):
  tree, branches = open_tree(str(repo / "tests" / "data" / "edepsim.root"), edepsim_root.TREE,
                             edepsim_root.BRANCHES)
  basket = branches[edepsim_root.VECTORS].basket(0)
  return np.asarray(basket.data)[:basket.byte_offsets[1]].copy(), edepsim_root._members("x", tree)


@pytest.mark.parametrize("change,message", [
    (lambda data: data[:-8], "has a byte count of 342 for 334 bytes at byte 4"),
    (lambda data: _set(data, 4, 0x00), "is not streamed member by member"),
    (lambda data: _set(data, 11, 0x05), "is truncated or of another layout"),
    (lambda data: _set(data, 11, 0x01), "is truncated or of another layout"),
    (lambda data: _set(data, 93, 0xFF), "holds a TLorentzVector of another layout"),
    (lambda data: _set(data, 21, 0x10), "holds referenced objects")])
def test_damaged_segments_are_not_decoded(repo, change, message):
  data, members = segment_bytes(repo)
  with pytest.raises(ValueError, match=f"event 10, field 'SegmentDetectors'.*({message})"):
    edepsim_segments.decode_split("event 10", change(data), 1, members)


def _set(data, at, value):
  data[at] = value
  return data


def broken_segments(path, name, sample):
  segments, vertices, trajectories = toy.segments_of(*sample)
  if name == "text":
    path.write_text("hello")
    return
  if name == "empty":
    path.write_bytes(b"")
    return
  if name == "nan":
    segments["dE"][5] = np.nan
  elif name == "negative":
    segments["dE"][5] = -1
  elif name == "infinite":
    segments["z_end"][5] = np.inf
  elif name == "no_rows":
    segments = segments[:0]
  elif name == "bad_vertex":
    vertices["y_vert"][0] = np.nan
  elif name == "columns":
    segments = segments[["event_id", "dE"]]
  elif name == "words":
    segments = np.array([(1, "a")], [("event_id", "u4"), ("dE", "S1")])
  elif name == "plain":
    segments = np.zeros(3)
  elif name == "scalar_momentum":
    trajectories = toy.table(np.dtype([("event_id", "u4"), ("parent_id", "i4"), ("pxyz_start", "f4")]), 2)
  toy.write_segments(path, segments, vertices, trajectories)
  if name == "cut":
    path.write_bytes(path.read_bytes()[:20_000])
  elif name == "missing":
    with h5py.File(path, "a") as file:
      del file["segments"]
  elif name == "group":
    with h5py.File(path, "a") as file:
      del file["segments"]
      file.create_group("segments")


@pytest.mark.parametrize("name,message", [
    ("text", "a.h5: is not a readable HDF5 file"), ("empty", r"a.h5: is empty \(0 bytes\)"),
    ("cut", "a.h5: is not a readable HDF5"),
    ("missing", r"lacks field 'segments'; it holds \['trajectories', 'vertices'\]"),
    ("group", "field 'segments' must be a dataset"), ("nan", "field 'segments.dE' holds NaN"),
    ("negative", "field 'segments.dE' must not be below 0; smallest is -1"),
    ("infinite", "field 'segments.z_end' holds NaN or infinity"),
    ("no_rows", "field 'segments' holds no rows"),
    ("bad_vertex", "field 'vertices' holds NaN"), ("columns", "field 'segments' lacks the column 'x_start'"),
    ("words", "column 'dE' of field 'segments' must hold numbers"),
    ("plain", "field 'segments' must be a table with named"),
    ("scalar_momentum", "column 'pxyz_start' of field 'trajectories' must hold 3 numbers")])
def test_broken_segments(sample, tmp_path, name, message):
  broken_segments(tmp_path / "a.h5", name, sample)
  with pytest.raises(ValueError, match=message):
    convert("segments", tmp_path / "a.h5", tmp_path / "a.npz")
  assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def broken_pilarnet(path, name):
  points, clusters, extra = two_interactions()
  if name == "text":
    path.write_text("hello")
    return
  if name == "nan":
    points[3, 3] = np.nan
  elif name == "negative":
    points[3, 3] = -1
  elif name == "sizes":
    clusters[0, 0] += 1
  elif name == "semantic":
    clusters[0, 4] = 7
  elif name == "extra":
    extra = extra[:-1]
  elif name == "columns":
    points = points[:, :7]
  toy.write_pilarnet(path, [] if name == "no_events" else [(points, clusters, extra)])
  with h5py.File(path, "a") as file:
    if name == "missing":
      del file["cluster"]
    elif name in ("dense", "lengths"):
      del file["cluster"]
      file["cluster"] = np.zeros(1) if name == "dense" else np.zeros(2)
    elif name == "words":
      del file["point"]
      file.create_dataset("point", data=["a"], dtype=h5py.string_dtype())
  if name == "cut":
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize("name,message", [
    ("text", "a.h5: is not a readable HDF5 file"), ("cut", "a.h5: is not a readable HDF5 file"),
    ("missing", r"lacks field 'cluster'; it holds \['cluster_extra', 'point'\]"),
    ("dense",
     "field 'cluster' must hold a row of variable length for each of 1 events; got 1 rows of float64"),
    ("lengths", "got 2 rows"), ("no_events", "field 'point' holds no events"),
    ("nan", "event 0: field 'point' holds NaN"),
    ("negative", "event 0: field 'point.value' must not be below 0"),
    ("sizes", "event 0, field 'cluster': 24 numbers do not make clusters.*the 24 of field 'point'"),
    ("semantic", "event 0, field 'cluster'.*semantic class is 0 to 4"),
    ("extra", "event 0, field 'cluster_extra': 15 numbers do not make rows of 5 or 6 or 9 or 11 for 4 "
              "clusters"),
    ("columns", "event 0, field 'cluster'|event 0, field 'point'"),
    ("words", "field 'point': must hold numbers")])
def test_broken_pilarnet(tmp_path, name, message):
  broken_pilarnet(tmp_path / "a.h5", name)
  with pytest.raises(ValueError, match=message):
    convert("pilarnet", tmp_path / "a.h5", tmp_path / "a.npz")
  assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_wrong_options(sample, tmp_path):
  toy.write_segments(tmp_path / "a.h5", *toy.segments_of(*sample))
  with pytest.raises(ValueError, match="unit must be one of.*got 'track'"):
    formats.open_source("pilarnet", tmp_path / "a.h5", unit="track")
  for kind in ("pilarnet", "segments"):
    with pytest.raises(ValueError, match="must be an HDF5 file, not a directory"):
      formats.open_source(kind, tmp_path)
  with pytest.raises(ValueError, match="converts to .npz"):
    convert("segments", tmp_path / "a.h5", tmp_path / "a.npy")
  with pytest.raises(ValueError, match="voxel_mm must be positive and finite; got -1.0"):
    convert("segments", tmp_path / "a.h5", tmp_path / "a.npz", voxel_mm=-1.0)
  with pytest.raises(ValueError, match=f"holds {NUM} events; asked for 50"):
    convert("segments", tmp_path / "a.h5", tmp_path / "a.npz", num=50)
  toy.write_pilarnet(tmp_path / "p.h5", [two_interactions()])
  with pytest.raises(ValueError, match="holds 1 events; asked for 2"):
    convert("pilarnet", tmp_path / "p.h5", tmp_path / "a.npz", num=2, origin="first",
            options={"unit": "event"})
  assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "p.h5"]


def peak_of(function):
  tracemalloc.start()
  function()
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  return peak


def test_segments_are_streamed(tmp_path):
  """A 19 MB table in blocks of 200 kB needs less than 4 MB."""
  position = np.zeros((1000, 3))
  rows = np.concatenate([toy.segment_rows(i, position, position, np.ones(1000)) for i in range(160)])
  toy.write_segments(tmp_path / "a.h5", rows, toy.table(toy.VERTEX, 160, event_id=np.arange(160)))
  assert (tmp_path / "a.h5").stat().st_size > 17e6
  del rows
  peak = peak_of(
      lambda: convert("segments", tmp_path / "a.h5", tmp_path / "a.npz", options={"block_bytes": 200_000}))
  assert len(load_events(tmp_path / "a.npz")) == 160 and peak < 4e6, f"{peak / 1e6:.1f} MB"


def test_pilarnet_is_streamed(tmp_path):
  """A 16 MB file in blocks of about 200 kB needs less than 4 MB."""
  num, rng = 2000, np.random.default_rng(0)
  event = toy.pilarnet_event(rng, [num], [0], [1], [100], np.zeros((1, 3)))
  toy.write_pilarnet(tmp_path / "a.h5", [event] * 250)
  assert (tmp_path / "a.h5").stat().st_size > 15e6
  source = pilarnet.open_pilarnet(tmp_path / "a.h5", block_bytes=200_000)
  counts = []
  peak = peak_of(lambda: counts.extend(len(e.edep_mev) for e in source.iterate()))
  assert counts == [num] * 250 and peak < 4e6, f"{peak / 1e6:.1f} MB"
