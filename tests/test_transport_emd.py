"""The distances against POT's exact value, known translations, finite differences and each other."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.transport import emd
from lartpc_jax.transport.exact import exact_emd

SMALL = dict(ot_epsilon_px=0.5, num_iterations=300, num_pixels=40)   # converges: for finite differences


def track(rng, size=64, angle=None, length=18.0, offset=(0.0, 0.0), curvature=0.02, smear=0.45):
  """Image [size size], MeV: a curved track that brightens to its end, smeared (px), with exact zeros."""
  angle = rng.uniform(0, 2 * np.pi) if angle is None else angle
  s = (np.arange(150) + 0.5) / 150 * length
  heading = angle + curvature * s
  step = length / 150 * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
  points = size / 2 + np.asarray(offset) + np.cumsum(step, axis=0)
  energy = (1.0 + length - s)**-0.45
  blobs = [np.exp(-0.5 * ((np.arange(size) - points[:, i, None]) / smear)**2) for i in (0, 1)]
  image = np.einsum("n,nr,nc->rc", energy, *blobs)
  return np.where(image > 3e-3 * image.max(), image, 0.0).astype(np.float32)


def track_pairs(num_pairs, seed=0):
  """Pairs of tracks a, b [n 64 64] with W1 between about 0.3 and 10 px."""
  rng, pairs = np.random.default_rng(seed), []
  for size in np.geomspace(0.4, 10.0, num_pairs):
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(8, 25)
    direction = rng.normal(size=2)
    offset = 0.7 * size * direction / np.linalg.norm(direction)
    pairs.append((track(rng, angle=angle, length=length),
                  track(rng, angle=angle + size / length, length=1.03 * length, offset=offset)))
  return tuple(jnp.asarray(np.stack(images)) for images in zip(*pairs, strict=True))


def jitted(**settings):
  """The distance with its functions compiled."""
  return emd.EMD(*map(jax.jit, emd.make_emd(**settings)))


def small_pair(dtype=np.float64):
  """Two images [16 16] of different charge, of 15 to 25 active pixels."""
  rng = np.random.default_rng(3)
  a = track(rng, size=16, angle=0.4, length=5.0, curvature=0.1)
  b = track(rng, size=16, angle=1.1, length=6.0, offset=(0.6, -1.3))
  return jnp.asarray(a, dtype), jnp.asarray(1.3 * b, dtype)


@pytest.mark.parametrize("settings,median,worst", [(emd.DESCENT, 0.02, 0.25), (emd.REPORTING, 0.01, 0.05)],
                         ids=["descent", "reporting"])
def test_presets_match_exact(settings, median, worst):
  a, b = track_pairs(24)
  result = jax.jit(jax.vmap(jitted(**settings).emd))(a, b)
  exact = np.array([exact_emd(x, y) for x, y in zip(a, b, strict=True)])
  error = np.abs(result.value / exact - 1.0)
  assert exact.min() < 0.5 and exact.max() > 8.0
  assert np.median(error) < median and error.max() < worst, (np.median(error), error.max())
  assert result.marginal_error.max() < 0.1


@pytest.mark.parametrize("shift", [(1, 0), (3, -4), (-9, 12)])
def test_translation(shift):
  """W1 between an image and its translate is the length of the shift."""
  image = jnp.asarray(track(np.random.default_rng(0), length=10.0))
  value = jitted(**emd.REPORTING).emd(image, jnp.roll(image, shift, axis=(0, 1))).value
  np.testing.assert_allclose(value, np.hypot(*shift), rtol=0.01)


def test_identity_and_scale():
  """Zero for equal images, and for one of three times the charge."""
  image = track_pairs(2)[0][0]
  distance = jitted(**emd.REPORTING)
  for factor in (1.0, 3.0):
    np.testing.assert_allclose(distance.emd(image, factor * image).value, 0.0, atol=1e-3)
  # At small eps any slope below one is all but optimal.
  blurred = jitted(ot_epsilon_px=0.5, num_iterations=200, num_pixels=64)
  gradient = jax.grad(lambda x: blurred.emd(x, image).value)(image)
  assert jnp.abs(gradient * image.sum())[image > 0].max() < 0.02   # px


def test_symmetry_and_prepared_target():
  a, b = track_pairs(4)
  distance = jitted(**{**emd.REPORTING, "num_iterations": 100})
  forth, back = jax.vmap(distance.emd)(a, b), jax.vmap(distance.emd)(b, a)
  np.testing.assert_allclose(forth.value, back.value, rtol=2e-3)
  prepared = jax.vmap(distance.emd_to_target)(a, jax.vmap(distance.prepare_target)(b))
  np.testing.assert_allclose(prepared.value, forth.value, rtol=1e-5)


FORMS = {
    "default": {}, "one level": dict(extrapolate=False), "unbalanced": dict(unbalanced_px=2.0),
}


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=pytest.mark.slow) if form != "default" else form for form in FORMS])
def test_gradient_against_finite_differences(x64, form):
  """Reverse mode = forward mode = central differences, along directions that leave the support in place."""
  a, b = small_pair()
  distance = jitted(**SMALL, **FORMS[form])
  value = jax.jit(lambda x, y: distance.emd(x, y).value)
  assert distance.emd(a, b).marginal_error < 1e-8
  grads = jax.jit(jax.grad(value, (0, 1)))(a, b)
  key = jax.random.key(0)
  for _ in range(2):
    key, key_a, key_b = jax.random.split(key, 3)
    da = jnp.where(a > 0, jax.random.normal(key_a, a.shape), 0.0)
    db = jnp.where(b > 0, jax.random.normal(key_b, b.shape), 0.0)
    h = 1e-5 * a[a > 0].min()
    difference = (value(a + h * da, b + h * db) - value(a - h * da, b - h * db)) / (2.0 * h)
    along = jnp.sum(grads[0] * da) + jnp.sum(grads[1] * db)
    np.testing.assert_allclose(along, difference, rtol=1e-4)
    np.testing.assert_allclose(jax.jvp(value, (a, b), (da, db))[1], along, rtol=1e-9)


def test_gradient_at_zero_pixels(x64):
  """Charge added to an empty pixel changes the exact distance at the rate that the derivative says."""
  a, b = small_pair()
  settings = dict(ot_epsilon_px=0.05, num_iterations=100)
  kept = int(jnp.sum(a > 0))
  forms = dict(dense=jitted(**settings, num_pixels=256), restricted=jitted(**settings, num_pixels=kept))
  gradients = {name: jax.jit(jax.grad(lambda x, form=form: form.emd(x, b).value))(a)
               for name, form in forms.items()}
  assert jnp.all(gradients["restricted"][a == 0] == 0.0)
  for row, column in ((1, 2), (14, 9), (4, 7)):
    assert a[row, column] == 0
    h = 1e-4 * float(a.sum())
    difference = (exact_emd(a.at[row, column].add(h), b) - exact_emd(a, b)) / h
    np.testing.assert_allclose(gradients["dense"][row, column], difference, rtol=0.05)


def test_vmap_equals_loop():
  a, b = track_pairs(6)
  distance = jitted(**emd.DESCENT)
  f = jax.value_and_grad(lambda x, y: distance.emd(x, y).value)
  values, gradients = jax.jit(jax.vmap(f))(a, b)
  single = jax.jit(f)
  for i in range(len(a)):
    value, gradient = single(a[i], b[i])
    np.testing.assert_allclose(values[i], value, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(gradients[i], gradient, atol=1e-3 * float(jnp.abs(gradient).max()))


@pytest.mark.slow
@pytest.mark.third_party  # ott-jax
def test_forward_mode_under_vmap():
  """The call of momentum inference: vmap over pairs of vmap(jvp) over directions."""
  a, b = track_pairs(3)
  distance = jitted(**emd.DESCENT)
  directions = jax.random.normal(jax.random.key(0), (4, 64, 64)) * (a[:, None] > 0)

  def derivatives(x, target, tangents):
    f = lambda image: distance.emd_to_target(image, target).value
    return jax.vmap(lambda tangent: jax.jvp(f, (x,), (tangent,)), out_axes=(None, 0))(tangents)
  target = jax.vmap(distance.prepare_target)(b)
  values, slopes = jax.jit(jax.vmap(derivatives))(a, target, directions)
  gradients = jax.vmap(jax.grad(lambda x, y: distance.emd_to_target(x, y).value))(a, target)
  assert values.shape == (3,) and slopes.shape == (3, 4)
  np.testing.assert_allclose(slopes, jnp.einsum("bhw,bthw->bt", gradients, directions), rtol=2e-2, atol=2e-3)


def test_dense_agrees_with_brightest_pixels():
  """Without a background the brightest pixels are all; with a faint noisy one, what they leave out is
  reported."""
  rng = np.random.default_rng(5)
  a, b = (jnp.asarray(track(rng, size=24, length=8.0, angle=angle)) for angle in (0.3, 0.8))
  settings = dict(ot_epsilon_px=0.1, num_iterations=60)
  dense = jitted(**settings, num_pixels=24 * 24).emd(a, b)
  brightest = jitted(**settings, num_pixels=64).emd(a, b)
  np.testing.assert_allclose(brightest.value, dense.value, rtol=1e-3)
  assert brightest.dropped_charge < 1e-6
  exact = exact_emd(a, b)
  np.testing.assert_allclose(dense.value, exact, rtol=0.03)
  noisy = a + 2e-5 * a.max() * jnp.asarray(rng.uniform(size=a.shape), jnp.float32)
  dense = jitted(**settings, num_pixels=24 * 24).emd(noisy, b)
  brightest = jitted(**settings, num_pixels=64).emd(noisy, b)
  assert dense.marginal_error < 0.02   # momentum 1.8 diverged here
  assert 1e-4 < brightest.dropped_charge < 1e-2


def test_zeros_and_negative_values_are_safe():
  """One active pixel against one: mostly padding; negative pixels count as empty."""
  a, b = jnp.zeros((2, 16, 16))
  a, b = a.at[2, 3].set(5.0).at[9, 9].set(-1.0), b.at[6, 6].set(2.0)
  for extra in (dict(), dict(unbalanced_px=50.0)):
    # the unbalanced ladder is compiled rung by rung: a short one
    settings = dict(ot_epsilon_px=0.5, num_iterations=20) if "unbalanced_px" in extra else emd.REPORTING
    distance = jitted(**{**settings, "num_pixels": 32}, **extra)
    value, gradient = jax.value_and_grad(lambda x, form=distance: form.emd(x, b).value)(a)
    assert jnp.isfinite(gradient).all(), extra
    if "unbalanced_px" not in extra:
      np.testing.assert_allclose(value, 5.0, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.third_party  # ott-jax
def test_unbalanced_transport_sees_the_charge():
  a, b = small_pair(np.float32)
  settings = dict(ot_epsilon_px=0.1, num_iterations=200, num_pixels=40)
  balanced = jitted(**settings).emd(a, b).value
  scaled = 1.2 * b.sum() / a.sum() * a    # 20 % more charge than the target
  unbalanced = jitted(**settings, unbalanced_px=5.0)
  assert unbalanced.emd(b, b).value < 1e-3 < unbalanced.emd(1.2 * b, b).value
  # Only the mass differs: the plan keeps each pixel in place, at the geometric mean of its
  # charges (KL twice), which costs rho (sqrt(m) - 1)^2.
  np.testing.assert_allclose(unbalanced.emd(1.2 * b, b).value, 5.0 * (1.2**0.5 - 1.0)**2, rtol=0.02)
  # An expensive change of charge is equal mass, for equal charges.
  stiff = jitted(**settings, unbalanced_px=1e3).emd(scaled / 1.2, b).value
  np.testing.assert_allclose(stiff, balanced, rtol=0.03)


def test_too_few_iterations_show():
  a, b = track_pairs(4)
  distances = [jitted(ot_epsilon_px=0.05, num_iterations=n, num_pixels=64) for n in (1, 200)]
  errors = [jax.vmap(distance.emd)(a, b).marginal_error for distance in distances]
  assert errors[0].max() > 0.05 and errors[1].max() < 0.02, errors


def test_empty_images_are_nan():
  a, b = track_pairs(2)
  for pair in ((jnp.zeros_like(a[0]), b[0]), (a[0], jnp.zeros_like(b[0]))):
    result = jitted(**emd.DESCENT).emd(*pair)
    assert jnp.isnan(result.value) and jnp.isnan(result.dropped_charge)


@pytest.mark.parametrize("kwargs,match", [
    (dict(ot_epsilon_px=0.0), "ot_epsilon_px > 0; got 0.0"),
    (dict(num_iterations=0), "num_iterations > 0; got 0"), (dict(num_pixels=-1), "num_pixels > 0; got -1"),
    (dict(unbalanced_px=0.0), "unbalanced_px > 0, or None.*got 0.0"),
    (dict(power=3), "power 1, or 2 with unbalanced_px None; got power=3"),
    (dict(power=2, unbalanced_px=3.0), "power 1, or 2.*got power=2, unbalanced_px=3.0"),
])
def test_bad_settings_are_named(kwargs, match):
  with pytest.raises(ValueError, match=match):
    emd.make_emd(**{**emd.DESCENT, **kwargs})
