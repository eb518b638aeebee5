"""Autoregressive networks: causality, cached steps, and probabilities of a tiny space that sum to one."""
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.generators import codes as codes_lib
from lartpc_jax.networks import discrete
from tests.toy_weights import toy_params

PRIORS = {"pixelcnn": dict(width=6, depth=3, embedding=4, hidden=8),
          "transformer": dict(width=16, depth=2, num_heads=2)}
SHAPE, NUM_CODES = (4, 5), 5


@pytest.fixture(autouse=True)
def no_key_reuse_check():
  """A scan over keys of every image under vmap is a false alarm of the check, see conftest."""
  with jax.debug_key_reuse(False):
    yield


def told(num):
  return {"features": jnp.asarray(np.random.default_rng(3).normal(size=(num, 2)), jnp.float32),
          "keep": jnp.ones(num)}


@pytest.fixture(scope="module", params=PRIORS)
def prior(request):
  network = discrete.make_code_prior(name=request.param, num_codes=NUM_CODES, num_features=2,
                                     **PRIORS[request.param])
  params = toy_params(lambda: network.init(jax.random.key(0), SHAPE))
  return network._replace(logits=jax.jit(network.logits), step=jax.jit(network.step)), params


def test_a_change_of_a_later_code_changes_no_earlier_logit(prior):
  network, params = prior
  codes = jnp.asarray(np.random.default_rng(0).integers(0, NUM_CODES, (2, *SHAPE)), jnp.int32)
  before = network.logits(params, codes, told(2)).reshape(2, -1, NUM_CODES)
  for place in (0, 4, 5, 12, 19):
    flat = codes.reshape(2, -1)
    other = flat.at[:, place].set((flat[:, place] + 1) % NUM_CODES).reshape(codes.shape)
    change = jnp.abs(network.logits(params, other, told(2)).reshape(before.shape) - before).max((0, 2))
    assert float(change[:place + 1].max()) == 0.0
    assert place == 19 or float(change[place + 1]) > 1e-4  # the next one does see it: no blind spot


def test_one_place_after_the_other_with_a_cache_is_the_whole_pass(prior):
  network, params = prior
  codes = jnp.asarray(np.random.default_rng(1).integers(0, NUM_CODES, (3, *SHAPE)), jnp.int32)
  whole = network.logits(params, codes, told(3)).reshape(3, -1, NUM_CODES)
  cache, found = network.start(3, SHAPE), []
  for place in range(SHAPE[0] * SHAPE[1]):
    # later codes hidden
    seen = jnp.where(jnp.arange(20)[None] < place, codes.reshape(3, -1), 0).reshape(codes.shape)
    logits, cache = network.step(params, cache, seen, jnp.asarray(place), told(3))
    found.append(logits)
  np.testing.assert_allclose(jnp.stack(found, 1), whole, atol=2e-5)


def test_cached_sampling_is_sampling_without_a_cache(prior):
  network, params = prior
  keys = jax.random.split(jax.random.key(5), 3)
  found = codes_lib.draw_codes(network.start, lambda *args: network.step(params, *args), keys, SHAPE, told(3))
  codes = jnp.zeros((3, 20), jnp.int32)
  for place in range(20):
    logits = network.logits(params, codes.reshape(3, *SHAPE), told(3)).reshape(3, 20, -1)[:, place]
    drawn = jax.vmap(lambda key, x, place=place: jax.random.categorical(jax.random.fold_in(key, place),
                                                                        x))(keys, logits)
    codes = codes.at[:, place].set(drawn.astype(jnp.int32))
  np.testing.assert_array_equal(found.reshape(3, 20), codes)
  assert len(np.unique(np.asarray(found))) > 1


@pytest.mark.parametrize("name", PRIORS)
def test_the_probabilities_of_a_tiny_space_sum_to_one(name):
  network = discrete.make_code_prior(name=name, num_codes=3, num_features=2, **PRIORS[name])
  params = toy_params(lambda: network.init(jax.random.key(1), (2, 2)), seed=2)
  every = jnp.asarray(list(itertools.product(range(3), repeat=4)), jnp.int32).reshape(-1, 2, 2)
  cond = {"features": jnp.broadcast_to(jnp.array([[0.3, -1.0]]), (81, 2)), "keep": jnp.ones(81)}
  nats = codes_lib.code_nats(jax.jit(network.logits)(params, every, cond), every)
  np.testing.assert_allclose(jnp.exp(nats).sum(), 1.0, rtol=1e-5)
  assert float(nats.max() - nats.min()) > 0.5  # not all alike
  alone = codes_lib.code_nats(network.logits(params, every, {**cond, "keep": jnp.zeros(81)}), every)
  assert float(jnp.abs(alone - nats).max()) > 1e-3  # and the condition counts


def test_unknown_priors_and_bad_widths_are_named():
  with pytest.raises(ValueError, match="Unknown network.name .lstm.; choose from .*pixelcnn.*transformer"):
    discrete.make_code_prior(name="lstm", num_codes=3, num_features=1)
  with pytest.raises(ValueError, match="4 network.num_heads = 12 must divide network.width = 16"):
    discrete.make_code_prior(name="transformer", num_codes=3, num_features=1, width=16, num_heads=3)
  with pytest.raises(ValueError, match="4 network.num_heads = 12 must divide network.width = 16"):
    discrete.make_pixel_sequence(rows=(0,), columns=(0,), num_features=1, width=16, num_heads=3)
