"""Random numbers as a function of (key, event number, index), event numbers as the last axis.

The generator is that of `jax.random`, Threefry-2x32 with 20 rounds (Salmon et al. 2011, SC11, "Parallel
random numbers: as easy as 1, 2, 3"). `jax.random` itself would derive a key for each event and run each round
as a loop, which on a CPU takes several times as long.
"""
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
PHASE_BITS = 22  # of a word that `normals` uses; the others are free


def threefry(key: UInt32[Array, "2"], first: UInt32[Array, "*n"], second: UInt32[Array, "*n"]
             ) -> tuple[UInt32[Array, "*n"], UInt32[Array, "*n"]]:
  """The two words that Threefry-2x32-20 makes of the counter (first, second)."""
  keys = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(PARITY))
  x, y = first + keys[0], second + keys[1]
  for group in range(5):
    for distance in ROTATIONS[group % 2]:
      x = x + y
      y = x ^ ((y << np.uint32(distance)) | (y >> np.uint32(32 - distance)))
    x = x + keys[(group + 1) % 3]
    y = y + keys[(group + 2) % 3] + np.uint32(group + 1)
  return x, y


def words(key: Array, numbers: UInt32[Array, "*e"], count: int) -> UInt32[Array, "w *e"]:
  """At least `count` (one more if that is odd) random words of the events `numbers` in the stream of a
  `jax.random.key`."""
  rows = (count + 1) // 2
  shape = (rows, *numbers.shape)
  index = jax.lax.broadcasted_iota(jnp.uint32, shape, 0)
  pair = threefry(jax.random.key_data(key), jnp.broadcast_to(numbers, shape), index)
  # The barrier keeps XLA from drawing the numbers again for each of their uses.
  return jax.lax.optimization_barrier(jnp.concatenate(pair))


def uniform(word: UInt32[Array, "*n"], dtype=jnp.float32) -> Float[Array, "*n"]:
  """Uniform in (0, 1), of 23 bits: with one more, float32 would round the largest to 1."""
  return ((word >> np.uint32(9)).astype(dtype) + 0.5) * 2.0**-23


def low_uniform(word: UInt32[Array, "*n"], dtype=jnp.float32) -> Float[Array, "*n"]:
  """Uniform in (0, 1), of the bits that `unit_circle` leaves."""
  bits = 32 - PHASE_BITS
  return ((word & np.uint32(2**bits - 1)).astype(dtype) + 0.5) * 2.0**-bits


def unit_circle(word: UInt32[Array, "*n"],
                dtype=jnp.float32) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
  """Cosine and sine of a uniform angle, by their series within 45 degrees of an axis: XLA's are not
  vectorised on a CPU."""
  bits = PHASE_BITS - 2
  part = (word >> np.uint32(32 - PHASE_BITS)) & np.uint32(2**bits - 1)
  x = ((part.astype(dtype) + 0.5) * 2.0**-bits - 0.5) * (np.pi / 2)
  x2 = x * x
  s = x * (1.0 + x2 * (-1 / 6 + x2 * (1 / 120 - x2 / 5040)))
  c = 1.0 + x2 * (-1 / 2 + x2 * (1 / 24 + x2 * (-1 / 720 + x2 / 40320)))
  swapped = (word & np.uint32(1 << 31)) != 0
  sign = jnp.where((word & np.uint32(1 << 30)) != 0, -1.0, 1.0).astype(dtype)
  return sign * jnp.where(swapped, -s, c), sign * jnp.where(swapped, c, s)


def normals(radius: UInt32[Array, "*n"],
            phase: UInt32[Array, "*n"]) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
  """Two independent standard normal numbers of two words, up to 5.8 sigma (Box and Muller 1958)."""
  length = jnp.sqrt(-2.0 * jnp.log(uniform(radius)))
  c, s = unit_circle(phase)
  return length * c, length * s
