"""Training data of a config: of every kind of path, with any labels, resumed, behind a detector's readout."""
import functools

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lartpc_jax.build import data as lib
from lartpc_jax.config.schema import Optim, Run, Train
from lartpc_jax.data.events import Events, deposited_energy, save_events, select_events
from lartpc_jax.data.open import open_events
from lartpc_jax.data.pictures import images_of, voxel_images
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.train import loop
from lartpc_jax.train.task import Task
from tests.toy_sources import write_sources

SPEC, EXACT = ImageSpec(), ImageSpec(num_pixels=64, sigma_mm=0.0, threshold_mev=0.1)
QUIET = dict(recombination="none", electron_lifetime_us=np.inf, longitudinal_diffusion_mm2_us=0.0,
             transverse_diffusion_mm2_us=0.0, noise_electrons=0.0, threshold_electrons=0.0,
             saturation_electrons=np.inf)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
  return write_sources(tmp_path_factory.mktemp("sources"))


def block(path, **changes):
  return {"path": str(path), "num_holdout": 8, "batch_size": 8, **changes}


class Crash(Exception):
  """Stands for a killed process."""


@pytest.mark.parametrize("kind", ["npz", "images", "batches", "dataset"])
def test_a_resumed_run_sees_the_same_batches(toy, kind, tmp_path):
  """The real loop, checkpoint and all: a linear model of the image, so that it ends elsewhere after any other
  batch."""
  def run(workdir, crash_at=None):
    batch_fn = lib.build_data(block(toy[0][kind]), seed=0, spec=SPEC, frame=TrackFrame()).batch_fn
    seen = []
    def remember(step):
      if step == crash_at:
        raise Crash
      batch = batch_fn(step)
      seen.append((step, float(np.asarray(batch["image"]).sum()),
                   np.asarray(batch["momentum_mev"]).tobytes()))
      return batch
    def loss_fn(params, batch, key):
      del key
      error = jnp.einsum("bhw,hw->b", batch["image"], params) - batch["momentum_mev"][:, 0] / 500.0
      return jnp.mean(error**2), {}
    shape = batch_fn(0)["image"].shape[1:]
    task = Task(init=lambda key: jnp.zeros(shape), loss_fn=loss_fn, batch_fn=remember)
    settings = Run(Optim(1e-3, ema_decay=0.9),
                   Train(7, log_every_steps=7, checkpoint_every_steps=2, eval_every_steps=0,
                         draw_every_steps=0))
    train = functools.partial(loop.train, task, optax.sgd(1e-3), settings, workdir=workdir, say=str)
    if crash_at is None:
      return train().state, seen
    with pytest.raises(Crash):
      train()
    return None, seen

  state, seen = run(tmp_path / "straight")
  _, before = run(tmp_path / "broken", crash_at=5)
  resumed, after = run(tmp_path / "broken")
  assert after[0][0] == 4 and before[:4] + after == seen
  np.testing.assert_array_equal(resumed.params, state.params)
  assert np.asarray(state.params).any()


def test_the_same_protons_of_every_kind(toy):
  """Held-out examples as they are: pictures of the events, or the images, with the momentum along the axes of
  the view."""
  paths, events, images = toy
  drawn = lib.first(lib.build_data(block(paths["npz"]), seed=0, spec=SPEC).held)
  np.testing.assert_array_equal(drawn["image"], images[36:, 0])
  np.testing.assert_array_equal(drawn["momentum_mev"], events.momentum_mev[36:])
  for kind in ("images", "batches"):
    data = lib.build_data(block(paths[kind]), seed=0, spec=SPEC)
    found = data.evaluation(None)
    np.testing.assert_array_equal(found["image"], images[36:].reshape(-1, 64, 64))
    np.testing.assert_allclose(found["momentum_mev"][1::2], events.momentum_mev[36:][:, [0, 2, 1]])
    assert data.kind == "images" and data.train.num == 72 and set(data.batch_fn(0)) == {
        "image", "momentum_mev"}


def test_labels_are_cond_entries_by_name(toy, tmp_path):
  """One request, whatever the data: rotated events, images, crops, exact pictures."""
  paths, events, _ = toy
  pdg = np.where(np.arange(44) % 4 == 0, 13, 2212)
  save_events(tmp_path / "e.npz", Events(**{**events._asdict(), "pdg": pdg}))
  wanted = {"momentum_mev": (), "particle": ("proton", "muon"), "kinetic_mev": ()}
  batch = lib.build_data(block(tmp_path / "e.npz"), seed=0, spec=SPEC, wanted=wanted).batch_fn(0)
  size = np.linalg.norm(np.asarray(batch["momentum_mev"]), axis=1)
  mass = np.where(batch["particle"] == 1, 105.6583755, 938.27209)
  assert batch["image"].shape == (8, 64, 64) and set(batch["particle"]) == {0, 1}
  np.testing.assert_allclose(batch["kinetic_mev"], np.hypot(size, mass) - mass, rtol=1e-4)
  wanted = {"charge_mev": (), "lit_pixels": (), "momentum_mev": ()}
  for path, spec in ((paths["batches"], SPEC), (paths["npz"], EXACT)):
    batch = lib.build_data(block(path), seed=0, spec=spec, wanted=wanted).batch_fn(0)
    lit = batch["image"] >= spec.threshold_mev
    np.testing.assert_allclose(batch["charge_mev"], (batch["image"] * lit).sum((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(batch["lit_pixels"], lit.sum((1, 2)))
    assert batch["momentum_mev"].shape == (8, 3)
  crops = lib.build_crop_data(block("sample_crops"), seed=0, wanted={"track_share": ()}).batch_fn(0)
  assert set(crops) == {"image", "track_share"
                       } and 0 <= crops["track_share"].min() < crops["track_share"].max() <= 1


def test_sample_names_the_labelled_crops_where_labels_are_needed():
  """As it always did; elsewhere it is protons, and "sample_crops" says what is meant."""
  found = [lib.build_crop_data(block(path), seed=0,
                               wanted={"label": ()}).evaluation(None) for path in ("sample", "sample_crops")]
  for name in ("image", "label"):
    np.testing.assert_array_equal(found[0][name], found[1][name])
  protons = lib.build_crop_data(block("sample"), seed=0, wanted={})
  assert protons.train.num == 492 and protons.batch_fn(0)["image"].shape == (8, 64, 64)
  with pytest.raises(ValueError, match="'nothing' is not known of"):
    lib.build_crop_data(block("sample"), seed=0, wanted={"nothing": ()})


def test_exact_pictures(toy):
  paths, events, _ = toy
  whole = lib.build_voxel_data(block(paths["npz"]), seed=0, spec=EXACT)
  np.testing.assert_array_equal(whole.evaluation(3)["image"],
                                voxel_images(events, np.arange(36, 39), spec=EXACT))
  crops = lib.build_voxel_data(block(paths["npz"], crop_px=16, num_evaluation=5), seed=0, spec=EXACT)
  assert crops.evaluation()["image"].shape == (5, 16, 16) and crops.batch_fn(1)["image"].shape == (8, 16, 16)
  assert lib.first(crops.train, 4)["image"].shape == (4, 64, 64)


def test_a_quiet_readout_changes_nothing():
  """No recombination, no loss, no diffusion, no noise: the same picture, but for the threshold of 0.005
  MeV."""
  plain, read = (lib.build_data(block("sample", readout=readout), seed=0, spec=SPEC).batch_fn(2)
                 for readout in ({**QUIET, "on": False}, {**QUIET, "ionisation_ev": None}))
  np.testing.assert_array_equal(plain["momentum_mev"], read["momentum_mev"])
  np.testing.assert_allclose(read["image"], plain["image"], atol=0.006)
  assert np.abs(np.asarray(read["image"]) - np.asarray(plain["image"])).max() > 0


def test_a_readout_loses_and_spreads_charge(toy):
  """Recombination takes more of dense deposits than of a minimum-ionising track; attachment exp(-t /
  lifetime) of all."""
  charge = lambda **changes: np.asarray(lib.build_data(block("sample", readout={**QUIET, **changes}), seed=0,
                                                       spec=SPEC
                                                      ).batch_fn(0)["image"]).sum((1, 2))
  plain = charge()
  events = open_events("sample")
  share = lambda dedx: np.log(0.93 + 0.3 * dedx) / (0.3 * dedx)  # modified box: 0.207 / (1.38 * 0.5) is 0.3
  # MeV that a minimum-ionising particle, 2.1 MeV/cm, would need for the electrons of the event
  def expected(number):
    edep = events.edep_mev[events.offsets[number]:events.offsets[number + 1]]
    edep = edep[edep > 0.02]  # below 0.2 MeV/cm the formula says nothing
    # the mean chord of a voxel of 1 mm is 2/3 mm
    return np.sum(edep * share(15.0 * edep)) / share(2.1) / edep.sum()
  want = [expected(number) for number in np.random.default_rng((0, 0)).integers(0, 492, 8)]
  np.testing.assert_allclose(charge(recombination="box") / plain, want, rtol=0.02)
  assert min(want) > 0.3 and max(want) < 0.6  # 50 to 100 MeV in 23 to 78 mm
  drift_us = 500.0 / 1.596
  np.testing.assert_allclose(charge(electron_lifetime_us=1000.0) / plain, np.exp(-drift_us / 1000.0),
                             rtol=0.05)
  noisy = lib.build_data(block("sample", readout={}), seed=0, spec=SPEC).batch_fn(0)["image"]
  lit = np.asarray(noisy)[np.asarray(noisy) > 0]
  assert lit.min() > 7e3 * 23.6e-6  # the threshold of 7,000 electrons, in MeV before recombination
  views = lib.build_rotated_data(block(toy[0]["npz"], readout={}), seed=0, spec=SPEC, views=("xy", "yz"))
  assert views.batch_fn(0)["image"].shape == (8, 2, 64,
                                              64) and views.evaluation(5)["image"].shape == (5, 2, 64, 64)


@pytest.mark.parametrize("values,match", [
    (dict(readout={"lifetime": 3}), r"Unknown config key data.readout.lifetime = 3; allowed: \['birks_ab'"),
    (dict(readout={"electron_lifetime_us": -1.0}), "electron_lifetime_us must be positive"),
    (dict(readout={"recombination": "box2"}), "Unknown recombination 'box2'"),
    (dict(crop_px=3), "data.crop_px = 3 does not apply to sparse events that are rotated, which data.path = "
                      "'sample' names"),
    (dict(batchsize=3), "Unknown config key data.batchsize = 3"),
    (dict(num_holdout=500), "between 1 and 499.*got 500")])
def test_bad_keys_of_rotated_events_are_named(values, match):
  with pytest.raises(ValueError, match=match):
    lib.build_data(block("sample", **values), seed=0, spec=SPEC)


def test_mistakes_are_named(toy):
  paths = toy[0]
  build = lambda spec=SPEC, **changes: lib.build_data(block(paths["batches"], **changes), seed=0, spec=spec)
  with pytest.raises(ValueError,
                     match="names batches of batches/, of 64 x 64 pixels; image.num_pixels is 32"):
    build(ImageSpec(num_pixels=32))
  with pytest.raises(ValueError, match="data.contained_only = True does not apply to batches of batches/"):
    build(contained_only=True)
  with pytest.raises(ValueError, match="names batches of batches/, in detector pixels; this needs sparse "
                                       "events"):
    lib.build_rotated_data(block(paths["batches"]), seed=0, spec=SPEC, frame=TrackFrame())
  with pytest.raises(ValueError, match="data.readout needs images in detector pixels: in the track frame"):
    lib.build_rotated_data(block("sample", readout={}), seed=0, spec=SPEC, frame=TrackFrame())
  with pytest.raises(ValueError, match="Missing config key data.num_holdout"):
    lib.build_data({"path": "sample", "batch_size": 8}, seed=0, spec=SPEC)
  with pytest.raises(ValueError, match="The images of e.npz have no labels of pixels"):
    save = paths["images"].with_name("e.npz")
    np.savez(save, images=np.ones((9, 64, 64), np.float32))
    lib.build_crop_data(block(save), seed=0, wanted={"label": ()})


def test_only_contained_events(toy):
  data = lib.build_rotated_data(block(toy[0]["npz"], contained_only=True), seed=0, spec=SPEC,
                                frame=TrackFrame())
  events = toy[1]
  radius = np.linalg.norm(events.voxel + 0.5, axis=1) * events.voxel_mm
  outside = [(radius[a:b] > 96.0).any() for a, b in zip(events.offsets[:-1], events.offsets[1:])]
  assert data.train.num + data.held.num == 44 - sum(outside) < 44
  kept = select_events(events, np.flatnonzero(~np.array(outside)))
  np.testing.assert_array_equal(lib.first(data.held)["image"],
                                images_of(kept, np.arange(len(kept))[-8:], views=("xy",), spec=SPEC)[:, 0])
  assert deposited_energy(kept).min() > 0 and len(open_events("sample")) == 500


def test_the_estimator_s_config_switches_its_readout(toy):
  """Off by default; what is not set is nominal."""
  from configs import protons64_estimator
  config = protons64_estimator.get_config("tiny").to_dict()
  build = lambda **changes: lib.build_rotated_data(
      {**config["data"], "num_holdout": 8, "path": str(toy[0]["npz"]),
       "readout": {**config["data"]["readout"], **changes}},
      seed=0, spec=SPEC, views=("xy",)).batch_fn(0)["image"]
  off, on, quiet = (np.asarray(x) for x in (build(), build(on=True), build(on=True, noise_electrons=0.0)))
  assert off[off > 0].min() < 0.02 and on[on > 0].min() > 7e3 * 23.6e-6
  assert np.abs(on - quiet).max() > 0 and on.sum() < 0.7 * off.sum()
