"""Generated against simulated protons at fixed energies and directions, with the same momentum for each
pair."""
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from lartpc_jax.data.events import Events, pad_events
from lartpc_jax.geometry import rasterize as raster
from lartpc_jax.geometry.rotations import rotations_between
from lartpc_jax.metrics import proton
from lartpc_jax.units import kinetic_energy

DIRECTIONS = {
    "along x": (1.0, 0.0, 0.0), "45 degrees in plane": (1.0, 1.0, 0.0),
    "45 degrees out of plane": (1.0, 0.0, 1.0)
}


class Closure(NamedTuple):
  """Quantities of the two samples at one energy and direction; rows 0 and 1 are simulated and generated."""
  kinetic_mev: float
  direction: str
  num_events: int
  length_mm: np.ndarray       # [2] means
  length_error_mm: np.ndarray  # [2] standard errors of the means
  charge_ratio: np.ndarray    # [2] means of total charge / kinetic energy
  charge_median: np.ndarray   # [2] medians of the same
  dedx: np.ndarray            # [2 bins] mean MeV/mm, events within 5 % of full charge only; NaN out of plane


def matched_images(events: Events, kinetic_mev: float, direction: np.ndarray, *, window_mev: float,
                   max_events: int, seed: int, spec: raster.ImageSpec) -> tuple[np.ndarray, np.ndarray]:
  """Images [b n n] of simulated events of about this energy turned to this direction, and their momenta [b
  3].

  Raises:
    ValueError: if fewer than 10 events lie within window_mev.
  """
  energy = kinetic_energy(events.momentum_mev)
  chosen = np.flatnonzero(np.abs(energy - kinetic_mev) <= window_mev)[:max_events]
  if len(chosen) < 10:
    raise ValueError(f"Only {len(chosen)} events within {window_mev} MeV of {kinetic_mev} MeV; need 10.")
  batch = pad_events(events, chosen)
  magnitude = np.linalg.norm(batch.momentum_mev, axis=1, keepdims=True)
  roll = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, len(chosen))
  direction = np.asarray(direction, float) / np.linalg.norm(direction)
  rotations = rotations_between(batch.momentum_mev / magnitude, direction, roll).astype(np.float32)
  position = np.einsum("bij,bvj->bvi", rotations, batch.position_mm)
  images = np.asarray(
      raster.rasterize_views(jnp.asarray(position), jnp.asarray(batch.edep_mev), ("xy",), spec))[:, 0]
  return images, np.einsum("bij,bj->bi", rotations, batch.momentum_mev)


def compare(simulated: np.ndarray, generated: np.ndarray, momentum_mev: np.ndarray, kinetic_mev: float,
            name: str, *, pitch_mm: float) -> Closure:
  """The quantities of two samples [b n n] drawn at the same momenta [b 3]."""
  energy = kinetic_energy(momentum_mev)
  in_plane = np.asarray(DIRECTIONS[name])[:2]
  rows = []
  for images in (simulated, generated):
    length = np.array([proton.track_length_mm(image, pitch_mm=pitch_mm) for image in images])
    ratio = images.sum((1, 2)) / energy
    full = np.abs(ratio - 1.0) < 0.05
    curves = [proton.residual_dedx(image, in_plane, pitch_mm=pitch_mm) for image in images[full]]
    flat = DIRECTIONS[name][2] == 0.0 and len(curves)
    dedx = mean_of_known(curves) if flat else np.full(len(proton.PSTAR_DEDX_MEV_PER_MM), np.nan)
    rows.append((length.mean(), length.std() / np.sqrt(len(length)), ratio.mean(), np.median(ratio), dedx))
  return Closure(kinetic_mev, name, len(simulated), *(np.array(column) for column in zip(*rows, strict=True)))


def mean_of_known(curves: list[np.ndarray]) -> np.ndarray:
  """Mean over curves [bins] of what is not NaN; NaN where fewer than half of the curves reach."""
  known = np.isfinite(curves)
  mean = np.nansum(curves, axis=0) / np.maximum(known.sum(0), 1)
  return np.where(known.sum(0) >= 0.5 * len(curves), mean, np.nan)


def closure_table(events: Events, generate: Callable, *, kinetic_mev: tuple[float, ...], window_mev: float,
                  max_events: int, seed: int, spec: raster.ImageSpec,
                  progress: Callable | None = None) -> list[Closure]:
  """Closure at every energy in every one of DIRECTIONS; generate: momentum [b 3] -> images [b n n] in MeV."""
  table = []
  for energy in kinetic_mev:
    for name, direction in DIRECTIONS.items():
      simulated, momentum_mev = matched_images(events, energy, np.array(direction), window_mev=window_mev,
                                               max_events=max_events, seed=seed, spec=spec)
      table.append(
          compare(simulated, generate(momentum_mev), momentum_mev, energy, name, pitch_mm=spec.pitch_mm))
      if progress is not None:
        progress(len(table))
  return table
