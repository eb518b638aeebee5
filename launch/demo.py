r"""Infers the momenta of sample events with the weights of the package: a table, and pictures in demo/.

python -m launch.demo

Two views, random starts; as `python -m launch.infer --input=sample --num_events=16 --out=demo`, but always anew.
"""
import contextlib
import shutil
import sys
from pathlib import Path

from absl import flags

from lartpc_jax import cli
from lartpc_jax.files import hold_lock

flags.DEFINE_string("out", "demo", "Directory of the results; its chunks/ and events/ are replaced.")
flags.DEFINE_string("weights", None, "Directory of weights; default: those of the package.")
flags.DEFINE_string("variant", "base", "Variant of configs/protons64_infer.py.")
flags.DEFINE_integer("num_events", 16, "Events.", lower_bound=1)
flags.DEFINE_integer("num_pictures", 4, "Events drawn.", lower_bound=0)


def clear(out: Path) -> None:
  """Removes what an earlier demo left, and nothing else."""
  for path in (*out.glob("chunks/chunk_*.npz"), *out.glob("events/event_*.png")):
    path.unlink()
  shutil.rmtree(out / "chunks", ignore_errors=True)
  (out / "config.json").unlink(missing_ok=True)


def main(argv) -> int:
  del argv
  from configs import protons64_infer
  from lartpc_jax.experiments import infer
  from lartpc_jax.train.interrupt import stop_requests
  values = flags.FLAGS
  request = infer.Request("sample", ("xy", "xz"), num_events=values.num_events, weights=values.weights)
  job = infer.prepare(request, protons64_infer.get_config(values.variant))
  out = Path(values.out)
  out.mkdir(parents=True, exist_ok=True)
  with contextlib.ExitStack() as stack:
    stack.enter_context(hold_lock(out / "lock", busy=f"Another process is writing {out}."))
    clear(out)
    stack.enter_context(cli.hold_workdir(out, job.identity))
    stop = stack.enter_context(stop_requests())
    print(f"Momenta of {values.num_events} sample protons from two images each, on {cli.device_summary()}", flush=True)
    stopped = infer.execute(job, out, progress=cli.progress_bar, stop=stop, num_pictures=values.num_pictures)
  return 0 if stopped is None else 128 + stopped


if __name__ == "__main__":
  sys.exit(cli.run(main))
