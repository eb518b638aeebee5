"""Target images of a fit, and the truth: drawn from sparse events, or read where they are; paths as in
`data.open`."""
import logging
import os
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from lartpc_jax.data.events import Events, deposited_energy, describe_codes, describe_others, pad_events
from lartpc_jax.data.image_source import Images
from lartpc_jax.data.open import open_data
from lartpc_jax.data.pictures import images_of
from lartpc_jax.geometry import rasterize as raster
from lartpc_jax.units import PROTON_MASS_MEV, kinetic_energy, masses_mev

logger = logging.getLogger(__name__)

OTHERS = "%s: of %d events the momenta are those %s; the models of the package are of single protons."
INTERACTION_TOLERANCE = 0.02  # a proton that stops without a nuclear interaction deposits its energy to this


class ImageSet(NamedTuple):
  """n events of v views, on the host; what a file does not tell is None."""
  images: np.ndarray                # [n v p p] MeV
  momentum_mev: np.ndarray | None   # [n 3] true momentum
  clean: np.ndarray | None          # [n] bool, contained in every view and without nuclear interaction
  num_in_file: int
  pdg: np.ndarray | None = None     # [n] PDG codes of single particles


def check_views(views: Sequence[str]) -> tuple[str, ...]:
  """The views as a tuple. Raises ValueError naming an unknown or repeated one, or if there is none."""
  views = tuple(views)
  for view in views:
    raster.wire_angle_degrees(view)
  if not views or len(set(views)) < len(views):
    raise ValueError(f"Give at least one view, each once; got {','.join(views) or 'none'}.")
  return views


def open_images(path: str | os.PathLike, *, views: tuple[str, ...], spec: raster.ImageSpec, first: int = 0,
                num: int | None = None, any_particle: bool = False) -> ImageSet:
  """Events first ... first + num - 1 of a file or directory (None: to its end).

  Args:
    path: of events or of images in MeV; see `data.open`.
    views: names of the views, in the order of the images; or some of those of the file.
    spec: geometry of the images that the generator knows.
    first: number of the first event.
    num: number of events.
    any_particle: whoever reads them knows other particles than protons, too: no warning.
  Returns:
    Images and the truth, if every one of the events has a momentum other than zero.
  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: naming the file, if it is of another kind, truncated, has other fields or shapes, fewer
      events, another unit than MeV, or momenta in GeV/c. Pixel values are not looked at; see
      `inference.checks.check_target_images`.
  """
  opened = open_data(path)
  chosen = choose_rows(opened.num if isinstance(opened, Images) else len(opened), first, num, path)
  if isinstance(opened, Images):
    found = _of_images(opened, chosen, path, views, spec)
    others = "" if found.pdg is None else describe_codes(found.pdg)
  else:
    numbers = np.arange(len(opened))[chosen]
    found = _of_events(opened, numbers, path, views, spec)
    others = describe_others(opened, numbers)
  if others and not any_particle:
    logger.warning(OTHERS, path, len(found.images), others)
  return found


def _of_images(images: Images, chosen: slice, path, views: tuple[str, ...],
               spec: raster.ImageSpec) -> ImageSet:
  some = len(views) < len(images.views) and set(views) <= set(images.views)
  have, want = (len(views if some else images.views), images.num_pixels), (len(views), spec.num_pixels)
  if have[0] != want[0] and have[1] == want[1]:
    raise ValueError(f"{path}: holds {have[0]} views of each event, but {want[0]} are named: "
                     f"{','.join(views)}.")
  if have != want:
    shape = lambda num, count, side: f"({num}, {count}, {side}, {side})"
    raise ValueError(f"{path}: images must have shape {shape('N', *want)}; got {shape(images.num, *have)}.")
  names = tuple({"momentum_mev", "particle"} & {*images.labels, *images.partly})
  found = images.read(chosen, names)
  momentum_mev, pdg = found.get("momentum_mev"), found.get("particle")
  seen = found["image"][:, [images.views.index(view) for view in views]] if some else found["image"]
  return ImageSet(seen, None if momentum_mev is None else known_momenta(momentum_mev), None, images.num, pdg)


def _of_events(events: Events, chosen: np.ndarray, path, views: tuple[str, ...],
               spec: raster.ImageSpec) -> ImageSet:
  images = images_of(events, chosen, views=views, spec=spec)
  momentum_mev = events.momentum_mev[chosen]
  pdg = None if events.pdg is None else events.pdg[chosen]
  if known_momenta(momentum_mev) is None:
    return ImageSet(images, None, None, len(events), pdg)
  clean = clean_events(events, chosen, views=views, spec=spec)
  return ImageSet(images, momentum_mev, clean, len(events), pdg)


def choose_rows(available: int, first: int, num: int | None, path) -> slice:
  """Rows first ... first + num - 1 of a file (None: to its end). Raises ValueError naming it if it has
  fewer."""
  num = available - first if num is None else num
  if first < 0 or num < 1 or first + num > available:
    raise ValueError(f"{path}: holds {available} events, numbers 0 to {available - 1}; asked for {num} from "
                     f"number {first} (--num_events, --first_event).")
  return slice(first, first + num)


def known_momenta(momentum_mev: np.ndarray) -> np.ndarray | None:
  """The momenta [n 3], or None if one of them is (0, 0, 0), which means unknown (see data.convert)."""
  return momentum_mev if np.all(np.any(np.asarray(momentum_mev) != 0, axis=1)) else None


def clean_events(events: Events, chosen: np.ndarray, *, views: tuple[str, ...],
                 spec: raster.ImageSpec) -> np.ndarray:
  """True [n] for those of the `chosen` events that deposit their kinetic energy, to 2 %, and inside the
  views.

  Particles of which the file does not say what they are count as protons.
  """
  mass_mev = PROTON_MASS_MEV if events.pdg is None else masses_mev(events.pdg[chosen], PROTON_MASS_MEV)
  kinetic = kinetic_energy(events.momentum_mev[chosen], mass_mev)
  deposited = deposited_energy(events)[chosen]
  contained = np.concatenate([
      np.asarray(raster.is_contained(jnp.asarray(batch.position_mm), jnp.asarray(batch.edep_mev), views,
                                     spec))
      for batch in (pad_events(events, chosen[i:i + 256]) for i in range(0, len(chosen), 256))])
  return contained & (np.abs(deposited - kinetic) <= INTERACTION_TOLERANCE * kinetic)
