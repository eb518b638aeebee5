r"""Draws images of protons with given momenta: images.npz, which launch.infer reads, and a picture of each momentum.

python -m launch.generate --momentum=-356,-245,40 --num=16 --out=runs/images
python -m launch.generate --momentum="300,0,0;0,300,0" --views=xy --guidance_scale=2 --out=runs/two \
    --config.sampler.num_steps=32
python -m launch.generate --kinetic_mev=50,100 --num=5000 --views=xy --out=runs/spectrum

Each view is a draw of its own: views of one proton share its momentum, not the wiggles of its track.
"""
import sys

from absl import flags
from ml_collections import config_flags

from lartpc_jax import cli

CONFIG = "configs/protons64_infer.py"
config_flags.DEFINE_config_file("config", None, f"The config file, with :variant if wanted; default: {CONFIG}.",
                                lock_config=True)
flags.DEFINE_string("momentum", None, "px,py,pz in MeV/c; several with ; between them.")
flags.DEFINE_list("kinetic_mev", None, "In place of --momentum: minimum,maximum; --num isotropic momenta of kinetic "
                  "energies uniform in between, with one event each.")
flags.DEFINE_integer("num", 16, "Images of each momentum.", lower_bound=1)
flags.DEFINE_list("views", ["xy", "xz"], "Views.")
flags.DEFINE_string("out", None, "Directory of the images.")
flags.DEFINE_string("weights", None, "Directory of weights; default: those of the package.")
flags.DEFINE_float("guidance_scale", None, "Classifier-free guidance, 1 is none; default: that of the config.")
flags.DEFINE_integer("chunk_size", 32, "Images a device draws at once.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the noise, and of momenta that are drawn.")


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  if not values.out:
    raise ValueError("Give --out; --help says what it may be.")
  if bool(values.momentum) == bool(values.kinetic_mev):
    raise ValueError("Give --momentum or --kinetic_mev, one of the two; --help says what they may be.")
  from lartpc_jax.experiments import generate
  config = values.config.to_dict()
  if values.guidance_scale is not None:
    config["guidance_scale"] = values.guidance_scale
  if values.kinetic_mev:
    momenta, num = generate.draw_momenta(values.num, values.kinetic_mev, values.seed), 1
  else:
    momenta, num = generate.parse_momenta(values.momentum), values.num
  with cli.progress_bar(len(momenta) * num, description="generate", unit="event") as bar:
    images, momentum_mev = generate.generate_events(
        momenta, config, views=tuple(values.views), num=num, weights=values.weights, seed=values.seed,
        chunk_size=values.chunk_size, update=bar.update, say=bar.write)
  paths = generate.write(values.out, images, momentum_mev, views=tuple(values.views), num=num)
  print("Wrote " + ", ".join(str(path) for path in paths))
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main, default_config=CONFIG))
