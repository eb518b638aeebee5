"""Images in detector pixels with their labels, read by number: what every file of images becomes."""
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.events import Events
from lartpc_jax.data.image_files import CHECKED_IMAGES, check_image_momenta
from lartpc_jax.data.labels import PIXEL_CLASSES, event_labels, scalars_of
from lartpc_jax.data.pictures import images_of
from lartpc_jax.data.readers.api import ImageSource
from lartpc_jax.geometry.rasterize import VIEWS, ImageSpec

SAMPLE_UNIT_MEV = 0.004  # step of the charge of pictures that are held in memory: that of the Geant4 crops


class Images(NamedTuple):
  """n events (crops: one each) of v views."""
  num: int
  views: tuple[str, ...]            # names of the views; images of unknown views count as "xy"
  num_pixels: int
  labels: tuple[str, ...]           # names that `read` takes; known of every event
  # (numbers [b] or slice, names) -> dict(image [b v n n] in MeV, **labels [b ...])
  read: Callable
  kind: str                         # for messages
  event: np.ndarray | None = None   # [n] number of the event that each is of; None: all differ
  holdout: "Images | None" = None   # events that the source itself keeps apart
  classes: tuple[str, ...] = ()     # of the pixels, if `label` [b v n n] is among the labels
  partly: tuple[str, ...] = ()      # names that `read` takes too, unknown (zero) of some events
  class_names: tuple[str, ...] = ()  # of the whole image, if `class` [b] is among the labels


def of_arrays(images: np.ndarray, labels: Mapping[str, np.ndarray], kind: str, *, scale_mev: float = 1.0,
              event: np.ndarray | None = None) -> Images:
  """Of images [n v p p], read when they are asked for, and labels [n ...]. Raises ValueError if there is
  none.

  Args:
    images: numbers of any kind.
    labels: by the names of `data.labels`; momenta along x, y, z; `particle` as PDG codes; `label` [n v p p]
      in PIXEL_CLASSES.
    kind: for messages.
    scale_mev: MeV of value 1.
    event: see `Images`.
  """
  if not len(images):
    raise ValueError(f"The {kind} must be at least one; got shape {images.shape}.")
  scale = np.float32(scale_mev)

  known = known_labels(labels)

  def read(numbers, names=()):
    chosen = np.asarray(images[numbers], np.float32)  # of a mapped file and a slice: not yet read
    return {"image": chosen if scale == 1 else chosen * scale,
            **{name: np.asarray(labels[name][numbers]) for name in names}}
  return Images(len(images), view_names(images.shape[1], kind), images.shape[-1], known, read, kind, event,
                classes=PIXEL_CLASSES if "label" in labels else (), partly=tuple(set(labels) - set(known)),
                class_names=_numbered(labels["class"]) if "class" in labels else ())


def _numbered(values: np.ndarray) -> tuple[str, ...]:
  """Names of classes of which only the numbers are known."""
  return tuple(str(i) for i in range(int(np.max(values)) + 1))


def known_labels(labels: Mapping[str, np.ndarray]) -> tuple[str, ...]:
  """The labels that are known of every event: a momentum of (0, 0, 0) or a PDG code of 0 means unknown."""
  told = lambda values: np.reshape(values != 0, (len(values), -1)).any(axis=1).all()
  return tuple(
      name for name, values in labels.items() if name not in ("momentum_mev", "particle") or told(values))


def of_source(source: ImageSource, kind: str, *, scale_mev: float = 1.0) -> Images:
  """Of a reader, row by row. Its fields of a momentum, a PDG code and a class of the image become labels."""
  scale = np.float32(scale_mev)
  fields = {"momentum": "momentum_mev", "pdg": "particle", "kinetic": "kinetic_mev", "label": "track_share",
            **({"class": "class"} if source.class_names else {})}
  extra = {name: source.extra[field] for field, name in fields.items() if field in source.extra}
  known = known_labels({name: read(0, source.num) for name, read in extra.items()})
  if "momentum_mev" in extra:
    some = min(source.num, CHECKED_IMAGES)
    check_image_momenta(source.read(0, some)[:, 0] * scale, extra["momentum_mev"](0, some), kind)

  def rows(read, numbers):
    if isinstance(numbers, slice):
      return read(*numbers.indices(source.num)[:2])
    return np.concatenate([read(int(i), int(i) + 1) for i in numbers])

  def read(numbers, names=()):
    batch = {"image": rows(source.read, numbers) * scale,
             **{name: rows(extra[name], numbers) for name in names}}
    if "track_share" in batch:
      batch["track_share"] = (batch["track_share"] == PIXEL_CLASSES.index("track")).astype(np.float32)
    return batch
  return Images(source.num, view_names(source.num_views, kind), source.read(0, 1).shape[-1], known, read,
                kind, partly=tuple(set(extra) - set(known)), class_names=source.class_names)


def of_events(events: Events, *, spec: ImageSpec, views: tuple[str, ...] = ("xy",),
              kind: str = "pictures of events") -> Images:
  """Pictures of sparse events as they are, drawn at once and held in steps of SAMPLE_UNIT_MEV."""
  drawn = images_of(events, np.arange(len(events)), views=views, spec=spec)
  known = event_labels(events)
  labels = {"momentum_mev": events.momentum_mev} if "momentum_mev" in known else {}
  labels |= {"particle": events.pdg} if "particle" in known else {}
  labels |= scalars_of(events, {name: () for name in known if name not in ("momentum_mev", "particle")})
  held = np.round(drawn / SAMPLE_UNIT_MEV).astype(np.uint16)
  return of_arrays(held, labels, kind, scale_mev=SAMPLE_UNIT_MEV)._replace(views=views)


def select_images(images: Images, rows: np.ndarray) -> Images:
  """The events of the rows, in their order; nothing is read."""
  read = lambda numbers, names=(): images.read(rows[numbers], names)
  return images._replace(num=len(rows), read=read, event=None if images.event is None else images.event[rows],
                         holdout=None)


def with_classes(images: Images, table: np.ndarray, classes: tuple[str, ...]) -> Images:
  """The same images with classes of pixels mapped by `table` (see `data.labels.pixel_table`).

  Raises:
    ValueError: if there are no labels of pixels.
  """
  if "label" not in images.labels:
    raise ValueError(f"The {images.kind} have no labels of pixels (field 'label').")

  def read(numbers, names=()):
    batch = images.read(numbers, names)
    return batch | ({"label": table[batch["label"]]} if "label" in batch else {})
  holdout = images.holdout and with_classes(images.holdout, table, classes)
  return images._replace(read=read, classes=classes, holdout=holdout)


def view_names(num: int, source: str) -> tuple[str, ...]:
  """Names of the first `num` views. Raises ValueError naming the source if it has more than there are."""
  if num > len(VIEWS):
    raise ValueError(f"{source}: has {num} views of each event; at most {len(VIEWS)} are known, "
                     f"{', '.join(VIEWS)}.")
  return tuple(VIEWS)[:num]
