r"""Fits 1, 2, ... tracks from one vertex to each event and counts them; the same command again goes on where it stopped.

python -m launch.multi_track --source=generator --tracks=1 --num=300 --out=runs/null.npz
python -m launch.tracks --input=runs/null.npz --refine= --out=runs/null
python -m launch.multi_track --source=sample --tracks=2 --num=300 --opening_degrees=0,180 --out=runs/pairs.npz
python -m launch.tracks --input=runs/pairs.npz --null=runs/null --out=runs/pairs

--input as for launch.infer, or a file of launch.multi_track. --out gets results.csv, results.json, events/, chunks/ and,
with truth, tables by opening angle. p_value_N is that of more than N tracks.
--null: one run on single tracks of the generator, one on pairs, ...: how often would the
generator's own events of N tracks gain as much from one track more?
"""
import sys

from absl import flags
from ml_collections import config_flags

from lartpc_jax import cli

CONFIG = "configs/protons64_tracks.py"
config_flags.DEFINE_config_file("config", None, f"The config file, with :variant if wanted; default: {CONFIG}.",
                                lock_config=True)
cli.define_event_flags()
flags.DEFINE_integer("max_tracks", 2, "Hypotheses of 1 to so many tracks are fitted.")
flags.DEFINE_list("refine", None, "Numbers of tracks whose hypotheses are refined, empty for none; default: all.")
flags.DEFINE_list("null", [], "Runs of this command on generated events with 1, 2, ... tracks.")
flags.DEFINE_float("level", 0.05, "False splits allowed at each step of the count.")
flags.DEFINE_integer("num_pictures", 8, "Events drawn.", lower_bound=0)


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  cli.require_flags("input", "out")
  from lartpc_jax.experiments import tracks
  from lartpc_jax.train.interrupt import stop_requests
  request = tracks.Request(**{name: values[name].value for name in tracks.Request._fields})
  job = tracks.prepare(request, values.config)
  with cli.hold_workdir(values.out, job.identity) as out, stop_requests() as stop:
    print(f"Devices: {cli.device_summary()}", flush=True)
    stopped = tracks.execute(job, out, progress=cli.progress_bar, nulls=values.null, level=values.level, stop=stop,
                             num_pictures=values.num_pictures)
  return 0 if stopped is None else 128 + stopped


if __name__ == "__main__":
  sys.exit(cli.run(main, default_config=CONFIG))
