"""What detectors do to images, of a known size: to see what an analysis bears."""
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.data.events import Events, pad_events
from lartpc_jax.geometry import rasterize as raster

ZERO_SUPPRESSION = 4.0  # pixels below so many sigma of noise are zero, as a readout has it


class Faults(NamedTuple):
  """Sizes of the faults; see `FAULTS`."""
  noise: float = 0.02        # sigma of a pixel over the brightest pixel of the image
  charge: float = 0.05       # too much of it
  # share; MicroBooNE's is about that (MicroBooNE Collaboration 2017, JINST 12 P08003)
  dead_wires: float = 0.1
  vertex_px: float = 1.0


def noisy(images: np.ndarray, rng: np.random.Generator, sizes: Faults) -> np.ndarray:
  """Images [b v n n] with Gaussian noise in every pixel, then zero below ZERO_SUPPRESSION sigma."""
  sigma = sizes.noise * images.max((2, 3), keepdims=True)
  out = images + sigma * rng.normal(size=images.shape)
  return np.where(out >= ZERO_SUPPRESSION * sigma, out, 0.0).astype(images.dtype)


def miscalibrated(images: np.ndarray, rng: np.random.Generator, sizes: Faults) -> np.ndarray:
  """All charge too large."""
  del rng
  return images * np.asarray(1.0 + sizes.charge, images.dtype)


def dead_wires(batch: tuple[int, ...], num: int, share: float, rng: np.random.Generator) -> np.ndarray:
  """Which of `num` wires are dead [*batch num] bool: the same number everywhere, at random places."""
  order = np.argsort(rng.uniform(size=(*batch, num)), axis=-1)
  dead = np.zeros((*batch, num), bool)
  np.put_along_axis(dead, order[..., :round(share * num)], True, axis=-1)
  return dead


def with_dead_wires(images: np.ndarray, rng: np.random.Generator, sizes: Faults) -> np.ndarray:
  """Random wires of each view without charge: a wire is a place on image axis 1, where time runs along axis
  0."""
  dead = dead_wires(images.shape[:-2], images.shape[-1], sizes.dead_wires, rng)
  # a view without any charge is no image
  kept = np.where(dead, 0.0, images.sum(2)).sum(-1, keepdims=True) > 0.0
  return np.where((dead & kept)[..., None, :], 0.0, images).astype(images.dtype)


FAULTS = {"noise": noisy, "charge": miscalibrated, "dead_wires": with_dead_wires}


def shifted_images(events: Events, chosen: np.ndarray, vertex_mm: np.ndarray, *, views: tuple[str, ...],
                   spec: raster.ImageSpec, chunk: int = 256) -> np.ndarray:
  """Images [b v n n] of events of which each is moved by its `vertex_mm` [b 3]."""
  draw = jax.jit(lambda x, e, shift: raster.rasterize_views(x + shift[:, None], e, views, spec))
  parts = []
  for start in range(0, len(chosen), chunk):
    batch = pad_events(events, chosen[start:start + chunk])
    shift = jnp.asarray(vertex_mm[start:start + chunk], jnp.float32)
    parts.append(np.asarray(draw(batch.position_mm, batch.edep_mev, shift)))
  return np.concatenate(parts)


def random_shifts(num: int, length_mm: float, rng: np.random.Generator) -> np.ndarray:
  """Vectors [num 3] of one length and random directions."""
  direction = rng.normal(size=(num, 3))
  return length_mm * direction / np.linalg.norm(direction, axis=1, keepdims=True)
