"""Layouts of other programs, written here: what each holds comes back, by event, in the right axes and
units."""
import types

import numpy as np
import pytest

from lartpc_jax.data import images as images_lib, pictures, voxels as voxels_lib
from lartpc_jax.data.convert import convert
from lartpc_jax.data.events import load_events, select_events
from lartpc_jax.data.open import open_events
from lartpc_jax.data.readers import edepsim_root, edepsim_segments, formats, identify, pilarnet
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.units import kinetic_energy
from tests import toy_readers as toy

NUM = 6


@pytest.fixture(scope="module")
def sample():
  """Events of the package, and vertices [n 3] in mm to put them at."""
  events = select_events(open_events("sample"), np.arange(NUM))
  return events, np.random.default_rng(0).uniform(-900, 900, (NUM, 3)).round()


def read(path, **options):
  source = formats.open_source("segments", path, **options)
  return list(source.iterate()), source


def check(found, sample, numbers=None):
  """The events of the sample, each with its truth, in any order of their deposits."""
  events, vertex = sample
  assert len(found) == (NUM if numbers is None else len(numbers))
  for event, i in zip(found, range(NUM) if numbers is None else numbers):
    rows = slice(events.offsets[i], events.offsets[i + 1])
    want = (events.voxel[rows] + 0.5) * events.voxel_mm + vertex[i]
    order, of_found = np.lexsort(want.T), np.lexsort(event.start_mm.round(2).T)
    np.testing.assert_allclose(event.start_mm[of_found], want[order], atol=1e-2)
    np.testing.assert_allclose(event.edep_mev[of_found], events.edep_mev[rows][order], rtol=1e-6)
    np.testing.assert_allclose(event.vertices_mm, [vertex[i]], atol=1e-3)
    np.testing.assert_allclose(event.momenta_mev, [events.momentum_mev[i]], rtol=1e-6)
    np.testing.assert_array_equal(event.pdg, 2212)
    np.testing.assert_allclose(event.kinetic_mev, kinetic_energy(events.momentum_mev[[i]]), rtol=1e-4)


@pytest.mark.parametrize("block_bytes", [500, 1 << 24])
def test_rows_of_an_event_in_several_places(sample, tmp_path, block_bytes):
  """Module by module, as larnd-sim appends them; and in no order at all."""
  segments, vertices, trajectories = toy.segments_of(*sample)
  by_module = segments[np.argsort(np.arange(len(segments)) % 3, kind="stable")]
  for rows in (by_module, np.random.default_rng(1).permutation(segments)):
    toy.write_segments(tmp_path / "a.h5", rows, vertices, trajectories)
    found, source = read(tmp_path / "a.h5", block_bytes=block_bytes)
    check(sorted(found, key=lambda event: event.number), sample)
    assert source.num == NUM and "repeat" not in source.note


@pytest.mark.parametrize("truth", [True, False])
def test_event_numbers_that_repeat(sample, tmp_path, truth):
  """Two runs laid end to end: trajectories tell, or without them the numbers of the segments."""
  tables = [np.concatenate([rows, rows]) for rows in toy.segments_of(*sample)]
  toy.write_segments(tmp_path / "a.h5", *(tables if truth else tables[:1]))
  found, source = read(tmp_path / "a.h5")
  assert len(found) == 2 * NUM == source.num and "event numbers repeat: 2 runs laid end to end" in source.note
  if truth:
    check(found, sample, [*range(NUM), *range(NUM)])
  total = np.array([event.edep_mev.sum() for event in found])
  np.testing.assert_allclose(total[:NUM], total[NUM:])
  segments = tables[0][np.argsort(np.arange(len(tables[0])) % 3, kind="stable")]
  toy.write_segments(tmp_path / "a.h5", segments, *tables[1:])
  with pytest.raises(ValueError,
                     match="a.h5: the event numbers repeat.*cannot be told apart.*from a file of its own"):
    read(tmp_path / "a.h5")


def test_old_spills_that_number_trajectories_by_vertex_are_one_run(sample, tmp_path):
  segments, vertices, trajectories = toy.segments_of(*sample)
  twice = np.repeat(trajectories, 2)
  toy.write_segments(tmp_path / "a.h5", segments, vertices, twice)
  found, source = read(tmp_path / "a.h5")
  assert len(found) == NUM and "repeat" not in source.note


def test_vertex_numbers_alone(sample, tmp_path):
  names = {"event_id": None, "vertex_id": "vertexID"}
  tables = toy.segments_of(*sample)
  for rows in tables:
    rows["vertex_id"] = rows["event_id"]
  toy.write_segments(tmp_path / "a.h5", *(toy.rename(rows, names) for rows in tables))
  found, source = read(tmp_path / "a.h5")
  check(found, sample)
  assert "told apart by 'vertexID', the only number" in source.note
  with pytest.raises(ValueError, match="no column 'vertex_id' beside the event's number.*--unit=event"):
    read(tmp_path / "a.h5", unit="interaction")


def exchange(rows):
  """Segments with x and z exchanged, as larnd-sim works with them."""
  out = rows.copy()
  for end in ("_start", "_end", ""):
    out[f"x{end}"], out[f"z{end}"] = rows[f"z{end}"], rows[f"x{end}"]
  return out


@pytest.mark.parametrize("exchanged", [True, False])
def test_axes_of_old_outputs(sample, tmp_path, exchanged):
  segments, vertices, trajectories = toy.segments_of(*sample)
  rows = exchange(segments) if exchanged else segments
  toy.write_tables(tmp_path / "a.h5", {"tracks": rows, "vertices": vertices, "trajectories": trajectories})
  found, source = read(tmp_path / "a.h5")
  check(found, sample)
  assert ("x and z exchanged: so the deposits start"
          if exchanged else "x and z as in the file: so") in source.note
  toy.write_tables(tmp_path / "b.h5", {"tracks": rows})  # nothing to compare with
  found, source = read(tmp_path / "b.h5")
  assert "x and z exchanged: a table 'tracks' has them so" in source.note
  kept, source = read(tmp_path / "b.h5", axes="file")
  np.testing.assert_array_equal(found[0].start_mm, kept[0].start_mm[:, ::-1])
  assert "as in the file (--axes)" in source.note
  toy.write_tables(tmp_path / "c.h5", {"tracks": rows}, zbeam=not exchanged)
  found, source = read(tmp_path / "c.h5")
  np.testing.assert_array_equal(found[0].start_mm,
                                kept[0].start_mm[:, ::-1] if exchanged else kept[0].start_mm)
  assert ("zbeam" in source.note) == exchanged


def test_ndlar_flow(sample, tmp_path):
  segments, vertices, trajectories = toy.segments_of(*sample)
  toy.write_tables(
      tmp_path / "a.h5", {
          "mc_truth/segments/data": segments, "mc_truth/interactions/data": vertices,
          "mc_truth/trajectories/data": trajectories
      })
  check(read(tmp_path / "a.h5")[0], sample)
  assert identify.look_at(tmp_path / "a.h5") == identify.Look("an ndlar_flow file", "segments")


def test_spills(sample, tmp_path):
  """Three interactions a spill."""
  events, vertex = sample
  tables = toy.segments_of(events, vertex)
  for rows in tables:
    rows["vertex_id"] = 1_000_000 + rows["event_id"] - 100
    rows["event_id"] = (rows["event_id"] - 100) // 3
  toy.write_segments(tmp_path / "a.h5", *tables)
  check(read(tmp_path / "a.h5", unit="interaction")[0], sample)
  whole, _ = read(tmp_path / "a.h5")
  assert [event.number for event in whole] == [0, 1] and len(whole[0].vertices_mm) == len(whole[0].pdg) == 3
  np.testing.assert_allclose(whole[1].edep_mev.sum(), events.edep_mev[events.offsets[3]:].sum(), rtol=1e-6)
  with pytest.raises(ValueError, match="event 0: has 3 vertices; choose .*--unit=interaction"):
    convert("segments", tmp_path / "a.h5", tmp_path / "a.npz")
  convert("segments", tmp_path / "a.h5", tmp_path / "a.npz", origin="first")
  found = load_events(tmp_path / "a.npz")
  np.testing.assert_array_equal(found.pdg, 0)
  np.testing.assert_array_equal(found.primaries[:, 0], np.repeat([0, 1], 3))
  np.testing.assert_array_equal(found.primaries[:, 1], 2212)
  np.testing.assert_allclose(found.primaries[:, 2], kinetic_energy(events.momentum_mev), rtol=1e-4)
  size = np.linalg.norm(events.momentum_mev, axis=1, keepdims=True)
  np.testing.assert_allclose(found.primaries[:, 3:], events.momentum_mev / size, rtol=1e-5)
  assert not found.momentum_mev.any()


def test_the_entry_is_the_start_of_the_first_deposit(sample, tmp_path):
  """In time, not in the order of the rows; deposits without energy do not count."""
  start = np.array([[5.0, 0, 0], [1, 0, 0], [3, 0, 0]])
  choose = lambda edep, time: voxels_lib.choose_origin("entry", start[:0], start, start + 1, np.array(edep),
                                                       time)
  np.testing.assert_array_equal(choose([1.0, 1, 1], None), start[0])
  np.testing.assert_array_equal(choose([1.0, 1, 1], np.array([3.0, 1, 2])), start[1])
  np.testing.assert_array_equal(choose([1.0, 0, 1], np.array([3.0, 1, 2])), start[2])
  with pytest.raises(ValueError, match="has no energy, so no entry"):
    choose([0.0, 0, 0], None)
  events, vertex = sample
  segments = toy.segments_of(events, vertex)[0]
  segments["t0_start"] = np.arange(len(segments))[::-1]
  toy.write_segments(tmp_path / "a.h5", segments)
  convert("segments", tmp_path / "a.h5", tmp_path / "a.npz", origin="entry")
  last = (events.voxel[events.offsets[1:] - 1] + 0.5) * events.voxel_mm + vertex
  np.testing.assert_allclose(np.load(tmp_path / "a.npz")["origin_mm"], last, atol=1e-2)


def test_events_without_deposits_are_kept_and_counted(sample, tmp_path):
  segments, vertices, trajectories = toy.segments_of(*sample)
  segments["dE"][segments["event_id"] == 102] = 0
  toy.write_segments(tmp_path / "a.h5", segments, vertices, trajectories)
  for origin in ("vertex", "entry", "centroid"):
    summary = convert("segments", tmp_path / "a.h5", tmp_path / "a.npz", origin=origin)
    assert "1 events hold no deposits" in summary.text and np.diff(load_events(
        tmp_path / "a.npz").offsets)[2] == 0


def test_jaxtpc(sample, tmp_path):
  toy.write_jaxtpc(tmp_path / "a.h5", *sample)
  source = formats.open_source("auto", tmp_path / "a.h5")
  check(list(source.iterate()), sample)
  convert("jaxtpc", tmp_path / "a.h5", tmp_path / "a.npz")
  found = load_events(tmp_path / "a.npz")
  np.testing.assert_array_equal(found.pdg, 2212)
  np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["number"], 7 + np.arange(NUM))
  import h5py
  with h5py.File(tmp_path / "a.h5", "a") as file:
    del file["vertex/geant4"]
  with pytest.raises(ValueError, match="a.h5: lacks field 'vertex/geant4'"):
    formats.open_source("jaxtpc", tmp_path / "a.h5")
  with h5py.File(tmp_path / "a.h5", "a") as file:
    file["vertex/geant4"] = np.zeros(NUM)
  with pytest.raises(ValueError, match="field 'vertex/geant4' must hold a table with the columns"):
    formats.open_source("jaxtpc", tmp_path / "a.h5")


def test_simpledet(tmp_path):
  images = np.random.default_rng(0).uniform(size=(12, 32, 32)).astype(np.float32)
  # 95 to 106: sorts differently as text
  toy.write_simpledet(tmp_path / "a.h5", images, np.arange(12) % 3, first=95)
  convert("auto", tmp_path / "a.h5", tmp_path / "a.npz")
  found = np.load(tmp_path / "a.npz")
  np.testing.assert_array_equal(found["images"][:, 0], images)
  np.testing.assert_array_equal(found["class"], np.arange(12) % 3)
  np.testing.assert_array_equal(found["number"], 95 + np.arange(12))
  np.testing.assert_array_equal(found["particles_pdg"][:, 0], 11)
  import h5py
  with h5py.File(tmp_path / "a.h5", "a") as file:
    del file["class_99"]
  with pytest.raises(ValueError, match="a.h5: lacks field 'class_99', which other entries have"):
    formats.open_source("simpledet", tmp_path / "a.h5")
  with h5py.File(tmp_path / "a.h5", "a") as file:
    del file["img_99"]
    file["img_99"] = np.zeros((8, 8))
  with pytest.raises(ValueError, match="must hold images of one size"):
    formats.open_source("simpledet", tmp_path / "a.h5")


@pytest.mark.parametrize("gev", [False, True])
def test_larcv2(sample, tmp_path, gev):
  """Momenta in either unit; views in the order and orientation of the package."""
  events, _ = sample
  views, spec = ("xy", "xz", "yz"), ImageSpec()
  images = pictures.images_of(events, np.arange(NUM), views=views, spec=spec)
  low = np.random.default_rng(0).uniform(-50, 50, (NUM, 3)).round()
  middle = low + spec.num_pixels * spec.pitch_mm / 20
  energy = np.hypot(np.linalg.norm(events.momentum_mev, axis=1), 938.27209) / 1000
  momenta = events.momentum_mev.astype(np.float64) / (1000 if gev else 1)
  toy.write_larcv2(tmp_path / "a.root", images, low, spec.pitch_mm / 10, momenta, energy, middle + 0.5)
  convert("auto", tmp_path / "a.root", tmp_path / "a.npz", options={"scale_mev": 1.0})
  found = images_lib.open_images(tmp_path / "a.npz", views=views, spec=spec)
  np.testing.assert_array_equal(found.images, images)
  np.testing.assert_allclose(found.momentum_mev, events.momentum_mev, rtol=1e-5)
  np.testing.assert_allclose(np.load(tmp_path / "a.npz")["vertex_mm"], 5.0, atol=1e-4)
  toy.write_larcv2(tmp_path / "b.root", images, low, spec.pitch_mm / 10, momenta, energy * 2, middle)
  with pytest.raises(ValueError,
                     match="event 0: momentum .* fits its energy .* neither in MeV/c nor in GeV/c"):
    formats.open_source("larcv2_root", tmp_path / "b.root")
  with pytest.raises(ValueError, match=r"lacks a tree 'image2d_\*_tree'|lacks the tree 'image2d_x_tree'"):
    formats.open_source("larcv2_root", tmp_path / "a.root", image_tree="image2d_x_tree")


def pilarnet_rows():
  """An interaction of a proton and a muon, whose shower has two fragments of one group; a scatter of none."""
  rng = np.random.default_rng(3)
  points, clusters, extra = toy.pilarnet_event(rng, [4, 9, 6, 5], [-1, 0, 0, 0], [4, 1, 1, 1],
                                               [-1, 0.4, 0.3, 0.3],
                                               np.array([[-1, -1, -1], *[[210, 220, 230]] * 3]))
  clusters[:, 2], clusters[:, 5] = [0, 1, 2, 2], [-1, 4, 2, 2]
  extra[:, 0] = [-1, 938.27209, 105.6583755, 105.6583755]
  momentum = np.array([[-1, -1, -1], [0.4, 0, 0], [0, 0.3, 0], [0, 0.3, 0]])
  return points, clusters, np.column_stack([extra, [0, 1, 1, 1]]), momentum


@pytest.mark.parametrize("packing", ["plain", "packed 9", "packed 11", "split"])
def test_pilarnet_version_3(tmp_path, packing):
  points, clusters, extra, momentum = pilarnet_rows()
  further = None
  if packing.startswith("packed"):
    extra = np.column_stack([extra, momentum, *([np.zeros((4, 2))] if packing.endswith("11") else [])])
  elif packing == "split":
    further = {"cluster_extra_2": [np.column_stack([momentum, np.zeros((4, 2))])] * 2,
               "interaction_extra": [np.array([[0, 211, 221, 231]])] * 2}
  toy.write_pilarnet(tmp_path / "a.h5", [(points, clusters, extra)] * 2, further=further)
  source = pilarnet.open_pilarnet(tmp_path / "a.h5")
  first, _ = source.iterate()
  np.testing.assert_allclose(first.vertices_mm, [[633, 663, 693] if packing == "split" else [630, 660, 690]])
  np.testing.assert_array_equal(first.pdg, [2212, 13])
  np.testing.assert_allclose(first.kinetic_mev, [81.7057, 212.4036], rtol=1e-4)
  if packing == "plain":
    assert np.isnan(first.momenta_mev).all() and "no direction" in source.note
  else:
    np.testing.assert_allclose(first.momenta_mev, [[400, 0, 0], [0, 300, 0]], rtol=1e-6)
    assert not source.note


def test_pilarnet_sentinels_are_no_positions(tmp_path):
  points, clusters, extra, _ = pilarnet_rows()
  extra[:, :5] = -1
  toy.write_pilarnet(tmp_path / "a.h5", [(points, clusters, extra)])
  first = next(pilarnet.open_pilarnet(tmp_path / "a.h5").iterate())
  assert first.vertices_mm.shape == (0, 3) and np.isnan(first.kinetic_mev).all()
  with pytest.raises(ValueError, match="event 0: the file gives no vertex; choose --origin=entry"):
    convert("pilarnet", tmp_path / "a.h5", tmp_path / "a.npz")
  convert("pilarnet", tmp_path / "a.h5", tmp_path / "a.npz", origin="entry")
  found = load_events(tmp_path / "a.npz")
  np.testing.assert_array_equal(found.primaries[:, 1:], [[2212, np.nan, 0, 0, 0], [13, np.nan, 0, 0, 0]])


def test_unsplit_segments(repo, monkeypatch):
  """The file that ROOT wrote, its segments streamed object by object instead: the same events come out."""
  path = repo / "tests" / "data" / "edepsim.root"
  split = list(formats.open_source("edepsim_root", path).iterate())
  assert [set(event.pdg) for event in split] == [{2212}] * 5
  open_tree = edepsim_root.open_tree

  def open_unsplit(*arguments):
    tree, branches = open_tree(*arguments)
    names, segments = (branches.pop(name) for name in (edepsim_root.NAMES, edepsim_root.VECTORS))
    basket, entries = segments.basket(0), []
    for i, row in enumerate(names.array(library="np")):
      data = np.asarray(basket.data)[basket.byte_offsets[i]:basket.byte_offsets[i + 1]]
      pieces = edepsim_segments.decode_split("x", data, len(row), edepsim_segments.MEMBERS)
      entries.append(
          toy.unsplit_segments(
              {str(name): list(zip(*piece, [[0], [1, 2, 3]] * 9)) for name, piece in zip(row, pieces)},
              checksum=i == 2))
    offsets = np.cumsum([0, *map(len, entries)])
    branches[edepsim_root.UNSPLIT] = types.SimpleNamespace(
        num_baskets=1, basket_uncompressed_bytes=lambda i: int(offsets[-1]),
        basket_entry_start_stop=lambda i: (0, len(entries)),
        basket=lambda i: types.SimpleNamespace(data=np.concatenate(entries), byte_offsets=offsets))
    return tree, branches

  monkeypatch.setattr(edepsim_root, "open_tree", open_unsplit)
  unsplit = list(formats.open_source("edepsim_root", path).iterate())
  for one, other in zip(split, unsplit, strict=True):
    for name in one._fields:
      np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
  chosen = list(formats.open_source("edepsim_root", path, detectors=("other",)).iterate())
  assert [len(event.edep_mev) for event in chosen] == [0, 1, 0, 1, 0]


HIT = ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), 0.5, 7.0, [1, 2])


def cut(data, at, *values):
  data = data.copy()
  data[at:at + len(values)] = values
  return data


@pytest.mark.parametrize("change,message", [
    (lambda data: data[:-8], "has a byte count of"),
    (lambda data: cut(data, 4, 0x40), "is streamed member by member, as an"),
    (lambda data: cut(data, 16, 9), "is truncated or of another layout|without a byte count"),
    (lambda data: cut(data, 18, 0x00), "without a byte count"),
    (lambda data: cut(data, 20, 0, 20), "too short"),
    (lambda data: cut(data, 33, 0x10), "holds referenced objects"),
    (lambda data: cut(data, 37, 99), "segments of another layout"),
    (lambda data: cut(data, 70, 9), "TLorentzVector of another"),
    (lambda data: cut(data, 9, 9), "truncated|leaves|byte count")])
def test_damaged_unsplit_segments_are_not_decoded(change, message):
  data = toy.unsplit_segments({"lar": [HIT]})
  found = edepsim_segments.decode_unsplit("x", data, edepsim_segments.MEMBERS)
  assert found["lar"].edep_mev.tolist() == [0.5] and found["lar"].time_ns.tolist() == [7.0]
  with pytest.raises(ValueError, match=f"event 10, field 'SegmentDetectors'.*({message})"):
    edepsim_segments.decode_unsplit("event 10", change(data), edepsim_segments.MEMBERS)


def test_long_names_and_no_detectors():
  name = "v" * 300
  assert list(
      edepsim_segments.decode_unsplit("x", toy.unsplit_segments({name: [HIT]}),
                                      edepsim_segments.MEMBERS)) == [name]
  assert edepsim_segments.decode_unsplit("x", toy.unsplit_segments({}), edepsim_segments.MEMBERS) == {}
  with pytest.raises(ValueError, match="segments of the unknown members"):
    edepsim_segments.decode_unsplit("x", toy.unsplit_segments({name: [HIT]}), edepsim_segments.MEMBERS[2:])


LOOKS = {
    "segments.h5": ("segments", "a dumpTree or larnd-sim file"), "p.h5": ("pilarnet", "PILArNet-M"),
    "half.h5": ("pilarnet", "an HDF5 file of ['point'], in part like PILArNet-M"), "numl.h5":
        (None, "MicroBooNE open data"), "other.h5": (None, "an HDF5 file of ['x']"), "cut.h5":
            (None, "a damaged HDF5 file"), "e.npz": ("own", "sparse events of this"), "batch_0.npy":
                ("batches", "a file of the group's batches"), "a.npy": ("own", "an npy of images"),
    "larcv_png_64_train_tracks.npy": ("larcv_npy", "a file of larcv_png_64"), "a.gz":
        (None, "a gzip file: unpack it first"), "lfs.h5": (None, "a pointer of Git LFS"), "a.pkl":
            (None, "a Python pickle"), "a.txt": (None, "a text"), "empty": (None, "an empty file"), "noise":
                (None, "no kind of file that is known"), "cut.npz": (None, "a damaged npz"), "tree.root":
                    ("edepsim_root", "a ROOT file of the trees ['Muons']"), "sparse.root":
                        ("larcv2_root", "a LArCV file without"),
}


def write_looks(path, name, sample):
  import h5py
  import uproot
  content = {
      "a.gz": b"\x1f\x8b123", "lfs.h5": b"version https://git-lfs.github.com/spec/v1\n",
      "a.pkl": b"\x80\x04\x95", "a.txt": b"x,y,z\n1,2,3\n", "empty": b"", "noise": bytes(range(200)),
      "cut.h5": b"\x89HDF\r\n\x1a\n123", "cut.npz": b"PK\x03\x04123"
  }
  tables = {
      "p.h5": ("point", "cluster"), "half.h5": ("point",),
      "numl.h5": ("hit_table/event_id", "event_table/event_id"), "other.h5": ("x",)
  }
  if name in content:
    path.write_bytes(content[name])
  elif name in tables:
    with h5py.File(path, "w") as file:
      for key in tables[name]:
        file[key] = np.zeros(3)
  elif name == "segments.h5":
    toy.write_segments(path, *toy.segments_of(*sample))
  elif path.suffix == ".root":
    with uproot.recreate(path) as file:
      tree = {"tree.root": "Muons", "sparse.root": "sparse3d_pcluster_tree"}[name]
      file.mktree(tree, {"x": "i4"}).extend({"x": np.arange(3, dtype=np.int32)})
  elif path.suffix == ".npy":
    np.save(path, np.zeros((2, 8, 8)))
  else:
    np.savez(path, voxel=0, offsets=0, edep=0)


@pytest.mark.parametrize("name", LOOKS)
def test_what_a_file_looks_like(sample, tmp_path, name):
  write_looks(tmp_path / name, name, sample)
  want, text = LOOKS[name]
  look = identify.look_at(tmp_path / name)
  assert look.format == want and text in look.text
  if not look.sure or want is None or want == "own":
    with pytest.raises(ValueError, match="looks like"):
      convert("auto", tmp_path / name, tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_what_directories_look_like(tmp_path):
  assert identify.look_at(tmp_path) == identify.Look("a directory of 0 other files", None)
  (tmp_path / "larcv_64_3.png").write_text("")
  assert identify.look_at(tmp_path).format == "larcv_pngs"
  (tmp_path / "batch_3.npy").write_text("")
  assert identify.look_at(tmp_path).format == "batches"
  with pytest.raises(FileNotFoundError, match="No input at .*nothing"):
    identify.look_at(tmp_path / "nothing")


def test_another_format_is_named(sample, tmp_path):
  toy.write_segments(tmp_path / "a.h5", *toy.segments_of(*sample))
  with pytest.raises(ValueError,
                     match="lacks field 'point'.*like a dumpTree or larnd-sim file; try --format=segments"):
    convert("pilarnet", tmp_path / "a.h5", tmp_path / "a.npz")
  for name in formats.FORMATS:
    assert f"| {name} |" in formats.describe_formats()


def test_pilarnet_vertices_in_another_frame_are_left_out(tmp_path):
  """Those of a detector, as the public mini set has them: with them voxels would lie metres off, in
  silence."""
  points, clusters, extra, _ = pilarnet_rows()
  extra[1:, 2:5] = [-987.16, -424.33, 120.0]
  toy.write_pilarnet(tmp_path / "a.h5", [(points, clusters, extra)] * 3)
  source = pilarnet.open_pilarnet(tmp_path / "a.h5")
  assert all(not len(event.vertices_mm) for event in source.iterate())
  assert "vertices lie outside the 768 voxels (9 in the first 3 events)" in source.note
  with pytest.raises(ValueError, match="event 0: the file gives no vertex; choose --origin=entry"):
    convert("pilarnet", tmp_path / "a.h5", tmp_path / "a.npz")
