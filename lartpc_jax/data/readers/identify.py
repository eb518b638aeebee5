"""What a file or directory looks like, by its first bytes and its names, for those who do not know its
format."""
import os
import re
from pathlib import Path
from typing import NamedTuple

from lartpc_jax.data.readers import batches, larcv_png, simpledet

OWN = "own"  # in place of a format: the package reads it as it is


class Look(NamedTuple):
  """What something looks like."""
  text: str              # in words, to follow "It looks like"
  format: str | None     # the format of readers.formats that reads it or comes nearest; OWN; or None
  sure: bool = True      # that this format reads it


# HDF5: what it is, its format (None: there is no reader), datasets that all must be there (a pattern each).
HDF5 = (
    ("PILArNet-M", "pilarnet", ("point", "cluster")),
    ("an ndlar_flow file", "segments", ("mc_truth/segments/data",)),
    ("a file of the 2x2 or ND simulation", "segments", ("segments", "mc_hdr")),
    ("a dumpTree or larnd-sim file", "segments", ("segments",)),
    ("an output of larnd-sim before April 2023", "segments", ("tracks",)),
    ("JAXTPC", "jaxtpc", ("pstep/lar_vol", "primary/geant4", "vertex/geant4")),
    ("simpledet images", "simpledet", (r"img_\d+",)),
    ("MicroBooNE open data (pynuml tables of hits in wire and time, which have no positions in space)", None,
     ("hit_table/.*", "event_table/.*")),
    ("LArCV3 HDF5 (it needs larcv3)", None, ("Data/.*", "Events/.*")),
)
MAGIC = ((b"\x89HDF\r\n\x1a\n",
          "hdf5"), (b"root", "root"), (b"\x93NUMPY", "npy"), (b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"),
         (b"\x89PNG", "png"), (b"\x1f\x8b",
                               "a gzip file: unpack it first"), (b"BZh", "a bzip2 file: unpack it first"),
         (b"\xfd7zXZ", "an xz file: unpack it first"), (b"\x28\xb5\x2f\xfd", "a zstd file: unpack it first"),
         (b"version https://git-lfs",
          "a pointer of Git LFS, not the file itself: fetch it with `git lfs pull`"),
         (b"\x80\x04", "a Python pickle, which is not read: it may run any program"),
        )


def look_at(path: str | os.PathLike) -> Look:
  """What `path` looks like. Raises FileNotFoundError if there is nothing; damage is part of the answer, not
  an error."""
  path = Path(path)
  if not path.exists():
    raise FileNotFoundError(f"No input at {str(path)!r}.")
  if path.is_dir():
    return _look_at_directory(path)
  with open(path, "rb") as file:
    start = file.read(64)
  if not start:
    return Look("an empty file", None)
  kind = next((kind for magic, kind in MAGIC if start.startswith(magic)), None)
  if kind == "hdf5":
    return _look_at_hdf5(path)
  if kind == "root":
    return _look_at_root(path)
  if kind == "npy":
    return _look_at_npy(path)
  if kind == "zip":
    return _look_at_zip(path)
  if kind == "png":
    return Look("a PNG; give the directory of the larcv_64_NUMBER.png", "larcv_pngs", sure=False)
  if kind:
    return Look(kind, None)
  text = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start)
  return Look("a text" if text else "no kind of file that is known here", None)


def _look_at_directory(path: Path) -> Look:
  names = [entry.name for entry in path.iterdir()]
  for pattern, name, text in ((batches.PATTERN, "batches", "the group's batches"),
                              (larcv_png.NAME, "larcv_npy", "larcv_png_64"),
                              (larcv_png.PNG, "larcv_pngs", "a folder of larcv_64_NUMBER.png")):
    if any(pattern.fullmatch(n) for n in names):
      return Look(text, name)
  if (look := _look_at_simpledet(path)) is not None:
    return look
  if any(path.glob("**/dataset_info.json")):
    return Look("a built tensorflow-datasets dataset, which is read as it is", OWN)
  return Look(f"a directory of {len(names)} other files", None)


def _look_at_simpledet(path: Path) -> Look | None:
  """Whether the first HDF5 file of a directory is one of simpledet: jobs leave their files side by side."""
  first = next((entry for entry in sorted(path.iterdir()) if entry.suffix in simpledet.SUFFIXES), None)
  if first is None:
    return None
  look = _look_at_hdf5(first)
  known = look.format == "simpledet" and look.sure
  return Look(f"a directory of {look.text}", "simpledet") if known else None


def _look_at_npy(path: Path) -> Look:
  if batches.PATTERN.fullmatch(path.name):
    return Look("a file of the group's batches", "batches")
  if larcv_png.NAME.fullmatch(path.name):
    return Look("a file of larcv_png_64", "larcv_npy")
  return Look("an npy of images, which is read as it is if its values are MeV", OWN, sure=False)


def _look_at_zip(path: Path) -> Look:
  from lartpc_jax.data.npz import field_names
  try:
    fields = set(field_names(path))
  except ValueError:
    return Look("a damaged npz or zip file", None)
  for names, text in (({"voxel", "offsets", "edep"}, "sparse events"), ({"images"}, "images"),
                      ({"image", "unit_mev"}, "crops")):
    if names <= fields:
      return Look(f"{text} of this package, which are read as they are", OWN)
  return Look(f"an npz or zip file of {sorted(fields)[:8]}", None)


def _look_at_root(path: Path) -> Look:
  from lartpc_jax.data.readers.root import tree_names
  try:
    trees = tree_names(path)
  except ValueError:
    return Look("a damaged ROOT file (or uproot is not installed)", None)
  if "EDepSimEvents" in trees:
    return Look("an edep-sim file", "edepsim_root")
  if any(name.startswith("image2d_") for name in trees):
    return Look("a LArCV2 file with images", "larcv2_root")
  if any(re.match(r"(sparse3d|sparse2d|cluster3d|particle|voxel3d)_", name) for name in trees):
    return Look(f"a LArCV file without image2d, of the trees {trees[:6]}", "larcv2_root", sure=False)
  return Look(f"a ROOT file of the trees {trees[:6]}", "edepsim_root", sure=False)


def _look_at_hdf5(path: Path) -> Look:
  from lartpc_jax.data.readers.hdf5 import open_hdf5
  names: list[str] = []
  try:
    with open_hdf5(path) as file:
      file.visit(names.append)
  except ValueError:
    return Look("a damaged HDF5 file (or h5py is not installed)", None)
  shares = [(sum(any(re.fullmatch(pattern, name)
                     for name in names)
                 for pattern in wanted) / len(wanted), text, format_name)
            for text, format_name, wanted in HDF5]
  for share, text, format_name in shares:
    if share == 1.0:
      return Look(text, format_name)
  share, text, format_name = max(shares, key=lambda row: row[0])
  top = sorted({name.split("/")[0] for name in names})[:8]
  if share:
    return Look(f"an HDF5 file of {top}, in part like {text}", format_name, sure=False)
  return Look(f"an HDF5 file of {top}", None)
