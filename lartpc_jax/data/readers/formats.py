"""The formats that launch.convert knows: name -> how to open it, which options it takes, what becomes of it."""
import inspect
import os
from collections.abc import Callable
from typing import NamedTuple

from lartpc_jax.data.readers.api import EventSource, ImageSource
from lartpc_jax.data.readers.batches import open_batches
from lartpc_jax.data.readers.edepsim_root import open_edepsim_root
from lartpc_jax.data.readers.larcv_png import open_larcv_npy, open_larcv_pngs
from lartpc_jax.data.readers.pilarnet import open_pilarnet
from lartpc_jax.data.readers.segments import open_segments


class Format(NamedTuple):
  """One kind of input."""
  open: Callable  # (path, **options) -> ImageSource or EventSource
  text: str       # for --help


FORMATS = {
    "batches": Format(open_batches,
                      "directory of batch_{i}.npy with batch_mom_{i}.npy and batch_xz_{i}.npy, or protons64_{i}.npy"),
    "larcv_npy": Format(open_larcv_npy, "larcv_png_64_{train,test}_{tracks,showers}.npy, a file or their directory"),
    "larcv_pngs": Format(open_larcv_pngs, "directory of larcv_64_{i}.png"),
    "pilarnet": Format(open_pilarnet, "PILArNet-M HDF5 (point, cluster, cluster_extra)"),
    "edepsim_root": Format(open_edepsim_root, "edep-sim ROOT (tree EDepSimEvents)"),
    "segments": Format(open_segments, "edep-sim or larnd-sim HDF5 with a segments table"),
}


def option_names(name: str) -> list[str]:
  """Names of the options that the reader of a format takes."""
  return [p.name for p in inspect.signature(FORMATS[name].open).parameters.values() if p.kind is p.KEYWORD_ONLY]


def open_source(name: str, path: str | os.PathLike, **options) -> ImageSource | EventSource:
  """Opens `path` with the reader of a format. Raises ValueError naming an unknown format or option."""
  if name not in FORMATS:
    raise ValueError(f"Unknown format {name!r}; choose from {sorted(FORMATS)}.")
  strange = sorted(set(options) - set(option_names(name)))
  if strange:
    raise ValueError(f"Format {name!r} takes no option {strange[0]!r}; it takes {option_names(name) or 'none'}.")
  return FORMATS[name].open(path, **options)
