"""Target images of a run: read, checked and named, for every run that fits something to them."""
import hashlib
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.images import ImageSet, open_images
from lartpc_jax.data.open import SAMPLE
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.inference.checks import check_target_images

MAX_NAMED = 20  # skipped events that a warning names


class Targets(NamedTuple):
  """Events that can be inferred from, and those of the file that cannot."""
  data: ImageSet        # of n events
  events: np.ndarray    # [n] their numbers in the file, rising
  skipped: np.ndarray   # numbers of events with a view without charge


def open_targets(path: str, *, views: Sequence[str], spec: ImageSpec, first: int = 0,
                 num: int | None = None, any_particle: bool = False) -> Targets:
  """Of events first ... first + num - 1 of a file (None: to its end) those that have charge in every view.

  Raises:
    OSError, ValueError: as `data.images.open_images` and `inference.checks.check_target_images`; also if no
    event has charge.
  """
  data = open_images(path, views=tuple(views), spec=spec, first=first, num=num, any_particle=any_particle)
  events = first + np.arange(len(data.images))
  charged = np.any(np.asarray(data.images) != 0, axis=(2, 3)).all(axis=1)
  if not charged.any():
    raise ValueError(f"{path}: none of the {len(events)} events has charge in every view; nothing can be "
                     "inferred.")
  kept = data if charged.all() else data._replace(**{
      name: value[charged] for name, value in data._asdict().items() if isinstance(value, np.ndarray)})
  images = check_target_images(kept.images, num_views=len(views), num_pixels=spec.num_pixels,
                               numbers=events[charged])
  return Targets(kept._replace(images=images), events[charged], events[~charged])


def warn_of_skipped(skipped: np.ndarray, num: int, say: Callable) -> None:
  """Says which events are left out of `num` and why, if any are."""
  if len(skipped):
    more = f" and {len(skipped) - MAX_NAMED} more" if len(skipped) > MAX_NAMED else ""
    say(f"WARNING: {len(skipped)} of {num} events have a view without charge and are skipped: "
        f"{', '.join(map(str, skipped[:MAX_NAMED]))}{more}.")


def describe_images(images: np.ndarray) -> str:
  """Shape and hash of images, for the identity of a run."""
  digest = hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()
  return f"{'x'.join(map(str, images.shape))}, sha256 {digest[:16]}"


def describe_input(path: str) -> str:
  """Name and hash of an input file; of a directory, of the names and sizes of what it holds."""
  if path == SAMPLE:
    content = (resources.files("lartpc_jax") / "assets" / "sample_protons.npz").read_bytes()
    return f"{path}, sha256 {hashlib.sha256(content).hexdigest()[:16]}"
  if Path(path).is_dir():
    content = "\n".join(f"{entry.name} {entry.stat().st_size}" for entry in sorted(Path(path).iterdir()))
    return f"{Path(path).name}, sha256 {hashlib.sha256(content.encode()).hexdigest()[:16]}"
  with open(path, "rb") as file:
    return f"{Path(path).name}, sha256 {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
