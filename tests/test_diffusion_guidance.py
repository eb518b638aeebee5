"""Guidance: fixed points, linearity, the posterior of Gaussian data, and the classes of a mixture."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.diffusion import guidance, samplers, time_grids
from lartpc_jax.diffusion.sde import SDES, alpha_std, edm_sde, vp_sde
from lartpc_jax.generators import generator
from lartpc_jax.generators.codec import Codec
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec
from tests.toy_parts import proton_generator
from tests.toy_scores import gaussian_score

SDE = vp_sde()
X, T = jnp.linspace(-2.0, 2.0, 6)[:, None], jnp.linspace(0.1, 0.9, 6)
CONDITIONAL, FREE = gaussian_score(SDE, 1.0, 0.3), gaussian_score(SDE, 0.0, 1.0)


def guided(scale):
  return np.asarray(guidance.classifier_free(CONDITIONAL, FREE, guidance_scale=scale)(X, T))


def test_scale_one_is_conditional_and_zero_unconditional():
  np.testing.assert_allclose(guided(1.0), CONDITIONAL(X, T), rtol=1e-5)
  np.testing.assert_array_equal(guided(0.0), FREE(X, T))


@pytest.mark.parametrize("scale", [-1.0, 0.5, 3.0])
def test_guidance_is_linear_in_its_scale(scale):
  np.testing.assert_allclose(guided(scale), (1 - scale) * guided(0.0) + scale * guided(1.0), rtol=1e-4,
                             atol=1e-5)


def test_guidance_sharpens_the_likelihood_of_the_condition():
  """Scores of p(x) p(c|x)^w at t -> 0: Gaussian precisions and their means combine with weights 1 - w and
  w."""
  t = jnp.full(6, 1e-4)
  got = guidance.classifier_free(CONDITIONAL, FREE, guidance_scale=2.0)(X, t)
  precision = -1 / 1.0**2 + 2 / 0.3**2
  mean = 2 / 0.3**2 / precision
  np.testing.assert_allclose(got, -precision * (X - mean), rtol=2e-3, atol=2e-2)


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
def test_the_generator_guides_from_no_condition_to_the_momentum(scale):
  """A network that says 1 of a condition and 0 of none: the scores are alpha c_out / std^2 apart (Karras et
  al. 2022)."""
  apply = lambda params, z, c_noise, cond: jnp.ones_like(z) * cond["keep"][:, None, None, None]
  codec = Codec(None, None, (2, 2, 1))
  protons = proton_generator(apply, None, SDE, codec, frame=TrackFrame(), spec=ImageSpec())
  x, t, momentum = jnp.full((3, 2, 2, 1), 0.3), jnp.array([0.2, 0.5, 0.9]), jnp.full((3, 3), 200.0)
  told = generator.network_cond(protons, {"momentum_mev": momentum})
  score = lambda scale: np.asarray(generator.state_score(protons.denoiser, told, guidance_scale=scale)(x, t))
  alpha, std = (np.asarray(a, float)[:, None, None, None] for a in alpha_std(SDE, t))
  sigma = std / alpha
  free = (0.3 / alpha / (1.0 + sigma**2) * alpha - 0.3) / std**2
  apart = alpha / std**2 * sigma / np.sqrt(1.0 + sigma**2)
  np.testing.assert_allclose(score(scale), np.broadcast_to(free + scale * apart, x.shape), rtol=1e-4)


# A mixture of three classes in two dimensions, each normal: everything about it is known in closed form.
CENTRES, DEVIATIONS = np.array([[-1.5, 0.5], [1.0, 1.0], [0.5, -1.5]]), np.array([0.4, 0.7, 0.5])
SHARES = np.array([0.2, 0.5, 0.3])


def class_logs(sde, x, t):
  """log p(class, x_t) [b 3] up to a constant."""
  alpha, std = alpha_std(sde, t)
  variance = (alpha[:, None] * jnp.asarray(DEVIATIONS, x.dtype)[None])**2 + std[:, None]**2
  apart = x[:, None] - alpha[:, None, None] * jnp.asarray(CENTRES, x.dtype)[None]
  return jnp.asarray(np.log(SHARES), x.dtype)[None] - jnp.log(variance) - 0.5 * jnp.sum(
      apart**2, -1) / variance


def class_score(sde, number):
  """Score of p(x_t | class), written down."""
  def score_fn(x, t):
    alpha, std = (a[:, None] for a in alpha_std(sde, t))
    centre = jnp.asarray(CENTRES[number], x.dtype)[None]
    return -(x - alpha * centre) / ((alpha * float(DEVIATIONS[number]))**2 + std**2)
  return score_fn


def all_score(sde):
  """Score of p(x_t)."""
  def score_fn(x, t):
    share = jax.nn.softmax(class_logs(sde, x, t))
    return sum(share[:, k, None] * class_score(sde, k)(x, t) for k in range(3))
  return score_fn


def bayes(sde, number, scale=1.0):
  """The score of all classes, guided by the exact classifier as a network would have it: of x / alpha and
  sigma."""
  def log_density(state, sigma):
    logs = class_logs(edm_sde(80.0), state, sigma / 80.0)  # there x_t is x_0 + sigma noise, t = sigma / 80
    return jax.nn.log_softmax(logs)[:, number]
  return guidance.by_bayes(all_score(sde), guidance.at_noise_level(sde, log_density), guidance_scale=scale)


@pytest.mark.parametrize("name", sorted(SDES))
@pytest.mark.parametrize("number", [0, 1, 2])
def test_bayes_gives_the_conditional_score_of_a_mixture(name, number, x64):
  sde, t = SDES[name](), jnp.linspace(0.02, 0.98, 9)
  x = jnp.asarray(np.random.default_rng(0).normal(size=(9, 2))) * sde.unit_std(t)[:, None]
  got, want = bayes(sde, number)(x, t), class_score(sde, number)(x, t)
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sampler,steps", [("dpm_solver_pp_2m", 40), ("sde_dpm_solver_pp_2m", 64)])
@pytest.mark.parametrize("number", [0, 2])
def test_sampling_by_bayes_gives_the_class(sampler, steps, number):
  num, times = 2048, time_grids.karras_grid(SDE, steps, sigma_min=0.02, sigma_max=80.0)
  sample = samplers.start_from_noise(SDE, times, samplers.make_sampler(sampler, SDE, times))
  key_noise, key_steps = jax.random.split(jax.random.key(number))
  x = np.asarray(jax.jit(lambda noise, key: sample(bayes(SDE, number), noise, key))(
      jax.random.normal(key_noise, (num, 2)), key_steps))
  error = 4.0 * DEVIATIONS[number] / np.sqrt(num)
  np.testing.assert_allclose(x.mean(0), CENTRES[number], atol=error + 0.01)
  np.testing.assert_allclose(x.std(0), np.full(2, DEVIATIONS[number]), rtol=0.08)


def test_bayes_composes_with_classifier_free_guidance():
  """Guidance on top of guidance: the terms add."""
  x, t = jnp.ones((2, 2)), jnp.array([0.3, 0.6])
  free = guidance.classifier_free(class_score(SDE, 1), all_score(SDE), guidance_scale=2.0)
  density = lambda x, t: jax.nn.log_softmax(class_logs(SDE, x, t))[:, 0]
  both = guidance.by_bayes(free, density, guidance_scale=0.5)(x, t)
  alone = guidance.by_bayes(lambda x, t: jnp.zeros_like(x), density, guidance_scale=0.5)(x, t)
  np.testing.assert_allclose(both, free(x, t) + alone, rtol=1e-5)
  assert guidance.by_bayes(free, density, guidance_scale=0.0) is free


def test_scale_one_is_bit_for_bit_unguided_and_zero_the_null_condition():
  """Of a network that would tell: its null condition gives NaN, so scale 1 may not even look at it."""
  apply = lambda params, z, c_noise, cond: z * (cond["keep"] / cond["keep"])[:, None, None, None]
  codec = Codec(None, None, (2, 2, 1))
  protons = proton_generator(apply, None, SDE, codec, frame=TrackFrame(), spec=ImageSpec())
  told = generator.network_cond(protons, {"momentum_mev": jnp.full((3, 3), 200.0)})
  x, t = jnp.full((3, 2, 2, 1), 0.3), jnp.array([0.2, 0.5, 0.9])
  at = lambda scale: np.asarray(generator.state_score(protons.denoiser, told, guidance_scale=scale)(x, t))
  plain = generator.state_score(protons.denoiser, {**told, "keep": jnp.ones(3)})(x, t)
  np.testing.assert_array_equal(at(1.0), plain)
  assert np.isfinite(at(1.0)).all() and np.isnan(at(0.0)).all()
