"""simpledet HDF5 (nutufts_edepsim_dataset_maker): images of single showers with a class, one dataset a field
and entry.

`img_{i}` is (n, n) in MeV, `class_{i}` 0 for an electron, 1 for a photon, 2 for an e+ e- pair of a dark
neutrino, `evis_{i}` the sum of the pixels, `nparticles_{i}` and `pdg_{i}` the particles, padded with zeros.
The running index need not start at 0: jobs have their own, so that the files of several jobs lie in one
directory, and their indices may even overlap. There are no momenta.
"""
import os
import re
from pathlib import Path

import numpy as np

from lartpc_jax.data.readers.api import ImageSource, check_values, existing
from lartpc_jax.data.readers.hdf5 import open_hdf5
from lartpc_jax.data.readers.npy import read_across

CLASSES = ("electron", "photon", "dark_neutrino_pair")
NAME = re.compile(r"img_(\d+)")
SUFFIXES = (".h5", ".hdf5")
EXTRA = {"class": np.int64, "evis": np.float32, "nparticles": np.int64, "pdg": np.int64}
OUT = {"pdg": "particles_pdg"}  # `pdg` of converted images is that of one particle


def open_simpledet(path: str | os.PathLike) -> ImageSource:
  """Images of a file in the order of their index, with `class`, `evis`, `nparticles`, `particles_pdg` and the
  index (`number`); of a directory those of its files (.h5, .hdf5), one after another.

  Needs h5py. Raises FileNotFoundError or ValueError naming file and field.
  """
  path = existing(path)
  if path.is_file():
    return _open_file(path)
  paths = sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES)
  if not paths:
    raise ValueError(f"{path}: holds no {' and no '.join('*' + suffix for suffix in SUFFIXES)}.")
  files = [_open_file(each) for each in paths]
  sides = [file.read(0, 1).shape[-1] for file in files]
  for each, side, file in zip(paths, sides, files, strict=True):
    if side != sides[0]:
      raise ValueError(f"{each}: has {side} pixels a side, but {paths[0].name} has {sides[0]}.")
    if other := sorted(set(file.extra) ^ set(files[0].extra)):
      raise ValueError(f"{each}: field {other[0]!r} is there in some files only; {paths[0].name} differs.")
  counts = np.array([file.num for file in files])
  across = lambda choose: lambda start, stop: read_across(
      counts, lambda i, first, last: choose(files[i])(first, last), start, stop)
  extra = {name: across(lambda file, name=name: file.extra[name]) for name in files[0].extra}
  return files[0]._replace(num=int(counts.sum()), read=across(lambda file: file.read), extra=extra)


def _open_file(path: Path) -> ImageSource:
  with open_hdf5(path) as file:
    numbers = np.array(sorted(int(match[1]) for name in file if (match := NAME.fullmatch(name))), np.int64)
    if not len(numbers):
      raise ValueError(f"{path}: lacks field 'img_NUMBER'; it holds {sorted(file)[:10]}.")
    shapes = {file[f"img_{i}"].shape for i in numbers}
    if len(shapes) > 1 or len(shape := next(iter(shapes))) != 2 or shape[0] != shape[1]:
      raise ValueError(
          f"{path}: field 'img_NUMBER' must hold images of one size, as high as wide; got {sorted(shapes)}.")
    there = [name for name in EXTRA if any(f"{name}_{i}" in file for i in numbers)]
    lacking = [f"{name}_{i}" for name in there for i in numbers if f"{name}_{i}" not in file]
    if lacking:
      raise ValueError(f"{path}: lacks field {lacking[0]!r}, which other entries have.")

  def field(name, start, stop, dtype):
    with open_hdf5(path) as file:
      return np.stack([np.asarray(file[f"{name}_{i}"], dtype) for i in numbers[start:stop]])

  def read(start, stop):
    images = field("img", start, stop, np.float32)
    for i, image in zip(numbers[start:stop], images, strict=True):
      check_values(image, str(path), f"img_{i}", minimum=0.0)
    return images[:, None]

  extra = {
      OUT.get(name, name): lambda start, stop, name=name: field(name, start, stop, EXTRA[name])
      for name in there
  }
  extra["number"] = lambda start, stop: numbers[start:stop]
  return ImageSource(len(numbers), 1, read, extra,
                     f"class: {', '.join(f'{i} {c}' for i, c in enumerate(CLASSES))}",
                     class_names=CLASSES if "class" in extra else ())
