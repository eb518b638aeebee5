"""Batches: pure functions of (seed, step) whatever they are drawn from; labels by name; epochs;
prefetching."""
import itertools

import numpy as np
import pytest

from lartpc_jax.data import batches as lib, pictures, prefetch
from lartpc_jax.data.events import Events, deposited_energy, select_events
from lartpc_jax.data.image_source import of_arrays
from lartpc_jax.data.open import open_data, open_events
from lartpc_jax.geometry import symmetries
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec
from tests.toy_sources import sample_crops, write_sources

SPEC = ImageSpec(num_pixels=16, pitch_mm=3.0, sigma_mm=0.0, threshold_mev=0.1)
VOXELS = np.array([[0, 0, 0], [1, 2, 4], [3, -2, 1], [0, 5, 6], [2, 2, 0], [200, 0, 0], [-7, -8, 7]],
                  np.int16)
CHARGE = np.float32([1.0, 2.0, 4.0, 8.0, 0.05, 3.0, 16.0])  # the fifth is too faint, the sixth outside
LABEL = np.uint8([1, 2, 1, 3, 1, 1, 4])
MOMENTA = np.float32([[300.0, 20.0, -100.0], [10.0, 50.0, 400.0]])
EVENTS = Events(MOMENTA, np.array([0, 5, 7]), VOXELS, CHARGE, 3.0, LABEL)
ONE = select_events(EVENTS, np.array([0]))


@pytest.fixture(scope="module")
def events():
  return select_events(open_events("sample"), np.arange(40))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
  return write_sources(tmp_path_factory.mktemp("sources"))


def track_pool(events, frame=TrackFrame(), wanted=("momentum_mev",)):
  import functools
  return lib.rotated_pool(events, functools.partial(pictures.rotated_images, frame=frame),
                          dict.fromkeys(wanted, ()))


def crop_pool(wanted=("label",)):
  return lib.image_pool(open_data("sample_crops"), dict.fromkeys(wanted, ()))


POOLS = {"rotated": lambda: track_pool(select_events(open_events("sample"), np.arange(40))),
         "voxels": lambda: lib.voxel_pool(EVENTS, spec=SPEC, wanted={"momentum_mev": ()}), "crops": crop_pool}


@pytest.mark.parametrize("order", lib.ORDERS)
@pytest.mark.parametrize("name", POOLS)
def test_a_batch_is_a_function_of_seed_and_step(name, order):
  pool = POOLS[name]()
  make = lambda seed: lib.make_batches(pool, batch_size=2, seed=seed, order=order,
                                       num_symmetries=1 if name == "rotated" else 8,
                                       prefetch_batches=1)
  first, again = make(3), make(3)
  late = {step: first(step) for step in (11, 0, 5)}
  for step in (5, 0, 11):
    for key, array in again(step).items():
      np.testing.assert_array_equal(array, late[step][key])
  different = [make(4)(5)["image"], late[11]["image"]]
  assert any(not np.array_equal(late[5]["image"], other) for other in different)


def test_an_epoch_has_each_view_of_each_event_once(toy):
  pool = lib.image_pool(open_data(toy[0]["batches"]), {"momentum_mev": ()})
  make = lambda **kwargs: lib.make_batches(pool, **{"batch_size": 8, "seed": 3, "order": "epochs", **kwargs})
  plain = make()
  charge = [np.sort(np.concatenate([plain(e * 11 + i)["image"].sum((1, 2)) for i in range(11)]))
            for e in (0, 1)]
  everything = np.sort(lib.first(pool)["image"].sum((1, 2)))
  np.testing.assert_array_equal(charge[0], everything)
  np.testing.assert_array_equal(charge[1], everything)
  assert not np.array_equal(plain(0)["image"], plain(11)["image"])
  assert not np.array_equal(make(seed=4)(5)["image"], plain(5)["image"])
  with pytest.raises(ValueError, match="data.batch_size must lie between 1 and 88.*of batches of batches/; "
                                       "got 89"):
    make(batch_size=89)


# --- images ------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["images", "batches", "dataset"])
def test_images_are_those_of_the_source(toy, kind):
  paths, events, images = toy
  rows = open_data(paths[kind])
  pool = lib.image_pool(rows, {"momentum_mev": ()})
  got = pool.read([0, 3, 2 * rows.num - 1])  # xy of the first event, xz of the second, xz of the last
  known = {tuple(p): i for i, p in enumerate(np.round(events.momentum_mev, 2).tolist())}
  for image, momentum, view in zip(got["image"], got["momentum_mev"], (0, 1, 1), strict=True):
    # the xz image of (px, py, pz) is the xy image of (px, pz, py)
    p = momentum if view == 0 else momentum[[0, 2, 1]]
    number = known[tuple(np.round(p, 2).tolist())]
    np.testing.assert_allclose(image, images[number, view], atol=1e-5)


def test_labels_of_pixels_turn_with_their_images():
  """Every pixel with charge has a class and no other; charge, size and share do not turn."""
  wanted = dict.fromkeys(("label", "charge_mev", "lit_pixels", "track_share"), ())
  batch = lib.make_batches(crop_pool(wanted), batch_size=64, seed=0, num_symmetries=8)(5)
  assert {name: (values.dtype.name, values.shape) for name, values in batch.items()} == {
      "image": ("float32", (64, 64, 64)), "label": ("int32", (64, 64, 64)), "charge_mev": ("float32", (64,)),
      "lit_pixels": ("float32", (64,)), "track_share": ("float32", (64,))}
  np.testing.assert_array_equal(batch["label"] > 0, batch["image"] > 0)
  np.testing.assert_allclose(batch["charge_mev"], batch["image"].sum((1, 2)), rtol=1e-5)
  np.testing.assert_allclose(batch["track_share"] * 4096, (batch["label"] == 1).sum((1, 2)), atol=1e-2)
  totals = sample_crops()["image"].sum((1, 2))
  assert all(np.abs(totals - total).min() < 1e-2 for total in batch["charge_mev"])


def test_shares_count_pixels_above_the_threshold():
  pool = lib.image_pool(open_data("sample_crops"), {"track_share": (), "lit_pixels": ()}, threshold_mev=1.0)
  got, crops = lib.first(pool), sample_crops()
  lit = crops["image"] >= 1.0
  assert list(got) == ["image", "track_share", "lit_pixels"]
  np.testing.assert_array_equal(got["lit_pixels"], lit.sum((1, 2)))
  share = (lit & (crops["label"] == 1)).sum((1, 2)) / np.maximum(lit.sum((1, 2)), 1)
  np.testing.assert_allclose(got["track_share"], share, rtol=1e-6)
  assert 0 < got["track_share"].min() < got["track_share"].max() <= 1 or got["track_share"].min() == 0


def test_images_that_cannot_be_trained_on_are_named():
  for bad in (np.nan, -1.0):
    images = np.ones((4, 1, 8, 8), np.float32)
    images[2, 0, 3, 3] = bad
    with pytest.raises(ValueError, match="The toy must be finite and not negative; number 2 is not"):
      lib.first(lib.image_pool(of_arrays(images, {}, "toy"), {}))


# --- rotated events ----------------------------------------------------------------------------
def test_rotated_events_keep_energy_and_momentum_and_lie_along_the_first_axis(events):
  """Every momentum is that of an event up to a rotation, and the charge lies where it points."""
  inner = pictures.keep_contained(events, ImageSpec())
  frame = TrackFrame(threshold_mev=0.0, num_along=96, num_across=96, start_mm=-96.0)
  pool = track_pool(inner, frame, ("momentum_mev", "kinetic_mev"))
  batch = lib.make_batches(pool, batch_size=16, seed=0)(0)
  known, energy = np.linalg.norm(inner.momentum_mev, axis=1), deposited_energy(inner)
  along, across = ((e[1:] + e[:-1]) / 2 for e in frame.edges_mm())
  aligned = 0
  for image, momentum, kinetic in zip(*(np.asarray(batch[k]) for k in ("image", "momentum_mev",
                                                                       "kinetic_mev")), strict=True):
    event = np.abs(known - np.linalg.norm(momentum)).argmin()
    np.testing.assert_allclose(np.linalg.norm(momentum), known[event], rtol=1e-5)
    np.testing.assert_allclose(np.hypot(known[event], 938.27209) - 938.27209, kinetic, rtol=1e-5)
    np.testing.assert_allclose(image.sum(), energy[event], rtol=2e-3)  # the smearing's tail over the edge
    assert momentum[0] >= 0 and momentum[1] == 0
    mean = np.array([along @ image.sum(1), across @ image.sum(0)]) / image.sum()
    aligned += abs(mean[1]) < 3.0 and mean[0] > 0.3 * momentum[0] / 10.0 - 3.0
  assert aligned >= 13  # nuclear interactions and scattering may turn a few


def test_particles_are_told_by_their_place_among_those_asked_for(events):
  mixed = Events(**{**events._asdict(), "pdg": np.where(np.arange(40) % 3 == 0, 13, 2212)})
  draw = lambda key, position_mm, edep_mev, momentum_mev: (edep_mev.sum(1), momentum_mev)
  def read(*names):
    return lib.rotated_pool(mixed, draw, {"particle": names}).read(np.arange(6), None,
                                                                   lambda: None)["particle"]
  np.testing.assert_array_equal(read("proton", "muon"), [1, 0, 0, 1, 0, 0])
  np.testing.assert_array_equal(read("pi+", "muon", "proton"), [1, 2, 2, 1, 2, 2])
  assert read("proton", "muon").dtype == np.int32
  with pytest.raises(ValueError, match=r"Event 1 is of a particle with PDG code 2212; asked for are "
                                       r"\['muon', 'pi\+'\]"):
    read("muon", "pi+")
  with pytest.raises(ValueError, match="Unknown particle 'protn'"):
    read("protn")


def test_still_events_are_as_they_are(events):
  pool = lib.still_pool(events, lambda numbers: np.asarray(numbers), {"momentum_mev": (), "kinetic_mev": ()})
  got = lib.first(pool, 3)
  np.testing.assert_array_equal(got["momentum_mev"], events.momentum_mev[:3])
  np.testing.assert_array_equal(got["image"], [0, 1, 2])
  assert len(lib.first(pool, 1000)["image"]) == 40


# --- exact pictures of voxels
# ---------------------------------------------------------------------------------------
def turned_by_the_cube(event):
  """An event turned by all 48 symmetries of the cube, from its voxels: (bytes of the xy picture,
  momentum)."""
  out = set()
  for axes in itertools.permutations(range(3)):
    for signs in itertools.product((1, -1), repeat=3):
      centre = (event.voxel.astype(float)[:, axes] + 0.5) * signs
      turned = Events(**{**event._asdict(), "voxel": np.floor(centre).astype(np.int16)})
      momentum = event.momentum_mev[0][list(axes)] * signs
      out.add((pictures.voxel_images(turned, np.array([0]), spec=SPEC).tobytes(), tuple(momentum.tolist())))
  return out


def test_voxels_give_the_24_pictures_and_no_other():
  wanted = {image for image, _ in turned_by_the_cube(ONE)}
  assert len(wanted) == 24
  pool = lib.voxel_pool(ONE, spec=SPEC, wanted={})
  batch = lib.make_batches(pool, batch_size=200, seed=3, num_symmetries=8)(0)["image"]
  assert batch.shape == (200, 16, 16) and batch.dtype == np.float32
  # each is missed with probability 24 (23/24)^200 = 0.005
  assert {image.tobytes() for image in batch} == wanted


def test_momenta_and_classes_turn_with_the_voxels():
  """All 48 pairs of picture and momentum, and no other; the classes are those of the charge."""
  pool = lib.voxel_pool(ONE, spec=SPEC, wanted={"momentum_mev": (), "label": ()})
  batch = lib.make_batches(pool, batch_size=500, seed=3, num_symmetries=16)(0)
  pairs = {(image.tobytes(), tuple(p.tolist())) for image,
           p in zip(batch["image"], batch["momentum_mev"], strict=True)}
  assert pairs == turned_by_the_cube(ONE)  # each is missed with probability 48 (47/48)^500 = 0.001
  for charge, label in ((1.0, 1), (2.0, 2), (4.0, 1), (8.0, 3)):
    assert set(batch["label"][batch["image"] == charge]) == {label}
  assert not batch["label"][batch["image"] == 0].any()


def test_crops_are_windows_of_a_picture_with_charge():
  pool = lib.voxel_pool(ONE, spec=SPEC, wanted={}, crop_px=4)
  batch = lib.make_batches(pool, batch_size=64, seed=0, num_symmetries=8)(0)["image"]
  whole = [np.frombuffer(x, np.float32).reshape(16, 16) for x, _ in turned_by_the_cube(ONE)]
  windows = {image[i:i + 4, j:j + 4].tobytes() for image in whole for i in range(13) for j in range(13)}
  assert {image.tobytes() for image in batch} <= windows
  assert batch.sum((1, 2)).min() >= 1.0


def test_whole_pictures_as_they_are():
  got = lib.first(lib.voxel_pool(EVENTS, spec=SPEC, wanted={"momentum_mev": ()}, view="xy"))
  np.testing.assert_array_equal(got["image"], pictures.voxel_images(EVENTS, np.arange(2), spec=SPEC))
  np.testing.assert_array_equal(got["momentum_mev"], MOMENTA)


# --- mistakes ----------------------------------------------------------------------------------
@pytest.mark.parametrize("knobs,match", [
    (dict(crop_px=17), "data.crop_px must lie between 0 .none. and image.num_pixels = 16; got 17"),
    (dict(spec=SPEC._replace(sigma_mm=1.0)), "image.sigma_mm must be 0; got 1.0"),
    (dict(wanted={"particle": ("proton",)}),
     r"The label 'particle' is not known of these events; known are \['charge_mev', 'kin")])
def test_bad_numbers_of_voxels_are_named(knobs, match):
  with pytest.raises(ValueError, match=match):
    lib.voxel_pool(EVENTS, **{**dict(spec=SPEC, wanted={}), **knobs})


def test_mistakes_are_named(events):
  dark = lib.voxel_pool(EVENTS, spec=SPEC._replace(threshold_mev=99.0), wanted={})
  with pytest.raises(ValueError, match="200 events in a row have no pixel of 99.0 MeV"):
    lib.make_batches(dark, batch_size=1, seed=0)(0)
  with pytest.raises(ValueError, match="data.batch_size must be at least 1; got 0"):
    lib.make_batches(dark, batch_size=0, seed=0)
  with pytest.raises(ValueError, match=r"Unknown data.order = 'random'; choose from \['replacement', "
                                       r"'epochs'\]"):
    lib.make_batches(dark, batch_size=1, seed=0, order="random")
  with pytest.raises(ValueError, match="8 or 16 symmetries to draw from; got 5"):
    lib.make_batches(crop_pool(), batch_size=1, seed=0, num_symmetries=5)(0)
  unknown = select_events(events, np.arange(3))
  unknown.momentum_mev[1] = 0.0
  with pytest.raises(ValueError,
                     match="1 events have no momentum .*the first is number 1; training needs it"):
    track_pool(unknown)
  with pytest.raises(ValueError, match=r"'label' is not known of images of images.npz"):
    lib.image_pool(of_arrays(np.ones((2, 1, 8, 8)), {}, "images of images.npz"), {"label": ()})
  assert symmetries.NUM_SQUARE == 8


def test_prefetch_keeps_values_and_errors():
  made = []
  def batch_fn(step):
    made.append(step)
    if step == 5:
      raise OSError("no disk")
    return step * step
  ahead = prefetch.prefetch(batch_fn, depth=2)
  assert [ahead(step) for step in range(4)] == [0, 1, 4, 9] and ahead(4) == 16
  with pytest.raises(OSError, match="no disk"):
    ahead(5)
  assert ahead(40) == 1600 and ahead(41) == 1681 and ahead(2) == 4  # a jump
  assert made[:6] == [0, 1, 2, 3, 4, 5] and len(made) <= 20
  assert prefetch.prefetch(batch_fn, depth=0) is batch_fn
  with pytest.raises(ValueError, match="data.prefetch_batches must not be negative; got -1"):
    prefetch.prefetch(batch_fn, depth=-1)
