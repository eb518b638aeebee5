"""From 3D energy deposits to 2D charge images: projection and Gaussian smearing as exact pixel integrals.

Image axis 0 is the first coordinate of the view, axis 1 the second. The vertex (origin) is the image centre:
the corner shared by the four central pixels, low edge of pixel (n/2, n/2).
"""
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# A view names the axes drawn along image axis 0 and 1; the third is along the line of sight. The xz image of
# (px, py, pz) is the xy image of (px, pz, py), so one generator serves every view.
VIEWS = {"xy": (0, 1, 2), "xz": (0, 2, 1), "yz": (1, 2, 0)}
# Wire planes across the drift direction x: wires at so many degrees from the vertical y, as MicroBooNE's
# (MicroBooNE Collaboration 2017, JINST 12 P02017, sec. 4): two induction planes at +-60, vertical wires for
# collection.
WIRE_PLANES = {"u": 60.0, "v": -60.0, "w": 0.0}
_ANGLE = "angle:"  # prefix of a plane with any other angle, as in "angle:35.7"


@runtime_checkable
class Window(Protocol):
  """Geometry of a picture that `rasterize` draws."""
  @property
  def sigma_mm(self) -> float: ...

  @property
  def threshold_mev(self) -> float: ...

  def edges_mm(self) -> tuple[np.ndarray, np.ndarray]: ...


class ImageSpec(NamedTuple):
  """Geometry of the images. Defaults are those of edep_protons64 (see docs/data.md)."""
  num_pixels: int = 64
  pitch_mm: float = 3.0
  sigma_mm: float = 1.35
  threshold_mev: float = 0.005  # pixels below are exactly zero

  def edges_mm(self) -> tuple[np.ndarray, np.ndarray]:
    """Pixel edges [n + 1] along each image axis."""
    edges = (np.arange(self.num_pixels + 1) - self.num_pixels / 2) * self.pitch_mm
    return edges, edges

  @property
  def shape(self) -> tuple[int, int]:
    return self.num_pixels, self.num_pixels


# Single protons as published, and the same detector with a window of 1.5 m, for whole interactions and longer
# tracks.
PROTONS64 = ImageSpec()
PROTONS512 = ImageSpec(num_pixels=512)


def view_axes(view: str) -> tuple[int, int, int]:
  """Permutation of (x, y, z) for a `view` along the axes. Raises ValueError naming the view if it is not in
  VIEWS."""
  if view not in VIEWS:
    raise ValueError(f"Unknown view {view!r}; choose from {sorted(VIEWS)}.")
  return VIEWS[view]


def wire_angle_degrees(view: str) -> float | None:
  """Angle of the wires of a wire plane to the vertical y; None for a view along the axes.

  Raises:
    ValueError: naming a view that is neither.
  """
  if view in VIEWS:
    return None
  angle = WIRE_PLANES.get(view)
  if angle is None and view.startswith(_ANGLE):
    try:
      angle = float(view.removeprefix(_ANGLE))
    except ValueError:
      angle = None
  if angle is None or not -180.0 <= angle <= 180.0:
    raise ValueError(
        f"Unknown view {view!r}; choose from {sorted(VIEWS)}, the wire planes {sorted(WIRE_PLANES)} or "
        f"{_ANGLE}DEGREES from -180 to 180.")
  return angle


def view_matrix(view: str) -> np.ndarray:
  """Orthogonal matrix [3 3], rows along image axis 0, image axis 1 and the line of sight.

  A wire plane at angle a draws the drift x along axis 0 and z cos a - y sin a, across its wires, along axis
  1; its line of sight is along them, y cos a + z sin a. Angle 0 is the view xz; -90 is xy but for the sign of
  z. Raises ValueError as `wire_angle_degrees`.
  """
  angle = wire_angle_degrees(view)
  if angle is None:
    return np.eye(3)[list(view_axes(view))]
  cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
  return np.array([[1.0, 0.0, 0.0], [0.0, -sin, cos], [0.0, cos, sin]])


def to_view(vectors: Float[Array, "*b 3"], view: str) -> Float[Array, "*b 3"]:
  """Momenta or positions with the components in the order in which `view` draws them; linear,
  differentiable."""
  if view in VIEWS:
    return jnp.take(vectors, np.array(view_axes(view)), axis=-1)
  return jnp.einsum("ij,...j->...i", jnp.asarray(view_matrix(view), vectors.dtype), vectors)


def pixel_integrals(coordinate_mm: Float[Array, " v"], edges_mm: np.ndarray,
                    sigma_mm: float) -> Float[Array, "v n"]:
  """Share of a unit Gaussian at each coordinate that falls between neighbouring edges [n + 1] (erf
  differences, exact)."""
  dtype = coordinate_mm.dtype
  z = (jnp.asarray(edges_mm, dtype)[None, :] - coordinate_mm[:, None]) / jnp.asarray(
      sigma_mm * np.sqrt(2.0), dtype)
  return 0.5 * jnp.diff(jax.lax.erf(z), axis=1)


def rasterize(position_mm: Float[Array, "v d"], edep_mev: Float[Array, " v"], spec: Window = ImageSpec()
              ) -> Float[Array, "n m"]:
  """Charge image in MeV per pixel of deposits in 3D, seen along their third axis, or in 2D.

  Smearing and projection are separable: image_ij = sum_v gx_vi edep_v gy_vj. Charge outside the window is
  lost, as in the published data. Differentiable in position and energy (forward and reverse), up to the
  threshold.
  """
  edges_x, edges_y = spec.edges_mm()
  gx = pixel_integrals(position_mm[:, 0], edges_x, spec.sigma_mm)
  gy = pixel_integrals(position_mm[:, 1], edges_y, spec.sigma_mm)
  image = jnp.einsum("vi,v,vj->ij", gx, edep_mev, gy)
  return jnp.where(image >= spec.threshold_mev, image, 0.0)


def rasterize_views(position_mm: Float[Array, "b v 3"], edep_mev: Float[Array, "b v"], views: tuple[str, ...],
                    spec: ImageSpec = ImageSpec()) -> Float[Array, "b k n n"]:
  """Images of a batch of events in each of the k `views`."""
  draw = jax.vmap(lambda x, e: rasterize(x, e, spec))
  return jnp.stack([draw(to_view(position_mm, view), edep_mev) for view in views], axis=1)


def is_contained(position_mm: Float[Array, "b v 3"], edep_mev: Float[Array, "b v"], views: tuple[str, ...],
                 spec: ImageSpec = ImageSpec()) -> Array:
  """True [b] where every deposit lies inside the window of every view (the published containment cut)."""
  half_mm = 0.5 * spec.num_pixels * spec.pitch_mm
  seen = jnp.concatenate([to_view(position_mm, view)[..., :2] for view in views], axis=-1)
  outside = jnp.any(jnp.abs(seen) > half_mm, axis=-1) & (edep_mev > 0)
  return ~jnp.any(outside, axis=-1)
