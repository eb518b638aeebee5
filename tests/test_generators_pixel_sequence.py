"""Sequences of lit pixels: round trip, orders, exact probabilities, cached draws against draws without a
cache."""
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.generators import pixel_sequence as lib
from lartpc_jax.generators.condition import make_condition
from lartpc_jax.generators.sparse_state import GapScale
from lartpc_jax.networks import discrete
from tests.toy_weights import toy_params

GAP = GapScale(threshold_mev=0.09, charge_scale_mev=0.1, gap=0.8, scale=0.5416)
CONDITION = make_condition({"charge_mev": dict(kind="scalar", mean=4.2, scale=0.65, low=0.1, log=True)})
TABLE = {"charge_mev": jnp.array([20.0, 80.0])}


@pytest.fixture(autouse=True)
def no_key_reuse_check():
  """A loop over keys of every image under vmap is a false alarm of the check, see conftest."""
  with jax.debug_key_reuse(False):
    yield


def sparse_images(num, side, seed=0, share=0.2):
  draw = np.random.default_rng(seed)
  return np.where(draw.uniform(size=(num, side, side)) < share,
                  0.09 + draw.exponential(1.0, (num, side, side)),
                  0.0).astype(np.float32)


def plane_of(order, side, num_bins=4):
  quantiles = lib.charge_quantiles(sparse_images(200, side, seed=9), GAP, num_bins)
  return lib.Plane(lib.ORDERS[order](side), side, GAP, jnp.asarray(quantiles, jnp.float32))


def network_of(plane, num_bins=4, seed=0):
  side, pixels = plane.side, plane.pixels
  network = discrete.make_pixel_sequence(
      rows=tuple((pixels // side).tolist()), columns=tuple((pixels % side).tolist()), num_cells=side,
                                         num_places=side,
      num_bins=num_bins, width=16, depth=2, num_heads=2, num_features=7)
  params = toy_params(lambda: network.init(jax.random.key(0)), seed)
  return network, params


@pytest.mark.parametrize("side", [2, 4, 16, 64])
def test_hilberts_curve_goes_through_every_pixel_in_steps_of_one(side):
  pixels = lib.hilbert_order(side)
  assert sorted(pixels.tolist()) == list(range(side**2))
  steps = np.abs(np.diff(np.stack([pixels // side, pixels % side]), axis=1)).sum(0)
  assert set(steps.tolist()) == {1}
  if side == 64:  # a cell of 64 pixels is a square of 8 x 8
    cells = pixels.reshape(64, 64)
    assert set((np.ptp(cells // 64, axis=1) + 1).tolist()) == set((np.ptp(cells % 64, axis=1)
                                                                   + 1).tolist()) == {8}


@pytest.mark.parametrize("order", lib.ORDERS)
def test_a_sequence_tells_the_image_but_for_the_charge_within_a_bin(order):
  plane, images = plane_of(order, 8), sparse_images(5, 8)
  sequences, num = (np.asarray(x) for x in lib.sequences_of(jnp.asarray(images), plane, 40))
  edges = np.asarray(plane.quantiles)[::lib.FINE]
  for image, sequence, count in zip(images, sequences, num):
    assert count == (image > 0).sum()
    places = sequence[:count, 0] * 8 + sequence[:count, 1]
    assert np.all(np.diff(places) > 0) and not sequence[count:].any()
    at = plane.pixels[places]
    assert set(at.tolist()) == set(np.flatnonzero(image).tolist())
    y = 0.8 + np.arcsinh(image.ravel()[at] / 0.1)
    np.testing.assert_array_equal(np.clip(np.searchsorted(edges, y, side="right") - 1, 0, 3),
                                  sequence[:count, 2])


def test_a_longer_image_gives_its_beginning():
  plane, images = plane_of("raster", 8), sparse_images(1, 8, share=0.6)
  whole, num = lib.sequences_of(jnp.asarray(images), plane, 64)
  part, again = lib.sequences_of(jnp.asarray(images), plane, 5)
  np.testing.assert_array_equal(part[0], whole[0, :5])
  assert int(num[0]) == int(again[0]) > 5


@pytest.mark.parametrize("order", lib.ORDERS)
def test_the_probabilities_of_all_tiny_images_sum_to_one(order):
  """2 x 2 pixels that are dark or in one of two bins: 81 images."""
  plane = plane_of(order, 2, num_bins=2)
  network, params = network_of(plane, num_bins=2)
  model = lib.make_sequence_model(network, params, plane=plane, condition=CONDITION, table=TABLE,
                                  max_pixels=4)
  middles = np.interp([0.5, 1.5], [0, 1, 2], np.asarray(plane.quantiles)[::lib.FINE])
  values = [0.0, *(0.1 * np.sinh(middles - 0.8))]
  every = np.array(list(itertools.product(values, repeat=4)), np.float32).reshape(-1, 2, 2)
  nats = np.asarray(jax.jit(model.nats)(jnp.asarray(every)))
  np.testing.assert_allclose(np.exp(nats).sum(), 1.0, rtol=1e-4)
  assert np.ptp(nats) > 0.5
  short = lib.make_sequence_model(network, params, plane=plane, condition=CONDITION, table=TABLE,
                                  max_pixels=2)
  assert np.isnan(np.asarray(short.nats(jnp.asarray(every)))).sum() == np.sum((every > 0).sum((1, 2)) > 2)


def test_logits_do_not_look_ahead():
  plane = plane_of("hilbert", 8)
  network, params = network_of(plane)
  images = sparse_images(1, 8)
  sequences, num = lib.sequences_of(jnp.asarray(images), plane, 12)
  cond = {"features": jnp.ones((1, 7)), "keep": jnp.ones(1)}
  apply = jax.jit(network.logits)
  cells, places, bins = apply(params, sequences, cond)
  other = sequences.at[0, 6].set(jnp.array([7, 7, 3]))
  changed = [jnp.abs(a - b)[0].max(-1) for a, b in zip(apply(params, other, cond), (cells, places, bins))]
  assert int(num[0]) > 7
  assert float(changed[0][:7].max()) == float(changed[1][:6].max()) == float(changed[2][:6].max()) == 0.0
  assert float(changed[0][7]) > 1e-3 and float(changed[1][6]) > 1e-3


def test_cached_draws_are_draws_without_a_cache():
  plane = plane_of("hilbert", 4)
  network, params = network_of(plane)
  keys, cond = jax.random.split(jax.random.key(2), 3), {"features": jnp.ones((3, 7)), "keep": jnp.ones(3)}
  draw = jax.jit(lambda keys, cond: lib.draw_sequences(network, params, keys, cond, plane, 10))
  images = draw(keys, cond)
  lit = (np.asarray(images) > 0).sum((1, 2))
  assert 0 < lit.max() <= 10
  apply = jax.jit(network.logits)
  sequences, num = lib.sequences_of(images, plane, 10)
  for row in range(3):
    before = -1
    for i in range(int(num[row]) + (int(num[row]) < 10)):
      cells, places, bins = apply(params, sequences[row:row + 1], jax.tree.map(lambda x: x[:1], cond))
      split = jax.random.split(jax.random.fold_in(keys[row], i), 4)
      at = jnp.array([before])
      cell = jax.random.categorical(split[0], lib.masked(cells[0, i][None], lib.allowed_cells(at, 4)))[0]
      if i == int(num[row]):
        assert int(cell) == 4  # the end
        break
      place = jax.random.categorical(split[1], lib.masked(places[0, i][None],
                                                          lib.allowed_places(at, cell[None], 4)))[0]
      assert (int(cell), int(place)) == tuple(np.asarray(sequences[row, i, :2]).tolist())
      assert int(jax.random.categorical(split[2], bins[0, i])) == int(sequences[row, i, 2])
      before = int(cell) * 4 + int(place)
  again = draw(keys[::-1], cond)[::-1]
  np.testing.assert_array_equal(again, images)  # an image depends on its key alone
  assert float(jnp.where(images > 0, images, 1.0).min()) >= 0.09 * 0.999


def test_a_side_that_is_no_power_of_two_is_named():
  with pytest.raises(ValueError, match="order = 'hilbert' needs a side that is a power of two; got 12"):
    lib.hilbert_order(12)
