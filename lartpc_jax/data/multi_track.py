"""Images of several protons from one vertex, put together from events of single ones, and the files that hold
them.

Liquid argon looks the same in every direction and tracks do not see each other: the sum of rotated events is
what a vertex with several protons would deposit.
"""
import os
import zipfile
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.data.events import Events, pad_events
from lartpc_jax.files import atomic_write
from lartpc_jax.geometry import rasterize as raster
from lartpc_jax.geometry.rotations import rotations_between

CHUNK = 64


class MultiTrackSet(NamedTuple):
  """n events of at most t tracks, on the host."""
  images: np.ndarray       # [n v p p] MeV
  momenta_mev: np.ndarray  # [n t 3]; NaN beyond the tracks of an event


def opening_directions(rng: np.random.Generator, opening_degrees: np.ndarray) -> np.ndarray:
  """Unit vectors [n 2 3] with the given angles between the two; the first is isotropic, the second evenly
  around it."""
  first, helper = (_unit(rng.normal(size=(len(opening_degrees), 3))) for _ in range(2))
  across = _unit(np.cross(first, helper))
  angle = np.radians(np.asarray(opening_degrees, float))[:, None]
  return np.stack([first, np.cos(angle) * first + np.sin(angle) * across], axis=1)


def isotropic_directions(rng: np.random.Generator, num: int, num_tracks: int) -> np.ndarray:
  """Unit vectors [n t 3], independent and isotropic."""
  return _unit(rng.normal(size=(num, num_tracks, 3)))


def combine_events(events: Events, indices: np.ndarray, directions: np.ndarray, *, views: tuple[str, ...],
                   spec: raster.ImageSpec) -> MultiTrackSet:
  """Images of vertices whose track (i, k) is event indices[i, k], turned to the direction directions[i, k].

  Args:
    events: single tracks of known momentum.
    indices: [n t].
    directions: unit vectors [n t 3].
    views: names.
    spec: geometry of the images.
  Raises:
    ValueError: if shapes do not match, or an event has no momentum.
  """
  n, t = indices.shape
  if directions.shape != (n, t, 3):
    raise ValueError(f"directions must have shape {(n, t, 3)}; got {directions.shape}.")
  if not np.all(np.any(events.momentum_mev[indices] != 0, axis=-1)):
    raise ValueError("an event without momentum (zero means unknown) has no direction to turn.")
  draw = jax.jit(lambda x, e: raster.rasterize_views(x, e, views, spec))
  images, momenta = [], []
  for start in range(0, n, CHUNK):
    rows, wanted = indices[start:start + CHUNK], directions[start:start + CHUNK].reshape(-1, 3)
    batch = pad_events(events, rows.reshape(-1), multiple=256)
    turn = rotations_between(_unit(batch.momentum_mev.astype(float)), wanted)
    position_mm = np.einsum("bij,bvj->bvi", turn, batch.position_mm).astype(np.float32)
    # the deposits of all tracks of a vertex in one list: the threshold applies to their sum
    images.append(np.asarray(draw(jnp.asarray(position_mm.reshape(len(rows), -1, 3)),
                                  jnp.asarray(batch.edep_mev.reshape(len(rows), -1)))))
    momenta.append(np.einsum("bij,bj->bi", turn, batch.momentum_mev).reshape(len(rows), t, 3))
  return MultiTrackSet(np.concatenate(images), np.concatenate(momenta).astype(np.float32))


def opening_angles(momenta_mev: np.ndarray) -> np.ndarray:
  """Angle [n] in degrees between the first two of momenta [n t 3]."""
  unit = _unit(momenta_mev[:, :2].astype(float))
  return np.degrees(np.arccos(np.clip(np.sum(unit[:, 0] * unit[:, 1], axis=-1), -1.0, 1.0)))


def save_tracks(path: str | os.PathLike, found: MultiTrackSet) -> None:
  """Writes an npz with `images` and `momenta` [n t 3], whole or not at all; `data.images.open_images` reads
  the images."""
  with atomic_write(path, "wb") as file:
    np.savez_compressed(file, images=found.images.astype(np.float32),
                        momenta=found.momenta_mev.astype(np.float32))


def read_momenta(path: str | os.PathLike, num: int) -> np.ndarray | None:
  """Field `momenta` [num t 3] of a file of `save_tracks`; None if the file has none.

  Raises:
    ValueError: naming the file, if the field has another shape.
  """
  if not zipfile.is_zipfile(path):
    return None
  with np.load(path, allow_pickle=False) as npz:
    if "momenta" not in npz.files:
      return None
    momenta = npz["momenta"]
  if momenta.ndim != 3 or momenta.shape[::2] != (num, 3):
    raise ValueError(f"{path}: momenta must have shape ({num}, tracks, 3); got {momenta.shape}.")
  return momenta


def _unit(vectors: np.ndarray) -> np.ndarray:
  return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
