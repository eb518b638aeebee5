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
cli.define_event_flags()
cli.define_start_flag()
flags.DEFINE_integer("num_pictures", 8, "Events drawn.", lower_bound=0)


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  cli.require_flags("input", "out")
  from lartpc_jax.experiments import infer
  from lartpc_jax.train.interrupt import stop_requests
  request = infer.Request(**{name: values[name].value for name in infer.Request._fields})
  job = infer.prepare(request, values.config)
  with cli.hold_workdir(values.out, job.identity) as out, stop_requests() as stop:
    print(f"Devices: {cli.device_summary()}", flush=True)
    stopped = infer.execute(job, out, progress=cli.progress_bar, stop=stop, num_pictures=values.num_pictures)
  return 0 if stopped is None else 128 + stopped


if __name__ == "__main__":
  sys.exit(cli.run(main, default_config=CONFIG))
