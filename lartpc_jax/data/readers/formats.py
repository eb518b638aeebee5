"""The formats that launch.convert knows: name -> how to open it, which options it takes, what becomes of
it."""
import inspect
import os
from collections.abc import Callable
from typing import NamedTuple

from lartpc_jax.data.readers.api import EventSource, ImageSource
from lartpc_jax.data.readers.batches import open_batches
from lartpc_jax.data.readers.edepsim_root import open_edepsim_root
from lartpc_jax.data.readers.identify import OWN, look_at
from lartpc_jax.data.readers.jaxtpc import open_jaxtpc
from lartpc_jax.data.readers.larcv2_root import open_larcv2_root
from lartpc_jax.data.readers.larcv_png import open_larcv_npy, open_larcv_pngs
from lartpc_jax.data.readers.pilarnet import open_pilarnet
from lartpc_jax.data.readers.segments import open_segments
from lartpc_jax.data.readers.simpledet import open_simpledet

AUTO = "auto"  # in place of a name: what the input looks like


class Format(NamedTuple):
  """One kind of input."""
  open: Callable  # (path, **options) -> ImageSource or EventSource
  text: str       # for --help
  becomes: str    # "images" or "events"
  unit: str       # of what its values are
  truth: str      # what it tells of the particles


FORMATS = {
    "batches": Format(
        open_batches, "directory of batch_{i}.npy with batch_mom_{i}.npy and batch_xz_{i}.npy, or "
        "protons64_{i}.npy", "images", "MeV", "momentum"), "larcv_npy": Format(
            open_larcv_npy, "larcv_png_64_{train,test}_{tracks,showers}.npy, a file or their directory",
            "images", "grey levels, or MeV with --scale_mev",
            "track or shower"), "larcv_pngs": Format(open_larcv_pngs, "directory of larcv_64_{i}.png",
                                                     "images", "grey levels, or MeV with --scale_mev",
                                                     "none"),
    "larcv2_root": Format(open_larcv2_root, "LArCV2 ROOT with image2d (and particle) trees", "images",
                          "ADC counts, or MeV with --scale_mev", "momentum, pdg, vertex"),
    "simpledet": Format(open_simpledet, "simpledet HDF5 (img_{i}, class_{i}, ...), a file or a directory of "
                        "them", "images", "MeV", "class of the shower"),
    "pilarnet": Format(open_pilarnet, "PILArNet-M HDF5 (point, cluster, cluster_extra, ...), versions 1 to 3",
                       "events", "MeV", "class of each voxel, vertex, primaries (version 3)"),
    "edepsim_root": Format(open_edepsim_root, "edep-sim ROOT (tree EDepSimEvents)", "events", "MeV",
                           "vertex, primaries"),
    "segments": Format(open_segments, "dumpTree, larnd-sim (segments or tracks), 2x2 and ndlar_flow HDF5",
                       "events", "MeV", "vertex and primaries, if the tables are there"), "jaxtpc": Format(
                           open_jaxtpc, "JAXTPC HDF5 (pstep/lar_vol, primary, vertex)", "events", "MeV",
                           "vertex, primaries"),
}


def option_names(name: str) -> list[str]:
  """Names of the options that the reader of a format takes."""
  return [
      p.name for p in inspect.signature(FORMATS[name].open).parameters.values() if p.kind is p.KEYWORD_ONLY
  ]


def describe_formats() -> str:
  """A table of the formats, their options and what becomes of them, as Markdown."""
  rows = [("format", "input", "becomes", "values", "truth", "options")]
  for name, known in FORMATS.items():
    options = ", ".join(f"--{option}" for option in option_names(name) if option != "block_bytes")
    rows.append((name, known.text, known.becomes, known.unit, known.truth, options))
  lines = ["| " + " | ".join(row) + " |" for row in rows]
  return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def choose_format(path: str | os.PathLike) -> str:
  """The format that `path` is of, by what it looks like.

  Raises:
    FileNotFoundError: if there is nothing.
    ValueError: naming what it looks like instead, and the nearest format.
  """
  look = look_at(path)
  if look.sure and look.format in FORMATS:
    return look.format
  if look.format == OWN:
    raise ValueError(f"{path}: looks like {look.text}.")
  nearest = "no format comes near"
  if look.format:
    nearest = f"the nearest format is {look.format} (--format={look.format})"
  raise ValueError(f"{path}: looks like {look.text}, which is not read here; {nearest}. --list says what is.")


def open_source(name: str, path: str | os.PathLike, **options) -> ImageSource | EventSource:
  """Opens `path` with the reader of a format; "auto" chooses it.

  Raises:
    ValueError: naming an unknown format or option, or what is wrong with the input and, if that looks like
      another format, which.
  """
  name = choose_format(path) if name == AUTO else name
  if name not in FORMATS:
    raise ValueError(f"Unknown format {name!r}; choose from {sorted(FORMATS)}.")
  strange = sorted(set(options) - set(option_names(name)))
  if strange:
    raise ValueError(
        f"Format {name!r} takes no option {strange[0]!r}; it takes {option_names(name) or 'none'}.")
  try:
    return FORMATS[name].open(path, **options)
  except ValueError as error:
    look = look_at(path)
    if look.format == name or look.format is None and look.text.startswith(
        ("a text", "no kind", "a damaged", "an empty", "a directory")):
      raise
    way = f"; try --format={look.format}" if look.format in FORMATS else ""
    raise ValueError(f"{error} It looks like {look.text}{way}.") from error
