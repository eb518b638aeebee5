"""Forward SDEs as tuples of pure functions. Data at t=0, prior at t=1.

All have a drift linear in x, so x_t = alpha(t) x_0 + std(t) noise. Equations: Song et al. 2021, "Score-based
generative modeling through stochastic differential equations" (arXiv 2011.13456), unless said otherwise.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class SDE(NamedTuple):
  """dx = drift(x, t) dt + diffusion(t) dw (eq. 5), for x [b ...] and t [b] in [0, 1].

  Capture it in a closure: its fields are functions, so it is not a jit argument.
  """
  drift: Callable           # (x, t) -> [b ...]
  diffusion: Callable       # t -> [b]
  marginal_prob: Callable   # (x0, t) -> mean [b ...], std [b]
  prior_sampling: Callable  # (key, shape) -> [b ...], at t = 1
  prior_logp: Callable      # z -> [b], nats
  # t -> [b], standard deviation of x_t for data of variance 1: sqrt(alpha^2 + std^2)
  unit_std: Callable


def batch_mul(a: Float[Array, " b"], x: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
  """a[i] * x[i] for every example i of the batch."""
  return jax.vmap(jnp.multiply)(a, x)


def alpha_std(sde: SDE, t: Float[Array, " b"]) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
  """alpha(t), std(t) of the marginal x_t = alpha x_0 + std noise, for an SDE with linear drift."""
  return sde.marginal_prob(jnp.ones_like(t), t)


def reverse_drift(sde: SDE, score_fn: Callable) -> Callable:
  """(x, t) -> drift of the reverse SDE, drift - g^2 score (eq. 6); its diffusion is that of the forward one.

  Integrate from t=1 down: dt is negative.
  """
  return lambda x, t: sde.drift(x, t) - batch_mul(sde.diffusion(t) ** 2, score_fn(x, t))


def probability_flow(sde: SDE, score_fn: Callable) -> Callable:
  """(x, t) -> dx/dt of the probability-flow ODE, drift - g^2 score / 2 (eq. 13): the same marginals without
  noise."""
  return lambda x, t: sde.drift(x, t) - batch_mul(0.5 * sde.diffusion(t) ** 2, score_fn(x, t))


def _standard_normal_prior() -> dict:
  return dict(prior_sampling=jax.random.normal,
              prior_logp=lambda z: jax.scipy.stats.norm.logpdf(z).reshape(z.shape[0], -1).sum(-1))


def _wide_normal_prior(sigma_max: float) -> dict:
  return dict(
      prior_sampling=lambda key, shape, dtype=float: sigma_max * jax.random.normal(key, shape, dtype),
      prior_logp=lambda z: jax.scipy.stats.norm.logpdf(z, scale=sigma_max).reshape(z.shape[0], -1).sum(-1))


def _linear_beta(beta_min: float, beta_max: float, name: str) -> tuple[Callable, Callable]:
  """beta(t) and log alpha(t) = -1/2 int_0^t beta, beta linear in t (App. C, eq. 33)."""
  if not 0.0 < beta_min < beta_max:
    raise ValueError(f"{name} needs 0 < beta_min < beta_max; got {beta_min=}, {beta_max=}.")
  return (lambda t: beta_min + t * (beta_max - beta_min),
          lambda t: -0.25 * t**2 * (beta_max - beta_min) - 0.5 * t * beta_min)


def _vp(beta: Callable, log_alpha: Callable) -> SDE:
  std = lambda t: jnp.sqrt(-jnp.expm1(2.0 * log_alpha(t)))
  return SDE(
      drift=lambda x, t: batch_mul(-0.5 * beta(t), x),
      diffusion=lambda t: jnp.sqrt(beta(t)),
      marginal_prob=lambda x0, t: (batch_mul(jnp.exp(log_alpha(t)), x0), std(t)),
      unit_std=jnp.ones_like,  # it preserves variance: exactly 1
      **_standard_normal_prior())


def vp_sde(beta_min: float = 0.1, beta_max: float = 20.0) -> SDE:
  """Variance-preserving SDE, beta linear in t (eq. 11 and App. C, eq. 33); the limit of DDPM."""
  return _vp(*_linear_beta(beta_min, beta_max, "vp_sde"))


def vp_cosine_sde(offset: float = 0.008, t_end: float = 0.9946) -> SDE:
  """Variance-preserving SDE with alpha(t) = cos(u) / cos(u_0), u = (t t_end + offset) / (1 + offset) pi / 2.

  Nichol & Dhariwal 2021, eq. 17, in continuous time. beta = -2 d log(alpha) / dt diverges where the cosine
  vanishes, so t=1 stands for t_end < 1 (Lu et al. 2022, "DPM-Solver", App. D.4: 0.9946).
  """
  if not (offset > 0.0 and 0.0 < t_end < 1.0):
    raise ValueError(f"vp_cosine_sde needs offset > 0 and 0 < t_end < 1; got {offset=}, {t_end=}.")
  rate = 0.5 * np.pi / (1.0 + offset)
  angle = lambda t: rate * (t_end * t + offset)
  start = rate * offset
  # cos(u) / cos(u_0) = 1 - (1 - ratio), with the difference of cosines as a product: exact near t = 0 too
  log_alpha = lambda t: jnp.log1p(-2.0 * jnp.sin(0.5 * (angle(t) + start)) * jnp.sin(0.5 * rate * t_end * t) /
                                  np.cos(start))
  return _vp(lambda t: 2.0 * rate * t_end * jnp.tan(angle(t)), log_alpha)


def sub_vp_sde(beta_min: float = 0.1, beta_max: float = 20.0) -> SDE:
  """Sub-VP SDE, beta linear in t (eq. 12): g^2 = beta (1 - alpha^4), std = 1 - alpha^2 (App. B, eq. 29)."""
  beta, log_alpha = _linear_beta(beta_min, beta_max, "sub_vp_sde")
  return SDE(
      drift=lambda x, t: batch_mul(-0.5 * beta(t), x),
      diffusion=lambda t: jnp.sqrt(-beta(t) * jnp.expm1(4.0 * log_alpha(t))),
      marginal_prob=lambda x0, t: (batch_mul(jnp.exp(log_alpha(t)), x0), -jnp.expm1(2.0 * log_alpha(t))),
      unit_std=lambda t: jnp.hypot(jnp.exp(log_alpha(t)), jnp.expm1(2.0 * log_alpha(t))),
      **_standard_normal_prior())


def ve_sde(sigma_min: float = 0.01, sigma_max: float = 50.0) -> SDE:
  """Variance-exploding SDE, sigma(t) = sigma_min (sigma_max / sigma_min)^t (eq. 9 and App. C, eq. 30); the
  limit of NCSN.

  std(t) is sigma(t), as published: at t=0 the data carry noise sigma_min already.
  """
  if not 0.0 < sigma_min < sigma_max:
    raise ValueError(f"ve_sde needs 0 < sigma_min < sigma_max; got {sigma_min=}, {sigma_max=}.")
  log_ratio = float(np.log(sigma_max / sigma_min))
  sigma = lambda t: sigma_min * jnp.exp(log_ratio * t)
  return SDE(
      drift=lambda x, t: jnp.zeros_like(x),
      diffusion=lambda t: sigma(t) * float(np.sqrt(2.0 * log_ratio)),
      marginal_prob=lambda x0, t: (x0, sigma(t)),
      unit_std=lambda t: jnp.hypot(jnp.ones_like(t), sigma(t)),
      **_wide_normal_prior(sigma_max))


def edm_sde(sigma_max: float = 80.0) -> SDE:
  """Karras et al. 2022: no drift, sigma(t) = sigma_max t, so g^2 = d sigma^2 / dt = 2 sigma_max^2 t (eq. 1
  and table 1).

  Their time is the noise level itself; here it is divided by sigma_max.
  """
  if not sigma_max > 0.0:
    raise ValueError(f"edm_sde needs sigma_max > 0; got {sigma_max=}.")
  return SDE(
      drift=lambda x, t: jnp.zeros_like(x),
      diffusion=lambda t: sigma_max * jnp.sqrt(2.0 * t),
      marginal_prob=lambda x0, t: (x0, sigma_max * t),
      unit_std=lambda t: jnp.hypot(jnp.ones_like(t), sigma_max * t),
      **_wide_normal_prior(sigma_max))


SDES = {"vp": vp_sde, "vp_cosine": vp_cosine_sde, "sub_vp": sub_vp_sde, "ve": ve_sde, "edm": edm_sde}
