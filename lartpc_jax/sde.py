"""Forward SDEs as tuples of pure functions. Data at t=0, prior at t=1."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class SDE(NamedTuple):
  """dx = drift(x, t) dt + diffusion(t) dw, for x [b ...] and t [b] in [0, 1].

  Capture it in a closure: its fields are functions, so it is not a jit argument.
  """
  drift: Callable           # (x, t) -> [b ...]
  diffusion: Callable       # t -> [b]
  marginal_prob: Callable   # (x0, t) -> mean [b ...], std [b]
  prior_sampling: Callable  # (key, shape) -> [b ...]
  prior_logp: Callable      # z -> [b], nats


def batch_mul(a: Float[Array, " b"], x: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
  """a[i] * x[i] for every example i of the batch."""
  return jax.vmap(jnp.multiply)(a, x)


def alpha_std(sde: SDE, t: Float[Array, " b"]) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
  """alpha(t), std(t) of the marginal x_t = alpha x_0 + std noise, for an SDE with linear drift."""
  return sde.marginal_prob(jnp.ones_like(t), t)


def vp_sde(beta_min: float = 0.1, beta_max: float = 20.0) -> SDE:
  """Variance-preserving SDE, beta linear in t (Song et al. 2021, eq. 11 and App. C, eq. 33)."""
  if not 0.0 < beta_min < beta_max:
    raise ValueError(f"vp_sde needs 0 < beta_min < beta_max; got {beta_min=}, {beta_max=}.")
  beta = lambda t: beta_min + t * (beta_max - beta_min)
  log_alpha = lambda t: -0.25 * t**2 * (beta_max - beta_min) - 0.5 * t * beta_min
  std = lambda t: jnp.sqrt(-jnp.expm1(2.0 * log_alpha(t)))
  return SDE(
      drift=lambda x, t: batch_mul(-0.5 * beta(t), x),
      diffusion=lambda t: jnp.sqrt(beta(t)),
      marginal_prob=lambda x0, t: (batch_mul(jnp.exp(log_alpha(t)), x0), std(t)),
      prior_sampling=jax.random.normal,
      prior_logp=lambda z: jax.scipy.stats.norm.logpdf(z).reshape(z.shape[0], -1).sum(-1),
  )
