r"""Infers proton momenta from images; the same command again goes on where it stopped.

python -m launch.infer --input=sample --views=xy,xz --num_events=32 --out=runs/infer
python -m launch.infer --input=images.npy --views=xy --out=runs/one_view --config.inference.num_starts=5

--input is an npz of sparse events, an npz (`images`, perhaps `momentum`) or npy of images (N, views, 64, 64) in MeV, or
"sample" for events of the package. --out gets results.csv, results.json, summary.png, events/ and chunks/.
"""
import sys

from absl import flags
from ml_collections import config_flags

from lartpc_jax import cli

CONFIG = "configs/protons64_infer.py"
config_flags.DEFINE_config_file("config", None, f"The config file, with :variant if wanted; default: {CONFIG}.",
                                lock_config=True)
flags.DEFINE_string("input", None, 'File of events or images, or "sample".')
flags.DEFINE_list("views", ["xy", "xz"], "Views, in the order of the images.")
flags.DEFINE_integer("num_events", None, "Number of events; default: to the end of the file.", lower_bound=1)
flags.DEFINE_integer("first_event", 0, "Number of the first event.", lower_bound=0)
flags.DEFINE_string("out", None, "Directory of the results.")
flags.DEFINE_string("weights", None, "Directory of weights; default: those of the package.")
flags.DEFINE_enum("start", "random", ["random", "classical", "amortised"], "Where the descent starts.")
flags.DEFINE_integer("chunk_size", 8, "Events a device works on at once.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the candidates and the noise.")
flags.DEFINE_integer("num_pictures", 8, "Events drawn.", lower_bound=0)


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  for name in ("input", "out"):
    if not values[name].value:
      raise ValueError(f"Give --{name}; --help says what it may be.")
  from lartpc_jax.runs import infer
  from lartpc_jax.train.interrupt import stop_requests
  request = infer.Request(**{name: values[name].value for name in infer.Request._fields})
  job = infer.prepare(request, values.config)
  out = cli.setup_workdir(values.out, job.identity)
  print(f"Devices: {cli.device_summary()}", flush=True)
  with stop_requests() as stop:
    stopped = infer.execute(job, out, progress=cli.progress_bar, stop=stop, num_pictures=values.num_pictures)
  return 0 if stopped is None else 128 + stopped


if __name__ == "__main__":
  sys.exit(cli.run(main, default_config=CONFIG))
