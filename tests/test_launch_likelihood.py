"""launch.likelihood: a network of zeros makes its model a Gaussian, whose density is known; the command,
twice."""
import contextlib
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lartpc_jax.diffusion.sde import vp_sde
from lartpc_jax.experiments import likelihood, protocol
from lartpc_jax.generators.codec import Codec
from lartpc_jax.generators.condition import make_condition
from lartpc_jax.generators.frame import IDENTITY
from lartpc_jax.generators.generator import Denoiser, Generator

SIGMA_DATA, SIGMA_MIN, SIDE = 0.7, 0.1, 3


@pytest.fixture(scope="module")
def gaussian():
  """D(x, sigma) = x sigma_data^2 / (sigma^2 + sigma_data^2), the posterior mean of data N(0,
  sigma_data^2)."""
  codec = Codec(lambda images, cond=None: images[..., None], lambda state, cond=None: state[..., 0],
                (SIDE, SIDE, 1))
  denoiser = Denoiser(lambda params, x, c_noise, cond: 0.0 * x, {}, vp_sde(), "edm", SIGMA_DATA)
  return Generator(denoiser, codec, make_condition({}), lambda cond: {}, IDENTITY, None, None)


def noised_entropy():
  """Mean and variance of -log N(0, v)(x) for x of N(0, v) in each of the pixels, v that of a noised state."""
  alpha2 = 1.0 / (1.0 + SIGMA_MIN**2)  # variance-preserving
  variance = alpha2 * (SIGMA_DATA**2 + SIGMA_MIN**2)
  return SIDE**2 * stats.norm(scale=variance**0.5).entropy(), SIDE**2 / 2


def test_nats_of_a_gaussian_model(gaussian):
  num = 400
  images = SIGMA_DATA * np.random.default_rng(0).normal(size=(num, SIDE, SIDE)).astype(np.float32)
  nats = jax.jit(likelihood.make_nats(gaussian, num_steps=40, num_probes=1, sigma_min=SIGMA_MIN))
  found = np.asarray(nats(jnp.asarray(images), jax.random.split(jax.random.key(0), num)))
  mean, variance = noised_entropy()
  np.testing.assert_allclose(-found.mean(), mean, atol=4 * (variance / num)**0.5 + 0.02)
  np.testing.assert_allclose(found.var(), variance, rtol=0.3)


def test_the_same_command_goes_on(gaussian, tmp_path, monkeypatch):
  """Rows of --input by name; a run that was stopped ends as one in chunks of another size."""
  monkeypatch.setattr(likelihood, "build_generator", lambda weights:
                      (gaussian, {"sha256": "0", "threshold_mev": 0.0}, {}))
  images = np.abs(np.random.default_rng(1).normal(size=(5, 64, 64))).astype(np.float32)
  np.savez(tmp_path / "x.npz", images=images)
  settings = likelihood.Settings(input=(f"a={tmp_path}/x.npz",), num=5, num_steps=3, chunk_size=2)
  run = lambda name, console=protocol.SILENT, **changes: likelihood.run(
      dataclasses.replace(settings, out=str(tmp_path / name), **changes), console)
  assert run("two", protocol.SILENT._replace(stopping=lambda: contextlib.nullcontext(lambda: 15))) == 128 + 15
  assert not (tmp_path / "two" / "likelihood.json").exists()
  said = []
  assert run("two", protocol.SILENT._replace(say=said.append)) == run("three", chunk_size=3) == 0
  two, three = (
      json.loads((tmp_path / name / "likelihood.json").read_text())["rows"]["a"] for name in ("two", "three"))
  np.testing.assert_allclose(two["nats_an_image"], three["nats_an_image"], rtol=1e-5)
  assert two["num"] == 5 and (tmp_path / "two" / "likelihood.md").read_text().strip() in said[-1]


@pytest.mark.parametrize("changes, message", [
    ({}, "Give --data or --input"),
    (dict(data="sample", input=("held-out=x.npz",)), "is called 'held-out', as one of --data"),
    (dict(input=("a/x.npz", "b/x.npz")), "Two files are called 'x'")])
def test_mistakes_are_named(gaussian, monkeypatch, changes, message):
  info = {"sha256": "0", "threshold_mev": 0.0, "num_holdout_events": 10}
  monkeypatch.setattr(likelihood, "build_generator", lambda weights: (gaussian, info, {}))
  with pytest.raises(ValueError, match=message):
    likelihood.run(likelihood.Settings(out="x", **changes), protocol.SILENT)
