"""Frames: how the picture that a network draws lies in the image of the detector.

The network sees canonical conditions and draws canonical pictures; a frame says how both follow from what is
asked for.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.geometry import frames
from lartpc_jax.geometry.frames import TrackFrame
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.types import Cond


class Frame(NamedTuple):
  """Two functions, and a symmetry of canonical pictures."""
  canonical: Callable       # cond in the frame of the view -> cond of the canonical picture
  place: Callable           # (pictures [b h w], cond, pose [b 3] in mm or None) -> images [b n n]
  mirror: Callable | None   # picture -> an equally probable one of the same condition; None if there is none


def _in_place(pictures: Float[Array, "b h w"], cond: Cond,
              pose: Float[Array, "b 3"] | None) -> Float[Array, "b h w"]:
  del cond
  if pose is not None:
    raise ValueError(
        "A generator without a track frame draws with its vertex where the training images have it; it "
        "takes no other (pose must be None).")
  return pictures


IDENTITY = Frame(lambda cond: cond, _in_place, None)  # the network draws the image itself


def track_frame(frame: TrackFrame, spec: ImageSpec) -> Frame:
  """Pictures with the momentum along their first axis; see `geometry.frames`.

  `cond` needs "momentum_mev" [b 3] in the frame of the view. The canonical one has all of it but the azimuth,
  and "end" [b], where a proton of that momentum would stop. A track and its reflection about the momentum are
  equally probable. The pose is the position of the vertex in mm, in the frame of the view; None is the middle
  of the image.
  """
  def canonical(cond: dict) -> dict:
    momentum = cond["momentum_mev"]
    return {**cond, "momentum_mev": frames.momentum_in_track_frame(momentum),
            "end": frames.expected_end(momentum, frame)}

  place = lambda pictures, cond, pose: frames.turn_images(pictures, cond["momentum_mev"], frame, spec, pose)
  return Frame(canonical, place, lambda pictures: jnp.flip(pictures, axis=2))
