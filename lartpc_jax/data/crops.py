"""What diffusion on pixels of sparse images needs to know of its data: their normalisation, and where they are zero."""
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.geometry.charge import ChargeTransform


class StateScale(NamedTuple):
  """Mean and standard deviation of transformed pixels: the diffused state is (y - shift) / scale."""
  shift: float
  scale: float


def measure_state_scale(images_mev: np.ndarray, transform: ChargeTransform, *, about_empty: bool = False) -> StateScale:
  """Mean and standard deviation over the pixels of images [n h w], transformed. Raises ValueError if constant.

  about_empty: the value of an empty pixel and the root mean square about it, so that empty pixels are 0 in the state, as a
  network with `gated_skip` wants them.
  """
  y = np.asarray(jax.jit(transform.forward)(images_mev), np.float64)
  if not y.std() > 0:
    raise ValueError("The transformed pixels of the first crops are all equal; check data.path and charge.scale_mev.")
  shift = float(transform.forward(jnp.zeros((1, 1, 1)))[0, 0, 0]) if about_empty else float(y.mean())
  return StateScale(shift, float(np.sqrt(np.mean((y - shift)**2))))


def exact_zeros(images: jax.Array, threshold_mev: float) -> jax.Array:
  """Images with pixels below the threshold exactly zero, as in the data.

  The published cut on 8-bit images, pixels <= 4 of 255 to zero, is a threshold of 4.5 levels.
  """
  return jnp.where(images >= threshold_mev, images, 0.0)
