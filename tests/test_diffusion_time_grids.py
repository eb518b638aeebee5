"""Grids of diffusion time against the noise levels they are asked for."""
import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax.diffusion import samplers, time_grids
from lartpc_jax.diffusion.sde import SDES, alpha_std, edm_sde, ve_sde, vp_sde


def sigma_of(sde, times):
  alpha, std = (np.asarray(a, np.float64) for a in alpha_std(sde, jnp.asarray(times)))
  return std / alpha


@pytest.mark.parametrize("num_steps,rho", [(1, 7.0), (18, 7.0), (10, 1.0)])
def test_karras_grid_hits_its_levels(num_steps, rho):
  sde = vp_sde()
  times = time_grids.karras_grid(sde, num_steps, sigma_min=0.02, sigma_max=80.0, rho=rho)
  assert times.shape == (num_steps + 1,) and times.dtype == np.float32 and np.all(np.diff(times) < 0)
  sigma = sigma_of(sde, times)
  np.testing.assert_allclose(sigma[[0, -1]], [80.0, 0.02], rtol=1e-3)
  roots = sigma ** (1 / rho)
  # equal steps of sigma^(1/rho)
  np.testing.assert_allclose(np.diff(roots), (roots[-1] - roots[0]) / num_steps, rtol=5e-3)


def test_time_of_sigma_inverts_the_closed_form():
  """For beta linear in t: log(1 + sigma^2) = beta_min t + (beta_max - beta_min) t^2 / 2."""
  sigmas = np.geomspace(0.005, 140.0, 50)
  a, b, c = 0.5 * 19.9, 0.1, -np.log1p(sigmas**2)
  expected = (-b + np.sqrt(b * b - 4 * a * c)) / (2 * a)
  np.testing.assert_allclose(time_grids.time_of_sigma(vp_sde(), sigmas), expected, rtol=1e-4)


def test_uniform_grid_is_linspace():
  np.testing.assert_allclose(time_grids.uniform_grid(4, t_min=0.2), [1.0, 0.8, 0.6, 0.4, 0.2], rtol=1e-6)


@pytest.mark.parametrize("kwargs", [dict(num_steps=0), dict(num_steps=3, t_min=0.0),
                                    dict(num_steps=3, t_max=1.1), dict(num_steps=3, t_min=0.5, t_max=0.5)])
def test_bad_uniform_grids_are_named(kwargs):
  with pytest.raises(ValueError, match="num_steps >= 1 and 0 < t_min < t_max <= 1; got num_steps"):
    time_grids.uniform_grid(**kwargs)


@pytest.mark.parametrize("kwargs", [dict(num_steps=0), dict(num_steps=3, sigma_min=0.0),
                                    dict(num_steps=3, rho=0.0),
                                    dict(num_steps=3, sigma_min=2.0, sigma_max=1.0)])
def test_bad_karras_grids_are_named(kwargs):
  with pytest.raises(ValueError, match="0 < sigma_min < sigma_max, rho > 0; got num_steps"):
    time_grids.karras_grid(vp_sde(), **kwargs)


@pytest.mark.parametrize("kwargs", [dict(sigma_max=1e4), dict(sigma_min=1e-6)])
def test_levels_out_of_reach_of_the_sde_are_named(kwargs):
  with pytest.raises(ValueError, match=r"sigma must lie in \[0.001, 152.*got \["):
    time_grids.karras_grid(vp_sde(), 4, **kwargs)


@pytest.mark.parametrize("sde,limits", [
    (ve_sde(), (0.01, 50.0)), (ve_sde(0.05, 20.0), (0.05, 20.0)), (edm_sde(), (0.01, 80.0)),
    (edm_sde(30.0), (0.01, 30.0))])
def test_the_limits_of_the_sde_are_within_its_reach(sde, limits):
  times = time_grids.karras_grid(sde, 10, sigma_min=limits[0], sigma_max=limits[1])
  assert times[0] == 1.0 and np.all(np.diff(times) < 0)
  np.testing.assert_allclose(sigma_of(sde, times)[[0, -1]], limits[::-1], rtol=2e-3)


def test_uniform_steps_that_jump_over_the_data_are_refused():
  """Where sigma is linear in t, 20 steps go from 4 to 0.08 at once."""
  for num_steps in (5, 20, 100):
    with pytest.raises(ValueError, match=f"{num_steps} steps equal in time are too coarse for this SDE"):
      time_grids.uniform_grid(num_steps, sde=edm_sde())
  for name, num_steps in (("edm", 300), ("vp", 10), ("sub_vp", 10), ("vp_cosine", 10), ("ve", 10),
                          ("vp", 1000)):
    np.testing.assert_array_equal(time_grids.uniform_grid(num_steps, sde=SDES[name]()),
                                  time_grids.uniform_grid(num_steps))


def test_the_width_that_first_order_steps_leave_is_that_of_ddim():
  sde = edm_sde()
  times = time_grids.uniform_grid(50)
  score_fn = lambda x, t: -x / (1.0 + alpha_std(sde, t)[1] ** 2)[:, None]
  start = np.sqrt(1.0 + 80.0**2).astype(np.float32)
  end = samplers.ddim(sde, times)(score_fn, jnp.full((1, 1), start))
  last = sigma_of(sde, times)[-1]
  denoised = 1.0 / np.sqrt(1.0 + last**2)  # of the right width, by the last denoising
  np.testing.assert_allclose(float(end[0, 0]) / denoised, time_grids.first_order_std(sde, times), rtol=1e-4)
