"""Every distance of the objective against a direct computation, and its gradient against finite
differences."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.build import inference as config
from lartpc_jax.transport.distances import DISTANCES
from lartpc_jax.transport.exact import exact_emd
from tests.test_transport_emd import small_pair, track_pairs

CONVERGED = dict(ot_epsilon_px=0.5, num_iterations=300, num_pixels=40)


def direct(name, a, b):
  """The value by other means: POT, or numpy."""
  import ot
  points_a, points_b = np.argwhere(a > 0).astype(float), np.argwhere(b > 0).astype(float)
  pa, pb = a[a > 0] / a.sum(), b[b > 0] / b.sum()
  cost = lambda x, y: np.linalg.norm(x[:, None] - y[None], axis=-1)
  if name == "l2":
    return 5.0 * np.linalg.norm(a / a.sum() - b / b.sum()) / np.linalg.norm(b / b.sum())
  if name in ("w1", "w2"):
    return exact_emd(a, b, power=int(name[1]))
  if name == "sinkhorn":
    def entropic(x, px, y, py):  # transport cost and eps KL(plan | product)
      plan = ot.sinkhorn(px, py, cost(x, y), 0.5, method="sinkhorn_log", numItermax=20_000, stopThr=1e-7)
      return np.sum(
          plan * cost(x, y)) + 0.5 * np.sum(plan * np.log(np.maximum(plan, 1e-300) / np.outer(px, py)))
    return (entropic(points_a, pa, points_b, pb) - 0.5 * entropic(points_a, pa, points_a, pa)
            - 0.5 * entropic(points_b, pb, points_b, pb))
  # exact unbalanced transport with KL penalties, in units of the target's charge
  cost_ab, mass = cost(points_a, points_b), a[a > 0] / b.sum()
  plan = ot.unbalanced.mm_unbalanced(mass, pb, cost_ab, 5.0, div="kl", numItermax=4_000, stopThr=1e-9)
  kl = lambda x, y: np.sum(x * np.log(np.maximum(x, 1e-300) / y) - x + y)
  return np.sum(plan * cost_ab) + 5.0 * (kl(plan.sum(1), mass) + kl(plan.sum(0), pb))


# Those that iterate take long to compile.
SOME_SLOW = [pytest.param(name, marks=pytest.mark.slow) if name in ("sinkhorn", "unbalanced") else name
             for name in DISTANCES]


@pytest.mark.parametrize("name", SOME_SLOW)
def test_value_against_a_direct_computation(name):
  """On pairs of curved tracks of different charge, 0.4 to 10 px apart; the preset of the descent."""
  a, b = (np.asarray(x) for x in track_pairs(4, seed=1))
  b = 1.1 * b
  values = jax.jit(jax.vmap(lambda x, y: DISTANCES[name]().emd(x, y).value))(a, b)
  wanted = np.array([direct(name, x.astype(float), y.astype(float)) for x, y in zip(a, b, strict=True)])
  error = np.abs(values / wanted - 1.0)
  assert np.median(error) < 0.03 and error.max() < 0.12, (values, wanted)


@pytest.mark.parametrize("name", SOME_SLOW)
def test_zero_for_equal_images_and_finite_slope(name):
  a, _ = track_pairs(2)
  value, slope = jax.jit(jax.value_and_grad(lambda x, y: DISTANCES[name]().emd(x, y).value))(a[0], a[0])
  np.testing.assert_allclose(value, 0.0, atol=2e-3)
  assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", ["sinkhorn", "w2", "l2", pytest.param("unbalanced", marks=pytest.mark.slow)])
def test_gradient_against_finite_differences(x64, name):
  """Along random directions that leave the lit pixels in place; W1 by itself: tests/test_transport_emd.py."""
  a, b = small_pair()
  distance = DISTANCES[name](**({} if name == "l2" else CONVERGED))
  value = jax.jit(lambda x: distance.emd(x, b).value)
  gradient = jax.jit(jax.grad(value))(a)
  direction = jnp.where(a > 0, jax.random.normal(jax.random.key(0), a.shape), 0.0)
  h = 1e-5 * a[a > 0].min()
  difference = (value(a + h * direction) - value(a - h * direction)) / (2.0 * h)
  np.testing.assert_allclose(jnp.sum(gradient * direction), difference, rtol=1e-4)


@pytest.mark.parametrize("values,message", [
    (dict(name="w3"), r"Unknown config value distance.name = 'w3'; allowed: \['l2', 'sinkhorn', "
                      r"'unbalanced', 'w1', 'w2'\]"),
    (dict(name="l2", blur=1.0), "Unknown config key distance.blur = 1.0"),
    (dict(name="l2", scale_px=0.0), "scale_px > 0; got 0.0"),
    (dict(name="w1", blur=1.0), "Unknown config key distance.blur"),
    (dict(name="w2", ot_epsilon_px=0.0), "ot_epsilon_px > 0"),
    (dict(name="unbalanced", unbalanced_px=0.0), "unbalanced_px > 0")])
def test_mistakes_are_named(values, message):
  with pytest.raises(ValueError, match=message):
    config.build_distance(values)
