"""Generators of images and labels alone: from the files of others to draws by class, type or primaries."""
import numpy as np
import pytest

from configs import images_autoencoder, images_ldm
from lartpc_jax.build import tasks as lib
from lartpc_jax.build.generators import build_generator
from lartpc_jax.data.events import Events, join_events, save_events, select_events
from lartpc_jax.data.open import open_data, open_events
from lartpc_jax.experiments import models, pixels, protocol, render, sample
from lartpc_jax.generators import condition as condition_lib
from lartpc_jax.units import PDG_CODES
from tests.brief_training import train_briefly
from tests.toy_readers import write_simpledet

CLASSES = ("electron", "photon", "dark_neutrino_pair")


def showers(rng, num, side):
  """Images of a line each, and a class: along axis 0, along axis 1, or both."""
  images, kind = np.zeros((num, side, side), np.float32), np.arange(num) % 3
  middle = side // 2
  for image, label in zip(images, kind):
    if label != 1:
      image[middle - 4:middle + 4, middle] = rng.uniform(1, 2, 8)
    if label != 0:
      image[middle, middle - 4:middle + 4] = rng.uniform(1, 2, 8)
  return images, kind


@pytest.fixture
def simpledet(tmp_path):
  """Two files of jobs whose running indices start anywhere and overlap, as the makers leave them."""
  images, kind = showers(np.random.default_rng(0), 24, 64)
  folder = tmp_path / "simpledet"
  folder.mkdir()
  write_simpledet(folder / "job_a.h5", images[:14], kind[:14], first=995)
  write_simpledet(folder / "job_b.h5", images[14:], kind[14:], first=1000)
  return folder, images, kind


def tiny(module, variant, path, side=None):
  config = module.get_config(variant).to_dict()
  config["data"].update(path=str(path), num_evaluation=4)
  if side is not None:
    config["image"]["num_pixels"] = side
  if config["task"] == "autoencoder":
    config["network"].update(features=8)
  else:
    config["network"].update(features=8, multipliers=(1,), num_blocks=1, attention_levels=(), num_heads=1,
                             num_groups=4)
  return config


def train_both(variant, path, out, side=None, num_steps=3):
  """Autoencoder and latent model of the tiny variant; returns the directory of the weights."""
  task = lib.build_task(tiny(images_autoencoder, variant, path, side))
  _, state = train_briefly(task, num_steps=num_steps, learning_rate=1e-3)
  task.export(state.ema_params, out / "ae", {"step": num_steps, "config": None})
  config = tiny(images_ldm, variant, path, side)
  config["codec"]["weights"] = str(out / "ae")
  task = lib.build_task(config)
  _, state = train_briefly(task, num_steps=num_steps, learning_rate=1e-3)
  task.export(state.ema_params, out / "weights", {"step": num_steps, "config": None})
  return str(out / "weights")


def test_two_files_of_simpledet_are_one_source(simpledet):
  folder, images, kind = simpledet
  found = open_data(folder)
  assert (found.num, found.num_pixels, found.class_names) == (24, 64, CLASSES) and "class" in found.labels
  batch = found.read(np.array([15, 2, 13]), ("class",))
  np.testing.assert_array_equal(batch["image"][:, 0], images[[15, 2, 13]])
  np.testing.assert_array_equal(batch["class"], kind[[15, 2, 13]])


def test_classes_have_the_order_that_is_asked_for(simpledet):
  config = tiny(images_autoencoder, "simpledet_tiny", simpledet[0], 64)
  config["data"]["symmetries"] = False
  from lartpc_jax.build.data import build_data
  from lartpc_jax.geometry.rasterize import ImageSpec
  data = build_data(config["data"], seed=0, spec=ImageSpec(**config["image"]),
                    wanted={"class": ("photon", "dark_neutrino_pair", "electron")})
  numbers = np.arange(6)
  np.testing.assert_array_equal(data.train.read(numbers, None, None)["class"], [2, 0, 1, 2, 0, 1])
  np.testing.assert_array_equal(data.train.read(numbers, None, None)["image"], simpledet[1][:6])
  batch = data.batch_fn(0)  # without symmetries a class still has its direction
  along = np.asarray(batch["image"]).sum(2).astype(bool).sum(1)
  np.testing.assert_array_equal(along > 1, np.asarray(batch["class"]) != 0)


def test_unknown_and_unasked_classes_are_named(simpledet):
  config = tiny(images_ldm, "simpledet_tiny", simpledet[0], 64)
  config["codec"] = dict(name="pixels", charge=dict(name="sqrt", scale_mev=1.0), threshold_mev=0.005)
  config["condition"] = {"class": dict(kind="label", classes=("electron", "axion"))}
  with pytest.raises(ValueError, match=r"Unknown class 'axion'; the images have \['electron', 'photon'"):
    lib.build_task(config)
  config["condition"] = {"class": dict(kind="label", classes=("electron", "photon"))}
  with pytest.raises(ValueError, match=r"Event \d+ is of class 'dark_neutrino_pair'; asked for are"):
    lib.build_task(config)


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_simpledet_trains_and_generates_by_class(simpledet, tmp_path):
  weights = train_both("simpledet_tiny", simpledet[0], tmp_path, side=64)
  settings = sample.Settings(weights=weights, out=str(tmp_path / "out"), num=4, num_evaluations=4,
                             cond="class=photon", data=str(simpledet[0]))
  sample.run(settings, protocol.SILENT)
  found = np.load(tmp_path / "out/images.npz")
  assert found["images"].shape == (4, 1, 64, 64) and list(found["class"]) == [1] * 4
  free = models.open_model(sample.Settings(weights=weights, out="x", num=30, num_evaluations=4,
                                           data=str(simpledet[0])))
  _, arrays, _ = free.draw(lambda done: None)
  assert set(arrays["class"]) == {0, 1, 2}  # without a wish, as in the data
  with pytest.raises(ValueError, match=r"give \['class'\] in --cond, or --data"):
    models.open_model(sample.Settings(weights=weights, out="x"))
  with pytest.raises(ValueError, match="Unknown class 'axion' of condition variable 'class'"):
    models.open_model(sample.Settings(weights=weights, out="x", cond="class=axion"))


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_256_pixels_from_end_to_end(tmp_path):
  images, kind = showers(np.random.default_rng(0), 12, 256)
  write_simpledet(tmp_path / "a.h5", images, kind, first=7)
  weights = train_both("simpledet_tiny", tmp_path / "a.h5", tmp_path, num_steps=2)
  model = models.open_model(sample.Settings(weights=weights, out="x", num=2, num_evaluations=2,
                                            cond="class=electron"))
  drawn, _, _ = model.draw(lambda done: None)
  assert drawn.shape == (2, 256, 256) and np.isfinite(drawn).all() and (drawn >= 0).all()


def changed(events, **fields):
  """The events with other fields (Events counts events, so its _replace does not work)."""
  return Events(**{**events._asdict(), **fields})


@pytest.fixture
def two_files(tmp_path):
  """Two files of events; what matters here are their labels: protons, and as many called muons."""
  events, paths = open_events("sample"), []
  for name, rows in (("proton", np.arange(20)), ("mu-", np.arange(20, 40))):
    paths.append(str(tmp_path / f"{name}.npz"))
    save_events(paths[-1], changed(select_events(events, rows), pdg=np.full(20, PDG_CODES[name])))
  return tuple(paths)


def test_render_keeps_the_labels_of_several_files(two_files, tmp_path):
  settings = render.Settings(input=two_files, out=str(tmp_path / "batches"), shuffle=3, batch_size=16)
  render.run(settings, protocol.SILENT)
  found = open_data(tmp_path / "batches")
  assert (found.num, found.views) == (40, ("xy", "xz"))
  batch = found.read(np.arange(40), ("momentum_mev", "particle", "kinetic_mev"))
  together = join_events([open_events(path) for path in two_files])
  order = np.random.default_rng(3).permutation(40)
  np.testing.assert_array_equal(batch["momentum_mev"], together.momentum_mev[order])
  np.testing.assert_array_equal(batch["particle"], together.pdg[order])
  mass = np.where(batch["particle"] == 2212, 938.27209, 105.6583755)
  energy = np.sqrt((batch["momentum_mev"].astype(float)**2).sum(1) + mass**2) - mass
  np.testing.assert_allclose(batch["kinetic_mev"], energy, rtol=1e-5)
  assert {2212, 13} == set(batch["particle"][:16])  # mixed from the first batch on


def test_render_leaves_out_events_without_charge(two_files, tmp_path):
  events = open_events(two_files[0])
  shift = 500 * (np.arange(len(events.voxel)) < events.offsets[5])
  save_events(tmp_path / "far.npz", changed(events, voxel=events.voxel + shift[:, None]))
  said = []
  settings = render.Settings(input=(str(tmp_path / "far.npz"),), out=str(tmp_path / "b"), min_charge_mev=5.0)
  console = protocol.SILENT._replace(say=said.append)
  render.run(settings, console)
  assert "Left out 5 of 20 events with less than 5 MeV in a view." in said[0]
  assert open_data(tmp_path / "b").num == 15


def test_a_label_file_shorter_than_its_images_is_named(two_files, tmp_path):
  render.run(render.Settings(input=two_files, out=str(tmp_path / "b"), batch_size=16), protocol.SILENT)
  codes = tmp_path / "b/batch_pdg_1.npy"
  np.save(codes, np.load(codes)[:10])
  with pytest.raises(ValueError, match=r"batch_pdg_1.npy: field 'pdg' must have shape \(16,\); got \(10,\): "
                                       "event 10 of batch_1.npy has none"):
    open_data(tmp_path / "b")
  np.savez(tmp_path / "a.npz", images=np.ones((4, 64, 64), np.float32), pdg=np.ones((4, 2), int))
  with pytest.raises(ValueError, match=r"a.npz: pdg must hold 4 whole numbers, one for each image; got int64"):
    open_data(tmp_path / "a.npz")
  np.savez(tmp_path / "b.npz", images=np.ones((3, 64, 64), np.float32), kinetic=np.array([1.0, np.nan, 2.0]))
  with pytest.raises(ValueError, match="b.npz: kinetic of event 1 is nan"):
    open_data(tmp_path / "b.npz")


def test_overexposed_images_are_named_or_left_out(two_files, tmp_path, caplog):
  render.run(render.Settings(input=two_files, out=str(tmp_path / "b"), batch_size=16), protocol.SILENT)
  path = tmp_path / "b/batch_1.npy"
  images = np.load(path)
  images[3, 5, 5] = np.nan
  np.save(path, images)
  config = tiny(images_autoencoder, "particles_tiny", tmp_path / "b")
  config["data"]["num_holdout"] = 30
  with pytest.raises(ValueError, match=r"batch_1.npy: field 'xy' holds NaN .* in event 3"):
    lib.build_task(config)
  config["data"]["nan"] = "skip"
  lib.build_task(config)
  assert "1 events with NaN left out: [19]" in caplog.text
  assert open_data(tmp_path / "b", nan="skip").num == 39


def test_primaries_can_be_asked_for():
  condition = condition_lib.make_condition(images_ldm.get_config("primaries_tiny").condition.to_dict())
  asked = condition_lib.parse(condition, "count_proton=1,count_mu-=1,kinetic_mev=300")
  assert asked == {**{f"count_{name}": 0.0 for name in images_ldm.COUNTED}, "count_proton": 1.0,
                   "count_mu-": 1.0, "kinetic_mev": 300.0}
  with pytest.raises(ValueError, match="'count_proton' has value 9.0; allowed: 0.0 to 5.0"):
    condition_lib.parse(condition, "count_proton=9")


def crops_with_primaries(path, num=12):
  """Crops of two an event; event e has one proton, and e % 3 electrons of 100 MeV."""
  rng = np.random.default_rng(0)
  event = np.repeat(np.arange(num // 2), 2)
  rows = [(e, code, 100.0, 0, 0, 1) for e in range(num // 2) for code in [2212] + [11] * (e % 3)]
  np.savez(path, image=rng.integers(0, 900, (num, 64, 64)).astype(np.uint16), event=event,
           unit_mev=np.float32(0.004), primaries=np.array(rows, np.float32))
  return event


def test_crops_count_the_primaries_of_their_event(tmp_path):
  event = crops_with_primaries(tmp_path / "crops.npz")
  found = open_data(tmp_path / "crops.npz")
  batch = found.read(np.arange(12), ("count_proton", "count_e-", "kinetic_mev"))
  np.testing.assert_array_equal(batch["count_proton"], np.ones(12))
  np.testing.assert_array_equal(batch["count_e-"], event % 3)
  np.testing.assert_allclose(batch["kinetic_mev"], 100.0 * (1 + event % 3))


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_primaries_train_and_are_drawn(tmp_path):
  path = tmp_path / "crops.npz"
  crops_with_primaries(path)
  config = tiny(images_ldm, "primaries_tiny", path)
  config["data"]["num_holdout"] = 2
  config["codec"] = dict(name="pixels", charge=dict(name="sqrt", scale_mev=1.0), threshold_mev=0.1)
  for name in set(images_ldm.COUNTED) - {"proton", "e-"}:
    del config["condition"][f"count_{name}"]
  task = lib.build_task(config)
  _, state = train_briefly(task, num_steps=2, learning_rate=1e-3)
  task.export(state.ema_params, tmp_path / "weights", {"step": 2, "config": None})
  opened = build_generator(tmp_path / "weights")
  asked = condition_lib.parse(opened.generator.condition, "count_proton=1,count_e-=2")
  cond = pixels.conditions_for(opened.generator, opened.info, 3, asked=asked, path=str(path), seed=0)
  np.testing.assert_allclose(cond["kinetic_mev"], 300.0)  # that of events with two electrons
  drawn, _ = pixels.draw_images(opened.generator, 3, chunk_size=3, cond=cond, num_evaluations=2)
  assert drawn.shape == (3, 64, 64)
  with pytest.raises(ValueError, match="None of 8 training events .* has count_proton = 2"):
    pixels.conditions_for(opened.generator, opened.info, 3, asked={"count_proton": 2.0}, path=str(path),
                          seed=0)
