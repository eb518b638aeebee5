"""Files that others wrote, with the values that other programs find in them; skipped where the files are not
at hand."""
import numpy as np
import pytest

from lartpc_jax.data import images as images_lib, pictures
from lartpc_jax.data.convert import convert
from lartpc_jax.data.events import deposited_energy, load_events
from lartpc_jax.data.open import open_data
from lartpc_jax.data.readers import formats, identify
from lartpc_jax.geometry.rasterize import ImageSpec

# file: (format, options, number of events, MeV, PDG code and momentum of the primaries of the first event,
# its vertex)
MUON = ([13], [[35.756, 39.879, 1146.968]])
EVENTS = {
    "real/output_SingleCube_edepsim.root": ("edepsim_root", {}, 150, 10334.65, *MUON, [[0, 0, -250]]),
    "real/output_ten-Mu-plus.root":
        ("edepsim_root", {}, 10, 2616.13, [-13], [[694.747, -58.634, -26.071]], [[-4.279, -2.673, -591.140]]
        ), "real/output_test3.root":
            ("edepsim_root", {}, 25, 2796.45, *MUON, [[0, 0, -500]]), "real/input_macros_test2.root":
                ("edepsim_root", {}, 10, 0.416, [-13], [[1849.688, 2062.989, 9717.813]], [[0, 0, 0]]
                ), "real/output_test4.root":
                    ("edepsim_root", {}, 25, 0.0, *MUON, [[0, 0, -500]]), "real/larnd_sim_jax_input_0.h5":
                        ("segments", {}, 26, 380.370, [], [], []), "real/larnd_sim_jax_input_17.h5":
                            ("segments", {}, 12, 354.063, [], [], []),
    "real/larnd_sim_test_inputs.h5": ("segments", {}, 10, 5314.75, [], [], []), "real/jaxtpc_muon.h5":
        ("jaxtpc", {}, 1, 140.957, [13], [[0.00086, 176.442, 0.00047]], [[-550.006, 0.0046, -450.0055]]
        ), "layouts/larndsim_out_mod2mod.h5": ("segments", {}, 150, 10334.65, *MUON, [[0, 0, -250]]),
    "layouts/concatenated_two_runs.h5":
        ("segments", {}, 300, 2 * 10334.65, *MUON, [[0, 0, -250]]), "layouts/larndsim_out_2022_tracks.h5":
            ("segments", {}, 150, 10334.65, *MUON, [[0, 0, -250]]), "layouts/dumptree_apr2023_vertexID.h5":
                ("segments", {}, 150, 10334.65, *MUON, [[0, 0, -250]]),
    "layouts/ndlar_flow.h5": ("segments", {}, 150, 10334.65, *MUON, [[0, 0, -250]]), "layouts/spill_2x2.h5":
        ("segments", {"unit": "interaction"}, 150, 10334.65, *MUON, [[0, 0, -250]]), "layouts/pil_v3.h5":
            ("pilarnet", {}, 3, 257.732, [2212, 13], None, [[900, 930, 960]]), "layouts/pil_v3_packed9.h5":
                ("pilarnet", {}, 3, 252.614, [2212, 13], [[400, 0, 0], [0, 300, 0]], [[900, 930, 960]]
                ), "layouts/pil_v3_packed11.h5": ("pilarnet", {}, 3, 239.163, [2212, 13], [[400, 0, 0],
                                                                                           [0, 300, 0]],
                                                  [[900, 930, 960]]), "layouts/pil_v3_extra_split.h5":
                                                      ("pilarnet", {}, 3, 246.407, [2212, 13], [[400, 0, 0],
                                                                                                [0, 300, 0]],
                                                       [[900, 930, 960]]), "layouts/pil_v3_sentinel.h5":
                                                           ("pilarnet", {}, 3, 234.610, [2212, 13], None, []),
}
NOTES = {"layouts/concatenated_two_runs.h5": "event numbers repeat: 2 runs",
         "layouts/larndsim_out_2022_tracks.h5": "x and z as in",
         "layouts/dumptree_apr2023_vertexID.h5": "told apart by 'vertexID'",
         "real/larnd_sim_jax_input_0.h5": "no trajectories"}


@pytest.mark.parametrize("name", EVENTS)
def test_events(shared_data, tmp_path, name):
  path = shared_data / name
  if not path.exists():
    pytest.skip(f"no {name} in the shared data")
  kind, options, num, energy_mev, pdg, momenta, vertices = EVENTS[name]
  assert identify.look_at(path)[1:] == (kind, True)
  source = formats.open_source("auto", path, **options)
  found = list(source.iterate())
  assert len(found) == num and NOTES.get(name, "") in source.note
  assert sum(event.edep_mev.sum() for event in found) == pytest.approx(energy_mev, abs=0.005)
  first = found[0]
  np.testing.assert_allclose(first.vertices_mm, np.reshape(vertices, (-1, 3)), atol=1e-3)
  np.testing.assert_array_equal([] if first.pdg is None else first.pdg, pdg)
  np.testing.assert_allclose(first.momenta_mev,
                             np.full((2, 3), np.nan) if momenta is None else np.reshape(momenta, (-1, 3)),
                             atol=1e-3)
  convert("auto", path, tmp_path / "a.npz", origin="vertex" if vertices else "entry", options=options)
  events = load_events(tmp_path / "a.npz")  # the package reads what was converted
  np.testing.assert_allclose(deposited_energy(events), [event.edep_mev.sum() for event in found], rtol=1e-4,
                             atol=1e-6)
  assert len(events.primaries) == sum(len(event.momenta_mev) for event in found)
  one = len(pdg) == 1 and momenta is not None
  assert events.pdg[0] == (pdg[0] if len(pdg) == 1 else 0) and events.momentum_mev[0].any() == one
  if kind == "pilarnet":
    assert pictures.voxel_image(events, 0,
                                spec=ImageSpec(2048, 3.0, 0.0, 0.0))[1].max() < 5 and len(events) == num


def test_rows_of_an_event_in_several_places(shared_data):
  source = formats.open_source("segments", shared_data / "real" / "larnd_sim_jax_input_0.h5")
  by_number = {event.number: event.edep_mev.sum() for event in source.iterate()}
  assert by_number[71] == pytest.approx(21.024, abs=5e-4)


def test_spills_whole_and_by_interaction(shared_data):
  path = shared_data / "layouts" / "spill_2x2.h5"
  whole = list(formats.open_source("segments", path).iterate())
  parts = list(formats.open_source("segments", path, unit="interaction").iterate())
  assert len(whole) == 50 and len(parts) == 150 and len(whole[0].pdg) == 3
  assert whole[7].edep_mev.sum() == pytest.approx(
      sum(e.edep_mev.sum() for e in parts if e.number == whole[7].number))


def test_larcv2(shared_data, tmp_path):
  """Ten protons; the charge lies where the momentum points, in all three views."""
  path = shared_data / "real" / "larcv2_proton.root"
  summary = convert("auto", path, tmp_path / "a.npz")
  assert summary.num == 10 and "values are ADC counts, not MeV" in summary.text
  with pytest.raises(ValueError, match="holds images in ADC counts, not in MeV"):
    images_lib.open_images(tmp_path / "a.npz", views=("xy", "xz", "yz"), spec=ImageSpec(num_pixels=256))
  convert("larcv2_root", path, tmp_path / "a.npz", options={"scale_mev": 0.01})
  found = images_lib.open_images(tmp_path / "a.npz", views=("xy", "xz", "yz"), spec=ImageSpec(num_pixels=256))
  raw = np.load(tmp_path / "a.npz")
  np.testing.assert_array_equal(raw["pdg"], 2212)
  np.testing.assert_allclose(found.momentum_mev[0], [604.229, -156.171, -164.455], atol=1e-3)
  np.testing.assert_allclose(found.images[0].sum((1, 2)), 120.531, rtol=1e-4)
  centre_mm = (np.arange(256) + 0.5 - 128) * 5.0
  for view, axes in enumerate(((0, 1), (0, 2), (1, 2))):
    charge = found.images[:, view]
    for axis, other in zip(axes, (2, 1)):
      mean = (charge.sum(other) * centre_mm).sum(1) / charge.sum((1, 2)) - raw["vertex_mm"][:, axis]
      long = np.abs(found.momentum_mev[:, axis]) > 300
      assert np.all(np.sign(mean[long]) == np.sign(found.momentum_mev[long, axis])) and np.all(
          np.abs(mean[long]) > 10)


def test_simpledet(shared_data, tmp_path):
  convert("auto", shared_data / "layouts" / "nutufts_img.hdf5", tmp_path / "a.npz")
  found = np.load(tmp_path / "a.npz")
  assert found["images"].shape == (4, 1, 256, 256) and str(found["unit"]) == "MeV"
  np.testing.assert_allclose(found["images"].sum((1, 2, 3)), found["evis"], rtol=1e-5)
  np.testing.assert_array_equal(found["class"], 0)
  np.testing.assert_allclose(
      open_data(tmp_path / "a.npz").read(slice(None))["image"][:, 0], found["images"][:, 0])


def test_microboone_is_named(shared_data, tmp_path):
  with pytest.raises(ValueError,
                     match="uboone_numl.h5: looks like MicroBooNE open data .*which is not read here"):
    convert("auto", shared_data / "layouts" / "uboone_numl.h5", tmp_path / "a.npz")
  with pytest.raises(ValueError, match="lacks field 'segments'.*It looks like MicroBooNE open data"):
    convert("segments", shared_data / "layouts" / "uboone_numl.h5", tmp_path / "a.npz")
