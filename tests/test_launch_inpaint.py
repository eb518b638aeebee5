"""launch.inpaint: normal pixels, of which the missing ones are known; stopped, resumed, in other chunks."""
import contextlib
import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.diffusion.sde import vp_sde
from lartpc_jax.experiments import inpaint, painters, protocol
from lartpc_jax.generators.codec import Codec
from tests.toy_parts import image_generator

SIDE, NUM, MEAN, STD = 8, 40, 2.0, 0.3
SAME = Codec(lambda images, cond=None: images[..., None], lambda state, cond=None: state[..., 0],
             (SIDE, SIDE, 1))


def denoise(params, x, c_noise, cond):
  """The x0 network of independent pixels N(MEAN, STD^2)."""
  sigma2 = jnp.exp(16.0 * c_noise)[:, None, None, None]
  return MEAN + (x * jnp.sqrt(1.0 + sigma2) - MEAN) * STD**2 / (STD**2 + sigma2)


@pytest.fixture
def settings(tmp_path, monkeypatch):
  generator = image_generator(denoise, vp_sde(), SAME, prediction="x0")
  monkeypatch.setattr(painters, "build_generator", lambda weights: (generator, {"shape": [SIDE, SIDE]}, {}))
  images = MEAN + STD * np.random.default_rng(0).normal(size=(NUM, 1, SIDE, SIDE)).astype(np.float32)
  np.savez(tmp_path / "images.npz", images=images)
  return inpaint.Settings(input=f"{tmp_path}/images.npz", mask="columns=2:4", num_draws=8, chunk_size=16,
                          covariance="unit", num_steps=12, out=str(tmp_path / "out"))


def test_missing_charge_is_that_of_the_law_whatever_the_chunks(settings, tmp_path):
  stopped = protocol.SILENT._replace(stopping=lambda: contextlib.nullcontext(lambda: 15))
  assert inpaint.run(settings, stopped) == 128 + 15
  assert not (tmp_path / "out" / "inpaint.npz").exists()
  assert inpaint.run(settings, protocol.SILENT) == 0
  found = np.load(tmp_path / "out" / "inpaint.npz")
  # 16 independent pixels: mean 16 MEAN, standard deviation 4 STD (2 % of both for float16 and steps)
  np.testing.assert_allclose(found["missing_mev"].mean(), 16 * MEAN, rtol=0.02)
  np.testing.assert_allclose(found["missing_mev"].std(), 4 * STD, rtol=0.15)
  truth = np.load(tmp_path / "images.npz")["images"][:, 0]
  np.testing.assert_allclose(found["true_missing_mev"], truth[:, :, 2:4].sum((1, 2)), rtol=1e-5)
  kept = ~found["dead"]
  np.testing.assert_allclose(found["mean"][kept], truth[kept], rtol=2e-3)
  assert not found["spread"][kept].any() and (found["spread"][~kept] > 0).all()
  result = json.loads((tmp_path / "out" / "inpaint.json").read_text())["result"]
  assert abs(result["coverage"]["value"] - 0.68) < 4 * result["coverage"]["error"]
  assert result["num_events"] == NUM
  other = dataclasses.replace(settings, chunk_size=7, out=str(tmp_path / "other"))
  assert inpaint.run(other, protocol.SILENT) == 0
  np.testing.assert_allclose(np.load(tmp_path / "other" / "inpaint.npz")["missing_mev"], found["missing_mev"],
                             rtol=2e-3)
  assert (tmp_path / "out" / "inpaint.png").stat().st_size > 1000


def test_images_that_have_their_faults_are_not_judged(settings, tmp_path):
  said = []
  run = dataclasses.replace(settings, whole=False, noise_mev=0.2, num_events=4)
  assert inpaint.run(run, protocol.SILENT._replace(say=said.append)) == 0
  assert not (tmp_path / "out" / "inpaint.json").exists() and "4 images" in said[-1]
  assert "true_missing_mev" not in np.load(tmp_path / "out" / "inpaint.npz").files


@pytest.mark.parametrize("changes,message", [
    (dict(mask="columns=0:8"), "leaves image 0 no pixel alive"),
    (dict(cond="truth"), "--cond=truth: this generator takes no condition"),
    (dict(sampler="magic"), "Unknown sampler 'magic'"), (dict(num_events=99), "holds 40 events")])
def test_mistakes_are_named(settings, changes, message):
  with pytest.raises(ValueError, match=message):
    inpaint.run(dataclasses.replace(settings, **changes), protocol.SILENT)


def test_images_that_are_not_finite_are_named(settings, tmp_path):
  images = np.ones((3, 1, SIDE, SIDE), np.float32)
  images[2, 0, 1, 1] = np.nan
  np.savez(tmp_path / "bad.npz", images=images)
  with pytest.raises(ValueError, match="bad.npz: image 2 holds NaN or infinity"):
    inpaint.run(dataclasses.replace(settings, input=f"{tmp_path}/bad.npz"), protocol.SILENT)
