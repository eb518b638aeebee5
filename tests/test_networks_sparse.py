"""The transformer for sparse images, part by part against loops in numpy, and its condition."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.networks import api, sparse_transformer as lib

RANDOM = np.random.default_rng(0)
SMALL = dict(width=16, depth=1, num_heads=2, head_features=6, head_token_features=2)


def array(*shape):
  return jnp.asarray(RANDOM.normal(size=shape), jnp.float32)


def noisy(params):
  """Parameters without the zeros that a new network has in its answers."""
  return jax.tree.map(lambda x: x + 0.3 * array(*x.shape), params)


def small(space="pixels", **changes):
  network = api.make_sparse_transformer(num_features=5, map_shape=(4, 4, 2) if space == "pixels" else None,
                                        **{"space": space, **SMALL, **changes})
  shape = (16, 16, 1) if space == "pixels" else (4, 4, 2)
  cond = {"features": array(3, 5), "keep": jnp.ones(3)
         } | ({"map": array(3, 4, 4, 2)} if space == "pixels" else {})
  return network, noisy(network.init(jax.random.key(0), shape)), array(3, *shape), jnp.array([-0.3, 0.0,
                                                                                              0.3]), cond


def silu(x):
  return x / (1.0 + np.exp(-x))


def test_the_head_equals_a_plain_loop_over_pixels():
  head = lib.PixelHead(6, 2)
  both, x, tokens, embedding = array(2, 16, 16, 2), array(2, 16, 16, 1), array(2, 2, 2, 4), array(2, 3)
  params = noisy(head.init(jax.random.key(0), both, x, tokens, embedding)["params"])
  found = head.apply({"params": params}, both, x, tokens, embedding)
  p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
  linear = lambda name, v: v @ p[name]["kernel"] + p[name]["bias"]
  padded = np.pad(np.asarray(x, np.float64)[..., 0], ((0, 0), (1, 1), (1, 1)))
  for b, i, j in [(0, 0, 0), (1, 15, 15), (0, 7, 8), (1, 4, 11), (1, 8, 0)]:
    own = linear("tokens", np.asarray(tokens[b, i // 8, j // 8], np.float64)).reshape(8, 8, 2)[i % 8, j % 8]
    v = np.concatenate([padded[b, i:i + 3, j:j + 3].ravel(), np.asarray(both[b, i, j], np.float64), own])
    scale, shift = np.split(linear("modulation", np.asarray(embedding[b], np.float64)), 2)
    h = silu(linear("first", v) * (1.0 + scale) + shift)
    answer = np.asarray(both[b, i, j]) + linear("last", silu(linear("second", h)))
    np.testing.assert_allclose(found[b, i, j], answer, rtol=2e-4, atol=2e-4)


def test_patches_equal_loops_and_their_sum_is_the_transpose():
  x = array(2, 16, 16, 1)
  found, padded = lib.patches(x), np.pad(np.asarray(x)[..., 0], ((0, 0), (4, 4), (4, 4)))
  for b, i, j in [(0, 0, 0), (1, 1, 0), (1, 1, 1)]:
    window = padded[b, 8 * i:8 * i + 16, 8 * j:8 * j + 16]
    np.testing.assert_array_equal(np.sort(found[b, i, j]), np.sort(window.ravel()))
  tokens = array(*found.shape)
  np.testing.assert_allclose(jnp.sum(found * tokens), jnp.sum(x * lib.from_patches(tokens)), rtol=2e-5)


def test_a_head_looks_at_its_neighbour_first():
  side, bias, index = 4, np.asarray(lib.neighbour_bias(4, 4)), lib.relative_index(4)
  for head, (down, right) in enumerate(lib.OFFSETS[:4]):
    logits = bias[head][index]
    for i, j in [(1, 1), (2, 2)]:
      row, column = divmod(int(logits[i * side + j].argmax()), side)
      assert (i - row, j - column) == (down, right)
  assert bias.min() >= lib.BIAS_FLOOR and bias.max() == 0.0


def test_attention_equals_numpy():
  block = lib.Block(num_heads=2, expansion=2)
  x, embedding = array(2, 4, 8), array(2, 3)
  params = noisy(block.init(jax.random.key(0), x, embedding)["params"])
  found = block.apply({"params": params}, x, embedding)
  p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
  norm = lambda v: v / np.sqrt((v**2).mean(-1, keepdims=True) + 1e-6)
  linear = lambda name, v: np.tensordot(v, p[name]["kernel"], 1) + p[name]["bias"]
  for b in range(2):
    h, m = np.asarray(x[b], np.float64), np.split(linear("modulation", np.asarray(embedding[b], np.float64)),
                                                  6)
    q, k, v = np.moveaxis(linear("qkv", norm(h) * (1 + m[0]) + m[1]).reshape(4, 3, 2, 4), (1, 2), (0, 1))
    logits = np.einsum("hqc,hkc->hqk",
                       norm(q) * p["q_gain"],
                       norm(k) * p["k_gain"]) / 2.0 + p["position"][:, lib.relative_index(2)]
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    h = h + (1 + m[2]) * linear("out", np.einsum("hqk,hkc->qhc", weights, v).reshape(4, 8))
    h = h + (1 + m[5]) * linear("contract", np.maximum(linear("expand", norm(h) * (1 + m[3]) + m[4]), 0.0)**2)
    np.testing.assert_allclose(found[b], h, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("space", lib.SPACES)
def test_a_dropped_condition_is_not_seen_and_a_kept_one_is(space):
  network, params, x, c_noise, cond = small(space)
  answer = lambda features, keep: network.apply(params, x, c_noise,
                                                {**cond, "features": features, "keep": keep})
  other, keep = array(3, 5), jnp.array([0.0, 1.0, 0.0])
  same = np.asarray(jnp.abs(answer(cond["features"], keep) - answer(other, keep)).max((1, 2, 3)) == 0.0)
  np.testing.assert_array_equal(same, [True, False, True])


def test_a_new_network_has_no_answer_of_its_own():
  network, _, x, c_noise, cond = small()
  params = network.init(jax.random.key(0), (16, 16, 1))
  share = 1.0 / (1.0 + np.exp(-2.0))  # of the gate at the start
  inverse_sigma = np.minimum(np.exp(-8.0 * np.asarray(c_noise)), 4.0)[:, None, None, None]
  np.testing.assert_allclose(network.apply(params, x, c_noise, cond), (share - 1.0) * x * inverse_sigma,
                             rtol=1e-4, atol=1e-6)


def test_tokens_of_more_cells_see_and_answer_every_cell():
  x, c_noise = array(2, 8, 8, 2), jnp.array([-0.1, 0.2])
  cond = {"features": array(2, 5), "keep": jnp.ones(2)}
  build = lambda patch: api.make_sparse_transformer(num_features=5, space="map", map_patch=patch, **SMALL)
  new = {patch: build(patch).init(jax.random.key(0), (8, 8, 2)) for patch in (2, 4)}
  assert new[4]["place"].shape[0] == lib.tokens_of("map", 8, 4)**2 == 4 and lib.tokens_of("pixels", 64) == 8
  answers = [build(patch).apply(new[patch], x, c_noise, cond) for patch in (2, 4)]
  np.testing.assert_allclose(*answers, rtol=1e-6)  # the gate alone, cell by cell
  params = noisy(new[4])
  slope = jax.grad(lambda x: build(4).apply(params, x, c_noise, cond)[0, 6, 1, 0])(x)[0]
  assert np.all(np.asarray(jnp.abs(slope)) > 0.0)


def test_the_map_matters_and_half_precision_is_near():
  network, params, x, c_noise, cond = small()
  answer = network.apply(params, x, c_noise, cond)
  assert float(jnp.abs(network.apply(params, x, c_noise, {**cond, "map": cond["map"] + 1.0}) -
                       answer).max()) > 0.01
  half = api.make_sparse_transformer(num_features=5, map_shape=(4, 4, 2), dtype="bfloat16", **SMALL)
  found = half.apply(params, x, c_noise, cond)
  assert found.dtype == jnp.float32
  error = jnp.sqrt(jnp.mean((found - answer)**2)) / jnp.std(answer)
  assert 0.0 < float(error) < 0.05, error


@pytest.mark.parametrize("changes,message", [
    (dict(space="latent"), r"Unknown network.space 'latent'; choose from \['pixels', 'map'\]"),
    (dict(num_heads=3), "network.num_heads = 3 must divide network.width = 16")])
def test_bad_settings_are_named(changes, message):
  with pytest.raises(ValueError, match=message):
    api.make_sparse_transformer(num_features=5, **{**SMALL, **changes})
