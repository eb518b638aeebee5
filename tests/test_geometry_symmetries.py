"""Symmetries of pictures, vectors and pixel labels: against events turned in 3D, numpy's quarter turns, and
group laws."""
import numpy as np
import pytest

from lartpc_jax.data import pictures
from lartpc_jax.data.events import Events, select_events
from lartpc_jax.data.open import open_events
from lartpc_jax.geometry import symmetries as lib
from lartpc_jax.geometry.rasterize import ImageSpec

CODES = np.arange(16)


def test_they_are_those_of_argon():
  """Turning the voxels of an event in 3D and drawing it gives the turned image and momentum, for all 16."""
  inside = pictures.keep_contained(select_events(open_events("sample"), np.arange(44)), ImageSpec())
  event = select_events(inside, np.zeros(16, int))
  images = pictures.images_of(event, CODES, views=("xy",), spec=ImageSpec())[:, 0]
  got, momentum = lib.turn_pixels(images, CODES), lib.turn_vectors(event.momentum_mev, CODES)
  assert len({image.tobytes() for image in got}) == 8 and len(set(map(tuple, momentum.tolist()))) == 16
  for i in CODES:
    signs = np.array([1 - 2 * (i & 1), 1 - (i & 2), 1 - (i & 8) // 4])
    order = [1, 0, 2] if i & 4 else [0, 1, 2]
    one = select_events(event, np.array([i]))
    voxel = np.where(signs < 0, -1 - one.voxel, one.voxel)[:, order]  # centres are at +0.5
    turned = Events((one.momentum_mev * signs)[:, order].astype(np.float32), one.offsets, voxel, one.edep_mev,
                    one.voxel_mm)
    np.testing.assert_allclose(momentum[i], turned.momentum_mev[0])
    want = pictures.images_of(turned, np.array([0]), views=("xy",), spec=ImageSpec())[0, 0]
    np.testing.assert_allclose(got[i], want, atol=2e-4)


def test_quarter_turns_are_those_of_numpy():
  image = np.arange(9, dtype=np.float32).reshape(3, 3)
  turned = lib.turn_pixels(np.repeat(image[None], 8, axis=0), lib.QUARTER_TURNS)
  for k in range(4):
    np.testing.assert_array_equal(turned[k], np.rot90(image, k))
    np.testing.assert_array_equal(turned[k + 4], np.rot90(image, k)[::-1])
  assert sorted(lib.QUARTER_TURNS) == list(range(8)) and len({x.tobytes() for x in turned}) == 8


def test_the_inverse_undoes_each():
  rng = np.random.default_rng(0)
  images, vectors = rng.normal(size=(16, 5, 5, 2)), rng.normal(size=(16, 3))
  back = lib.inverse(CODES)
  np.testing.assert_array_equal(lib.turn_pixels(lib.turn_pixels(images, CODES), back), images)
  np.testing.assert_array_equal(lib.turn_vectors(lib.turn_vectors(vectors, CODES), back), vectors)
  # quarter turns, with and without the mirror
  assert sorted(back) == list(range(16)) and (back != CODES).sum() == 4


def test_a_batch_is_turned_as_one():
  """Labels lie on their pixels, the vector to the brightest pixel stays on it, and what has no direction
  stays."""
  rng = np.random.default_rng(1)
  image = rng.random((16, 6, 6)).astype(np.float32)
  batch = {"image": image, "label": (image > 0.5).astype(np.int32), "momentum_mev": np.empty((16, 3)),
           "kinetic_mev": CODES}
  brightest = lambda x: np.stack(np.unravel_index(x.reshape(16, -1).argmax(1), (6, 6)), axis=1) - 2.5
  batch["momentum_mev"] = np.concatenate([brightest(image), np.ones((16, 1))], axis=1)
  got = lib.turn(batch, CODES, pixels=("image", "label"), vectors=("momentum_mev",))
  np.testing.assert_array_equal(got["label"], got["image"] > 0.5)
  np.testing.assert_array_equal(got["momentum_mev"][:, :2], brightest(got["image"]))
  np.testing.assert_array_equal(got["momentum_mev"][:, 2], np.where(CODES & 8, -1, 1))
  np.testing.assert_array_equal(got["kinetic_mev"], CODES)
  assert list(got) == list(batch) and np.abs(got["image"] - image).max() > 0


def test_codes_are_drawn_evenly():
  for among in (8, 16):
    counts = np.bincount(lib.random_codes(np.random.default_rng(0), 16_000, among), minlength=16)
    np.testing.assert_allclose(counts[:among], 16_000 / among, rtol=0.15)
    assert not counts[among:].any()
  with pytest.raises(ValueError, match="There are 8 or 16 symmetries to draw from; got 4"):
    lib.random_codes(np.random.default_rng(0), 3, 4)
