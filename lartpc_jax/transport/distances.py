"""What the objective may compare images by. Each is an `emd.EMD`, which prepares a target once."""
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.transport import emd as emd_lib
from lartpc_jax.transport.emd import EMD, EMDResult

_LEAST_RATIO = 1e-3  # below, L2 is a parabola: its slope at zero is not defined


class ImageTarget(NamedTuple):
  """A target that is compared pixel by pixel."""
  image: Float[Array, "h w"]  # unit charge
  charge: Float[Array, ""]


_ITERATIONS, _PIXELS = emd_lib.DESCENT["num_iterations"], emd_lib.DESCENT["num_pixels"]


def w1(*, ot_epsilon_px: float = emd_lib.DESCENT["ot_epsilon_px"], num_iterations: int = _ITERATIONS,
       num_pixels: int = _PIXELS) -> EMD:
  """Earth Mover's Distance with Euclidean cost: debiased, and extrapolated to no regularisation."""
  return emd_lib.make_emd(ot_epsilon_px=ot_epsilon_px, num_iterations=num_iterations, num_pixels=num_pixels)


def sinkhorn(*, ot_epsilon_px: float = 0.5, num_iterations: int = _ITERATIONS, num_pixels: int = _PIXELS
             ) -> EMD:
  """Sinkhorn divergence S_eps (Feydy et al. 2019, eq. 3), Euclidean cost: blind to moves far below eps."""
  return emd_lib.make_emd(ot_epsilon_px=ot_epsilon_px, num_iterations=num_iterations, num_pixels=num_pixels,
                          extrapolate=False)


def unbalanced(*, unbalanced_px: float = 5.0, ot_epsilon_px: float = emd_lib.DESCENT["ot_epsilon_px"],
               num_iterations: int = _ITERATIONS, num_pixels: int = _PIXELS) -> EMD:
  """W1 that keeps the charge: to make or lose it costs `unbalanced_px` (Sejourne et al. 2019, eq. 15)."""
  return emd_lib.make_emd(ot_epsilon_px=ot_epsilon_px, num_iterations=num_iterations, num_pixels=num_pixels,
                          unbalanced_px=unbalanced_px)


def w2(*, ot_epsilon_px: float = 0.1, num_iterations: int = _ITERATIONS, num_pixels: int = _PIXELS) -> EMD:
  """W2, the root of transport of squared cost, px; ot_epsilon_px in px^2. Debiased, extrapolated."""
  return emd_lib.make_emd(ot_epsilon_px=ot_epsilon_px, num_iterations=num_iterations, num_pixels=num_pixels,
                          power=2)


def l2(*, scale_px: float = 5.0) -> EMD:
  """|a - b| / |b| of images of unit charge, times scale_px: 0 if equal; blind to how far charge is off."""
  if not scale_px > 0.0:
    raise ValueError(f"l2 needs scale_px > 0; got {scale_px}.")

  def prepare_target(image):
    charge = image.sum()
    return ImageTarget(image / charge, charge)

  def emd_to_target(image, target):
    square = jnp.sum((image / image.sum() - target.image)**2) / jnp.sum(target.image**2)
    ratio = jnp.sqrt(square + _LEAST_RATIO**2) - _LEAST_RATIO
    zero = jnp.zeros_like(ratio)
    return EMDResult(scale_px * ratio, zero, zero)

  emd = lambda image, target: emd_to_target(image, prepare_target(target))
  return EMD(emd, prepare_target, emd_to_target)


DISTANCES: dict[str, Callable[..., EMD]] = {
    "w1": w1, "sinkhorn": sinkhorn, "unbalanced": unbalanced, "w2": w2, "l2": l2}
