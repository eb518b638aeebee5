r"""Makes images of vertices with several protons, for launch.tracks: real single events turned and put together, or drawn.

python -m launch.multi_track --source=sample --tracks=2 --num=300 --opening_degrees=0,180 --out=runs/pairs.npz
python -m launch.multi_track --source=protons_geant4.npz --first_event=195000 --tracks=1 --num=300 --out=runs/singles.npz
python -m launch.multi_track --source=generator --tracks=1 --num=300 --out=runs/null.npz

Directions are isotropic; pairs have opening angles evenly spaced over --opening_degrees. Of a file each event is used as
few times as possible. The generator (of the package, or of --weights) draws kinetic energies evenly over its range.
"""
import sys

from absl import flags

from lartpc_jax import cli

flags.DEFINE_string("source", "sample", 'npz of sparse events, "sample", or "generator".')
flags.DEFINE_integer("tracks", 2, "Tracks an event.", lower_bound=1)
flags.DEFINE_integer("num", 300, "Events.", lower_bound=1)
flags.DEFINE_integer("first_event", 0, "First event of the file that is used.", lower_bound=0)
flags.DEFINE_list("opening_degrees", None, "minimum,maximum angle of pairs; default: isotropic.")
flags.DEFINE_list("views", ["xy", "xz"], "Views.")
flags.DEFINE_string("weights", None, "Directory of weights; default: those of the package.")
flags.DEFINE_string("out", None, "File, .npz.")
flags.DEFINE_integer("seed", 0, "Seed of events, directions and noise.")


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  if not values.out:
    raise ValueError("Give --out; --help says what it may be.")
  from lartpc_jax.experiments import multi_track
  request = multi_track.Request(**{name: values[name].value for name in multi_track.Request._fields})
  found = multi_track.make(request)
  print(f"Wrote {len(found.images)} events of {values.tracks} tracks to {values.out}")
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
