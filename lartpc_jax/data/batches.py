"""Batches for training, one way for all data and tasks: pure functions of (seed, step), so that a run can
resume.

A pool is what batches are drawn from: rotated events, exact pictures of events, or images. A batch is a dict:
`image` in MeV and the labels that were asked for, by the names and in the units of `data.labels`.
"""
import functools
import logging
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import jax
import numpy as np

from lartpc_jax.data import labels as labels_lib
from lartpc_jax.data.events import Events, describe_others, pad_events
from lartpc_jax.data.image_source import Images
from lartpc_jax.data.pictures import lit_pixels
from lartpc_jax.data.prefetch import prefetch
from lartpc_jax.geometry import symmetries
from lartpc_jax.geometry.rasterize import VIEWS, ImageSpec, view_axes
from lartpc_jax.geometry.windows import Windows, num_places
from lartpc_jax.keys import root_key

logger = logging.getLogger(__name__)

CACHED_PICTURES = 16_384  # of events, by their pixels with charge: some 15 kB each
MAX_DRAWS = 200  # events in a row without charge in the window, before the data are taken to be wrong
ORDERS = ("replacement", "epochs")


class Pool(NamedTuple):
  """n examples."""
  num: int
  # (numbers [b], rng, () -> key) -> batch; what is random in it comes from the two
  read: Callable
  kind: str                     # for messages
  draw: Callable | None = None  # (rng, b) -> batch of examples drawn with replacement; None: of any, evenly


def make_batches(pool: Pool, *, batch_size: int, seed: int, order: str = "replacement",
                 num_symmetries: int = 1, prefetch_batches: int = 0) -> Callable:
  """Builds batch_fn(step) -> batch.

  Args:
    pool: the examples.
    batch_size: of them a batch.
    seed: of all that is random.
    order: "replacement" draws each example anew; "epochs" takes every example once in an epoch, each epoch
      another permutation (grain).
    num_symmetries: 8 or 16: a random one for each example, see `geometry.symmetries`; 1: none.
    prefetch_batches: batches made ahead in a thread.
  Raises:
    ValueError: naming a setting that is out of range.
  """
  if order not in ORDERS:
    raise ValueError(f"Unknown data.order = {order!r}; choose from {list(ORDERS)}.")
  if order == "epochs" and not 1 <= batch_size <= pool.num:
    raise ValueError(f"data.batch_size must lie between 1 and {pool.num}, the number of {pool.kind}; got "
                     f"{batch_size}.")
  if batch_size < 1:
    raise ValueError(f"data.batch_size must be at least 1; got {batch_size}.")
  numbers_of = _epochs(pool.num, batch_size, seed) if order == "epochs" else None
  key = root_key(seed)

  def batch_fn(step: int) -> dict:
    rng = np.random.default_rng((seed, step))
    if numbers_of is None and pool.draw is not None:
      batch = pool.draw(rng, batch_size)
    else:
      numbers = rng.integers(0, pool.num, batch_size) if numbers_of is None else numbers_of(step)
      batch = pool.read(numbers, rng, lambda: jax.random.fold_in(key, step))
    if num_symmetries == 1:
      return batch
    code = symmetries.random_codes(rng, batch_size, num_symmetries)
    return symmetries.turn(batch, code, pixels=labels_lib.PIXELS, vectors=labels_lib.VECTORS)
  return prefetch(batch_fn, depth=prefetch_batches)


def _epochs(num: int, batch_size: int, seed: int) -> Callable:
  """step -> numbers [b]."""
  import grain
  order = grain.MapDataset.range(num).seed(seed).shuffle().repeat(None).batch(batch_size, drop_remainder=True)
  return lambda step: np.asarray(order[step])


def rotated_pool(events: Events, draw: Callable, wanted: Mapping[str, Collection[str]]) -> Pool:
  """Events turned by random rotations in 3D, with one each no image is ever seen twice.

  Args:
    events: the events.
    draw: (key, position_mm [b v 3], edep_mev [b v], momentum_mev [b 3]) -> images [b ...], momenta [b 3],
      such as `pictures.rotated_images` or `pictures.rotated_views`.
    wanted: label -> names of its classes.
  Raises:
    ValueError: naming a label that is not known of all events.
  """
  if "momentum_mev" in wanted:
    unknown = np.flatnonzero(~np.any(events.momentum_mev != 0, axis=1))
    if len(unknown):
      raise ValueError(f"{len(unknown)} events have no momentum (zero means unknown), the first is number "
                       f"{unknown[0]}; training needs it.")
  scalars = _scalars_of(events, wanted, without=("label",))
  if "particle" not in wanted and (others := describe_others(events)):
    logger.warning("Of %d training events the momenta are those %s; the models of the package are of single "
                   "protons.",
                   len(events), others)

  def read(numbers, rng, key):
    del rng
    deposits = pad_events(events, numbers)
    images, momentum_mev = draw(key(), deposits.position_mm, deposits.edep_mev, deposits.momentum_mev)
    batch = {"image": images} | ({"momentum_mev": momentum_mev} if "momentum_mev" in wanted else {})
    return batch | {name: values[numbers] for name, values in scalars.items()}
  return Pool(len(events), read, "events")


def still_pool(events: Events, draw: Callable, wanted: Mapping[str, Collection[str]]) -> Pool:
  """The same events as they are; draw: numbers [b] -> images [b ...]."""
  scalars = _scalars_of(events, wanted, without=("label",))
  scalars |= {"momentum_mev": events.momentum_mev} if "momentum_mev" in wanted else {}

  def read(numbers, rng=None, key=None):
    del rng, key
    return {"image": draw(numbers), **{name: values[numbers] for name, values in scalars.items()}}
  return Pool(len(events), read, "events")


def _scalars_of(events: Events, wanted: Mapping[str, Collection[str]], *,
                without: Collection[str]) -> dict[str, np.ndarray]:
  """The labels of all events that are numbers [n]; checks that what is wanted is known."""
  labels_lib.check_wanted(wanted, set(labels_lib.event_labels(events)) - set(without), "these events")
  return labels_lib.scalars_of(events, wanted)


def image_pool(images: Images, wanted: Mapping[str, Collection[str]], *, threshold_mev: float = 0.0) -> Pool:
  """Every view of every event of a source of images; momenta have their components in the order of the view.

  Args:
    images: the source.
    wanted: label -> names of its classes.
    threshold_mev: of the labels that are measured on the picture.
  Raises:
    ValueError: naming a label that the source does not have.
  """
  labels_lib.check_wanted(wanted, images.labels, images.kind)
  needed = set(wanted) | ({"label"} if "track_share" in set(wanted) - set(images.labels) else set())
  names = tuple(needed & set(images.labels))
  axes = np.array([view_axes(name) for name in images.views])
  measured = set(wanted) - set(names)
  track = images.classes.index("track") if "track" in images.classes else 0

  def read(numbers, rng=None, key=None):
    del rng, key
    event, view = np.divmod(np.asarray(numbers), len(images.views))
    batch = images.read(event, names)
    if not (batch["image"].min() >= 0 and batch["image"].max() < np.inf):  # NaN too
      bad = ~np.all(np.isfinite(batch["image"]) & (batch["image"] >= 0), axis=(1, 2, 3))
      raise ValueError(f"The {images.kind} must be finite and not negative; number {event[bad][0]} is not.")
    for name in set(labels_lib.PIXELS) & set(batch):
      batch[name] = batch[name][np.arange(len(event)), view]
    if "momentum_mev" in batch:
      batch["momentum_mev"] = np.take_along_axis(np.asarray(batch["momentum_mev"], np.float32), axes[view],
                                                 axis=1)
    if "label" in batch:
      batch["label"] = batch["label"].astype(np.int32)
    if "particle" in batch:
      batch["particle"] = labels_lib.particle_index(batch["particle"], wanted["particle"], event)
    if "class" in batch:
      batch["class"] = labels_lib.class_index(batch["class"], images.class_names, wanted["class"],
                                               event)
    batch |= labels_lib.measure(batch, measured, threshold_mev=threshold_mev, track=track)
    return {name: batch[name] for name in ("image", *wanted)}
  return Pool(images.num * len(images.views), read, f"images of {images.kind}")


def voxel_pool(events: Events, *, spec: ImageSpec, wanted: Mapping[str, Collection[str]], crop_px: int = 0,
               windows: Windows | None = None, view: str | None = None,
               reduce: Callable | None = None) -> Pool:
  """Exact pictures of events in a random view each, or parts of them. For use with symmetries.

  Voxels are as large as pixels, so a picture of an event turned by any angle would have to spread each voxel
  first. The rotations and reflections of the cube need none: 24 exact pictures an event, three views in eight
  orientations each.

  Args:
    events: the events.
    spec: geometry of the whole picture; sigma_mm must be 0, as voxels are not smeared.
    wanted: label -> names of its classes.
    crop_px: if not 0, a square of so many pixels in place of the whole: around a random pixel with charge,
      which lies anywhere in it.
    windows: if not None, a window with its margin in place of the whole: one that holds a random block with
      charge, of windows.step_px, in any place of it.
    view: only that one, as the events are.
    reduce: (pixels [k 2], charge [k] in MeV) -> `map` of a batch, in place of `image`, which is large and
      empty.
  Raises:
    ValueError: naming the key that is out of range, or a label that is not known.
  """
  scalars = _scalars_of(events, wanted, without=())
  views, size = list(VIEWS) if view is None else [view], _side(spec, crop_px, windows)
  with_classes = bool({"label", "track_share"} & set(wanted))

  lit_of = functools.lru_cache(CACHED_PICTURES)(lambda number, view: lit_pixels(
      events, number, view=view, spec=spec, with_classes=with_classes))

  def picture(number, rng):
    seen = views[rng.integers(len(views))] if len(views) > 1 else views[0]
    lit = lit_of(number, seen)
    part = _cropped(lit, rng, spec.num_pixels, crop_px) if windows is None else _in_window(lit, rng, windows)
    return _Lit(number, seen, *part)

  def lit_picture(rng):
    for _ in range(MAX_DRAWS):
      found = picture(int(rng.integers(len(events))), rng)
      if len(found.pixels):
        return found
    raise ValueError(f"{MAX_DRAWS} events in a row have no pixel of {spec.threshold_mev} MeV in the window; "
                     "check data.path and image.threshold_mev.")

  def collect(chosen):
    number = np.array([one.number for one in chosen])
    if reduce is not None:
      batch = {"map": np.stack([reduce(one.pixels, one.charge_mev) for one in chosen])}
    else:
      batch = _dense(chosen, size, with_classes)
    if "momentum_mev" in wanted:
      axes = np.array([view_axes(one.view) for one in chosen])
      batch["momentum_mev"] = np.take_along_axis(events.momentum_mev[number], axes, axis=1)
    batch |= {name: values[number] for name, values in scalars.items()}
    batch |= labels_lib.measure(batch, wanted, threshold_mev=spec.threshold_mev)
    return {name: batch[name] for name in ("image" if reduce is None else "map", *wanted)}

  def read(numbers, rng=None, key=None):
    del key
    return collect([picture(int(number), rng) for number in numbers])
  draw = lambda rng, num: collect([lit_picture(rng) for _ in range(num)])
  return Pool(len(events), read, "events", draw)


def _side(spec: ImageSpec, crop_px: int, windows: Windows | None) -> int:
  """Pixels of a picture, a crop or a window with its margin on each axis; raises what `voxel_pool` says."""
  if crop_px < 0 or crop_px > spec.num_pixels:
    raise ValueError(f"data.crop_px must lie between 0 (none) and image.num_pixels = {spec.num_pixels}; got "
                     f"{crop_px}.")
  if spec.sigma_mm != 0.0:
    raise ValueError("Interactions are drawn without smearing: image.sigma_mm must be 0; got "
                     f"{spec.sigma_mm}.")
  return windows.size_px + 2 * windows.margin_px if windows else crop_px or spec.num_pixels


class _Lit(NamedTuple):
  """The k pixels with charge of a picture of an event, or of a crop of it."""
  number: int
  view: str
  pixels: np.ndarray             # [k 2]
  charge_mev: np.ndarray         # [k]
  classes: np.ndarray | None     # [k]


def _dense(chosen: list[_Lit], size: int, with_classes: bool) -> dict:
  """Pictures `image` [b n n] in MeV and, if asked for, classes `label` [b n n] int32."""
  batch = {"image": np.zeros((len(chosen), size, size), np.float32)}
  if with_classes:
    batch["label"] = np.zeros(batch["image"].shape, np.int32)
  for i, one in enumerate(chosen):
    batch["image"][i][tuple(one.pixels.T)] = one.charge_mev
    if with_classes:
      batch["label"][i][tuple(one.pixels.T)] = one.classes
  return batch


def _cropped(lit: tuple, rng: np.random.Generator | None, num_pixels: int, crop_px: int) -> tuple:
  """Pixels, charge and classes in a square around a random pixel with charge, which lies anywhere in it."""
  pixels = lit[0]
  if not crop_px or not len(pixels):
    return lit
  anchor = pixels[rng.integers(len(pixels))]
  return _inside(lit, np.clip(anchor - rng.integers(0, crop_px, 2), 0, num_pixels - crop_px), crop_px)


def _in_window(lit: tuple, rng: np.random.Generator, windows: Windows) -> tuple:
  """The same of a window with its margin, which may hang over the edge."""
  if not len(lit[0]):
    return lit
  blocks = np.unique(lit[0] // windows.step_px @ np.array([1 << 20, 1]))  # numbers of the blocks with charge
  block = np.array(divmod(int(blocks[rng.integers(len(blocks))]), 1 << 20))
  corner = (block - rng.integers(0, num_places(windows), 2)) * windows.step_px - windows.margin_px
  return _inside(lit, corner, windows.size_px + 2 * windows.margin_px)


def _inside(lit: tuple, corner: np.ndarray, size: int) -> tuple:
  pixels, charge, classes = lit
  inside = np.all((pixels >= corner) & (pixels < corner + size), axis=1)
  return pixels[inside] - corner, charge[inside], None if classes is None else classes[inside]


def first(pool: Pool, num: int | None = None) -> dict:
  """The first `num` examples (None: all; at most those there are) of a pool in which nothing is random."""
  return pool.read(np.arange(pool.num if num is None else min(num, pool.num)), None, None)
