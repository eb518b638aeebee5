"""launch.conditions: a network that draws what it is told closes; its null condition draws nothing."""
import contextlib
import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.build.generators import Weights
from lartpc_jax.data.image_files import save_images
from lartpc_jax.diffusion.sde import vp_sde
from lartpc_jax.experiments import conditions, protocol
from lartpc_jax.generators import condition as condition_lib
from lartpc_jax.generators.codec import Codec
from lartpc_jax.generators.frame import IDENTITY
from lartpc_jax.generators.generator import Denoiser, Generator
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.units import kinetic_from_momentum
from tests.toy_generator import random_momenta

SIDE, NUM = 16, 30
SPEC = ImageSpec(SIDE)


def picture(momentum):
  """Images [b n n] of kinetic energies, spread over a disc on the side where the momentum [b 3] points."""
  centre = (np.arange(SIDE) + 0.5 - SIDE / 2).astype(np.float32)
  unit = momentum[:, :2] / jnp.linalg.norm(momentum, axis=1, keepdims=True)
  apart = [(jnp.asarray(centre)[None] - 4.0 * unit[:, i:i + 1])**2 for i in range(2)]
  blob = jnp.exp(-0.5 * (apart[0][:, :, None] + apart[1][:, None, :]) / 1.5**2)
  return blob * (kinetic_from_momentum(jnp.linalg.norm(momentum, axis=1)) / blob.sum((1, 2)))[:, None, None]


@pytest.fixture
def settings(tmp_path, monkeypatch):
  condition = condition_lib.make_condition({"momentum_mev": dict(kind="vector", scale=500.0)})
  told = lambda params, x, c_noise, cond: (cond["keep"][:, None, None] * picture(cond["momentum"]))[..., None]
  codec = Codec(None, lambda state, cond=None: jnp.maximum(state[..., 0], 0.0), (SIDE, SIDE, 1))
  generator = Generator(Denoiser(told, None, vp_sde(), "x0", 1.0), codec, condition,
                        lambda cond: {"momentum": cond["momentum_mev"]}, IDENTITY, SPEC, None)
  monkeypatch.setattr(conditions, "build_generator", lambda weights: Weights(generator, {}, {}))
  momenta = random_momenta(90)
  save_images(tmp_path / "real.npz", np.asarray(picture(jnp.asarray(momenta)))[:, None], momenta)
  return conditions.Settings(input=f"{tmp_path}/real.npz", num=NUM, num_reference=40, scales=("0", "1", "2"),
                             num_steps=4, chunk_size=16, out=str(tmp_path / "out"))


def test_an_exact_generator_closes_at_scale_one(settings, tmp_path):
  stopped = protocol.SILENT._replace(stopping=lambda: contextlib.nullcontext(lambda: 15))
  assert conditions.run(settings, stopped) == 128 + 15
  assert conditions.run(settings, protocol.SILENT) == 0
  found = json.loads((tmp_path / "out" / "conditions.json").read_text())
  assert found["scale_1_is_unguided"] is True
  exact, doubled, nothing = (found["scales"][name] for name in ("1", "2", "0"))
  np.testing.assert_allclose(exact["energy"]["median"]["value"], 1.0, atol=1e-3)
  # 2 D(cond) - D(null) = 2 D(cond)
  np.testing.assert_allclose(doubled["energy"]["median"]["value"], 2.0, atol=2e-3)
  np.testing.assert_allclose(exact["direction_degrees"], found["real"]["direction_degrees"], atol=0.1)
  assert exact["precision"]["value"] == exact["recall"]["value"] == 1.0
  assert nothing["energy"]["median"]["value"] < 1e-3 and found["unconditional"]["charge"]["p_value"] < 1e-6
  assert exact["pair_distance"]["value"] < 1e-3
  assert (tmp_path / "out" / "conditions.png").stat().st_size > 1000


@pytest.mark.parametrize("scales,message", [(("1", "x"), "Bad --scales=1,x"), (("1", "1.0"), "each once")])
def test_bad_scales_are_named(settings, scales, message):
  with pytest.raises(ValueError, match=message):
    conditions.run(dataclasses.replace(settings, scales=scales), protocol.SILENT)


def test_other_generators_are_refused(settings, monkeypatch):
  weights = conditions.build_generator(None)
  bare = weights._replace(generator=weights.generator._replace(condition=condition_lib.Condition({})))
  monkeypatch.setattr(conditions, "build_generator", lambda weights: bare)
  with pytest.raises(ValueError, match="asked for a momentum; this one takes"):
    conditions.run(settings, protocol.SILENT)
