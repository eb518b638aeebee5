r"""Simulates single particles in liquid argon: a sparse-event npz. The same command again goes on where it stopped.

python -m launch.simulate --num_events=200000 --out=protons.npz
python -m launch.simulate --num_events=20000 --out=muons.npz --particle=muon --kinetic_mev=20,80 --seed=1

Directions are isotropic, kinetic energies uniform. The fast backend needs nothing beyond this package; its voxels hold the
energy along the track (delta rays are local), and of nuclear interactions only that they end a track.
"""
import sys
import time
from pathlib import Path

from absl import flags

from lartpc_jax import cli

flags.DEFINE_string("backend", "fast", "Simulation: fast.")
flags.DEFINE_string("particle", "proton", "proton, muon or electron_approximate (no radiation).")
flags.DEFINE_integer("num_events", None, "Number of events.", lower_bound=1)
flags.DEFINE_list("kinetic_mev", ["50", "100"], "Smallest and largest kinetic energy, MeV.")
flags.DEFINE_bool("nuclear", True, "Nuclear interactions.")
flags.DEFINE_float("voxel_mm", 1.0, "Edge of a voxel.")
flags.DEFINE_integer("seed", 0, "Seed: the same one, the same file.")
flags.DEFINE_string("out", None, "The npz file; FILE.npz.shards holds its parts until it is complete.")
flags.DEFINE_integer("shard_events", 20_000, "Events a part: what a kill can cost.", lower_bound=1)
flags.DEFINE_integer("chunk_size", 2048, "Events a device works on at once.", lower_bound=1)
flags.DEFINE_bool("compress", False, "Compress the file, to about a third; takes longer than the fast simulation.")


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  for name in ("num_events", "out"):
    if not values[name].value:
      raise ValueError(f"Give --{name}; --help says what it may be.")
  try:
    low, high = (float(number) for number in values.kinetic_mev)
  except ValueError as error:
    raise ValueError(f"Bad --kinetic_mev={','.join(values.kinetic_mev)}: give two numbers, such as 50,100.") from error
  from lartpc_jax.runs import simulate
  from lartpc_jax.train.interrupt import stop_requests
  request = simulate.Request(**{name: values[name].value for name in simulate.Request._fields if name != "kinetic_mev"},
                             kinetic_mev=(low, high))
  existed = Path(values.out).exists()
  start = time.perf_counter()
  with stop_requests() as stop:
    stopped = simulate.execute(request, progress=cli.progress_bar, stop=stop)
  if stopped is None and not existed:
    seconds = time.perf_counter() - start
    print(f"Wrote {values.out}: {values.num_events} events in {seconds:.1f} s, compilation and files included.")
  return 0 if stopped is None else 128 + stopped


if __name__ == "__main__":
  sys.exit(cli.run(main))
