"""Training data of every kind: the same images, orders and symmetries; a run that resumes sees the same batches."""
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lartpc_jax.build import data as data_lib
from lartpc_jax.data import pictures, prefetch, sources
from lartpc_jax.data.events import Events, select_events
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.train import loop
from lartpc_jax.train.task import Task
from tests.toy_sources import VIEWS, write_sources


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
  return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.mark.parametrize("kind", ["images", "batches", "dataset"])
def test_images_are_those_of_the_source(toy, kind):
  paths, events, images = toy
  rows = sources.open_training_source(paths[kind])
  assert rows.views == VIEWS and rows.num_pixels == 64 and rows.has_momentum
  got = sources.read_images(rows, [0, 3, 2 * rows.num - 1])  # xy of the first event, xz of the second, xz of the last
  known = {tuple(p): i for i, p in enumerate(np.round(events.momentum_mev, 2).tolist())}
  for image, momentum, view in zip(got["image"], got["momentum_mev"], (0, 1, 1), strict=True):
    p = momentum if view == 0 else momentum[[0, 2, 1]]  # the xz image of (px, py, pz) is the xy image of (px, pz, py)
    number = known[tuple(np.round(p, 2).tolist())]
    np.testing.assert_allclose(image, images[number, view], atol=1e-5)
  assert rows.num == {"images": 44, "batches": 44}.get(kind, rows.num)


def test_holdout(toy):
  paths, events, _ = toy
  rows = sources.open_training_source(paths["batches"])
  train, held = sources.split_rows(rows, num_holdout=5)
  assert (train.num, held.num) == (39, 5)
  np.testing.assert_allclose(held.read(np.arange(5))[1], events.momentum_mev[39:], rtol=1e-6)
  train, held = sources.split_rows(sources.open_training_source(paths["dataset"]), num_holdout=5)
  assert held.num == 4 > 0 and train.holdout is held  # every eleventh event: the split of the dataset, whatever num_holdout
  with pytest.raises(ValueError, match="data.num_holdout must lie between 1 and 43.*got 44"):
    sources.split_rows(rows, num_holdout=44)


def test_symmetries_are_those_of_argon(toy):
  """Turning the voxels of an event in 3D and drawing it gives the turned image and momentum, for all 16."""
  _, events, _ = toy
  inside = pictures.keep_contained(events, ImageSpec())
  event = select_events(inside, np.zeros(16, int))
  code = np.arange(16)
  images = pictures.images_of(event, code, views=("xy",), spec=ImageSpec())[:, 0]
  got, momentum = sources.apply_symmetries(images, event.momentum_mev, code)
  assert len({image.tobytes() for image in got}) == 8 and len(set(map(tuple, momentum.tolist()))) == 16
  for i in range(16):
    signs = np.array([1 - 2 * (i & 1), 1 - (i & 2), 1 - (i & 8) // 4])
    order = [1, 0, 2] if i & 4 else [0, 1, 2]
    one = select_events(event, np.array([i]))
    voxel = np.where(signs < 0, -1 - one.voxel, one.voxel)[:, order]  # centres are at +0.5
    turned = Events((one.momentum_mev * signs)[:, order].astype(np.float32), one.offsets, voxel, one.edep_mev, one.voxel_mm)
    np.testing.assert_allclose(momentum[i], turned.momentum_mev[0])
    want = pictures.images_of(turned, np.array([0]), views=("xy",), spec=ImageSpec())[0, 0]
    np.testing.assert_allclose(got[i], want, atol=2e-4)
  unknown, none = sources.apply_symmetries(images, None, code)
  np.testing.assert_array_equal(unknown, got)
  assert none is None


def test_batches_are_a_function_of_seed_and_step(toy):
  rows = sources.open_training_source(toy[0]["batches"])
  make = lambda **kwargs: sources.make_image_batches(rows, **{"batch_size": 8, "seed": 3, **kwargs})
  first, again = make(), make()
  late = [first(step) for step in (11, 0, 5)]
  for step, batch in zip((5, 0, 11), late[::-1], strict=True):
    for name, array in again(step).items():
      np.testing.assert_array_equal(array, batch[name])
  assert not np.array_equal(make(seed=4)(5)["image"], late[2]["image"])
  plain = make(symmetries=False)
  charge = [np.sort(np.concatenate([plain(e * 11 + i)["image"].sum((1, 2)) for i in range(11)])) for e in (0, 1)]
  everything = np.sort(sources.read_images(rows, np.arange(88))["image"].sum((1, 2)))
  np.testing.assert_array_equal(charge[0], everything)  # an epoch has each view of each event once
  np.testing.assert_array_equal(charge[1], everything)
  assert not np.array_equal(plain(0)["image"], plain(11)["image"])
  with pytest.raises(ValueError, match="data.batch_size must lie between 1 and 88.*of batches of batches/; got 89"):
    make(batch_size=89)


def data_of(path):
  """batch_fn of a training run, as the config builders make it."""
  spec, values = ImageSpec(), dict(num_holdout=8, batch_size=8, contained_only=False, path=str(path))
  source = sources.open_training_source(path)
  if isinstance(source, Events):
    return data_lib.build_batches(spec=spec, frame=TrackFrame(), seed=0, **values)[0]
  return data_lib.build_image_batches(spec=spec, seed=0, rows=source, **values)[0]


class Crash(Exception):
  """Stands for a killed process."""


@pytest.mark.parametrize("kind", ["npz", "images", "batches", "dataset"])
def test_a_resumed_run_sees_the_same_batches(toy, kind, tmp_path):
  """The real loop, checkpoint and all: a linear model of the image, so that it ends elsewhere after any other batch."""
  path = toy[0][kind]

  def run(workdir, crash_at=None):
    batch_fn, seen = data_of(path), []
    def remember(step):
      if step == crash_at:
        raise Crash
      batch = batch_fn(step)
      seen.append((step, float(np.asarray(batch["image"]).sum()), np.asarray(batch["momentum_mev"]).tobytes()))
      return batch
    def loss_fn(params, batch, key):
      del key
      error = jnp.einsum("bhw,hw->b", batch["image"], params) - batch["momentum_mev"][:, 0] / 500.0
      return jnp.mean(error**2), {}
    shape = batch_fn(0)["image"].shape[1:]
    task = Task(init=lambda key: jnp.zeros(shape), loss_fn=loss_fn, batch_fn=remember)
    settings = dict(ema_decay=0.9, seed=0, num_steps=7, log_every_steps=7, checkpoint_every_steps=2, eval_every_steps=0,
                    draw_every_steps=0, keep_checkpoints=2, say=lambda text: None)
    if crash_at is None:
      return loop.train(task, optax.sgd(1e-3), workdir=workdir, **settings).state, seen
    with pytest.raises(Crash):
      loop.train(task, optax.sgd(1e-3), workdir=workdir, **settings)
    return None, seen

  state, seen = run(tmp_path / "straight")
  _, before = run(tmp_path / "broken", crash_at=5)
  resumed, after = run(tmp_path / "broken")
  assert after[0][0] == 4 and before[:4] + after == seen
  np.testing.assert_array_equal(resumed.params, state.params)
  assert np.asarray(state.params).any()


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


def test_other_formats(tmp_path):
  """Grey crops have one view and no momentum; an npy is mapped; a dataset is found in its versions, the newest first."""
  (tmp_path / "crops").mkdir()
  np.save(tmp_path / "crops" / "larcv_png_64_train_tracks.npy", np.full((3, 64, 64), 7, np.uint8))
  with pytest.raises(ValueError, match="crops: holds images in grey levels, not in MeV; set data.scale_mev"):
    sources.open_training_source(tmp_path / "crops")
  rows = sources.open_training_source(tmp_path / "crops", scale_mev=0.5)
  np.testing.assert_array_equal(rows.read(np.array([1]))[0], np.full((1, 1, 64, 64), 3.5))
  assert rows.views == ("xy",) and not rows.has_momentum and rows.num == 3 and rows.kind.startswith("larcv_npy")
  assert sorted(sources.make_image_batches(rows, batch_size=2, seed=0)(0)) == ["image"]
  np.save(tmp_path / "images.npy", np.ones((4, 32, 32), np.float32))
  rows = sources.open_training_source(tmp_path / "images.npy")
  assert rows.num_pixels == 32 and rows.read(np.array([1]))[0].shape == (1, 1, 32, 32)
  for version in ("1.0.0", "1.10.0", "1.9.0"):
    (tmp_path / "data" / version).mkdir(parents=True)
    (tmp_path / "data" / version / "dataset_info.json").write_text("{")
  assert sources._find_dataset(tmp_path / "data").name == "1.10.0"
  with pytest.raises(ValueError, match="1.10.0: not a readable dataset"):
    sources.open_training_source(tmp_path / "data")


def test_mistakes_are_named(toy, tmp_path):
  with pytest.raises(ValueError, match="data.path is not set"):
    sources.open_training_source("")
  with pytest.raises(FileNotFoundError, match="No file or directory of training data at .*nothing"):
    sources.open_training_source(tmp_path / "nothing")
  with pytest.raises(ValueError, match="holds no training data; looked for dataset_info.json, batch_"):
    sources.open_training_source(tmp_path)
  np.save(tmp_path / "four.npy", np.ones((2, 4, 8, 8), np.float32))
  with pytest.raises(ValueError, match="has 4 views of each event; at most 3 are known"):
    sources.open_training_source(tmp_path / "four.npy")
  np.save(tmp_path / "flat.npy", np.ones((2, 8, 4), np.float32))
  with pytest.raises(ValueError, match=r"flat.npy: field 'images' must have shape .*got \(2, 8, 4\)"):
    sources.open_training_source(tmp_path / "flat.npy")
  (tmp_path / "events.h5").write_text("")
  with pytest.raises(ValueError, match="must be an npz or npy file"):
    sources.open_training_source(tmp_path / "events.h5")
  rows = sources.open_training_source(toy[0]["batches"])
  values = dict(seed=0, path="batches", num_holdout=8, batch_size=8)
  with pytest.raises(ValueError, match="names batches of batches/, of 64 x 64 pixels; image.num_pixels is 32"):
    data_lib.build_image_batches(rows=rows, spec=ImageSpec(num_pixels=32), contained_only=False, **values)
  with pytest.raises(ValueError, match="data.contained_only needs sparse events"):
    data_lib.build_image_batches(rows=rows, spec=ImageSpec(), contained_only=True, **values)
  with pytest.raises(ValueError, match="names batches of batches/: images in detector pixels.*needs sparse events"):
    data_lib.build_batches(spec=ImageSpec(), frame=TrackFrame(), contained_only=False, **{
        **values, "path": str(toy[0]["batches"])})


def test_a_dataset_without_images_is_named(tmp_path):
  import tensorflow_datasets as tfds

  class Toy(tfds.core.GeneratorBasedBuilder):
    """Numbers."""
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
      return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"x": tfds.features.Scalar(np.int64)}))

    def _split_generators(self, dl_manager):
      return {"train": self._generate_examples()}

    def _generate_examples(self):
      yield 0, {"x": 1}
  builder = Toy(data_dir=str(tmp_path), file_format="array_record")
  builder.download_and_prepare()
  with pytest.raises(ValueError, match=r"needs a split 'train' and a feature 'image'; it has \['train'\] and \['x'\]"):
    sources.open_training_source(builder.data_dir)
