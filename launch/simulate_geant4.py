r"""Simulates particles in liquid argon with Geant4 and writes sparse events; the same command again resumes.

python -m launch.simulate_geant4 --particle=proton --kinetic_mev=50,100 --num_events=100000 --out=runs/protons.npz
python -m launch.simulate_geant4 --physics=em --geant4_data=FOLDER --num_events=1000 --out=runs/protons_em.npz
python -m launch.simulate_geant4 --particle=e-,mu-,proton --kinetic_mev="50,500;50,500;50,250" --multiplicity=1,5 \
    --voxel_mm=3 --num_events=1000 --out=runs/interactions.npz

Needs the extra [geant4] and Geant4's data sets; where they are missing, it says which and how to get them.
"""
import sys

from absl import flags

from lartpc_jax import cli

flags.DEFINE_string("physics", "QGSP_BERT", "Physics list; em: electromagnetic interactions and decays only.")
flags.DEFINE_list("particle", ["proton"], "Particles that start at the vertex.")
flags.DEFINE_string("kinetic_mev", "50,100", "low,high of the kinetic energy in MeV; one for each particle with ; between.")
flags.DEFINE_string("multiplicity", None, "low,high: so many particles, drawn from --particle; default: each once.")
flags.DEFINE_integer("num_events", 1000, "Events.")
flags.DEFINE_integer("seed", 0, "Seed: the same seed, the same file, whatever the number of workers.")
flags.DEFINE_string("out", None, "The npz file to write.")
flags.DEFINE_integer("workers", None, "Processes; default: one a core.")
flags.DEFINE_string("geant4_data", None, "Folder of Geant4's data sets; default: the environment, GEANT4_DATA_DIR, or what "
                    "geant4_pybind downloaded.")
flags.DEFINE_float("voxel_mm", 1.0, "Edge of a voxel.")
flags.DEFINE_float("step_mm", 0.3, "Longest step.")


def pair(name: str, text: str, number) -> tuple:
  """(low, high) from "low,high"; one number stands for both."""
  try:
    values = [number(part) for part in text.split(",")]
  except ValueError:
    values = []
  if len(values) not in (1, 2):
    raise ValueError(f"--{name} needs low,high; got {text!r}.")
  return values[0], values[-1]


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  if not values.out:
    raise ValueError("Give the file to write: --out=FILE.npz.")
  from lartpc_jax.simulation import geant4_run
  settings = geant4_run.Settings(
      num_events=values.num_events, seed=values.seed, physics=values.physics, particles=tuple(values.particle),
      kinetic_mev=tuple(pair("kinetic_mev", text, float) for text in values.kinetic_mev.split(";")),
      multiplicity=None if values.multiplicity is None else pair("multiplicity", values.multiplicity, int),
      voxel_mm=values.voxel_mm, step_mm=values.step_mm)
  with cli.progress_bar(values.num_events, description="simulate", unit="event") as bar:
    path = geant4_run.simulate(settings, values.out, workers=values.workers, data=values.geant4_data, update=bar.update,
                               say=bar.write)
  print(f"Wrote {path}")
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
