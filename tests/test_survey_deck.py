"""Pictures that tell nothing but what they show, in an order that nothing foretells."""
import io

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from lartpc_jax.plotting.png import COLOURS, charge_levels, indexed_png, palette
from lartpc_jax.survey.deck import draw_images, make_deck
from tests.survey_site import images


def test_a_png_is_what_pillow_reads():
  levels = np.random.default_rng(0).integers(0, 256, (5, 9)).astype(np.uint8)
  opened = Image.open(io.BytesIO(indexed_png(levels, palette("viridis"))))
  opened.load()
  np.testing.assert_array_equal(np.asarray(opened.convert("RGB")), palette("viridis")[levels])


def test_length_and_head_are_the_same_for_all():
  deck = make_deck({"real": images(20, 0), "noise": images(20, 1, straight=False) * 3,
                    "empty": images(2, 2) * 0.01}, colours="cividis")
  assert len({len(picture) for picture in deck.pictures}) == 1
  head = deck.pictures[0].index(b"IDAT") + 6
  assert len({picture[:head] for picture in deck.pictures}) == 1
  assert len(set(deck.pictures[:40])) == 40


def test_axis_0_is_to_the_right_and_axis_1_up_on_one_scale():
  charge = np.zeros((2, 8, 8), np.float32)
  charge[0, 6, 1], charge[1, 6, 1] = 4.0, 1.0
  deck = make_deck({"real": charge, "a": charge[::-1] * 4}, colours="gray", top_mev=4.0)
  read = [np.asarray(Image.open(io.BytesIO(p)).convert("L")) for p in deck.pictures]
  assert [tuple(np.argwhere(p)[0]) for p in read] == [(6, 6)] * 4  # row from the top, column
  assert [int(p.max()) for p in read] == [255, 128, 255, 255]  # root of the charge, cut at the top


@pytest.mark.parametrize("name", COLOURS)
def test_colours_grow_lighter_evenly_so_that_the_colour_blind_see_them_too(name):
  """CIE lightness of sRGB (IEC 61966-2-1) rises at every level, and over more than half of its range."""
  linear = palette(name) / 255.0
  linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055)**2.4)
  y = linear @ np.array([0.2126, 0.7152, 0.0722])
  lightness = 116 * np.cbrt(y) - 16
  assert np.all(np.diff(lightness[::4]) > 0) and np.ptp(lightness) > 60


def test_each_image_is_real_with_probability_half_whatever_came_before():
  deck = make_deck({"real": images(30, 0), "a": images(30, 1), "b": images(30, 2)}, colours="cividis")
  source = deck.source[np.array([draw_images(deck, 24) for _ in range(400)])]
  assert stats.binomtest(int((source == 0).sum()), source.size, 0.5).pvalue > 1e-4
  assert stats.binomtest(int((source == 1).sum()), int((source > 0).sum()), 0.5).pvalue > 1e-4
  same = (source[:, 1:] == 0) == (source[:, :-1] == 0)
  assert stats.binomtest(int(same.sum()), same.size, 0.5).pvalue > 1e-4
  np.testing.assert_allclose((source == 0).sum(axis=1).var(), 24 / 4, rtol=0.35)  # not half each time


def test_no_image_twice_for_one_participant_and_all_in_the_long_run():
  deck = make_deck({"real": images(12, 0), "a": images(12, 1)}, colours="cividis")
  drawn = [draw_images(deck, 12) for _ in range(100)]
  assert all(len(set(chosen)) == 12 for chosen in drawn)
  assert {number for chosen in drawn for number in chosen} == set(range(24))


@pytest.mark.parametrize("sources,message", [
    ({"real": np.ones((3, 8, 8), np.float32)}, "one generator or more"),
    ({"a": np.ones((3, 8, 8), np.float32), "b": np.ones((3, 8, 8), np.float32)}, "images called 'real'"),
    ({"real": np.ones((3, 8, 8), np.float32), "a": np.ones((3, 4, 4), np.float32)}, r"a: .* \(n, 8, 8\)"),
    ({"real": np.zeros((3, 8, 8), np.float32), "a": np.ones((3, 8, 8), np.float32)}, "no charge"),
], ids=["no generator", "no real ones", "shape", "empty"])
def test_bad_sources_are_named(sources, message):
  with pytest.raises(ValueError, match=message):
    make_deck(sources, colours="cividis")


def test_too_few_images_are_named():
  deck = make_deck({"real": images(9, 0), "a": images(3, 1)}, colours="cividis")
  with pytest.raises(ValueError, match="a: has 3 images with charge, but a participant may meet 5"):
    draw_images(deck, 5)


def test_unknown_colours_are_named():
  with pytest.raises(ValueError, match="viridis, cividis, gray; got 'jet'"):
    palette("jet")


def test_levels_are_the_root_of_charge():
  np.testing.assert_array_equal(charge_levels(np.array([[0.0, 0.25, 1.0, 9.0]]), 1.0), [[0, 128, 255, 255]])
