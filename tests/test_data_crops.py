"""Normalisation of sparse images, and exact zeros."""
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.data import crops as lib
from lartpc_jax.geometry.charge import make_charge_transform


@pytest.fixture
def images():
  rng = np.random.default_rng(0)
  return np.where(rng.random((60, 8, 8)) < 0.1, 0.004 * rng.integers(1, 900, (60, 8, 8)), 0).astype(np.float32)


@pytest.mark.parametrize("name,scale", [("grey8", 0.02), ("sqrt", 1.0), ("arcsinh", 0.1)])
def test_state_scale_normalises_and_representations_invert(images, name, scale):
  transform, q = make_charge_transform(name, scale), jnp.asarray(images)
  got = lib.measure_state_scale(images, transform)
  y = (transform.forward(q) - got.shift) / got.scale
  np.testing.assert_allclose([y.mean(), y.std()], [0.0, 1.0], atol=1e-4)
  np.testing.assert_allclose(transform.inverse(transform.forward(q)), q, atol=0.0101 if name == "grey8" else 1e-4)
  empty = lib.measure_state_scale(images, transform, about_empty=True)
  z = np.asarray((transform.forward(q) - empty.shift) / empty.scale)
  assert (z[images == 0.0] == 0.0).all()
  np.testing.assert_allclose((z**2).mean(), 1.0, rtol=1e-4)


def test_grey_levels_are_published_ones():
  """8 bits, linear, cut off at 255, and pixels <= 4 to zero (Phys. Rev. D 109, 072011)."""
  transform = make_charge_transform("grey8", 0.02)
  q = jnp.array([[0.0, 0.079, 0.081, 0.1, 4.0, 50.0]])
  levels = np.asarray(transform.forward(q)) * 255
  np.testing.assert_allclose(levels, [[0, 4, 4, 5, 200, 255]], atol=1e-3)
  kept = lib.exact_zeros(transform.inverse(transform.forward(q)), 4.5 * 0.02)
  np.testing.assert_allclose(kept, [[0, 0, 0, 0.1, 4.0, 5.1]], rtol=1e-5)


def test_constant_images_are_named(images):
  with pytest.raises(ValueError, match="pixels of the first crops are all equal"):
    lib.measure_state_scale(np.zeros_like(images), make_charge_transform("sqrt", 1.0))
