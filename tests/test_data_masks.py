"""Dead pixels are those that a text or a file says, and mistakes are named."""
import numpy as np
import pytest

from lartpc_jax.data.masks import dead_pixels

N, NUMBERS = 16, np.array([4, 7, 9])


def dead(text, numbers=NUMBERS, seed=0):
  return dead_pixels(text, N, numbers, seed=seed)


def test_bands_lie_along_the_axis_that_they_name():
  columns, rows = dead("columns=2:5"), dead("rows=0:1")
  assert columns.shape == (3, N, N) and columns[:, :, 2:5].all() and columns.sum() == 3 * 3 * N
  assert rows[:, 0].all() and rows.sum() == 3 * N
  np.testing.assert_array_equal(dead("columns=2:5; rows=0:1"), columns | rows)


def test_wires_are_a_share_of_the_columns_at_places_of_their_own():
  found = dead("wires=0.25")
  assert (found == found[:, :1]).all() and (found[:, 0].sum(1) == N // 4).all()
  assert (found[0] != found[1]).any()
  np.testing.assert_array_equal(dead("wires=0.25", NUMBERS[1:]), found[1:])  # whatever stands beside it
  assert (dead("wires=0.25", seed=1) != found).any()


def test_masks_of_files(tmp_path):
  rng = np.random.default_rng(0)
  each = rng.random((10, N, N)) < 0.3
  np.save(tmp_path / "each.npy", each)
  np.savez(tmp_path / "one.npz", dead=each[0].astype(np.uint8))
  np.testing.assert_array_equal(dead(f"{tmp_path}/each.npy"), each[NUMBERS])
  np.testing.assert_array_equal(dead(f"{tmp_path}/one.npz"), np.broadcast_to(each[0], (3, N, N)))
  with pytest.raises(ValueError, match=r"each.npy: holds masks of 10 images; image 10 is asked for"):
    dead(f"{tmp_path}/each.npy", np.array([10]))
  np.save(tmp_path / "odd.npy", 2 * each[0])
  with pytest.raises(ValueError, match=r"odd.npy: a mask must hold 1 \(dead\) and 0; got values 0 to 2"):
    dead(f"{tmp_path}/odd.npy")
  np.save(tmp_path / "small.npy", each[0, :4])
  with pytest.raises(ValueError, match=r"small.npy: a mask must have shape \(16, 16\)"):
    dead(f"{tmp_path}/small.npy")
  (tmp_path / "text.npy").write_text("not an array")
  with pytest.raises(ValueError, match="text.npy: not a readable mask"):
    dead(f"{tmp_path}/text.npy")


@pytest.mark.parametrize("text,message", [
    ("columns=5:2", "'columns=5:2': pixels must rise within 0 and 16"),
    ("rows=3", "'rows=3' is not NAME=FIRST"), ("wires=2", "share of dead wires must lie between 0 and 1"),
    ("wires=x", "'wires=x' is not NAME=NUMBER"), ("holes=3", "Unknown mask 'holes=3'"),
    ("", "says of no pixel"), ("columns=0:16", "leaves image 4 no pixel")])
def test_mistakes_are_named(text, message):
  with pytest.raises(ValueError, match=message):
    dead(text)
