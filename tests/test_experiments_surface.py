"""Distances at start and end of a descent, in closed form for straight tracks; files of launch.surface."""
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import protons64_infer
from lartpc_jax.experiments import protocol, surface
from tests import toy_generator as toy
from tests.toy_weights import PARTICLES_MEV, save_toy_images

pytestmark = pytest.mark.third_party  # optax and ott promote in their own arithmetic


@pytest.mark.slow
def test_both_normalisations_are_the_distance_of_straight_tracks():
  truth = np.array([[-356.0, -245.0, 0.0]], np.float32)
  angle = np.radians(30.0)
  turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
  momenta = np.concatenate([truth @ turn.T, truth]).astype(np.float32)
  judge = jax.jit(surface.make_judge_ends(toy.make_generate(), ("xy",)))
  found = judge(toy.straight_images(truth)[0], jnp.asarray(momenta), jnp.zeros((1, 4, *toy.LATENT_SHAPE)))
  kinetic = np.sqrt((truth**2).sum() + 938.27209**2) - 938.27209
  exact = 2 * np.sin(angle / 2) * toy.mean_depth_px(kinetic)  # of the centroids
  for name in ("mean_px", "best_px", "published_px"):
    np.testing.assert_allclose(found[name][0], exact, rtol=0.03)
    assert found[name][1] < 0.05
  np.testing.assert_allclose(found["charge_off"], 0.0, atol=0.01)
  half = {"charge_off": judge(0.5 * toy.straight_images(truth)[0], jnp.asarray(momenta),
                              jnp.zeros((1, 4, *toy.LATENT_SHAPE)))["charge_off"]}
  np.testing.assert_allclose(half["charge_off"], 1.0, atol=0.02)


@pytest.mark.slow
def test_a_descent_leaves_its_ends_behind(tmp_path):
  """With weights of images as they are: no track frame, no range of protons."""
  (tmp_path / "weights").mkdir()
  weights, lines = str(save_toy_images(tmp_path / "weights")), []
  config = protons64_infer.get_config("tiny").to_dict()
  settings = surface.Settings(momentum="-356,-245,40", views=("xy",), start="-200,-350,40", points=3, draws=1,
                              weights=weights, out=str(tmp_path / "out"))
  surface.run(settings, config, protocol.SILENT._replace(say=lines.append))
  ends = json.loads((tmp_path / "out" / "surface.json").read_text())
  np.testing.assert_allclose(ends["momentum_mev"][0], [-200, -350, 40], atol=1.0)
  assert "published: best, blur 0.01 px" in lines[0] and {"surface.npz", "surface.png"} <= {
      path.name for path in (tmp_path / "out").iterdir()}


def test_weights_of_several_particles_are_refused(tmp_path):
  weights = str(save_toy_images(tmp_path, particles=PARTICLES_MEV))
  with pytest.raises(ValueError, match="asked for momentum_mev alone"):
    surface.compute(surface.Settings(momentum="1,2,3", weights=weights, out=str(tmp_path)),
                    protons64_infer.get_config("tiny").to_dict())
