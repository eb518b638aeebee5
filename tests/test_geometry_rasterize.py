"""Rasteriser and charge transforms against scipy, conservation laws, symmetries and finite differences."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lartpc_jax.geometry import charge, rasterize as raster

SPEC = raster.ImageSpec(num_pixels=16, pitch_mm=3.0, sigma_mm=1.35, threshold_mev=0.0)


def deposits(num=12, half_mm=12.0, seed=0):
  """Deposits at least 8 standard deviations from the edges of SPEC."""
  rng = np.random.default_rng(seed)
  return (jnp.asarray(rng.uniform(-half_mm, half_mm, (num, 3)), jnp.float32),
          jnp.asarray(rng.exponential(size=num), jnp.float32))


def test_charge_is_conserved_inside_the_window():
  position, edep = deposits()
  np.testing.assert_allclose(raster.rasterize(position, edep, SPEC).sum(), edep.sum(), rtol=1e-5)


def test_equals_a_double_loop_over_normal_cdfs():
  position, edep = deposits(half_mm=26.0)  # some deposits outside
  spec = SPEC._replace(num_pixels=10)
  edges = (np.arange(11) - 5) * 3.0
  expected = np.zeros((10, 10))
  for (x, y, _), e in zip(np.asarray(position, float), np.asarray(edep, float)):
    shares = [np.diff(stats.norm.cdf(edges, loc=c, scale=1.35)) for c in (x, y)]
    for i in range(10):
      for j in range(10):
        expected[i, j] += e * shares[0][i] * shares[1][j]
  np.testing.assert_allclose(raster.rasterize(position, edep, spec), expected, atol=1e-6)
  cut = raster.rasterize(position, edep, spec._replace(threshold_mev=0.05))
  np.testing.assert_allclose(cut, np.where(expected >= 0.05, expected, 0.0), atol=1e-6)
  assert 0 < (np.asarray(cut) == 0).sum() < 100


def test_quarter_turns_and_mirrors_of_deposits_are_those_of_the_image():
  position, edep = deposits()
  image = np.asarray(raster.rasterize(position, edep, SPEC))
  draw = lambda matrix: raster.rasterize(position @ jnp.asarray(matrix, jnp.float32).T, edep, SPEC)
  # (x, y) -> (-y, x): axis 0 is x, so the pixel (i, j) goes to (n - 1 - j, i)
  np.testing.assert_allclose(draw([[0, -1, 0], [1, 0, 0], [0, 0, 1]]), image.T[::-1], atol=1e-6)
  np.testing.assert_allclose(draw([[0, 1, 0], [1, 0, 0], [0, 0, 1]]), image.T, atol=1e-6)
  np.testing.assert_allclose(draw([[-1, 0, 0], [0, 1, 0], [0, 0, 1]]), image[::-1], atol=1e-6)
  np.testing.assert_allclose(draw([[1, 0, 0], [0, 1, 0], [0, 0, -1]]), image, atol=1e-6)  # projection along z


def test_translation_by_a_pixel_shifts_the_image():
  position, edep = deposits(half_mm=10.0)
  image = raster.rasterize(position, edep, SPEC)
  moved = raster.rasterize(position + jnp.array([[3.0, -6.0, 5.0]]), edep, SPEC)
  np.testing.assert_allclose(moved, np.roll(image, (1, -2), (0, 1)), atol=1e-6)


def test_the_vertex_is_the_corner_of_the_four_central_pixels():
  image = np.asarray(raster.rasterize(jnp.zeros((1, 3)), jnp.ones(1), SPEC))
  np.testing.assert_allclose(image[7:9, 7:9], image[7, 7] * np.ones((2, 2)), rtol=1e-5)
  share = stats.norm.cdf(3.0 / 1.35) - 0.5
  np.testing.assert_allclose(image[8, 8], share**2, rtol=1e-5)


@pytest.mark.parametrize("view,axes", [("xy", [0, 1, 2]), ("xz", [0, 2, 1]), ("yz", [1, 2, 0])])
def test_a_view_is_the_xy_image_of_permuted_vectors(view, axes):
  position, edep = deposits()
  vector = jnp.array([1.0, 2.0, 3.0])
  np.testing.assert_array_equal(raster.to_view(vector, view), vector[np.array(axes)])
  got = raster.rasterize_views(position[None], edep[None], (view, "xy"), SPEC)
  assert got.shape == (1, 2, 16, 16)
  np.testing.assert_allclose(got[0, 0], raster.rasterize(position[:, np.array(axes)], edep, SPEC), atol=1e-6)
  # the name of the view says which coordinate runs along which image axis: centres of charge
  centres = (np.arange(16) - 7.5) * 3.0
  # largest error of a mean taken over pixel centres
  alias = 3.0 / np.pi * np.exp(-2 * (np.pi * 1.35 / 3.0) ** 2)
  first, second = ("xyz".index(letter) for letter in view)
  weights = np.asarray(edep / edep.sum())
  for image_axis, coordinate in enumerate((first, second)):
    centre = np.asarray(got[0, 0].sum(1 - image_axis) / edep.sum()) @ centres
    np.testing.assert_allclose(centre, weights @ np.asarray(position[:, coordinate]), atol=alias)


def test_unknown_view_is_named():
  with pytest.raises(ValueError, match="Unknown view 'zx'; choose from .*'xy'"):
    raster.to_view(jnp.zeros(3), "zx")


def test_gradient_equals_finite_differences(x64):
  rng = np.random.default_rng(1)
  position, edep = jnp.asarray(rng.uniform(-9, 9, (3, 3))), jnp.asarray(rng.exponential(size=3) + 0.5)
  weights = jnp.asarray(rng.normal(size=(8, 8)))
  spec = SPEC._replace(num_pixels=8, threshold_mev=0.005)
  f = jax.jit(lambda x, e: jnp.sum(weights * raster.rasterize(x, e, spec)))
  gx, ge = jax.jit(jax.grad(f, argnums=(0, 1)))(position, edep)
  assert not gx[:, 2].any()  # nothing depends on the coordinate along the line of sight
  dx, de = jnp.asarray(rng.normal(size=(3, 3))), jnp.asarray(rng.normal(size=3))
  h = 1e-6
  difference = (f(position + h * dx, edep + h * de) - f(position - h * dx, edep - h * de)) / (2 * h)
  np.testing.assert_allclose(jnp.sum(gx * dx) + jnp.sum(ge * de), difference, rtol=1e-6)
  np.testing.assert_allclose(jax.jvp(f, (position, edep), (dx, de))[1], difference, rtol=1e-6)


def test_containment_is_per_view_and_ignores_padding():
  inside, far = [0.0, 23.9, 0.0], [0.0, 0.0, 24.1]  # the window of SPEC reaches to 24 mm
  position = jnp.array([[inside, inside], [inside, far], [inside, far]])
  edep = jnp.array([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
  check = lambda *views: raster.is_contained(position, edep, views, SPEC).tolist()
  assert check("xy") == [True, True, True]
  assert check("xz") == check("yz") == check("xy", "xz") == [True, False, True]


@pytest.mark.parametrize("name,scale,function", [("sqrt", 0.5, lambda q: np.sqrt(q / 0.5)),
                                                 ("arcsinh", 0.1, lambda q: np.arcsinh(q / 0.1))])
def test_charge_transform_equals_numpy_and_inverts(name, scale, function):
  q = jnp.array([0.0, 1e-4, 0.005, 0.3, 1.0, 17.0, 100.0])
  transform = charge.make_charge_transform(name, scale)
  np.testing.assert_allclose(transform.forward(q), function(np.asarray(q, float)), rtol=1e-5, atol=1e-7)
  np.testing.assert_allclose(transform.inverse(transform.forward(q)), q, rtol=1e-5)
  np.testing.assert_array_equal(transform.inverse(jnp.array([-3.0, -1e-6, 0.0])), 0.0)


def test_bad_charge_transforms_are_named():
  with pytest.raises(ValueError,
                     match=r"Unknown charge transform 'log'; choose from \['arcsinh', 'grey8', 'sqrt'\]"):
    charge.make_charge_transform("log", 1.0)
  for name in charge.CHARGE_TRANSFORMS:
    with pytest.raises(ValueError, match="scale_mev must be positive; got 0"):
      charge.make_charge_transform(name, 0.0)


def test_wire_planes_are_rotations_about_the_drift():
  """Wires along y' = y cos a + z sin a, of which a plane sees the component across; angle 0 is xz, -90 is xy
  mirrored."""
  rng = np.random.default_rng(0)
  p = rng.normal(size=(5, 3)).astype(np.float32)
  for view, angle in (*raster.WIRE_PLANES.items(), ("angle:35.7", 35.7)):
    a = np.radians(angle)
    along, across = np.array([0.0, np.cos(a), np.sin(a)]), np.array([0.0, -np.sin(a), np.cos(a)])
    assert abs(along @ [0.0, 1.0, 0.0] - np.cos(a)) < 1e-12  # the angle to the vertical
    wanted = np.stack([p[:, 0], p @ across, p @ along], axis=1)
    np.testing.assert_allclose(raster.to_view(jnp.asarray(p), view), wanted, atol=1e-5)
    np.testing.assert_allclose(raster.view_matrix(view) @ raster.view_matrix(view).T, np.eye(3), atol=1e-12)
  for wires, axes, sign in (("w", "xz", 1.0), ("angle:-90", "xy", -1.0)):
    np.testing.assert_allclose(np.asarray(raster.to_view(jnp.asarray(p), wires)) * np.array([1.0, 1.0, sign]),
                               raster.to_view(jnp.asarray(p), axes), atol=1e-6)
    np.testing.assert_allclose(
        raster.view_matrix(axes) @ p[0], raster.to_view(jnp.asarray(p[0]), axes), atol=1e-6)


def test_image_in_a_wire_plane_is_the_image_of_the_turned_event():
  """Turning the event about x until the wires are vertical and looking at xz is looking at the plane."""
  rng = np.random.default_rng(1)
  position, edep = rng.uniform(-60.0, 60.0, (2, 40, 3)), rng.uniform(0.1, 2.0, (2, 40))
  position, edep = jnp.asarray(position, jnp.float32), jnp.asarray(edep, jnp.float32)
  a = np.radians(60.0)
  # wires of u onto y
  turn = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(a), np.sin(a)], [0.0, -np.sin(a), np.cos(a)]])
  turned = jnp.asarray(np.asarray(position) @ turn.T, jnp.float32)
  images = raster.rasterize_views(position, edep, ("u", "v", "xz"))
  np.testing.assert_allclose(images[:, 0], raster.rasterize_views(turned, edep, ("xz",))[:, 0], atol=1e-4)
  assert np.abs(images[:, 0] - images[:, 2]).max() > 0.1
  far = jnp.asarray([[[0.0, -100.0, 50.0]]])  # 111.6 mm across the wires of u, 61.6 of v
  inside = lambda view: bool(raster.is_contained(far, jnp.ones((1, 1)), (view,))[0])
  assert not inside("u") and inside("v")


@pytest.mark.parametrize("view", ["xw", "angle:", "angle:sixty", "angle:200", "angle:nan"])
def test_unknown_wire_planes_are_named(view):
  with pytest.raises(ValueError,
                     match=rf"Unknown view '{view}'; choose from \['xy', 'xz', 'yz'\], the wire planes"):
    raster.view_matrix(view)
