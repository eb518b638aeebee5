"""SSNet and the image classifier: published size, shapes, independence of the batch."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.networks.api import make_classifier, make_ssnet

SMALL = dict(features=8, num_strides=2, num_modules=1, stem=2, num_groups=4, learned_upsampling=False,
             project_always=False)


def count(params):
  return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_the_published_network_has_its_parameters_and_feature_shape():
  """4.33 M parameters, and 128 x 8 x 8 at the third encoder stage (Phys. Rev. D 109, 072011)."""
  network = make_ssnet()
  params = jax.eval_shape(lambda: network.init(jax.random.key(0), (64, 64)))
  assert round(count(params) / 1e6, 2) == 4.33
  y = jnp.zeros((1, 64, 64, 1))
  assert jax.eval_shape(lambda p: network.features(p, y, 3), params).shape == (1, 8, 8, 128)
  assert jax.eval_shape(lambda p: network.apply(p, y), params).shape == (1, 64, 64, 3)


@pytest.mark.parametrize("changes", [pytest.param({}, marks=pytest.mark.slow),
                                     dict(stem=1, learned_upsampling=True, project_always=True,
                                          num_classes=5)])
def test_logits_do_not_depend_on_the_other_images(changes):
  network = make_ssnet(**{**SMALL, **changes})
  params = network.init(jax.random.key(0), (16, 16))
  y = jax.random.normal(jax.random.key(1), (3, 16, 16, 1))
  apply = jax.jit(network.apply)
  logits = apply(params, y)
  assert logits.shape == (3, 16, 16, changes.get("num_classes", 3))
  np.testing.assert_allclose(apply(params, y[:1]), logits[:1], atol=1e-4)


@pytest.mark.slow
def test_features_are_those_the_logits_come_from():
  """Stage 2 of 16 pixels behind a stem of 2: 2x2, 32 channels; it changes where the image does."""
  network = make_ssnet(**SMALL)
  params = network.init(jax.random.key(0), (16, 16))
  y = jax.random.normal(jax.random.key(1), (2, 16, 16, 1))
  stage = network.features(params, y, 2)
  assert stage.shape == (2, 2, 2, 32) and np.abs(stage[0] - stage[1]).max() > 1e-3
  assert network.features(params, y, 0).shape == (2, 8, 8, 8)


def test_classifier_gives_one_logit_an_image():
  network = make_classifier(features=8, num_strides=1)
  params = network.init(jax.random.key(0), (16, 16))
  y = jax.random.uniform(jax.random.key(1), (3, 16, 16, 1))
  logits = jax.jit(network.apply)(params, y)
  assert logits.shape == (3,)
  np.testing.assert_allclose(jax.jit(network.apply)(params, y[:1]), logits[:1], atol=1e-5)
