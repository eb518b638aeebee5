"""An analytic generator for the tests of inference: stopping protons on straight lines, bent by the noise.

Range and profile follow the Bragg-Kleeman rule R = R_100 (T / 100 MeV)^P, so that the charge before depth s
is known in closed form, and the normalised Earth Mover's Distance between two straight tracks of one energy
too: both are smeared alike, so it is the distance of their centroids (a linear potential bounds it from
below, the rigid motion from above).
"""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.geometry.rasterize import ImageSpec, rasterize, to_view
from lartpc_jax.inference.imaging import Imager
from lartpc_jax.units import PROTON_MASS_MEV, kinetic_from_momentum

LATENT_SHAPE = (1, 1, 2)
KINETIC_RANGE_MEV = (48.0, 103.0)
RANGE_100_MM = 78.22   # NIST PSTAR, 10.92 g/cm2 at 100 MeV, 1.396 g/cm3
POWER = 1.769          # from 2.159 g/cm2 at 40 MeV
SPEC = ImageSpec()
_NUM_DEPOSITS = 64


@functools.cache  # so that it compiles once a shape
def make_generate(scatter_rad: float = 0.0, spec: ImageSpec = SPEC):
  """Builds generate(noise [b 1 1 2], {"momentum_mev": [b 3]}, pose=None) -> images [b n n] in MeV; smooth in
  all.

  The noise moves the point at depth s by scatter_rad * noise * s^2 / R in the image, so the direction at the
  vertex stays and the end is off by the angle scatter_rad * noise. A pose [b 3] in mm moves the whole track.
  """
  edge = np.linspace(0.0, 1.0, _NUM_DEPOSITS + 1)
  depth = (0.5 * (edge[1:] + edge[:-1])).astype(np.float32)
  share = -np.diff((1.0 - edge) ** (1.0 / POWER)).astype(np.float32)

  def draw(noise, momentum_mev, vertex_mm):
    magnitude = jnp.linalg.norm(momentum_mev)
    kinetic_mev = kinetic_from_momentum(magnitude)
    range_mm = RANGE_100_MM * (kinetic_mev / 100.0) ** POWER
    position_mm = range_mm * jnp.asarray(depth)[:, None] * (momentum_mev / magnitude)[None]
    bend = scatter_rad * range_mm * jnp.asarray(depth**2)[:, None] * noise.reshape(1, 2)
    bent = position_mm + jnp.pad(bend, ((0, 0), (0, 1)))
    return rasterize(bent if vertex_mm is None else bent + vertex_mm[None], kinetic_mev * jnp.asarray(share),
                     spec)

  return jax.jit(lambda noise, cond, pose=None: jax.vmap(draw)(noise, cond["momentum_mev"], pose))


def imager(scatter_rad: float = 0.0, *, mirrored: bool = False) -> Imager:
  """The generator as inference sees it; `mirrored` gives two images a draw, as the trained one has it (here
  alike)."""
  single = make_generate(scatter_rad)

  def double(noise, cond):
    images = single(noise, cond)
    return jnp.stack([images, images], axis=1)

  return Imager(double if mirrored else single, single, LATENT_SHAPE, SPEC.num_pixels, KINETIC_RANGE_MEV)


def straight_images(momentum_mev, views=("xy",), spec: ImageSpec = SPEC):
  """Images [b v n n] of straight tracks in each of the views."""
  momentum_mev = jnp.asarray(momentum_mev, jnp.float32)
  generate, noise = make_generate(spec=spec), jnp.zeros((len(momentum_mev), *LATENT_SHAPE))
  return jnp.stack([generate(noise, {"momentum_mev": to_view(momentum_mev, view)}) for view in views], axis=1)


def magnitude_of(kinetic_mev):
  """|p| in MeV/c, in numpy."""
  kinetic_mev = np.asarray(kinetic_mev, float)
  return np.sqrt(kinetic_mev * (kinetic_mev + 2.0 * PROTON_MASS_MEV))


def mean_depth_px(kinetic_mev: float, spec: ImageSpec = SPEC) -> float:
  """Charge-weighted mean depth R P / (P + 1), in pixels."""
  return RANGE_100_MM * (kinetic_mev / 100.0) ** POWER * POWER / (POWER + 1.0) / spec.pitch_mm


def random_momenta(num: int, seed: int = 0, kinetic_range_mev=(55.0, 95.0)) -> np.ndarray:
  """Momenta [num 3] in MeV/c: directions uniform on the sphere, kinetic energies uniform in the range."""
  rng = np.random.default_rng(seed)
  direction = rng.normal(size=(num, 3))
  direction /= np.linalg.norm(direction, axis=1, keepdims=True)
  return (magnitude_of(rng.uniform(*kinetic_range_mev, num))[:, None] * direction).astype(np.float32)


def turn(momentum_mev, angle_rad: float, seed: int = 0) -> np.ndarray:
  """The momenta [b 3], each turned by the angle about a random axis across it."""
  p = np.asarray(momentum_mev, float)
  across = np.cross(p, np.random.default_rng(seed).normal(size=p.shape))
  across *= np.linalg.norm(p, axis=1, keepdims=True) / np.linalg.norm(across, axis=1, keepdims=True)
  return (np.cos(angle_rad) * p + np.sin(angle_rad) * across).astype(np.float32)


def angle_deg(a, b) -> np.ndarray:
  """Angles [b] in degrees between vectors [b 3], also where they are small."""
  a, b = (np.asarray(x, float) for x in (a, b))
  return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, axis=-1)))
