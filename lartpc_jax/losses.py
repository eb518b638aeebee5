"""Training objectives. Every function returns one value an example [b]; the caller averages."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.data.charge import ChargeTransform
from lartpc_jax.score import edm_coefficients
from lartpc_jax.sde import batch_mul
from lartpc_jax.types import Params


class AutoencoderTerms(NamedTuple):
  """Terms of the autoencoder objective, each [b]."""
  reconstruction: Array  # sum over pixels of squared error, in transformed charge
  kl: Array              # nats
  charge: Array          # squared relative error of the total charge


def autoencoder_terms(encode: Callable, decode: Callable, params: Params, images_mev: Float[Array, "b h w"], key: Array,
                      *, transform: ChargeTransform) -> AutoencoderTerms:
  """Terms of the KL autoencoder objective (Kingma & Welling 2014, eq. 10; Rombach et al. 2022, sec. 3.1).

  Args:
    encode: (params, y [b h w 1]) -> mean, logvar of the latent.
    decode: (params, z) -> y [b h w 1].
    params: autoencoder parameters.
    images_mev: charge images, MeV per pixel.
    key: draws the latent noise.
    transform: charge transform between MeV and network values.
  """
  y = transform.forward(images_mev)[..., None]
  mean, logvar = encode(params, y)
  z = mean + jnp.exp(0.5 * logvar) * jax.random.normal(key, mean.shape, mean.dtype)
  decoded = decode(params, z)
  total = images_mev.sum((1, 2))
  charge = transform.inverse(decoded)[..., 0].sum((1, 2))
  return AutoencoderTerms(
      reconstruction=jnp.sum((decoded - y) ** 2, (1, 2, 3)),
      kl=0.5 * jnp.sum(mean**2 + jnp.exp(logvar) - 1.0 - logvar, (1, 2, 3)),
      charge=((charge - total) / jnp.maximum(total, 1.0)) ** 2)


def sample_sigma(key: Array, num: int, *, p_mean: float, p_std: float) -> Float[Array, " b"]:
  """Training noise levels: log-normal, stratified over the batch so that every batch covers all levels.

  Karras et al. 2022, table 1 (training distribution); stratification as in Kingma et al. 2021 (VDM), App. I.1.
  """
  key_shift, key_order = jax.random.split(key)
  u = (jnp.arange(num, dtype=jnp.float32) + jax.random.uniform(key_shift, (), jnp.float32)) / num
  u = jax.random.permutation(key_order, jnp.clip(u, 1e-4, 1.0 - 1e-4))
  return jnp.exp(p_mean + p_std * jax.scipy.special.ndtri(u))


def edm_denoising(apply_fn: Callable, params: Params, z: Float[Array, "b ..."], cond: dict, key: Array, *,
                  sigma_data: float, p_mean: float, p_std: float, cond_dropout: float
                  ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
  """Denoising score matching with EDM preconditioning and weights (Karras et al. 2022, eq. 8): value [b] and sigma [b].

  The weight cancels c_out, so the value is the plain squared error of the raw network, averaged over dimensions.

  Args:
    apply_fn: raw network, (params, x, c_noise, cond) -> like x.
    params: its parameters.
    z: clean latents.
    cond: conditions of the examples, without `keep`.
    key: draws noise levels, noise and condition dropout.
    sigma_data: standard deviation of z.
    p_mean: mean of log sigma.
    p_std: standard deviation of log sigma.
    cond_dropout: probability of training an example without its condition (Ho & Salimans 2022, alg. 1).
  """
  key_sigma, key_noise, key_drop = jax.random.split(key, 3)
  sigma = sample_sigma(key_sigma, z.shape[0], p_mean=p_mean, p_std=p_std)
  noisy = z + batch_mul(sigma, jax.random.normal(key_noise, z.shape, z.dtype))
  keep = jax.random.bernoulli(key_drop, 1.0 - cond_dropout, (z.shape[0],)).astype(z.dtype)
  c_skip, c_out, c_in, c_noise = edm_coefficients(sigma, sigma_data)
  target = batch_mul(1.0 / c_out, z - batch_mul(c_skip, noisy))
  predicted = apply_fn(params, batch_mul(c_in, noisy), c_noise, {**cond, "keep": keep})
  return jnp.mean((predicted - target) ** 2, axis=tuple(range(1, z.ndim))), sigma
