r"""Simulates particles in liquid argon: a sparse-event npz. The same command again goes on where it stopped.

python -m launch.simulate --num_events=200000 --out=protons.npz
python -m launch.simulate --num_events=20000 --out=muons.npz --particle=muon --kinetic_mev=20,80 --seed=1
python -m launch.simulate --backend=geant4 --physics=QGSP_BERT --num_events=100000 --out=protons_geant4.npz
python -m launch.simulate --backend=geant4 --particle=e-,mu-,proton --kinetic_mev="50,500;50,500;50,250" \
    --multiplicity=1,5 --voxel_mm=3 --num_events=1000 --out=interactions.npz
python -m launch.simulate --merge --out=protons.npz          (joins what runs with --part=0/64 ... 63/64 have made)

Directions are isotropic, kinetic energies uniform. The fast backend needs nothing beyond this package; its voxels hold the
energy along the track (delta rays are local), and of nuclear interactions only that they end a track. Geant4 needs the extra
[geant4] and data sets; where they are missing, it says which and how to get them.
"""
import sys
import time
from pathlib import Path

from absl import flags

from lartpc_jax import cli

flags.DEFINE_enum("backend", "fast", ["fast", "geant4"], "What simulates.")
flags.DEFINE_list("particle", ["proton"], "fast: proton, muon or electron_approximate (no radiation). geant4: those that "
                  "start at the vertex, of proton, mu-, mu+, pi-, pi+, e-, e+, gamma.")
flags.DEFINE_integer("num_events", None, "Number of events.", lower_bound=1)
flags.DEFINE_string("kinetic_mev", "50,100", "low,high of the kinetic energy in MeV; one for each particle with ; between.")
flags.DEFINE_float("voxel_mm", 1.0, "Edge of a voxel.")
flags.DEFINE_integer("seed", 0, "Seed: the same one, the same file, however it is made.")
flags.DEFINE_string("out", None, "The npz file; FILE.npz.shards holds its parts until it is complete.")
flags.DEFINE_integer("shard_events", None, "Events a shard: what a kill can cost. Default: fast 20000, geant4 500.",
                     lower_bound=1)
flags.DEFINE_bool("compress", False, "Compress the file, to about a third; takes longer than the fast simulation.")
flags.DEFINE_string("part", None, "I/N: make only the I-th of N parts of the shards, I from 0 (see launch/slurm).")
flags.DEFINE_bool("merge", False, "Join the shards that parts have made; takes --out and --compress alone.")
flags.DEFINE_integer("beam_parts", None, "Let an Apache Beam pipeline make so many parts and join them (extra [beam]).",
                     lower_bound=1)
flags.DEFINE_list("beam", [], "Options of that pipeline, such as --runner=FlinkRunner; default: it runs here.")
flags.DEFINE_bool("nuclear", True, "fast: nuclear interactions.")
flags.DEFINE_integer("chunk_size", 1000, "fast: events a device works on at once.", lower_bound=1)
flags.DEFINE_string("physics", "QGSP_BERT", "geant4: physics list; em: electromagnetic interactions and decays only.")
flags.DEFINE_string("multiplicity", None, "geant4: low,high: so many particles, drawn from --particle; default: each once.")
flags.DEFINE_float("step_mm", 0.3, "geant4: longest step.")
flags.DEFINE_integer("workers", None, "geant4: processes; default: one a core.")
flags.DEFINE_string("geant4_data", None, "geant4: folder of its data sets; default: the environment, GEANT4_DATA_DIR, or "
                    "what geant4_pybind downloaded.")
ONLY = {"fast": ("nuclear", "chunk_size"), "geant4": ("physics", "multiplicity", "step_mm", "workers", "geant4_data")}


def pair(name: str, text: str, number, separator: str = ",") -> tuple:
  """The two numbers of a flag. Raises ValueError naming it."""
  try:
    low, high = (number(part) for part in text.split(separator))
  except ValueError as error:
    raise ValueError(f"Bad --{name}={text}: give two numbers, such as {separator.join(('1', '5'))}.") from error
  return low, high


def check_flags(values) -> None:
  """Raises ValueError naming a missing flag, or one that does not go with the others."""
  for name in ("out",) if values.merge else ("num_events", "out"):
    if not values[name].value:
      raise ValueError(f"Give --{name}; --help says what it may be.")
  for backend, names in ONLY.items():
    for name in names:
      if values[name].present and (values.merge or backend != values.backend):
        raise ValueError(f"--{name} goes with --backend={backend}{' and not with --merge' if values.merge else ''}.")


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  check_flags(values)
  from lartpc_jax.experiments import simulate
  from lartpc_jax.train.interrupt import stop_requests
  if values.merge:
    plan = simulate.merge(values.out, compress=values.compress)
    print(f"Wrote {plan.path}: {plan.num_events} events of {len(plan.shards)} shards.")
    return 0
  plain = {name: values[name].value for name in simulate.Request._fields if name in values}
  request = simulate.Request(**{
      **plain, "particles": tuple(values.particle),
      "kinetic_mev": tuple(pair("kinetic_mev", text, float) for text in values.kinetic_mev.split(";")),
      "part": None if values.part is None else pair("part", values.part, int, "/"),
      "multiplicity": None if values.multiplicity is None else pair("multiplicity", values.multiplicity, int)})
  existed = Path(values.out).exists()
  start = time.perf_counter()
  if values.beam_parts:
    from lartpc_jax.experiments import beam
    beam.run_parts(request, values.beam_parts, values.beam)
    print(f"{values.out} is complete after {time.perf_counter() - start:.1f} s.")
    return 0
  with stop_requests() as stop:
    stopped = simulate.execute(request, progress=cli.progress_bar, stop=stop)
  if stopped is None and not existed and request.part is None:
    seconds = time.perf_counter() - start
    print(f"Wrote {values.out}: {values.num_events} events in {seconds:.1f} s, start and files included.")
  return 0 if stopped is None else 128 + stopped


if __name__ == "__main__":
  sys.exit(cli.run(main))
