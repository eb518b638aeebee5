"""Quantisers of latent vectors: a learned codebook (van den Oord et al. 2017) and finite scalars (Mentzer et
al. 2023, FSQ). Pure functions; gradients pass straight through."""
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

FSQ_EPS = 1e-3  # keeps rounded values within their levels (Mentzer et al. 2023, appendix A)


class Codebook(NamedTuple):
  """Codes and the moving averages that make them (van den Oord et al. 2017, appendix A.1); a pytree."""
  vectors: Float[Array, "k d"]
  counts: Float[Array, " k"]    # averaged number of latents of a batch that took a code
  sums: Float[Array, "k d"]     # averaged sum of those


def init_codebook(key: Array, num_codes: int, features: int) -> Codebook:
  """Codes drawn standard normal, each as if one latent had taken it."""
  vectors = jax.random.normal(key, (num_codes, features))
  return Codebook(vectors, jnp.ones(num_codes), jnp.copy(vectors))


def straight_through(z: Float[Array, "..."], quantized: Float[Array, "..."]) -> Float[Array, "..."]:
  """The value of `quantized` with the gradient of z."""
  return z + jax.lax.stop_gradient(quantized - z)


def nearest_code(z: Float[Array, "... d"], vectors: Float[Array, "k d"]) -> Int[Array, "..."]:
  """Index of the nearest code in L2."""
  flat = z.reshape(-1, z.shape[-1])
  distance = jnp.sum(vectors**2, axis=1)[None] - 2.0 * flat @ vectors.T
  return jnp.argmin(distance, axis=1).reshape(z.shape[:-1])


def updated_codebook(book: Codebook, z: Float[Array, "... d"], codes: Int[Array, "..."], key: Array, *,
                     decay: float,
                     revive_below: float) -> Codebook:
  """The codebook after a batch of latents and the codes that they took.

  Counts and sums are exponential averages and a code is their ratio. One whose count has sunk below
  `revive_below` starts anew at a latent of the batch, with the count 1 (Dhariwal et al. 2020, sec. 3.1),
  drawn in proportion to the squared distance to its code (Arthur & Vassilvitskii 2007): most blocks of a
  sparse image are empty, and have a code already.
  """
  flat, taken = z.reshape(-1, z.shape[-1]), codes.reshape(-1)
  num_codes = len(book.vectors)
  one_hot = jax.nn.one_hot(taken, num_codes, dtype=flat.dtype)
  counts = decay * book.counts + (1.0 - decay) * one_hot.sum(0)
  sums = decay * book.sums + (1.0 - decay) * one_hot.T @ flat
  dead = counts < revive_below
  far = jnp.cumsum(jnp.sum((flat - book.vectors[taken])**2, axis=1))
  at = jnp.searchsorted(far, far[-1] * jax.random.uniform(key, (num_codes,)))
  others = flat[jnp.minimum(at, len(flat) - 1)]
  counts = jnp.where(dead, 1.0, counts)
  sums = jnp.where(dead[:, None], others, sums)
  return Codebook(sums / counts[:, None], counts, sums)


def fsq_bound(z: Float[Array, "... d"], levels: tuple[int, ...]) -> Float[Array, "... d"]:
  """z squashed so that rounding gives so many values in each channel (Mentzer et al. 2023, appendix A)."""
  number = np.asarray(levels)
  half = (number - 1) * (1.0 - FSQ_EPS) / 2.0
  offset = np.where(number % 2 == 1, 0.0, 0.5)
  wide = lambda x: jnp.asarray(x, z.dtype).reshape((1,) * (z.ndim - 1) + (-1,))
  return jnp.tanh(z + wide(np.tan(offset / half))) * wide(half) - wide(offset)


def fsq(z: Float[Array, "... d"], levels: tuple[int, ...]) -> Float[Array, "... d"]:
  """Quantised z in [-1, 1], with the gradient of the bound."""
  bounded = fsq_bound(z, levels)
  width = jnp.asarray(np.asarray(levels) // 2, z.dtype).reshape((1,) * (z.ndim - 1) + (-1,))
  return straight_through(bounded, jnp.round(bounded)) / width


def _basis(levels: tuple[int, ...]) -> np.ndarray:
  return np.cumprod([1, *levels[:-1]])


def fsq_codes(quantized: Float[Array, "... d"], levels: tuple[int, ...]) -> Int[Array, "..."]:
  """Index of quantised vectors, below the product of the levels."""
  shape = (1,) * (quantized.ndim - 1) + (-1,)
  width = jnp.asarray(np.asarray(levels) // 2, quantized.dtype).reshape(shape)
  digits = jnp.round(quantized * width + width).astype(jnp.int32)
  return jnp.sum(digits * jnp.asarray(_basis(levels), jnp.int32).reshape(shape), axis=-1)


def fsq_vectors(codes: Int[Array, "..."], levels: tuple[int, ...]) -> Float[Array, "... d"]:
  """Inverse of `fsq_codes`."""
  shape = (1,) * codes.ndim + (-1,)
  wide = lambda x: jnp.asarray(x, jnp.int32).reshape(shape)
  digits = (codes[..., None] // wide(_basis(levels))) % wide(levels)
  width = jnp.asarray(np.asarray(levels) // 2, jnp.float32).reshape(shape)
  return (digits.astype(jnp.float32) - width) / width


def perplexity(codes: Int[Array, "..."], num_codes: int) -> Float[Array, ""]:
  """exp of the entropy of how often codes are taken: the effective number of codes."""
  share = jnp.bincount(codes.reshape(-1), length=num_codes) / codes.size
  return jnp.exp(-jnp.sum(share * jnp.log(jnp.maximum(share, 1e-12))))
