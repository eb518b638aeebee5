r"""Draws the objective over two components of the momentum, and how far its gradient can be trusted.

python -m launch.surface --momentum=-356,-245,40 --views=xy --axes=px,py --start=-200,-350,40 --out=runs/surface
python -m launch.surface --input=sample --event=3 --axes=px,pz --third=-400,400,9 --out=runs/profiled

The target is drawn by the generator with --momentum, or an event of --input. The third component is that of the truth,
--third, or, with --third=minimum,maximum,number, the best of so many values. The second map is the longest step down the
gradient for which the first-order Taylor expansion foretells the fall of the objective within a quarter.
"""
import sys

from absl import flags
from ml_collections import config_flags

from lartpc_jax import cli

CONFIG = "configs/protons64_infer.py"
config_flags.DEFINE_config_file("config", None, f"The config file, with :variant if wanted; default: {CONFIG}.",
                                lock_config=True)
flags.DEFINE_string("momentum", None, "px,py,pz in MeV/c of a generated target.")
flags.DEFINE_string("input", None, 'File of events or images, or "sample".')
flags.DEFINE_integer("event", 0, "Number of the event in --input.", lower_bound=0)
flags.DEFINE_list("views", ["xy", "xz"], "Views.")
flags.DEFINE_list("axes", ["px", "py"], "The two components.")
flags.DEFINE_list("third", None, "The third component, MeV/c: one value, or minimum,maximum,number.")
flags.DEFINE_string("start", None, "px,py,pz in MeV/c from which a descent is drawn.")
flags.DEFINE_float("half_width_mev", 250.0, "Half the side of the map, MeV/c.", lower_bound=1.0)
flags.DEFINE_integer("points", 25, "Points a side.", lower_bound=3)
flags.DEFINE_integer("draws", 2, "Network draws a view; each gives two images.", lower_bound=1)
flags.DEFINE_string("weights", None, "Directory of weights; default: those of the package.")
flags.DEFINE_string("out", None, "Directory of the results.")
flags.DEFINE_integer("seed", 0, "Seed of the target and the noise.")


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  if not values.out:
    raise ValueError("Give --out; --help says what it may be.")
  from lartpc_jax.experiments import surface
  request = surface.Request(**{name: values[name].value for name in surface.Request._fields})
  with cli.progress_bar(100, description="surface", unit="%") as bar:
    found = surface.compute(request, values.config, progress=lambda share: bar.update(int(100 * share)), say=bar.write)
  print("Wrote " + ", ".join(str(path) for path in surface.write(values.out, request, found)))
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main, default_config=CONFIG))
