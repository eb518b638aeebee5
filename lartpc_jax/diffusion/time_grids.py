"""Decreasing grids of diffusion time on which samplers step. Host-side numpy: a grid, times [n + 1] or
sigmas [n + 1], is a constant of the program."""
import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.diffusion.sde import SDE, alpha_std

LEAST_STD = 0.75        # of its right value, that `uniform_grid` must leave
# relative: a level at the limit of the SDE counts as reached, whatever float32 makes of it
LEVEL_TOLERANCE = 1e-3


def uniform_grid(num_steps: int, *, t_min: float = 1e-3, t_max: float = 1.0,
                 sde: SDE | None = None) -> np.ndarray:
  """num_steps + 1 times, equally spaced from t_max down to t_min.

  Raises:
    ValueError: for numbers out of order; or, with `sde`, if the steps jump over the noise levels at which
      data emerge: where the noise is linear in t, as in edm, hundreds of steps see nothing but noise.
  """
  _check(num_steps, t_min, t_max)
  times = np.linspace(t_max, t_min, num_steps + 1, dtype=np.float32)
  if sde is not None and (left := first_order_std(sde, times)) < LEAST_STD:
    raise ValueError(
        f"{num_steps} steps equal in time are too coarse for this SDE: of data of standard deviation 1 they "
        f"leave {left:.2g}. Take more steps, or a Karras grid.")
  return times


def first_order_std(sde: SDE, times: np.ndarray) -> float:
  """Standard deviation at which steps of order 1 leave normal data of variance 1, over the right one: 1 on a
  fine grid.

  A step of DDIM (Song, Meng & Ermon 2021, eq. 12) from sigma = std / alpha to sigma' multiplies x / alpha by
  (1 + sigma sigma') / (1 + sigma^2), where the denoiser of such data is x / alpha / (1 + sigma^2).
  """
  with jax.ensure_compile_time_eval():  # a constant also where a caller builds the grid under jit
    alpha, std = (np.asarray(a, np.float64) for a in alpha_std(sde, jnp.asarray(times)))
  sigma = std / alpha
  factor = np.prod((1.0 + sigma[:-1] * sigma[1:]) / (1.0 + sigma[:-1] ** 2))
  return float(factor * np.sqrt((1.0 + sigma[0] ** 2) / (1.0 + sigma[-1] ** 2)))


def karras_grid(sde: SDE, num_steps: int, *, sigma_min: float = 0.01, sigma_max: float = 80.0,
                rho: float = 7.0) -> np.ndarray:
  """num_steps + 1 times at which std/alpha follows the grid of Karras et al. 2022, eq. 5, from sigma_max to
  sigma_min.

  Raises:
    ValueError: if the SDE does not reach sigma_max within t <= 1, or the numbers are out of order.
  """
  if num_steps < 1 or not 0.0 < sigma_min < sigma_max or rho <= 0:
    raise ValueError(
        f"Need num_steps >= 1, 0 < sigma_min < sigma_max, rho > 0; got {num_steps=}, {sigma_min=}, "
        f"{sigma_max=}, {rho=}.")
  ramp = np.linspace(0.0, 1.0, num_steps + 1)
  sigmas = (sigma_max ** (1 / rho) + ramp * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
  return time_of_sigma(sde, sigmas)


def time_of_sigma(sde: SDE, sigmas: np.ndarray) -> np.ndarray:
  """Diffusion times at which std/alpha equals `sigmas`, by log-log interpolation on 4,097 tabulated times.

  Raises ValueError for a level that the SDE does not have, to LEVEL_TOLERANCE; within it the limit is taken.
  """
  table_t = np.geomspace(1e-5, 1.0, 4097).astype(np.float32)
  with jax.ensure_compile_time_eval():  # a constant also where a caller builds the grid under jit
    alpha, std = (np.asarray(a, np.float64) for a in alpha_std(sde, jnp.asarray(table_t)))
  log_sigma = np.log(std / alpha)
  log_wanted = np.log(np.asarray(sigmas, np.float64))
  if log_wanted.min() < log_sigma[0] - LEVEL_TOLERANCE or log_wanted.max() > log_sigma[-1] + LEVEL_TOLERANCE:
    raise ValueError(
        f"sigma must lie in [{np.exp(log_sigma[0]):.3g}, {np.exp(log_sigma[-1]):.4g}] for this SDE; got "
        f"[{np.min(sigmas):.3g}, {np.max(sigmas):.4g}].")
  return np.exp(np.interp(log_wanted, log_sigma, np.log(table_t.astype(np.float64)))).astype(np.float32)


def check_times(times: np.ndarray) -> np.ndarray:
  """times as float32. Raises ValueError if they do not fall strictly within (0, 1]."""
  times = np.asarray(times, np.float32)
  if times.ndim != 1 or len(times) < 2 or not np.all(np.diff(times) < 0) or times[-1] <= 0 or times[0] > 1:
    raise ValueError(f"times must fall strictly from at most 1 to above 0, two at least; got {times}.")
  return times


def at_least_float32(x):
  """x, as float32 where it was of half precision, in which neighbouring times of a grid are equal."""
  return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x


def _check(num_steps: int, t_min: float, t_max: float) -> None:
  if num_steps < 1 or not 0.0 < t_min < t_max <= 1.0:
    raise ValueError(f"Need num_steps >= 1 and 0 < t_min < t_max <= 1; got {num_steps=}, {t_min=}, {t_max=}.")
