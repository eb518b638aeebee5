"""Converts what other programs write into files of images or of sparse events, in pieces, whole or not at
all.
"""
import dataclasses
import sys
import time
from collections.abc import Callable

from lartpc_jax.data.convert import convert
from lartpc_jax.data.readers.formats import AUTO, FORMATS, choose_format, describe_formats, option_names
from lartpc_jax.experiments.protocol import Console, setting

OPTIONS = ("tracks", "nan", "split", "scale_mev", "unit", "energy", "axes", "image_tree", "particle_tree",
           "detectors")


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to convert, and what only some formats know."""
  listing: bool = setting(False, "Print a table of what can be converted, and end.", flag="list")
  format: str = setting(AUTO, "Format of the input.", choices=(AUTO, *sorted(FORMATS)))
  input: str | None = setting(None, "File or directory.")
  out: str | None = setting(None, "The npz (or, of images, npy) to write; it appears when it is complete.")
  num_events: int | None = setting(None, "Only the first events.", lower=1)
  origin: str = setting("vertex",
                        "Of 3D events, what becomes the vertex: vertex, first (vertex of several), entry "
                        "(the first deposit), centroid, or x,y,z in mm.")
  voxel_mm: float | None = setting(None, "Of 3D events: voxel edge; default 1 mm, 3 mm for pilarnet.")
  tracks: str | None = setting(None, "batches: of an axis of tracks, one event each, or their sum.",
                               choices=("each", "sum"))
  nan: str | None = setting(None, "batches: what becomes of events with NaN.", choices=("refuse", "skip"))
  split: str | None = setting(None, "larcv_npy: which files of a directory.", choices=("train", "test"))
  scale_mev: float | None = setting(None,
                                    "larcv_*: MeV per grey level or ADC count; default: their unit stays.")
  unit: str | None = setting(None, "pilarnet, segments: what becomes an event.",
                             choices=("interaction", "event"))
  energy: str | None = setting(None, "pilarnet: which column is the energy.", choices=("value", "dE"))
  axes: str | None = setting(None, "segments: whether x and z are exchanged.",
                             choices=("auto", "file", "exchanged"))
  image_tree: str | None = setting(None, "larcv2_root: name of the tree of images.")
  particle_tree: str | None = setting(None, "larcv2_root: name of the tree of particles.")
  detectors: tuple[str, ...] | None = setting(None, "edepsim_root: sensitive detectors; default: all.")


def run(settings: Settings, console: Console) -> None:
  """Converts and says what came of it."""
  if settings.listing:
    console.say(describe_formats())
    return
  for name in ("input", "out"):
    if not getattr(settings, name):
      raise ValueError(f"Give --{name}; --help says what it may be.")
  format_name = choose_format(settings.input) if settings.format == AUTO else settings.format
  options = {name: getattr(settings, name) for name in OPTIONS if getattr(settings, name) is not None}
  for name in options:
    if name not in option_names(format_name):
      raise ValueError(f"--{name} does not go with --format={format_name}.")
  summary = convert(format_name, settings.input, settings.out, num=settings.num_events,
                    origin=settings.origin,
                    voxel_mm=settings.voxel_mm, options=options, update=_say_progress())
  console.say(f"Read {settings.input} as {format_name}. Wrote {', '.join(map(str, summary.paths))}: "
              f"{summary.text}.")


def _say_progress(every_seconds: float = 10.0) -> Callable:
  """Prints now and then how many events are done; how many there are, some formats tell only at their end."""
  last = time.monotonic()

  def update(done: int) -> None:
    nonlocal last
    if time.monotonic() - last >= every_seconds:
      last = time.monotonic()
      print(f"{done} events", file=sys.stderr, flush=True)
  return update
