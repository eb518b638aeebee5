r"""Converts what other programs write into files of images or of sparse events, in pieces, whole or not at all.

python -m launch.convert --list
python -m launch.convert --input=protons.root --out=events.npz --detectors=volLArActive
python -m launch.convert --format=batches --input=edep_protons64/ --out=images.npz
python -m launch.convert --format=larcv_npy --input=larcv_png_64_train_tracks.npy --out=crops.npy --scale_mev=0.05
python -m launch.convert --format=pilarnet --input=generic_v2_50000_v1.h5 --out=events.npz --num_events=1000
python -m launch.convert --format=segments --input=spill.h5 --out=events.npz --unit=interaction --origin=entry --voxel_mm=3

--format is one of (without it, what the input looks like is taken; --list says more):
FORMATS
Images become npz (or npy, with further fields beside it), 3D formats become sparse events (npz); launch.infer reads both.
HDF5, ROOT and PNG files need the extra `io`: pip install 'lartpc_jax[io]'.
"""
import sys
import time

from absl import flags

from lartpc_jax import cli
from lartpc_jax.data.readers.formats import AUTO, FORMATS, choose_format, describe_formats, option_names

__doc__ = __doc__.replace("FORMATS", "\n".join(f"  {name:13s} {f.text}" for name, f in FORMATS.items()))

flags.DEFINE_bool("list", False, "Print a table of what can be converted, and end.")
flags.DEFINE_enum("format", AUTO, [AUTO, *sorted(FORMATS)], "Format of the input.")
flags.DEFINE_string("input", None, "File or directory.")
flags.DEFINE_string("out", None, "The npz (or, of images, npy) to write; it appears when it is complete.")
flags.DEFINE_integer("num_events", None, "Only the first events.", lower_bound=1)
flags.DEFINE_string("origin", "vertex", "Of 3D events, what becomes the vertex: vertex, first (vertex of several), entry "
                    "(the first deposit), centroid, or x,y,z in mm.")
flags.DEFINE_float("voxel_mm", None, "Of 3D events: voxel edge; default 1 mm, 3 mm for pilarnet.")
flags.DEFINE_enum("tracks", None, ["each", "sum"], "batches: of an axis of tracks, one event each, or their sum.")
flags.DEFINE_enum("nan", None, ["refuse", "skip"], "batches: what becomes of events with NaN.")
flags.DEFINE_enum("split", None, ["train", "test"], "larcv_npy: which files of a directory.")
flags.DEFINE_float("scale_mev", None, "larcv_*: MeV per grey level or ADC count; default: their unit stays.")
flags.DEFINE_enum("unit", None, ["interaction", "event"], "pilarnet, segments: what becomes an event.")
flags.DEFINE_enum("energy", None, ["value", "dE"], "pilarnet: which column is the energy.")
flags.DEFINE_enum("axes", None, ["auto", "file", "exchanged"], "segments: whether x and z are exchanged.")
flags.DEFINE_string("image_tree", None, "larcv2_root: name of the tree of images.")
flags.DEFINE_string("particle_tree", None, "larcv2_root: name of the tree of particles.")
flags.DEFINE_list("detectors", None, "edepsim_root: sensitive detectors; default: all.")
OPTIONS = ("tracks", "nan", "split", "scale_mev", "unit", "energy", "axes", "image_tree", "particle_tree", "detectors")


def _say_progress(every_seconds: float = 10.0):
  """Prints now and then how many events are done; how many there are, some formats tell only at their end."""
  last = time.monotonic()

  def update(done: int) -> None:
    nonlocal last
    if time.monotonic() - last >= every_seconds:
      last = time.monotonic()
      print(f"{done} events", file=sys.stderr, flush=True)
  return update


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  if values.list:
    print(describe_formats())
    return 0
  cli.require_flags("input", "out")
  format_name = choose_format(values.input) if values.format == AUTO else values.format
  options = {name: values[name].value for name in OPTIONS if values[name].value is not None}
  for name in options:
    if name not in option_names(format_name):
      raise ValueError(f"--{name} does not go with --format={format_name}.")
  if "detectors" in options:
    options["detectors"] = tuple(options["detectors"])
  from lartpc_jax.data.convert import convert
  summary = convert(format_name, values.input, values.out, num=values.num_events, origin=values.origin,
                    voxel_mm=values.voxel_mm, options=options, update=_say_progress())
  print(f"Read {values.input} as {format_name}. Wrote {', '.join(map(str, summary.paths))}: {summary.text}.")
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
