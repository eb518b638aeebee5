"""The same few protons as every kind of training data: sparse events, images, the group's batches, a built
dataset."""
import functools

import numpy as np

from lartpc_jax.data import events as events_lib, image_files, pictures
from lartpc_jax.data.batches import first, image_pool
from lartpc_jax.data.datasets import builders
from lartpc_jax.data.image_source import with_classes
from lartpc_jax.data.labels import pixel_table
from lartpc_jax.data.open import open_data, open_events
from lartpc_jax.geometry.rasterize import ImageSpec

VIEWS = ("xy", "xz")


def write_sources(folder, num=44):
  """(name -> path, events, their images [n 2 64 64])."""
  events = events_lib.select_events(open_events("sample"), np.arange(num))
  images = pictures.images_of(events, np.arange(num), views=VIEWS, spec=ImageSpec())
  paths = {name: folder / name for name in ("npz", "images", "batches", "dataset")}
  for path in paths.values():
    path.mkdir()
  events_lib.save_events(paths["npz"] / "protons_geant4.npz", events)
  image_files.save_images(paths["images"] / "images.npz", images, events.momentum_mev)
  for i, start in enumerate(range(0, num, 16)):
    rows = slice(start, start + 16)
    for name, array in (("batch", images[rows, 0]), ("batch_xz", images[rows, 1]),
                        ("batch_mom", events.momentum_mev[rows])):
      np.save(paths["batches"] / f"{name}_{i}.npy", array)
  builders.build("protons64", paths["npz"], paths["dataset"])
  paths = {**paths, "npz": paths["npz"] / "protons_geant4.npz", "images": paths["images"] / "images.npz",
           "dataset": paths["dataset"] / "protons64"}
  return paths, events, images


@functools.cache
def sample_crops(five_classes: bool = False) -> dict:
  """The labelled crops of the package: image [n 64 64] MeV, label [n 64 64]; do not write into them."""
  labelled = with_classes(open_data("sample_crops"), *pixel_table(five_classes=five_classes))
  return first(image_pool(labelled, {"label": ()}))
